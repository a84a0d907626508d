"""Proofs that a state holds a key's value, or does not hold the key.

What lives here: the proof's form and its verification, which needs the root and nothing else. What must not
be known here: how proofs are made, who attests a root.

Verification goes upwards. It never follows what a proof says: the key's path fixes which child of each node
is computed, and all that the proof adds are bytes that are hashed. So its work is bounded by its size, which
is checked first, and a proof that verifies is the only one there is.
"""

from typing import Final

from msgspec import Struct

from crypto.codec import StrictDecoder, encode
from crypto.digest import DIGEST_BYTES, Digest
from crypto.errors import CodecError
from ledger.state.errors import ProofCheck, ProofError, StateLimitExceeded
from ledger.state.nodes import (
    BUCKET_CAPACITY,
    MAX_DEPTH,
    MAX_PATHS_BYTES,
    NO_DIGEST,
    NODE_BYTES,
    PATH_BYTES,
    bucket_digest,
    check_limits,
    expand_node,
    leaf_digest,
    leaf_record,
    make_bucket,
    node_digest,
    path_of,
)

MAX_PROOF_BYTES: Final = MAX_DEPTH * (NODE_BYTES + 3) + 2 * MAX_PATHS_BYTES + 32
"""A node at every depth and a full bucket. At 100,000 keys a proof has 3 KB."""


class StateProof(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What joins one key to a root."""

    nodes: tuple[bytes, ...]
    """The inner nodes from the root down: 16 kinds, and the digests of the children with keys, without the
    one on the path."""
    position: int | None
    """Which entry of its bucket the key is, from 0; None where the key is absent."""
    paths: bytes
    """Presence: the digest of the bucket's paths. Absence: the paths."""
    leaves: bytes
    """The bucket's leaf digests, without the key's own."""


_proofs = StrictDecoder(StateProof, MAX_PROOF_BYTES)


def encode_proof(proof: StateProof) -> bytes:
    """Return a proof's canonical bytes."""
    return encode(proof)


def decode_proof(data: bytes) -> StateProof:
    """Return the proof in canonical bytes. Raises `ProofError`."""
    try:
        return _proofs.decode(data)
    except CodecError as error:
        raise ProofError(ProofCheck.FORM, str(error)) from None


def verify_presence(root: Digest, key: bytes, value: bytes, proof: StateProof) -> None:
    """Verify that the state with this root holds this value for this key. Raises `ProofError`."""
    _check_size(key, value, proof)
    if proof.position is None:
        raise ProofError(ProofCheck.PRESENCE, "the proof is one of absence")
    count, at = len(proof.leaves) // DIGEST_BYTES + 1, proof.position * DIGEST_BYTES
    if not 0 <= proof.position < count <= BUCKET_CAPACITY or len(proof.paths) != DIGEST_BYTES:
        raise ProofError(ProofCheck.FORM, f"entry {proof.position} of {count}")
    own = leaf_digest(leaf_record(key, value))
    leaves = b"".join((proof.paths, proof.leaves[:at], own, proof.leaves[at:]))
    _verify(root, path_of(key), bucket_digest(leaves), proof)


def verify_absence(root: Digest, key: bytes, proof: StateProof) -> None:
    """Verify that the state with this root does not hold this key. Raises `ProofError`."""
    _check_size(key, b"", proof)
    if proof.position is not None:
        raise ProofError(ProofCheck.PRESENCE, "the proof is one of presence")
    if len(proof.paths) != len(proof.leaves):
        raise ProofError(ProofCheck.FORM, "as many digests as paths are needed")
    path = path_of(key)
    if path in proof.paths:
        raise ProofError(ProofCheck.PRESENCE, "the bucket shown holds the key")
    digest: bytes = bucket_digest(make_bucket(proof.paths, proof.leaves)[1])
    if not proof.paths and proof.nodes:
        digest = NO_DIGEST
    _verify(root, path, digest, proof)


def _check_size(key: bytes, value: bytes, proof: StateProof) -> None:
    """Check every length before any work."""
    try:
        check_limits(key, value)
    except StateLimitExceeded as error:
        raise ProofError(ProofCheck.LIMIT, str(error)) from None
    nodes, paths, leaves = len(proof.nodes), len(proof.paths), len(proof.leaves)
    if nodes > MAX_DEPTH or paths > MAX_PATHS_BYTES or leaves > MAX_PATHS_BYTES:
        raise ProofError(ProofCheck.LIMIT, f"{nodes} nodes, {paths} and {leaves} bytes for the bucket")
    if paths % PATH_BYTES or leaves % DIGEST_BYTES:
        raise ProofError(ProofCheck.FORM, f"{paths} and {leaves} bytes for the bucket")


def _verify(root: Digest, path: bytes, digest: bytes, proof: StateProof) -> None:
    for depth in range(len(proof.nodes) - 1, -1, -1):
        shown = proof.nodes[depth]
        digit = path[depth >> 1] & 15 if depth & 1 else path[depth >> 1] >> 4
        node = expand_node(shown, digit, digest)
        if node is None:
            raise ProofError(ProofCheck.FORM, f"{len(shown)} bytes for the node at depth {depth}")
        digest = node_digest(node)
    if digest != root:
        raise ProofError(ProofCheck.ROOT, f"hashes to {digest.hex()}, not to {root.hex()}")
