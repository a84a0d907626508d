"""One batch of changes: the new root, and what must be written, each touched node hashed once.

What lives here: the hot path of the state. What must not be known here: who writes, when, what a key means.

Nothing here changes the committed nodes. The work goes bottom-up, without sorting: all changes first make
new buckets; then every new bucket is hashed into a copy of its parent; then, level by level, every changed
inner node into a copy of its own parent.
"""

from collections.abc import Mapping
from typing import Final

from crypto.digest import DIGEST_BYTES
from ledger.state.build import Builder, root_digest
from ledger.state.cache import NodeChanges, VerifiedNodes
from ledger.state.nodes import (
    BUCKET_CAPACITY,
    EMPTY,
    FAN_OUT,
    FIRST_STORED_PLACE,
    FIRST_TOP,
    INNER,
    LEAF_HEADS,
    MAX_KEY_BYTES,
    MAX_PATHS_BYTES,
    MAX_VALUE_BYTES,
    NO_DIGEST,
    NO_LEAVES,
    PATH_BYTES,
    ROOT_PLACE,
    SLOTS,
    VALUE_PREFIX,
    Bucket,
    bucket_digest,
    bucket_entries,
    bucket_head,
    bucket_state,
    check_limits,
    first_digits,
    key_state,
    leaf_state,
    make_bucket,
    node_key,
    node_state,
    path_position,
)

SPILL_BYTES: Final = 8 * MAX_PATHS_BYTES
"""Paths of a bucket that has grown to this within one batch (256 keys) are no longer searched as bytes."""


class Update(NodeChanges):
    """The computation of one batch, and, once made, its result: the changes to the nodes, and `writes`."""

    __slots__ = ("_dirty", "_nodes", "_removed", "_spilled", "writes")

    def __init__(
        self, nodes: VerifiedNodes, changes: Mapping[bytes, bytes | None], paths: Mapping[bytes, bytes]
    ) -> None:
        """Compute it. `paths` may hold paths of keys. Raises `StateLimitExceeded` and `CorruptState`."""
        _check_all_limits(changes)
        super().__init__(nodes.root, nodes.kind)
        self.writes: dict[bytes, bytes | None] = {}
        self._nodes = nodes
        self._dirty: dict[int, bytearray] = {}
        self._spilled: dict[int, dict[bytes, bytes]] = {}
        self._removed = False
        self._change_leaves(changes, paths)
        crowded = self._regroup()
        self._hash_buckets()
        self._build(crowded)
        while self._dirty:
            self._hash_deepest()
        self._write_inner()

    def _change_leaves(self, changes: Mapping[bytes, bytes | None], known: Mapping[bytes, bytes]) -> None:
        """Apply all changes to the buckets they belong to. Written out in one loop: it runs for every key."""
        nodes, new_paths, new_leaves, writes = self._nodes, self.paths, self.leaves, self.writes
        old_paths, old_leaves, shift = nodes.paths, nodes.leaves, nodes.shift
        for key, value in changes.items():
            path = known.get(key)
            if path is None:
                state = key_state()
                state.update(key)
                path = state.digest()
            place = (first_digits(path)[0] | FIRST_TOP) >> shift
            # No need to ask its parent: what is cached at the usual depth is a bucket of the tree.
            paths = new_paths.get(place)
            if paths is None:
                paths = old_paths.get(place)
                if paths is None:
                    place, paths = self._find_bucket(path)
            at = paths.find(path)
            if value is None:
                self._remove(place, at, path)
                continue
            record = LEAF_HEADS[len(key)] + key + value
            state = leaf_state()
            state.update(record)
            digest = state.digest()
            if at < 0:
                self._insert(place, path, digest)
            else:
                leaves = new_leaves.get(place) or old_leaves[place]
                at += DIGEST_BYTES
                new_leaves[place] = leaves[:at] + digest + leaves[at + DIGEST_BYTES :]
            writes[VALUE_PREFIX + path] = record

    def _find_bucket(self, path: bytes) -> tuple[int, bytes]:
        """Return place and paths of a path's bucket that is not at the usual depth, or not cached."""
        nodes = self._nodes
        place = (first_digits(path)[0] | FIRST_TOP) >> nodes.shift - 4  # most of these are one deeper
        if place not in nodes.paths:
            place = nodes.locate(path)
        return place, self._bucket(place)[0]

    def _bucket(self, place: int) -> Bucket:
        """Return a bucket as it is now, what was changed in it included."""
        paths, leaves = self.paths.get(place), self.leaves.get(place)
        if paths is not None and leaves is not None:
            return paths, leaves
        committed = self._nodes.bucket(place)
        return committed[0] if paths is None else paths, committed[1] if leaves is None else leaves

    def _insert(self, place: int, path: bytes, digest: bytes) -> None:
        paths, leaves = self._bucket(place)
        at = path_position(paths, path)
        paths = self.paths[place] = b"".join((paths[:at], path, paths[at:]))
        at += DIGEST_BYTES
        leaves = self.leaves[place] = b"".join((leaves[:at] or NO_DIGEST, digest, leaves[at:]))
        if len(paths) > SPILL_BYTES:
            self._spilled.setdefault(place, {}).update(bucket_entries((paths, leaves)))
            self.paths[place], self.leaves[place] = b"", NO_LEAVES

    def _remove(self, place: int, at: int, path: bytes) -> None:
        if at >= 0:
            paths, leaves = self._bucket(place)
            self.paths[place] = paths[:at] + paths[at + PATH_BYTES :]
            at += DIGEST_BYTES
            self.leaves[place] = leaves[:at] + leaves[at + DIGEST_BYTES :]
        elif self._spilled.get(place, {}).pop(path, None) is None:
            return
        self._removed = True
        self.writes[VALUE_PREFIX + path] = None

    def _regroup(self) -> dict[int, dict[bytes, bytes]]:
        """Give the buckets that lost or won a key their new head. Return the entries of those too large."""
        leaves, spilled = self.leaves, self._spilled
        crowded = {}
        for place, paths in self.paths.items():
            if len(paths) > MAX_PATHS_BYTES or place in spilled:
                crowded[place] = spilled.get(place, {})
                crowded[place].update(bucket_entries((paths, leaves[place])))
            else:
                leaves[place] = bucket_head(paths) + leaves[place][DIGEST_BYTES:] if paths else NO_LEAVES
        for place in crowded:
            del self.paths[place], self.leaves[place]
        return crowded

    def _hash_buckets(self) -> None:
        dirty, inner = self._dirty, self._nodes.inner
        for place, leaves in self.leaves.items():
            if place == ROOT_PLACE:
                self._finish(max((len(leaves) >> 5) - 1, EMPTY), bucket_digest(leaves))
                return
            parent = dirty.get(place >> 4)
            if parent is None:
                parent = dirty[place >> 4] = bytearray(inner(place >> 4))
            slot = place & 15
            if leaves:
                parent[slot] = (len(leaves) >> 5) - 1
                state = bucket_state()
                state.update(leaves)
                parent[SLOTS[slot]] = state.digest()
            else:
                parent[slot] = EMPTY
                parent[SLOTS[slot]] = NO_DIGEST

    def _build(self, crowded: Mapping[int, Mapping[bytes, bytes]]) -> None:
        """Build subtrees in the place of buckets that are too large."""
        for place, entries in crowded.items():
            self._keep_bucket(place, (b"", NO_LEAVES))
            builder = Builder(sorted(entries.items()), self._keep_bucket, self.inner.__setitem__)
            self._tell_parent(place, *builder.build(place))

    def _keep_bucket(self, place: int, bucket: Bucket) -> None:
        self.paths[place], self.leaves[place] = bucket

    def _hash_deepest(self) -> None:
        dirty, inner = self._dirty, self._nodes.inner
        first = 1 << max(dirty).bit_length() - 1
        for place in [place for place in dirty if place >= first]:
            node = dirty.pop(place)
            if self._removed and self._join(place, node):
                continue
            self.inner[place] = node
            state = node_state()
            state.update(node)
            if place == ROOT_PLACE:
                self._finish(INNER, state.digest())
                return
            parent = dirty.get(place >> 4)
            if parent is None:
                parent = dirty[place >> 4] = bytearray(inner(place >> 4))
            slot = place & 15
            parent[slot] = INNER
            parent[SLOTS[slot]] = state.digest()

    def _join(self, place: int, node: bytearray) -> bool:
        """Make an inner node a bucket again where a bucket can hold all its keys. Returns whether it did."""
        kinds = node[:FAN_OUT]
        if INNER in kinds or sum(kinds) > BUCKET_CAPACITY:
            return False
        children = [place << 4 | digit for digit in range(FAN_OUT) if kinds[digit]]
        buckets = [self._bucket(child) for child in children]
        joined = make_bucket(
            b"".join(paths for paths, _ in buckets), b"".join(leaves[DIGEST_BYTES:] for _, leaves in buckets)
        )
        for child in children:
            self._keep_bucket(child, (b"", NO_LEAVES))
        self._keep_bucket(place, joined)
        self.inner[place] = None
        self._tell_parent(place, sum(kinds), bucket_digest(joined[1]) if joined[0] else NO_DIGEST)
        return True

    def _tell_parent(self, place: int, kind: int, digest: bytes) -> None:
        if place == ROOT_PLACE:
            self._finish(kind, digest)
            return
        parent = self._dirty.get(place >> 4)
        if parent is None:
            parent = self._dirty[place >> 4] = bytearray(self._nodes.inner(place >> 4))
        parent[place & 15] = kind
        parent[SLOTS[place & 15]] = digest

    def _finish(self, kind: int, digest: bytes) -> None:
        self.kind, self.root = kind, root_digest(kind, digest)

    def _write_inner(self) -> None:
        for place, node in self.inner.items():
            if place >= FIRST_STORED_PLACE:
                self.writes[node_key(place)] = None if node is None else bytes(node)


def _check_all_limits(changes: Mapping[bytes, bytes | None]) -> None:
    if (
        max(map(len, changes), default=0) > MAX_KEY_BYTES
        or max(map(len, filter(None, changes.values())), default=0) > MAX_VALUE_BYTES
    ):
        for key, value in changes.items():
            check_limits(key, value or b"")
