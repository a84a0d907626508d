"""Who vouches for which block: the members' attestations, counted, and compared with each other.

What lives here: one table of claims (height, block hash) with the members behind each; which of them are
believed; and the discovery of forks and of members who signed what others contradict. What must not be known
here: connections, transactions, time.

The rules:

- an attestation counts for the member who signed it, once per block, after one verification;
- a block is believed at `acceptance` distinct members;
- two blocks believed at one height, or a believed block whose parent is not the believed block below it, are
  a fork: `ForkDetected`, and nothing of this chain can be relied upon any more;
- a member that attests another block than the one believed at that height is malicious.
"""

from collections import deque
from collections.abc import Mapping
from typing import Final

from crypto.attestation import Height
from crypto.digest import Digest
from crypto.roster import MemberId
from crypto.signed import Envelope
from ledger.attestations import Attestations
from ledger.block import Header
from tetrarch.client.evidence import ForkEvidence
from tetrarch.client.proof import ReplicaFault, attestation_in, check_envelope
from tetrarch.errors import ForkDetected
from tetrarch.trust import TrustRoot

MAX_CLAIMS_PER_MEMBER: Final = 1024
"""Blocks first heard of from one member and not believed yet: the oldest is forgotten, and asked for again if
it is needed. So no member can displace what others said."""

MAX_BELIEVED: Final = 4096
"""Believed blocks remembered, for late signers and for contradictions: some minutes at full load. ~4 MB."""

_OURSELVES: Final = MemberId(-1)
"""Who first named a block whose attestations we ask for."""

_NOBODY: Final[Mapping[Digest, Attestations]] = {}


class Witnesses:
    """Attestations by block."""

    def __init__(self, trust: TrustRoot) -> None:
        self._trust = trust
        self._claims: dict[Height, dict[Digest, Attestations]] = {}
        self._first_heard: dict[MemberId, deque[tuple[Height, Digest]]] = {}
        self._believed: dict[Height, Attestations] = {}
        self._headers: dict[Height, Header] = {}
        self.liars: dict[MemberId, str] = {}
        """Members who signed what a believed block contradicts, and what that was."""

    def attest(self, member: MemberId, envelope: Envelope) -> Attestations:
        """Count `member`'s attestation, and return all that attest the same block.

        Raises `ReplicaFault` for one that is not `member`'s or does not verify, `ForkDetected`.
        """
        said = attestation_in(envelope)
        known = self._claims.get(said.height, _NOBODY).get(said.block_hash)
        if known is not None and member in known:
            return known
        check_envelope(self._trust.roster, member, envelope)
        if known is None:
            known = self._hear(member, said.height, said.block_hash)
        known.add(member, envelope.signature)
        if len(known) == self._trust.acceptance:
            self._believe(known)
        self._compare(member, known)
        return known

    def expect(self, height: Height, block_hash: Digest) -> Attestations:
        """Return who attests this block so far: the object to which later attestations are added."""
        known = self._claims.get(height, _NOBODY).get(block_hash)
        return known if known is not None else self._hear(_OURSELVES, height, block_hash)

    def believed(self, attestations: Attestations) -> bool:
        """Whether enough members vouch for this block."""
        return len(attestations) >= self._trust.acceptance

    def hash_at(self, height: Height) -> Digest | None:
        """Return the hash of the block believed at `height`, as far as it is remembered."""
        found = self._believed.get(height)
        return None if found is None else found.block_hash

    def link(self, header: Header) -> None:
        """Compare the header of a believed block with its believed neighbours. Raises `ForkDetected`."""
        height = header.height
        if height in self._headers:
            return
        self._headers[height] = header
        if height == 1 and header.parent != self._trust.genesis.first_parent():
            own = self._believed[height].certificate()
            raise ForkDetected(ForkEvidence(own, own, header))
        self._require_link(height)
        self._require_link(Height(height + 1))

    def _require_link(self, height: Height) -> None:
        """Guard: the believed block at `height` names the believed one below as its parent."""
        header, below, here = (
            self._headers.get(height),
            self._believed.get(Height(height - 1)),
            self._believed.get(height),
        )
        if header and below and here and header.parent != below.block_hash:
            raise ForkDetected(ForkEvidence(below.certificate(), here.certificate(), header))

    def _hear(self, member: MemberId, height: Height, block_hash: Digest) -> Attestations:
        """Begin to count for a block that nobody spoke of before."""
        heard = self._first_heard.setdefault(member, deque())
        heard.append((height, block_hash))
        while len(heard) > MAX_CLAIMS_PER_MEMBER:
            self._forget(*heard.popleft(), even_believed=False)
        found = Attestations(self._trust.roster.epoch, height, block_hash)
        self._claims.setdefault(height, {})[block_hash] = found
        return found

    def _forget(self, height: Height, block_hash: Digest, *, even_believed: bool) -> None:
        claims = self._claims.get(height, {})
        found = claims.get(block_hash)
        if found is not None and (even_believed or not self.believed(found)):
            del claims[block_hash]
            if not claims:
                del self._claims[height]

    def _believe(self, attestations: Attestations) -> None:
        height = attestations.height
        other = self._believed.get(height)
        if other is not None:
            raise ForkDetected(ForkEvidence(other.certificate(), attestations.certificate()))
        self._believed[height] = attestations
        if len(self._believed) > MAX_BELIEVED:
            oldest = next(iter(self._believed))
            gone = self._believed.pop(oldest)
            self._headers.pop(oldest, None)
            self._forget(gone.height, gone.block_hash, even_believed=True)
        self._require_link(height)
        self._require_link(Height(height + 1))
        for block_hash, claim in self._claims[height].items():
            if block_hash != attestations.block_hash:
                for liar in claim.members:
                    self._lied(liar, height)

    def _compare(self, member: MemberId, attestations: Attestations) -> None:
        believed = self._believed.get(attestations.height)
        if believed is not None and believed is not attestations:
            self._lied(member, attestations.height)
            raise ReplicaFault(
                "attestation", f"of another block than the one believed at {attestations.height}"
            )

    def _lied(self, member: MemberId, height: Height) -> None:
        self.liars.setdefault(member, f"attested another block at height {height} than a weak quorum")
