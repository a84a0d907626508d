"""Rules of chunks: all of a state in pieces, each verified alone, and nothing added, left out or changed."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.digest import Digest
from ledger.state import (
    EMPTY_ROOT,
    START,
    MemorySource,
    ProofError,
    StateChunk,
    StateTree,
    decode_chunk,
    encode_chunk,
    stored_nodes,
    verify_chunk,
)
from tests.ledger.state.worlds import CLOSE_KEYS, World, accounts, worlds


def transfer(tree: StateTree, root: Digest, max_bytes: int) -> MemorySource:
    """Fetch a state chunk by chunk, as a replica that trusts the root alone."""
    received = MemorySource()
    start: bytes | None = START
    while start is not None:
        chunk = decode_chunk(encode_chunk(tree.chunk(start, max_bytes)))
        received.apply(dict(verify_chunk(root, start, chunk)))
        start = chunk.end
    received.apply(dict(stored_nodes(received)))
    return received


def large_world() -> World:
    world = World()
    world.apply({**accounts(3000), **dict.fromkeys(CLOSE_KEYS, b"close")})
    return world


LARGE = large_world()
ROOT = LARGE.tree.root
CHUNKS: list[tuple[bytes, StateChunk]] = []
_start: bytes | None = START
while _start is not None:
    CHUNKS.append((_start, LARGE.tree.chunk(_start, 4000)))
    _start = CHUNKS[-1][1].end


@settings(max_examples=50)
@given(worlds, st.integers(1, 3000))
def test_a_state_arrives_whole(world: dict[bytes, bytes], max_bytes: int) -> None:
    state = World()
    root = state.apply(world)
    received = transfer(state.tree, root, max_bytes)
    assert list(received.scan(b"", b"\xff")) == list(state.source.scan(b"", b"\xff"))
    assert StateTree.open(received, root).root == root


def test_a_large_state_arrives_whole_with_its_stored_nodes() -> None:
    assert list(transfer(LARGE.tree, ROOT, 4000).scan(b"", b"\xff")) == list(LARGE.source.scan(b"", b"\xff"))


def test_the_empty_state_is_one_chunk_without_anything() -> None:
    chunk = World().tree.chunk(START, 1000)
    assert chunk == StateChunk(None, (), ())
    assert verify_chunk(EMPTY_ROOT, START, chunk) == []


def test_chunks_keep_to_the_size_asked_for() -> None:
    assert len(CHUNKS) > 5
    for _, chunk in CHUNKS:
        assert sum(map(len, chunk.leaves)) <= 4000


def test_a_chunk_begins_only_where_a_bucket_begins() -> None:
    with pytest.raises(ProofError):
        LARGE.tree.chunk(b"\x01" * 32, 1000)
    with pytest.raises(ProofError):
        LARGE.tree.chunk(b"", 1000)


def refused(start: bytes, chunk: StateChunk) -> None:
    with pytest.raises(ProofError):
        verify_chunk(ROOT, start, chunk)


any_chunk = st.sampled_from(CHUNKS)


@given(any_chunk, st.data())
def test_no_leaf_may_be_left_out_changed_added_or_moved(
    taken: tuple[bytes, StateChunk], data: st.DataObject
) -> None:
    start, chunk = taken
    leaves = list(chunk.leaves)
    at = data.draw(st.integers(0, len(leaves) - 1))
    kind = data.draw(st.sampled_from(["left out", "changed", "added", "repeated", "moved"]))
    if kind == "left out":
        del leaves[at]
    elif kind == "changed":
        leaves[at] += b"!"
    elif kind == "added":
        leaves.insert(at, b"\x00\x04evil" + data.draw(st.binary(max_size=3)))
    elif kind == "repeated":
        leaves.insert(at, leaves[at])
    else:
        leaves[at], leaves[at - 1] = leaves[at - 1], leaves[at]
    refused(start, msgspec.structs.replace(chunk, leaves=tuple(leaves)))


def test_no_leaf_of_a_neighbour_may_be_added() -> None:
    for (_, before), (start, chunk), (_, after) in zip(CHUNKS, CHUNKS[1:], CHUNKS[2:], strict=False):
        refused(start, msgspec.structs.replace(chunk, leaves=(before.leaves[-1], *chunk.leaves)))
        refused(start, msgspec.structs.replace(chunk, leaves=(*chunk.leaves, after.leaves[0])))


@given(any_chunk, any_chunk)
def test_a_chunk_is_of_one_range_only(one: tuple[bytes, StateChunk], other: tuple[bytes, StateChunk]) -> None:
    if one != other:
        refused(one[0], other[1])
        refused(one[0], msgspec.structs.replace(one[1], end=other[1].end))


@given(any_chunk, st.binary(max_size=40))
def test_no_other_end_is_accepted(taken: tuple[bytes, StateChunk], end: bytes) -> None:
    start, chunk = taken
    refused(start, msgspec.structs.replace(chunk, end=end))


@given(any_chunk, st.data())
def test_no_node_may_be_left_out_changed_or_added(
    taken: tuple[bytes, StateChunk], data: st.DataObject
) -> None:
    start, chunk = taken
    nodes = list(chunk.nodes)
    at = data.draw(st.integers(0, len(nodes) - 1))
    kind = data.draw(st.sampled_from(["left out", "changed", "added"]))
    if kind == "left out":
        del nodes[at]
    elif kind == "changed":
        node = bytearray(nodes[at])
        node[data.draw(st.integers(0, len(node) - 1))] ^= data.draw(st.integers(1, 255))
        nodes[at] = bytes(node)
    else:
        nodes.insert(data.draw(st.integers(0, len(nodes))), nodes[at])
    refused(start, msgspec.structs.replace(chunk, nodes=tuple(nodes)))


@settings(max_examples=300)
@given(any_chunk, st.data())
def test_no_changed_byte_of_a_chunk_passes(taken: tuple[bytes, StateChunk], data: st.DataObject) -> None:
    start, chunk = taken
    changed = bytearray(encode_chunk(chunk))
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProofError):
        verify_chunk(ROOT, start, decode_chunk(bytes(changed)))


hostile_chunks = st.builds(
    StateChunk,
    end=st.one_of(st.none(), st.binary(min_size=32, max_size=32), st.binary(max_size=40)),
    nodes=st.lists(st.binary(max_size=60), max_size=140).map(tuple),
    leaves=st.lists(st.binary(max_size=60), max_size=20).map(tuple),
)


@given(hostile_chunks, st.binary(min_size=32, max_size=32))
def test_hostile_chunks_are_refused_and_nothing_else_happens(chunk: StateChunk, start: bytes) -> None:
    refused(START, chunk)
    refused(start, chunk)
