"""Blocks and headers: what executing an agreed batch leaves in the chain.

The header is computed after execution and binds everything: what was agreed (batch digest), what it
was (transaction root), what came of it (result root, state root), and the parent's hash. The commit
certificate lies beside the block, outside its hash, because replicas hold different quorums of it.
"""

from typing import Annotated

from msgspec import Meta, Struct

from crypto.attestation import HeightField
from crypto.batch import Millis, MillisField, TxId
from crypto.codec import StrictDecoder, encode
from crypto.digest import ChainIdField, Digest, DigestField, digest
from crypto.roster import EpochField

MAX_BLOCK_BYTES = 32 * 1024 * 1024
"""The largest batch (`Genesis.max_batch_bytes`) with its results and certificate, with room."""

MAX_BLOCK_TRANSACTIONS = 2**20
"""Far above any batch: a bound for what decoding a block from outside may take."""

MAX_HEADER_BYTES = 1024
"""Six digests and four numbers take at most 237."""


class Header(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One block's header. Times are in ms since the epoch; heights count from 1."""

    chain_id: ChainIdField
    epoch: EpochField
    height: HeightField
    parent: DigestField
    """The parent's block hash; the chain id's bytes for the first block."""
    batch: DigestField
    """The digest that the members agreed on."""
    proposed: MillisField
    """The proposal's timestamp; 0 for a null request."""
    time: MillisField
    """The block's time: max(proposed, parent's time + 1)."""
    transaction_root: DigestField
    """RFC 6962 root over the transaction ids."""
    result_root: DigestField
    """RFC 6962 root over `result_leaf(id, result)` in the same order."""
    state_root: DigestField


class Block(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A block as it is stored and served: header, transactions as received, their results, and the
    engine's certificate for the batch digest (opaque here)."""

    header: Header
    transactions: Annotated[tuple[bytes, ...], Meta(max_length=MAX_BLOCK_TRANSACTIONS)]
    results: Annotated[tuple[bytes, ...], Meta(max_length=MAX_BLOCK_TRANSACTIONS)]
    certificate: bytes


headers = StrictDecoder(Header, MAX_HEADER_BYTES)
blocks = StrictDecoder(Block, MAX_BLOCK_BYTES)


def block_hash(header: Header) -> Digest:
    """Return the hash that attestations sign: the digest of the header's canonical bytes."""
    return digest("block", encode(header))


def result_leaf(tx_id: TxId, result: bytes) -> bytes:
    """Return the leaf of the result tree: the id (32 bytes), then the result."""
    return tx_id + result


def block_time(proposed: Millis, parent_time: Millis) -> Millis:
    """Return the time of a block: it never goes back, and moves by at least 1 ms per block."""
    return Millis(max(proposed, parent_time + 1))
