"""Who the members of an epoch are, and what counts as enough of them.

The rules, all kept here:

- a member is known by its index in the roster and by its Ed25519 key; no two members share a key;
- a signature counts for a member only under that member's key, over bytes that bind the chain, the
  kind of statement and the epoch;
- a threshold counts distinct members, never signatures.

How many are enough is not decided here: thresholds come from the fault model (`consensus.quorum`).
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Annotated, NewType

from msgspec import Meta, Struct

from crypto.digest import ChainId, tag
from crypto.errors import CertificateError, KeyRefused
from crypto.keys import PublicKey, check_public_key

MAX_MEMBERS = 256
"""A bound on what a certificate may list; PBFT's messages grow with the square of the members."""

MAX_EPOCH = 2**32 - 1

MemberId = NewType("MemberId", int)
"""A member's index in its epoch's roster, from 0."""

Epoch = NewType("Epoch", int)

MemberField = Annotated[MemberId, Meta(ge=0, lt=MAX_MEMBERS)]
EpochField = Annotated[Epoch, Meta(ge=0, le=MAX_EPOCH)]


class Roster(Struct, frozen=True):
    """The members of one epoch of one chain: member i has `keys[i]`."""

    chain_id: ChainId
    epoch: Epoch
    keys: tuple[PublicKey, ...]

    @classmethod
    def register(cls, chain_id: ChainId, epoch: Epoch, keys: Sequence[bytes]) -> "Roster":
        """Return a roster of checked keys.

        Raises `KeyRefused` for a key that may not be registered, or that two members share.
        """
        if not 1 <= len(keys) <= MAX_MEMBERS:
            raise KeyRefused(f"a roster has 1 to {MAX_MEMBERS} members, not {len(keys)}")
        checked = tuple(check_public_key(key) for key in keys)
        if len(set(checked)) != len(checked):
            raise KeyRefused("two members share one public key")
        return cls(chain_id, epoch, checked)

    @property
    def n(self) -> int:
        """The number of members."""
        return len(self.keys)

    @property
    def members(self) -> range:
        """All members' ids."""
        return range(len(self.keys))

    def key(self, member: int) -> PublicKey:
        """Return `member`'s key. Raises `CertificateError` for one that is not in the roster."""
        if not 0 <= member < len(self.keys):
            raise CertificateError(f"member {member} is not in the roster of {len(self.keys)}")
        return self.keys[member]

    def signing_bytes(self, kind: str, body: bytes) -> bytes:
        """Return what a member signs: protocol, kind, chain, epoch, then the length-prefixed body."""
        return _binding(kind, self.chain_id, self.epoch) + len(body).to_bytes(4, "big") + body

    def require(self, members: Iterable[int], need: int) -> None:
        """Raise `CertificateError` unless `members` names at least `need` distinct members."""
        distinct = {member for member in members if 0 <= member < len(self.keys)}
        if len(distinct) < need:
            raise CertificateError(f"{len(distinct)} distinct members, {need} are needed")


@lru_cache(maxsize=256)
def _binding(kind: str, chain_id: ChainId, epoch: Epoch) -> bytes:
    """What every statement of one kind begins with, in one epoch of one chain. Each vote asks for it."""
    return tag(kind) + chain_id + epoch.to_bytes(4, "big")
