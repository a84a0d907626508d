"""The authenticated state: a map of bytes with one root that depends on nothing but its content.

What lives here: `StateTree`, the face of this package, and `PendingUpdate`. What must not be known here:
RocksDB, blocks, applications.

Per block: `get` what the transactions read, `update` with all that they changed, write
`PendingUpdate.writes` in the block's one atomic write, then `commit`. Until then the tree is as it was, so a
block that is not written leaves no trace.

Opening reads every leaf and computes the whole tree: a store is never trusted, and checking it is how it is
loaded.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Final

from crypto.digest import DIGEST_BYTES, Digest
from ledger.state.build import root_digest
from ledger.state.cache import CACHED_BUCKETS, NodeChanges, VerifiedNodes
from ledger.state.chunk import StateChunk, make_chunk
from ledger.state.errors import CorruptState, UpdateOutdated
from ledger.state.nodes import (
    EMPTY,
    LEAF_HEADS,
    NO_DIGEST,
    PATH_BYTES,
    VALUE_PREFIX,
    check_limits,
    compact_node,
    depth_of,
    leaf_at,
    leaf_digest,
    path_of,
)
from ledger.state.proof import StateProof
from ledger.state.source import NodeSource
from ledger.state.update import Update

REMEMBERED_PATHS: Final = 4096
"""Paths of keys read since the last update: what is read is often written in the same block, and the hash is
done."""

EMPTY_ROOT: Final = root_digest(EMPTY, NO_DIGEST)
"""The root of the state without keys."""


class PendingUpdate:
    """An update that was computed and is not yet the tree's state.

    `root` is the state's root after it. `writes` are the store's rows to put, or to delete where the value
    is None.
    """

    __slots__ = ("_base", "_changes", "_tree", "root", "writes")

    def __init__(self, tree: "StateTree", changes: Update) -> None:
        self._tree: StateTree | None = tree
        self._base = tree.version
        self._changes = changes
        self.root: Digest = changes.root
        self.writes: Mapping[bytes, bytes | None] = changes.writes

    def commit(self) -> None:
        """Make it the tree's state; its writes must be in the store before. Raises `UpdateOutdated`."""
        tree, self._tree = self._tree, None
        if tree is None or tree.version != self._base:
            raise UpdateOutdated("this update is no longer one of the tree's present state")
        tree.take_over(self._changes)

    def discard(self) -> None:
        """Forget it; the tree stays as it is."""
        self._tree = None


class StateTree:
    """The state in a store. Made by `open`. Not for use by several threads at once."""

    __slots__ = ("_nodes", "_paths")

    def __init__(self, nodes: VerifiedNodes) -> None:
        self._nodes = nodes
        self._paths: dict[bytes, bytes] = {}

    @classmethod
    def open(
        cls, source: NodeSource, root: Digest | None = None, cached_buckets: int = CACHED_BUCKETS
    ) -> "StateTree":
        """Read and check the whole state in `source`: 2 us per key and its scan. `root` is what it must be.

        Raises `CorruptState` where a row is not what it must be or the root differs. Without `root` the
        caller compares the tree's root with one that is attested.
        """
        nodes = VerifiedNodes(source, cached_buckets)
        nodes.load()
        if root is not None and nodes.root != root:
            raise CorruptState("", root.hex(), nodes.root.hex())
        return cls(nodes)

    @property
    def root(self) -> Digest:
        """The root of the committed state."""
        return self._nodes.root

    @property
    def version(self) -> int:
        """How many updates were committed since the tree was opened."""
        return self._nodes.version

    def get(self, key: bytes) -> bytes | None:
        """Return the committed value of a key, or None: one read of the store, not held against the tree.

        Raises `StateLimitExceeded`, and `CorruptState` where the row is another key's.
        """
        path = self._paths.get(key)
        if path is None:
            check_limits(key)
            if len(self._paths) >= REMEMBERED_PATHS:
                self._paths.clear()
            path = self._paths[key] = path_of(key)
        record = self._nodes.source.get(VALUE_PREFIX + path)
        if record is None:
            return None
        head = LEAF_HEADS[len(key)] + key
        if not record.startswith(head):
            raise CorruptState(path.hex(), f"the key {key.hex()}", "another key's leaf")
        return record[len(head) :]

    def get_verified(self, key: bytes) -> bytes | None:
        """Return the committed value of a key, or None, held against the root. Raises as `get` does."""
        value = self.get(key)
        path = path_of(key)
        place = self._nodes.locate(path)
        paths, leaves = self._nodes.bucket(place)
        at = paths.find(path)
        expected = "nothing" if at < 0 else leaf_at(leaves, at).hex()
        actual = "nothing" if value is None else leaf_digest(LEAF_HEADS[len(key)] + key + value).hex()
        if expected != actual:
            raise CorruptState(path.hex(), expected, actual)
        return value

    def update(self, changes: Mapping[bytes, bytes | None]) -> PendingUpdate:
        """Compute what the state becomes with these values, None for a key to delete; nothing is committed.

        One row is written per key, none for a key to delete that is absent. Raises `StateLimitExceeded`, and
        `CorruptState` where a node that had to be read does not verify.
        """
        pending = PendingUpdate(self, Update(self._nodes, changes, self._paths))
        self._paths.clear()
        return pending

    def prove(self, key: bytes) -> StateProof:
        """Return the proof that the committed state holds the key's value, or does not hold the key.

        Raises `StateLimitExceeded`, and `CorruptState` where a node that had to be read does not verify.
        """
        check_limits(key)
        path = path_of(key)
        place = self._nodes.locate(path)
        above = [place >> shift for shift in range(4 * depth_of(place), -1, -4)]
        nodes = self._nodes
        shown = tuple(compact_node(nodes.inner(node), child & 15) for node, child in pairwise(above))
        paths, leaves = nodes.bucket(place)
        at = paths.find(path)
        if at < 0:
            return StateProof(shown, None, paths, leaves[DIGEST_BYTES:])
        digests = leaves[DIGEST_BYTES : DIGEST_BYTES + at] + leaves[at + 2 * DIGEST_BYTES :]
        return StateProof(shown, at // PATH_BYTES, leaves[:DIGEST_BYTES], digests)

    def chunk(self, start: bytes, max_bytes: int) -> StateChunk:
        """Return the chunk of the committed state from path `start` on, of about `max_bytes` bytes of leaves.

        `start` is START or the end of a chunk of the same root. Raises `CorruptState` where what is read does
        not verify, and `ProofError` where no chunk begins there.
        """
        return make_chunk(self._nodes, start, max_bytes)

    def take_over(self, changes: NodeChanges) -> None:
        """Make computed changes the committed state; for `PendingUpdate.commit` alone."""
        self._nodes.replace(changes)
