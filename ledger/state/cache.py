"""The committed tree's nodes: those in memory, and how the others are read and verified.

What lives here: the upper nodes, the lower ones as far as they fit, loading what is missing, and the rule
that nothing read from the store is used before it hashes to what its parent says. What must not be known
here: how an update changes nodes, proofs.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Final

from crypto.digest import Digest
from ledger.state.build import Builder, root_digest, stored_entries
from ledger.state.errors import CorruptState
from ledger.state.nodes import (
    EMPTY,
    FIRST_BITS,
    FIRST_STORED_PLACE,
    INNER,
    NO_LEAVES,
    NODE_BYTES,
    PATH_BITS,
    ROOT_PLACE,
    SLOTS,
    TOP,
    VALUES_END,
    VALUES_START,
    Bucket,
    Octets,
    bucket_digest,
    make_bucket,
    node_digest,
    node_key,
    path_text,
    value_range,
)
from ledger.state.source import NodeSource

CACHED_BUCKETS: Final = 81_920
"""Default bound of the buckets in memory: all of them up to 1.3 million keys. Each takes 0.2 KB and 64 bytes
per key in it (8 MB at 100,000 keys, 36 MB at 300,000, 49 MB at 500,000, 81 MB at a million; 190 MB at most,
with three million). A miss costs a scan of one bucket's values: in RocksDB, and with their hashes, 50 us for
24 short ones."""

MIN_CACHED_BUCKETS: Final = 16
"""With fewer, forgetting an eighth could forget the bucket just read."""

BUCKETS_PER_NODE: Final = 4
"""One stored inner node is cached for so many buckets: 20,480 by default, 16 MB."""

SAMPLE: Final = 15
"""Places whose median says at which depth most buckets lie."""


class NodeChanges:
    """What one batch makes of the nodes: `root` and `kind` of the tree, and by place

    * `leaves`: of every changed bucket; NO_LEAVES where there is none any more,
    * `paths`: of the buckets that lost or won a key,
    * `inner`: the changed inner nodes, None where there is none any more.
    """

    __slots__ = ("inner", "kind", "leaves", "paths", "root")

    def __init__(self, root: Digest, kind: int) -> None:
        self.root, self.kind = root, kind
        self.leaves: dict[int, bytes] = {}
        self.paths: dict[int, bytes] = {}
        self.inner: dict[int, bytearray | None] = {}


class VerifiedNodes:
    """All nodes of the tree at `root`. Reads of what is not in memory go to `source` and are verified.

    `upper` holds the inner nodes above STORED_DEPTH, all of them, always. `deep` holds the other inner
    nodes, `paths` and `leaves` the two halves of the buckets, as far as they are in memory: first in, first
    out, since keeping the order of use would cost 0.4 us per changed key, and a hot node is back after one
    read. `shift` makes the place of a path's bucket from the path's first digits, where it lies at the usual
    depth.
    """

    __slots__ = (
        "cached_buckets",
        "cached_nodes",
        "deep",
        "kind",
        "leaves",
        "paths",
        "root",
        "shift",
        "source",
        "upper",
        "version",
    )

    def __init__(self, source: NodeSource, cached_buckets: int) -> None:
        self.source = source
        self.root: Digest = root_digest(EMPTY, b"")
        self.kind = EMPTY
        self.version = 0
        self.upper: dict[int, Octets] = {}
        self.deep: dict[int, Octets] = {}
        self.paths: dict[int, bytes] = {}
        self.leaves: dict[int, bytes] = {}
        self.cached_buckets = max(cached_buckets, MIN_CACHED_BUCKETS)
        self.cached_nodes = cached_buckets // BUCKETS_PER_NODE
        self.shift = FIRST_BITS - 4

    def load(self) -> None:
        """Build the tree from every leaf, and hold the stored nodes against it. Raises `CorruptState`."""
        leaves = stored_entries(self.source.scan(VALUES_START, VALUES_END))
        self.kind, digest = Builder(leaves, self._keep_bucket, self._check_inner).build()
        self.root = root_digest(self.kind, digest)
        self._tune(self.paths)

    def inner(self, place: int) -> Octets:
        """Return the inner node at a place that is known to have one. Raises `CorruptState`."""
        node = self.upper.get(place)
        if node is not None:
            return node
        node = self.deep.get(place)
        if node is not None:
            return node
        stored = self.source.get(node_key(place))
        expected = self.expected(place)[1]
        if stored is None or len(stored) != NODE_BYTES or node_digest(stored) != expected:
            actual = "nothing" if stored is None else node_digest(stored).hex()
            raise CorruptState(path_text(place), expected.hex(), actual)
        self.deep[place] = stored
        self._forget()
        return stored

    def bucket(self, place: int) -> Bucket:
        """Return the bucket at a place that has no inner node. Raises `CorruptState`."""
        paths = self.paths.get(place)
        if paths is not None:
            return paths, self.leaves[place]
        kind, expected = self.expected(place)
        if kind == EMPTY:
            return b"", NO_LEAVES
        entries = list(stored_entries(self.source.scan(*value_range(place))))
        found = make_bucket(b"".join(path for path, _ in entries), b"".join(digest for _, digest in entries))
        actual = bucket_digest(found[1])
        if actual != expected or len(entries) != kind:
            raise CorruptState(
                path_text(place), f"{kind} keys, {expected.hex()}", f"{len(entries)} keys, {actual.hex()}"
            )
        self._keep_bucket(place, found)
        return found

    def expected(self, place: int) -> tuple[int, bytes]:
        """Return kind and digest that the node at a place must have: what its parent says."""
        if place == ROOT_PLACE:
            return self.kind, self.root
        parent, digit = self.inner(place >> 4), place & 15
        return parent[digit], bytes(parent[SLOTS[digit]])

    def locate(self, path: bytes) -> int:
        """Return the place of the bucket, or of the child without keys, that a path lies in."""
        if self.kind != INNER:
            return ROOT_PLACE
        number, shift = TOP | int.from_bytes(path, "big"), PATH_BITS - 4
        while self.inner(number >> shift + 4)[number >> shift & 15] == INNER:
            shift -= 4
        return number >> shift

    def replace(self, changes: NodeChanges) -> None:
        """Take over what an update computed from these nodes, as they are now, made of them."""
        self.paths.update(changes.paths)
        self.leaves.update(changes.leaves)
        for place, paths in changes.paths.items():
            if not paths:
                del self.paths[place], self.leaves[place]
        for place, node in changes.inner.items():
            if node is None:
                self.upper.pop(place, None)
                self.deep.pop(place, None)
            elif place < FIRST_STORED_PLACE:
                self.upper[place] = node
            else:
                self.deep[place] = node
        self._forget()
        self.root, self.kind = changes.root, changes.kind
        self.version += 1
        self._tune(changes.leaves)

    def _forget(self) -> None:
        """Forget the eighth of the nodes that came first, where there are more than the limits."""
        if len(self.leaves) > self.cached_buckets:
            for place in list(islice(self.leaves, len(self.leaves) - self.cached_buckets * 7 // 8)):
                del self.leaves[place]
                self.paths.pop(
                    place, None
                )  # not there where it was forgotten between an update and its commit
        if len(self.deep) > self.cached_nodes:
            for place in list(islice(self.deep, len(self.deep) - self.cached_nodes * 7 // 8)):
                del self.deep[place]

    def _tune(self, places: Iterable[int]) -> None:
        sample = sorted(map(int.bit_length, islice(places, SAMPLE)))
        if len(sample) == SAMPLE:
            self.shift = max(FIRST_BITS + 1 - sample[SAMPLE // 2], 4)

    def _keep_bucket(self, place: int, bucket: Bucket) -> None:
        self.paths[place], self.leaves[place] = bucket
        self._forget()

    def _check_inner(self, place: int, node: bytearray) -> None:
        if place < FIRST_STORED_PLACE:
            self.upper[place] = node
            return
        stored = self.source.get(node_key(place))
        if stored is None or stored != bytes(node):
            actual = "nothing" if stored is None else node_digest(stored).hex()
            raise CorruptState(path_text(place), node_digest(node).hex(), actual)
        self.deep[place] = node
        self._forget()


def stored_nodes(source: NodeSource) -> list[tuple[bytes, bytes]]:
    """Return the rows of the inner nodes that belong beside the leaves in `source`.

    For the receiver of a snapshot's last chunk. Hardly any below two million keys. Raises `CorruptState`
    where a leaf is none.
    """
    rows: list[tuple[bytes, bytes]] = []

    def keep(place: int, node: bytearray) -> None:
        if place >= FIRST_STORED_PLACE:
            rows.append((node_key(place), bytes(node)))

    Builder(stored_entries(source.scan(VALUES_START, VALUES_END)), on_inner=keep).build()
    return rows
