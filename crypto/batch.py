"""What an ordering engine agrees on: the digest of a batch of transaction ids.

Engines propose and vote on this digest; the ledger and the audit recompute it from what is stored.
It lies here because neither of them may know the other.
"""

from collections.abc import Sequence
from typing import Annotated, NewType

from msgspec import Meta

from crypto import merkle
from crypto.attestation import Height
from crypto.digest import DIGEST_BYTES, ChainId, Digest, digest

MAX_MILLIS = 2**53 - 1

TxId = NewType("TxId", bytes)
"""32 bytes: the digest of a transaction's signed bytes, without the signature."""

TxIdField = Annotated[TxId, Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]

Millis = NewType("Millis", int)
"""Milliseconds: a duration, or since the Unix epoch, or on a monotonic clock, as the name says."""

MillisField = Annotated[Millis, Meta(ge=0, le=MAX_MILLIS)]


def transaction_root(ids: Sequence[bytes]) -> Digest:
    """Return the RFC 6962 Merkle tree hash over the transaction ids, in the proposed order."""
    return Digest(merkle.root(ids))


def batch_digest(chain_id: ChainId, sequence: Height, timestamp: Millis, root: Digest) -> Digest:
    """Return what is agreed for `sequence`: chain, sequence, proposal time and transaction root."""
    return digest("batch", chain_id, sequence.to_bytes(8, "big"), timestamp.to_bytes(8, "big"), root)
