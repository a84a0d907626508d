"""The attestations of one block, as they are collected.

What lives here: counting distinct members for one block hash, and making the certificate of them. What must
not be known here: whose word is enough, and how signatures were verified (`crypto.attestation` says what is
signed).
"""

from collections.abc import Iterable

from crypto.attestation import ATTESTATION, Height, attestation_body, attested
from crypto.digest import Digest
from crypto.keys import Signature
from crypto.roster import Epoch, MemberId
from crypto.signed import Certificate, Vote


class Attestations:
    """The members' signatures over one block's hash. Grows as replies come in; never holds an unverified one.

    A receipt shares this object with whoever collects, so that its signers grow until it is saved.
    """

    __slots__ = ("_votes", "block_hash", "epoch", "height")

    def __init__(self, epoch: Epoch, height: Height, block_hash: Digest, votes: Iterable[Vote] = ()) -> None:
        self.epoch = epoch
        self.height = height
        self.block_hash = block_hash
        self._votes: dict[MemberId, Signature] = {vote.signer: vote.signature for vote in votes}

    @classmethod
    def of(cls, certificate: Certificate) -> "Attestations":
        """Return the attestations in `certificate`. Raises `CodecError` for one of another kind."""
        said = attested(certificate)
        return cls(certificate.epoch, said.height, said.block_hash, certificate.votes)

    def add(self, member: MemberId, signature: Signature) -> None:
        """Count `member`, whose signature the caller has verified."""
        self._votes.setdefault(member, signature)

    def __contains__(self, member: object) -> bool:
        return member in self._votes

    def __len__(self) -> int:
        return len(self._votes)

    @property
    def members(self) -> tuple[MemberId, ...]:
        """Who attested, ascending."""
        return tuple(sorted(self._votes))

    def certificate(self) -> Certificate:
        """Return the attestations so far as one certificate."""
        votes = tuple(Vote(member, self._votes[member]) for member in self.members)
        return Certificate(ATTESTATION, self.epoch, attestation_body(self.height, self.block_hash), votes)
