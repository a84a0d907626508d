"""Merkle trees of RFC 6962 (section 2.1) over SHA-256: roots, inclusion, consistency and multiproofs.

What lives here: the tree hash, the proofs and their verification, on plain bytes. What must not be known
here: what a leaf means, who signed a root, how a proof travels.

Two limits of the construction that a caller must respect:

* A root does not bind the size of its tree: with a wrong size, a path of the same shape still fits (the
  first leaf of 3 and of 4 leaves, for one). Take the size from something signed beside the root.
* Functions that verify by leaf hash trust that the caller hashed the leaf (`leaf_hash`). A leaf hash that
  came from the prover may be an inner node.

A proof proves what a collision-free hash proves, no more: where two leaves hold the same bytes, the paths of
one can serve for the other.
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from hashlib import sha256
from itertools import pairwise
from typing import Annotated, Final

from msgspec import Meta, Struct

from crypto.digest import DIGEST_BYTES, Digest
from crypto.errors import CryptoError

LEAF_PREFIX: Final = b"\x00"
NODE_PREFIX: Final = b"\x01"

MAX_TREE_SIZE: Final = 2**63 - 1
"""Largest size a proof may speak of: what a signed 64-bit integer holds, so no path exceeds 63 hashes."""

NodeField = Annotated[bytes, Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
"""32 bytes: the hash of a leaf or inner node, as a field of a message."""

EMPTY_ROOT: Final = Digest(sha256().digest())
"""The tree hash of no leaves: the hash of the empty string (RFC 6962, section 2.1)."""

# Copying a state that has already swallowed the prefix costs a tenth to a fifth less than concatenating the
# prefix and constructing a fresh state. The sources are never updated, so threads may share them.
_leaf_state = sha256(LEAF_PREFIX).copy
_node_state = sha256(NODE_PREFIX).copy


class MerkleCheck(StrEnum):
    """The check that a proof, or a request for one, failed."""

    TREE_SIZE = "tree size"
    INDEX = "index"
    INDEX_ORDER = "index order"
    HASH_LENGTH = "hash length"
    PROOF_LENGTH = "proof length"
    ROOT = "root"
    OLD_ROOT = "old root"


class MerkleError(CryptoError, ValueError):
    """A proof does not hold, or a proof was asked for that cannot exist; `check` says which check failed."""

    def __init__(self, check: MerkleCheck, detail: str) -> None:
        super().__init__(f"Merkle {check}: {detail}")
        self.check = check


class Multiproof(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The hashes that join several leaves of one tree to its root, in the order in which they are used.

    That is level by level upwards, each level from left to right. For one leaf these are exactly the hashes
    of its RFC 6962 audit path; for all leaves there are none. How many it may hold is bounded by the frame it
    travels in; more than fit the leaves and the size are refused when verifying.
    """

    hashes: tuple[NodeField, ...] = ()


def leaf_hash(leaf: bytes) -> Digest:
    """The hash of one leaf entry: SHA-256(0x00 || leaf)."""
    state = _leaf_state()
    state.update(leaf)
    return Digest(state.digest())


def node_hash(left: bytes, right: bytes) -> Digest:
    """The hash of an inner node: SHA-256(0x01 || left || right)."""
    state = _node_state()
    state.update(left)
    state.update(right)
    return Digest(state.digest())


def leaf_hashes(leaves: Iterable[bytes]) -> list[bytes]:
    """The hashes of leaf entries, in order; `leaf_hash` unrolled, since this runs for every transaction."""
    hashes: list[bytes] = []
    append = hashes.append
    for leaf in leaves:
        state = _leaf_state()
        state.update(leaf)
        append(state.digest())
    return hashes


def root(leaves: Iterable[bytes]) -> Digest:
    """The Merkle tree hash of leaf entries (RFC 6962, section 2.1)."""
    return root_of_hashes(leaf_hashes(leaves))


def root_of_hashes(hashes: Sequence[bytes]) -> Digest:
    """The Merkle tree hash of leaves that are already hashed (32 bytes each)."""
    if not hashes:
        return EMPTY_ROOT
    level = hashes
    while len(level) > 1:
        level = _parents(level)
    return Digest(level[0])


def inclusion_proof(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of the leaf at `index` (RFC 6962, section 2.1.1). Raises MerkleError on a bad index."""
    return Tree(hashes).inclusion_proof(index)


def consistency_proof(hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """The proof that the first `old_size` leaves are a prefix (RFC 6962, section 2.1.2).

    Raises MerkleError when there are fewer leaves than that.
    """
    return Tree(hashes).consistency_proof(old_size)


def multiproof(hashes: Sequence[bytes], indices: Sequence[int]) -> Multiproof:
    """One proof for the leaves at `indices`, which must be strictly increasing; raises MerkleError."""
    return Tree(hashes).multiproof(indices)


class Tree:
    """All levels of one tree, so that its root and any number of proofs cost its hashes once.

    A level with an odd last node hands that node up unchanged, which gives RFC 6962's tree: the node at
    position i of level k is the tree hash of leaves i * 2**k up to (i + 1) * 2**k, or up to the last.
    """

    __slots__ = ("_levels", "root", "size")

    root: Digest
    size: int

    def __init__(self, hashes: Sequence[bytes]) -> None:
        """Build from leaf hashes of 32 bytes each; `Tree.of_leaves` hashes entries first."""
        level = list(hashes)
        levels = [level]
        while len(level) > 1:
            level = _parents(level)
            levels.append(level)
        self._levels = levels
        self.size = len(hashes)
        self.root = Digest(level[0]) if level else EMPTY_ROOT

    @classmethod
    def of_leaves(cls, leaves: Iterable[bytes]) -> "Tree":
        """Build from leaf entries."""
        return cls(leaf_hashes(leaves))

    def inclusion_proof(self, index: int) -> list[bytes]:
        """The audit path of the leaf at `index`, leaf to root. Raises MerkleError on a bad index."""
        _require_index(index, self.size)
        path: list[bytes] = []
        for level in self._levels:
            sibling = index ^ 1
            if sibling < len(level):
                path.append(level[sibling])
            index >>= 1
        return path

    def multiproof(self, indices: Sequence[int]) -> Multiproof:
        """One proof for the leaves at `indices`: at least one, strictly increasing; raises MerkleError."""
        _require_increasing(indices, self.size)
        if len(indices) == self.size:
            return Multiproof()
        hashes: list[bytes] = []
        positions: Sequence[int] = indices
        for level in self._levels:
            width = len(level)
            parents: list[int] = []
            covered = -1
            for position in positions:
                parent = position >> 1
                if parent == covered:
                    # The left sibling was among the leaves too: the hash it asked for is this one.
                    hashes.pop()
                    continue
                covered = parent
                parents.append(parent)
                if position ^ 1 < width:
                    hashes.append(level[position ^ 1])
            positions = parents
        return Multiproof(tuple(hashes))

    def consistency_proof(self, old_size: int) -> list[bytes]:
        """The proof that the first `old_size` leaves form a prefix of this tree; raises MerkleError.

        PROOF and SUBPROOF of RFC 6962, section 2.1.2, walked down from the root. Empty when nothing has to be
        shown: for the same size, and for 0, since every tree continues the empty one.
        """
        if not 0 <= old_size <= self.size:
            raise MerkleError(MerkleCheck.TREE_SIZE, f"{old_size} is not from 0 to {self.size}")
        if old_size in (0, self.size):
            return []
        path: list[bytes] = []
        first, end = 0, self.size
        while old_size < end:
            height = (end - first - 1).bit_length() - 1
            middle = first + (1 << height)
            if old_size <= middle:
                path.append(self._levels[height][middle >> height])
                end = middle
            else:
                path.append(self._levels[height][first >> height])
                first = middle
        if first:
            # The old tree does not end at a left spine of the new one: its last full part must be given.
            height = (end - first - 1).bit_length()
            path.append(self._levels[height][first >> height])
        path.reverse()
        return path


def verify_inclusion(root: bytes, size: int, index: int, leaf: bytes, path: Sequence[bytes]) -> None:
    """Check that the entry `leaf` stands at `index` in the tree of `size` leaves with this `root`.

    Raises MerkleError (RFC 6962, section 2.1.1; the walk is RFC 9162's, section 2.1.3.2).
    """
    verify_inclusion_of_hash(root, size, index, leaf_hash(leaf), path)


def verify_inclusion_of_hash(root: bytes, size: int, index: int, leaf: bytes, path: Sequence[bytes]) -> None:
    """`verify_inclusion` for an entry whose `leaf_hash` the caller has computed; raises MerkleError."""
    _require_index(index, size)
    _require_hashes((root, leaf))
    _require_hashes(path)
    computed = _join(size, [index], [leaf], path)
    if computed != root:
        raise _mismatch(MerkleCheck.ROOT, root, computed)


def verify_multiproof(
    root: bytes, size: int, entries: Sequence[tuple[int, bytes]], proof: Multiproof
) -> None:
    """Check that every (index, leaf hash) of `entries`, in strictly increasing order, is in the tree.

    The leaf hashes are computed by the caller. Raises MerkleError. The work is bounded by what was received:
    a hash is computed only for two that were given, and a missing one ends the walk.
    """
    indices = [index for index, _ in entries]
    hashes = [leaf for _, leaf in entries]
    _require_increasing(indices, size)
    _require_hashes((root,))
    _require_hashes(hashes)
    _require_hashes(proof.hashes)
    if len(entries) == size and not proof.hashes:
        computed: bytes = root_of_hashes(hashes)
    else:
        computed = _join(size, indices, hashes, proof.hashes)
    if computed != root:
        raise _mismatch(MerkleCheck.ROOT, root, computed)


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]
) -> None:
    """Check that the tree (new_size, new_root) continues the tree (old_size, old_root); raises MerkleError.

    The walk is RFC 9162's, section 2.1.4.2. A tree of 0 leaves is continued by every tree.
    """
    _require_hashes((old_root, new_root))
    _require_hashes(path)
    if not 0 <= old_size <= new_size <= MAX_TREE_SIZE:
        raise MerkleError(MerkleCheck.TREE_SIZE, f"{new_size} leaves cannot continue {old_size}")
    if old_size in (0, new_size):
        _verify_trivial_consistency(old_size, old_root, new_size, new_root, path)
        return
    old, new = old_size - 1, new_size - 1
    while old & 1:
        old, new = old >> 1, new >> 1
    # Where the old tree is one full left subtree of the new one, its root starts the walk and is not sent.
    steps = iter(path) if old else iter((old_root, *path))
    computed_old = computed_new = _next_hash(steps)
    while new:
        if old & 1:
            step = _next_hash(steps)
            computed_old, computed_new = node_hash(step, computed_old), node_hash(step, computed_new)
        elif old < new:
            computed_new = node_hash(computed_new, _next_hash(steps))
        old, new = old >> 1, new >> 1
    _require_exhausted(steps)
    if computed_old != old_root:
        raise _mismatch(MerkleCheck.OLD_ROOT, old_root, computed_old)
    if computed_new != new_root:
        raise _mismatch(MerkleCheck.ROOT, new_root, computed_new)


def _parents(level: Sequence[bytes]) -> list[bytes]:
    """The level above: `node_hash` of every pair, unrolled for speed; an odd last node goes up unchanged."""
    parents: list[bytes] = []
    append = parents.append
    nodes = iter(level)
    for left, right in zip(nodes, nodes, strict=False):
        state = _node_state()
        state.update(left)
        state.update(right)
        append(state.digest())
    if len(level) & 1:
        append(level[-1])
    return parents


def _join(size: int, positions: list[int], hashes: list[bytes], proof: Sequence[bytes]) -> bytes:
    """The root that these leaves and these proof hashes lead to; every proof hash must be used.

    `positions` are strictly increasing and below `size`: at most 63 levels, none wider than the one below.
    """
    steps = iter(proof)
    width = size
    while width > 1:
        parents: list[int] = []
        joined: list[bytes] = []
        at, count = 0, len(positions)
        while at < count:
            position, node = positions[at], hashes[at]
            at += 1
            if position & 1:
                node = node_hash(_next_hash(steps), node)
            elif at < count and positions[at] == position + 1:
                node = node_hash(node, hashes[at])
                at += 1
            elif position + 1 < width:
                node = node_hash(node, _next_hash(steps))
            parents.append(position >> 1)
            joined.append(node)
        positions, hashes = parents, joined
        width = (width + 1) >> 1
    _require_exhausted(steps)
    return hashes[0]


def _next_hash(steps: Iterator[bytes]) -> bytes:
    step = next(steps, None)
    if step is None:
        raise MerkleError(MerkleCheck.PROOF_LENGTH, "a hash is missing for a tree of this size")
    return step


def _require_exhausted(steps: Iterator[bytes]) -> None:
    if next(steps, None) is not None:
        raise MerkleError(MerkleCheck.PROOF_LENGTH, "more hashes than a tree of this size has a use for")


def _require_index(index: int, size: int) -> None:
    if not 0 < size <= MAX_TREE_SIZE:
        raise MerkleError(MerkleCheck.TREE_SIZE, f"{size} is not from 1 to {MAX_TREE_SIZE}")
    if not 0 <= index < size:
        raise MerkleError(MerkleCheck.INDEX, f"{index} is not below the tree's size of {size}")


def _require_increasing(indices: Sequence[int], size: int) -> None:
    if not indices:
        raise MerkleError(MerkleCheck.INDEX, "no leaf is named")
    _require_index(indices[0], size)
    _require_index(indices[-1], size)
    for lower, higher in pairwise(indices):
        if lower >= higher:
            raise MerkleError(MerkleCheck.INDEX_ORDER, f"{higher} after {lower}")


def _require_hashes(hashes: Iterable[bytes]) -> None:
    for node in hashes:
        if len(node) != DIGEST_BYTES:
            raise MerkleError(MerkleCheck.HASH_LENGTH, f"{len(node)} bytes where a hash has {DIGEST_BYTES}")


def _verify_trivial_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]
) -> None:
    """Check the two cases that need no hashes: the same size, and the empty old tree."""
    _require_exhausted(iter(path))
    expected_old = EMPTY_ROOT if old_size == 0 else new_root
    if old_root != expected_old:
        raise _mismatch(MerkleCheck.OLD_ROOT, old_root, expected_old)
    if new_size == 0 and new_root != EMPTY_ROOT:
        raise _mismatch(MerkleCheck.ROOT, new_root, EMPTY_ROOT)


def _mismatch(check: MerkleCheck, expected: bytes, computed: bytes) -> MerkleError:
    return MerkleError(check, f"{expected.hex()} was expected, the proof leads to {computed.hex()}")
