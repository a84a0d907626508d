"""The genesis: everything that two replicas must agree on before the first block.

genesis.json is the readable form. The chain id is the digest of the canonical bytes of the same
values, so a changed limit is another chain. What is local to one machine (addresses, paths, timeouts)
lies in node.toml instead.
"""

from typing import Annotated

from msgspec import Meta, Struct

from crypto.attestation import MAX_HEIGHT
from crypto.codec import encode
from crypto.digest import ChainId, Digest, DigestField, digest
from crypto.keys import PublicKeyField
from crypto.roster import MAX_MEMBERS, Epoch, Roster

FORMAT = 1


class GenesisMember(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A founding member: its name for people, its Ed25519 key, and its TLS certificate's SHA-256."""

    name: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A[A-Za-z0-9._-]+\Z")]
    public_key: PublicKeyField
    tls_fingerprint: DigestField


Positive = Annotated[int, Meta(gt=0, le=MAX_HEIGHT)]


class Genesis(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The agreed parameters of one chain. Durations are in ms, sizes in bytes."""

    format: Annotated[int, Meta(ge=FORMAT, le=FORMAT)]
    name: Annotated[str, Meta(min_length=1, max_length=64)]
    created: Annotated[int, Meta(ge=0, le=MAX_HEIGHT)]
    """When the network was made, ms since the epoch; makes two networks of the same members differ."""
    engine: Annotated[str, Meta(min_length=1, max_length=32)]
    application: Annotated[str, Meta(min_length=1, max_length=200)]
    """`kv`, `assets`, `notary`, or a user's own as `module:Class`."""
    members: Annotated[tuple[GenesisMember, ...], Meta(min_length=1, max_length=MAX_MEMBERS)]
    horizon_ms: Positive = 10 * 60 * 1000
    """How far ahead valid_until may lie, and for how long ids must be remembered."""
    clock_bound_ms: Positive = 15 * 1000
    """How far a proposal's timestamp may lie from a backup's wall clock."""
    checkpoint_interval: Positive = 64
    """Blocks between checkpoints. The window of sequences is twice as long."""
    max_transaction_bytes: Positive = 16 * 1024
    max_batch_transactions: Positive = 1000
    max_batch_bytes: Positive = 4 * 1024 * 1024
    testing: bool = False
    """Whether emulated Byzantine replicas may take part."""
    parameters: tuple[tuple[str, str], ...] = ()
    """The application's own parameters, sorted by name (`assets`: who may issue)."""

    @property
    def chain_id(self) -> ChainId:
        """The digest of these values' canonical bytes."""
        return ChainId(digest("genesis", encode(self)))

    @property
    def window(self) -> int:
        """How many sequences above the last stable checkpoint may be in use."""
        return 2 * self.checkpoint_interval

    def roster(self) -> Roster:
        """Return the first epoch's roster. Raises `KeyRefused` for keys that may not be registered."""
        return Roster.register(self.chain_id, Epoch(0), [member.public_key for member in self.members])

    def first_parent(self) -> Digest:
        """Return what stands as parent hash in the first block."""
        return Digest(self.chain_id)
