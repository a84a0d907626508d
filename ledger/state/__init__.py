"""The authenticated state: a key-value map with one root, and proofs of presence and of absence.

What lives here: the tree (`StateTree`), its proofs, the chunks that a snapshot travels in, recomputing and
auditing a state. What must not be known here: RocksDB, blocks, transactions, applications, who attests a
root.
"""

from ledger.state.audit import StateFault, find_faults
from ledger.state.build import state_root
from ledger.state.cache import stored_nodes
from ledger.state.chunk import START, StateChunk, decode_chunk, encode_chunk, verify_chunk
from ledger.state.errors import (
    CorruptState,
    ProofCheck,
    ProofError,
    StateError,
    StateLimitExceeded,
    UpdateOutdated,
)
from ledger.state.nodes import MAX_KEY_BYTES, MAX_VALUE_BYTES
from ledger.state.proof import (
    MAX_PROOF_BYTES,
    StateProof,
    decode_proof,
    encode_proof,
    verify_absence,
    verify_presence,
)
from ledger.state.source import MemorySource, NodeSource
from ledger.state.tree import EMPTY_ROOT, PendingUpdate, StateTree

__all__ = [
    "EMPTY_ROOT",
    "MAX_KEY_BYTES",
    "MAX_PROOF_BYTES",
    "MAX_VALUE_BYTES",
    "START",
    "CorruptState",
    "MemorySource",
    "NodeSource",
    "PendingUpdate",
    "ProofCheck",
    "ProofError",
    "StateChunk",
    "StateError",
    "StateFault",
    "StateLimitExceeded",
    "StateProof",
    "StateTree",
    "UpdateOutdated",
    "decode_chunk",
    "decode_proof",
    "encode_chunk",
    "encode_proof",
    "find_faults",
    "state_root",
    "stored_nodes",
    "verify_absence",
    "verify_chunk",
    "verify_presence",
]
