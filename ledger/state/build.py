"""Building a tree from its leaves in path order: what opening, auditing, splitting and chunks share.

What lives here: the one definition of which subtree becomes a bucket and which an inner node, streaming,
with no more in memory than the entries looked ahead at and one node per level. What must not be known here:
stores, caches, changes to an existing tree.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

from crypto.digest import DIGEST_BYTES, Digest
from ledger.state.errors import CorruptState
from ledger.state.nodes import (
    BUCKET_CAPACITY,
    EMPTY,
    FAN_OUT,
    INNER,
    NO_DIGEST,
    NO_LEAVES,
    NODE_BYTES,
    PATH_BYTES,
    ROOT_PLACE,
    SLOTS,
    VALUE_PREFIX,
    Bucket,
    Entry,
    Octets,
    bucket_digest,
    key_state,
    leaf_digest,
    leaf_record,
    leaf_state,
    make_bucket,
    node_digest,
    path_of,
    path_range,
    split_leaf,
)

BLOCK: Final = 1024
"""Entries fetched at a time: enough that fetching costs nothing, little enough to be no memory."""


class Builder:
    """Builds subtrees from one stream of entries in ascending order of their paths.

    `on_bucket` and `on_inner` receive every bucket and inner node with its place, children before parents.
    """

    def __init__(
        self,
        entries: Iterable[Entry],
        on_bucket: Callable[[int, Bucket], None] | None = None,
        on_inner: Callable[[int, bytearray], None] | None = None,
    ) -> None:
        self._entries = iter(entries)
        self._on_bucket = on_bucket
        self._on_inner = on_inner
        self._paths: list[bytes] = []
        self._digests: list[bytes] = []
        self._at = 0
        self._last = b""
        self._exhausted = False

    def build(self, place: int = ROOT_PLACE) -> tuple[int, bytes]:
        """Return kind and digest of the subtree at `place`, made from the next entries below it.

        Raises `CorruptState` where the entries are not in strictly ascending order.
        """
        self._look_ahead()
        after = path_range(place)[1]
        stop = len(self._paths) if after is None else bisect_left(self._paths, after, self._at)
        count = stop - self._at
        if count > BUCKET_CAPACITY:
            return self._build_inner(place)
        if not count:
            return EMPTY, NO_DIGEST
        bucket = make_bucket(b"".join(self._paths[self._at : stop]), b"".join(self._digests[self._at : stop]))
        self._at = stop
        if self._on_bucket is not None:
            self._on_bucket(place, bucket)
        return count, bucket_digest(bucket[1])

    def finish(self) -> Entry | None:
        """Return the next entry that no subtree took, or None."""
        self._look_ahead()
        if self._at == len(self._paths):
            return None
        return self._paths[self._at], self._digests[self._at]

    def _build_inner(self, place: int) -> tuple[int, bytes]:
        node = bytearray(NODE_BYTES)
        for digit in range(FAN_OUT):
            node[digit], node[SLOTS[digit]] = self.build(place << 4 | digit)
        if self._on_inner is not None:
            self._on_inner(place, node)
        return INNER, node_digest(node)

    def _look_ahead(self) -> None:
        """Have at least one entry more than a bucket holds, where there are so many."""
        if self._exhausted or len(self._paths) - self._at > BUCKET_CAPACITY:
            return
        paths, digests, last = self._paths[self._at :], self._digests[self._at :], self._last
        before = len(paths)
        for path, digest in islice(self._entries, BLOCK):
            if path <= last:
                raise CorruptState(
                    path.hex(), f"a path after {last.hex()}", "one before it, or the same again"
                )
            last = path
            paths.append(path)
            digests.append(digest)
        self._exhausted = len(paths) - before < BLOCK
        self._paths, self._digests, self._at, self._last = paths, digests, 0, last


def root_digest(kind: int, digest: bytes) -> Digest:
    """Return the root of a tree whose topmost node has this kind and digest."""
    return bucket_digest(NO_LEAVES) if kind == EMPTY else Digest(digest)


def leaf_entry(store_key: bytes, record: bytes) -> Entry:
    """Return the entry of a stored leaf. Raises `CorruptState` where it is not the leaf of that path."""
    path = store_key[len(VALUE_PREFIX) :]
    leaf = split_leaf(record)
    if leaf is None:
        raise CorruptState(path.hex(), "a leaf", f"{len(record)} bytes that are none")
    found = path_of(leaf[0])
    if found != path:
        raise CorruptState(path.hex(), "a key with that path", f"the key {leaf[0].hex()}")
    return path, leaf_digest(record)


def stored_entries(rows: Iterable[tuple[bytes, bytes]]) -> Iterator[Entry]:
    """Yield the entries of stored leaves, given as the store's keys and records. Raises `CorruptState`.

    Opening a state is one run through here, so what `leaf_entry` does is written out for leaves that hash to
    their path; whether they are well-formed besides shows in the root.
    """
    for store_key, record in rows:
        key_end = 2 + int.from_bytes(record[:2], "big")
        state = key_state()
        state.update(record[2:key_end])
        path = state.digest()
        if store_key != VALUE_PREFIX + path:
            yield leaf_entry(store_key, record)
            continue
        state = leaf_state()
        state.update(record)
        yield path, state.digest()


def state_root(items: Iterable[tuple[bytes, bytes]]) -> Digest:
    """Return the root of (key, value) pairs that come in any order, trusting nothing that is stored.

    Holds 64 bytes per key, no values. Raises `StateLimitExceeded`, and `CorruptState` where a key comes
    twice.
    """
    parts = [bytearray() for _ in range(256)]
    for key, value in items:
        path = path_of(key)
        parts[path[0]] += path + leaf_digest(leaf_record(key, value))
    return root_digest(*Builder(_sorted_entries(parts)).build())


def _sorted_entries(parts: Iterable[Octets]) -> Iterator[Entry]:
    entry_bytes = PATH_BYTES + DIGEST_BYTES
    for part in filter(None, parts):
        entries = sorted(bytes(part[at : at + entry_bytes]) for at in range(0, len(part), entry_bytes))
        for entry in entries:
            yield entry[:PATH_BYTES], entry[PATH_BYTES:]
