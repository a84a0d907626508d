"""Ranges of the state that are verified against its root one by one: what a snapshot is transferred in.

What lives here: cutting a range of whole buckets out of a state, and verifying one without any other. What
must not be known here: who sends chunks, where received ones are stored.

A chunk brings the leaves of a range of paths and the inner nodes that the range covers in part, which lie on
its two edges. Everything else in the range is computed from the leaves. So a chunk that verifies holds every
key of its range, and nothing else. Chunks of one root are asked for from START, each from where the last one
ended.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from crypto.codec import StrictDecoder, encode
from crypto.digest import Digest
from crypto.errors import CodecError
from ledger.state.build import Builder, root_digest, stored_entries
from ledger.state.cache import VerifiedNodes
from ledger.state.errors import CorruptState, ProofCheck, ProofError
from ledger.state.nodes import (
    EMPTY,
    FAN_OUT,
    INNER,
    MAX_DEPTH,
    NO_DIGEST,
    PATH_BYTES,
    ROOT_PLACE,
    SLOTS,
    VALUE_PREFIX,
    Entry,
    compact_node,
    expand_node,
    leaf_digest,
    make_bucket,
    node_digest,
    path_of,
    path_range,
    path_text,
    split_leaf,
    value_range,
)

MAX_CHUNK_BYTES: Final = 8 * 1024 * 1024
"""Largest chunk that is decoded: what is asked for, and one bucket of the largest values (2 MiB) above it."""

MAX_ASKED_BYTES: Final = 4 * 1024 * 1024
"""Most bytes of leaves that a chunk is made for, so that one bucket more still stays below
MAX_CHUNK_BYTES."""

START: Final = bytes(PATH_BYTES)
"""Where the first chunk of a state begins."""


class StateChunk(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The leaves in a range of paths, whose start the one who asked knows."""

    end: bytes | None
    """The first path after the range, where the next chunk begins; None after the last."""
    nodes: tuple[bytes, ...]
    """The inner nodes that the range covers in part, from the root down and from left to right, without the
    digests of children without keys."""
    leaves: tuple[bytes, ...]
    """The leaves, in the order of their paths."""


_chunks = StrictDecoder(StateChunk, MAX_CHUNK_BYTES)


def encode_chunk(chunk: StateChunk) -> bytes:
    """Return a chunk's canonical bytes."""
    return encode(chunk)


def decode_chunk(data: bytes) -> StateChunk:
    """Return the chunk in canonical bytes. Raises `ProofError`."""
    try:
        return _chunks.decode(data)
    except CodecError as error:
        raise ProofError(ProofCheck.FORM, str(error)) from None


def make_chunk(nodes: VerifiedNodes, start: bytes, max_bytes: int) -> StateChunk:
    """Return the chunk from `start` on, of about `max_bytes` of leaves, one bucket at least.

    `start` is START or the end of a chunk of the same root. Raises `CorruptState` where what is read does
    not verify, and `ProofError` where no bucket begins at `start`.
    """
    if len(start) != PATH_BYTES or path_range(nodes.locate(start))[0] != start:
        raise ProofError(ProofCheck.RANGE, f"no chunk begins at {start.hex()}")
    limit = min(max_bytes, MAX_ASKED_BYTES)
    leaves: list[bytes] = []
    size, end = 0, start
    after: bytes | None = start
    while after is not None:
        place = nodes.locate(after)
        bucket = _read_bucket(nodes, place)
        size += sum(map(len, bucket))
        if size > limit and end != start:
            break
        leaves += bucket
        after = path_range(place)[1]
        end = after or start
    return StateChunk(after, tuple(_edges(nodes, ROOT_PLACE, start, after)), tuple(leaves))


def verify_chunk(root: Digest, start: bytes, chunk: StateChunk) -> list[tuple[bytes, bytes]]:
    """Verify that the chunk holds exactly the leaves from `start` to its end of the state with this root.

    Returns the rows to store. Raises `ProofError`.
    """
    if chunk.end is not None and (len(chunk.end) != PATH_BYTES or chunk.end <= start):
        raise ProofError(ProofCheck.RANGE, "the range is empty, or its end no path")
    if len(chunk.nodes) > 2 * MAX_DEPTH:
        raise ProofError(ProofCheck.LIMIT, f"{len(chunk.nodes)} nodes on two edges")
    rows, entries = _read_leaves(start, chunk)
    check = _ChunkCheck(start, chunk, entries)
    check.subtree(ROOT_PLACE, INNER, root)
    if check.left_over():
        raise ProofError(ProofCheck.FORM, "nodes that are not on an edge")
    return rows


def _read_bucket(nodes: VerifiedNodes, place: int) -> list[bytes]:
    """Return the leaves of one bucket, held against the tree."""
    kind, expected = nodes.expected(place)
    if kind == EMPTY:
        return []
    rows = list(nodes.source.scan(*value_range(place)))
    entries = list(stored_entries(rows))
    found = make_bucket(b"".join(path for path, _ in entries), b"".join(digest for _, digest in entries))
    if found != nodes.bucket(place):
        raise CorruptState(path_text(place), expected.hex(), f"{len(rows)} leaves of another digest")
    return [record for _, record in rows]


def _outside(place: int, start: bytes, end: bytes | None) -> bool:
    first, after = path_range(place)
    return (end is not None and first >= end) or (after is not None and after <= start)


def _inside(place: int, start: bytes, end: bytes | None) -> bool:
    first, after = path_range(place)
    return first >= start and (end is None or (after is not None and after <= end))


def _edges(nodes: VerifiedNodes, place: int, start: bytes, end: bytes | None) -> Iterator[bytes]:
    if _outside(place, start, end) or _inside(place, start, end):
        return
    node = nodes.inner(place)
    yield compact_node(node)
    for digit in range(FAN_OUT):
        yield from _edges(nodes, place << 4 | digit, start, end)


def _read_leaves(start: bytes, chunk: StateChunk) -> tuple[list[tuple[bytes, bytes]], list[Entry]]:
    """Return rows and entries of a chunk's leaves, whose paths must ascend within its range."""
    rows, entries = [], []
    last: bytes | None = None
    for record in chunk.leaves:
        leaf = split_leaf(record)
        if leaf is None:
            raise ProofError(ProofCheck.FORM, f"a leaf of {len(record)} bytes that is none")
        path = path_of(leaf[0])
        if (
            path < start
            or (last is not None and path <= last)
            or (chunk.end is not None and path >= chunk.end)
        ):
            raise ProofError(ProofCheck.RANGE, f"path {path.hex()} is out of order or range")
        last = path
        rows.append((VALUE_PREFIX + path, record))
        entries.append((path, leaf_digest(record)))
    return rows, entries


class _ChunkCheck:
    """Walks down the edges of a chunk, and builds what lies between them from its leaves."""

    def __init__(self, start: bytes, chunk: StateChunk, entries: list[Entry]) -> None:
        self._start, self._end = start, chunk.end
        self._nodes = iter(chunk.nodes)
        self._builder = Builder(entries)

    def subtree(self, place: int, kind: int, expected: bytes) -> None:
        """Hold what the chunk shows below a place against what its parent says."""
        if _outside(place, self._start, self._end):
            return
        if _inside(place, self._start, self._end):
            self._built(place, kind, expected)
            return
        node = self._next_node()
        if node_digest(node) != expected:
            raise ProofError(
                ProofCheck.ROOT, f"the node at {path_text(place) or '(root)'} has another digest"
            )
        for digit in range(FAN_OUT):
            self.subtree(place << 4 | digit, node[digit], node[SLOTS[digit]])

    def left_over(self) -> bool:
        """Return whether the chunk has nodes that no edge needed."""
        return next(self._nodes, None) is not None

    def _built(self, place: int, kind: int, expected: bytes) -> None:
        found, digest = self._builder.build(place)
        fits = (
            root_digest(found, digest) == expected
            if place == ROOT_PLACE
            else (found, digest) == (kind, expected)
        )
        if not fits:
            raise ProofError(
                ProofCheck.ROOT, f"other leaves than the state's below {path_text(place) or '(root)'}"
            )

    def _next_node(self) -> bytes:
        shown = next(self._nodes, None)
        node = None if shown is None else expand_node(shown, None, NO_DIGEST)
        if node is None:
            raise ProofError(ProofCheck.FORM, "a node on the edge is missing or malformed")
        return node
