"""Rules of a corrupt store: whatever byte was flipped is found, before it is used, and named."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.state import CorruptState, MemorySource, StateTree, find_faults
from ledger.state.audit import MAX_FAULTS
from tests.ledger.state.worlds import CLOSE_KEYS, World, accounts


def rows_of(world: World) -> dict[bytes, bytes]:
    return dict(world.source.scan(b"", b"\xff" * 64))


def large_world() -> World:
    world = World()
    world.apply({**accounts(600), **dict.fromkeys(CLOSE_KEYS, b"close")})
    return world


LARGE = large_world()
ROOT = LARGE.tree.root
ROWS = rows_of(LARGE)
NODE_ROWS = [key for key in ROWS if key.startswith(b"n")]
LEAF_ROWS = [key for key in ROWS if key.startswith(b"v")]


def source_of(rows: dict[bytes, bytes]) -> MemorySource:
    source = MemorySource()
    source.apply(rows)
    return source


def test_the_store_of_the_tests_has_leaves_and_stored_nodes() -> None:
    assert len(NODE_ROWS) == 2
    assert len(LEAF_ROWS) == 640
    assert find_faults(source_of(ROWS), ROOT) == []


@settings(max_examples=200)
@given(st.sampled_from(sorted(NODE_ROWS) * 100 + sorted(LEAF_ROWS)), st.data())
def test_a_flipped_bit_of_any_row_is_found(key: bytes, data: st.DataObject) -> None:
    row = bytearray(ROWS[key])
    row[data.draw(st.integers(0, len(row) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    source = source_of({**ROWS, key: bytes(row)})
    with pytest.raises(CorruptState):
        StateTree.open(source, ROOT)
    assert find_faults(source, ROOT)


@settings(max_examples=200)
@given(st.sampled_from(sorted(NODE_ROWS) * 100 + sorted(LEAF_ROWS)), st.data())
def test_a_flipped_bit_of_any_key_is_found(key: bytes, data: st.DataObject) -> None:
    changed = bytearray(key)
    changed[data.draw(st.integers(0, len(key) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    rows = dict(ROWS)
    rows[bytes(changed)] = rows.pop(key)
    with pytest.raises(CorruptState):
        StateTree.open(source_of(rows), ROOT)
    assert find_faults(source_of(rows), ROOT)


@given(st.sampled_from(sorted(ROWS)))
def test_a_lost_row_is_found(key: bytes) -> None:
    rows = dict(ROWS)
    del rows[key]
    with pytest.raises(CorruptState):
        StateTree.open(source_of(rows), ROOT)
    assert find_faults(source_of(rows), ROOT)


def test_a_cut_leaf_is_named_by_its_path() -> None:
    key = LEAF_ROWS[0]
    for cut in range(6):
        source = source_of({**ROWS, key: ROWS[key][:cut]})
        with pytest.raises(CorruptState) as found:
            StateTree.open(source, ROOT)
        assert found.value.path == key[1:].hex()
        assert (key[1:].hex(), "leaf") in [(fault.path, fault.node) for fault in find_faults(source, ROOT)]


def test_a_leaf_that_lies_at_another_keys_path_is_named() -> None:
    first, second = LEAF_ROWS[-2:]
    faults = find_faults(source_of({**ROWS, first: ROWS[second]}), ROOT)
    assert [(fault.path, fault.node) for fault in faults] == [(first[1:].hex(), "leaf"), ("", "root")]


def test_a_changed_value_is_named_by_the_stored_nodes_above_it() -> None:
    key = next(key for key in LEAF_ROWS if ROWS[key].endswith(b"close"))
    source = source_of({**ROWS, key: ROWS[key] + b"!"})
    with pytest.raises(CorruptState) as found:
        StateTree.open(source, ROOT)
    assert found.value.path == "00000"
    assert [(fault.path, fault.node) for fault in find_faults(source, ROOT)] == [
        ("00000", "node"),
        ("0000", "node"),
        ("", "root"),
    ]


def test_a_changed_node_is_named_with_both_digests() -> None:
    key = NODE_ROWS[0]
    source = source_of({**ROWS, key: bytes(len(ROWS[key]))})
    faults = find_faults(source, ROOT)
    assert [(fault.path, fault.node) for fault in faults] == [(key[2:].decode(), "node")]
    assert faults[0].expected != faults[0].actual


def test_rows_that_belong_to_no_state_are_found() -> None:
    strangers = [b"a", b"n1000f", b"p", b"v", b"v" + b"\xff" * 33, b"z"]
    source = source_of({**ROWS, **dict.fromkeys(strangers, b"")})
    assert sorted(fault.path for fault in find_faults(source, ROOT)) == sorted(key.hex() for key in strangers)


def test_the_list_of_faults_is_bounded() -> None:
    source = source_of({b"a%05d" % number: b"" for number in range(MAX_FAULTS + 10)})
    assert len(find_faults(source, StateTree.open(MemorySource()).root)) == MAX_FAULTS


def test_another_root_is_a_fault_of_the_root() -> None:
    other = World().apply({b"a": b"1"})
    assert [fault.node for fault in find_faults(source_of(ROWS), other)] == ["root"]
    with pytest.raises(CorruptState):
        StateTree.open(source_of(ROWS), other)


# While the tree is in use: what is read again is verified before it is used.


def used_world() -> World:
    """A tree with a store, most of whose buckets are not in memory."""
    world = World(cached_buckets=0)
    world.apply({**accounts(600), **dict.fromkeys(CLOSE_KEYS, b"close")})
    return world


def test_a_value_that_changed_in_the_store_is_never_returned_as_verified() -> None:
    world = used_world()
    for key in (b"account/1", CLOSE_KEYS[0]):
        row = next(row for row in LEAF_ROWS if ROWS[row][2:] == key + LARGE.model[key])
        world.source.apply({row: ROWS[row] + b"!"})
        with pytest.raises(CorruptState):
            world.tree.get_verified(key)
        world.source.apply({row: None})
        with pytest.raises(CorruptState):
            world.tree.get_verified(key)


def test_a_value_that_changed_below_a_bucket_in_memory_is_never_returned_as_verified() -> None:
    world = World()
    world.apply({b"a": b"1"})
    ((row, leaf),) = rows_of(world).items()
    world.source.apply({row: leaf + b"!"})
    with pytest.raises(CorruptState) as found:
        world.tree.get_verified(b"a")
    assert found.value.path == row[1:].hex()


def test_a_row_of_another_key_is_not_read_as_this_ones() -> None:
    world = World()
    world.apply({b"a": b"1", b"b": b"2"})
    (first, own), (_, other) = rows_of(world).items()
    world.source.apply({first: other})
    with pytest.raises(CorruptState) as found:
        world.tree.get(own[2:3])
    assert found.value.path == first[1:].hex()


def test_an_update_stops_at_a_bucket_that_does_not_verify() -> None:
    world = used_world()
    root = world.tree.root
    for key in LEAF_ROWS:
        world.source.apply({key: ROWS[key] + b"!"})
    with pytest.raises(CorruptState) as found:
        world.tree.update(dict.fromkeys(accounts(600), b"changed"))
    assert found.value.expected != found.value.actual
    assert world.tree.root == root


@pytest.mark.parametrize("row", [None, b"", b"short", bytes(528)])
def test_an_update_stops_at_a_stored_node_that_does_not_verify(row: bytes | None) -> None:
    world = used_world()
    for key in NODE_ROWS:
        world.source.apply({key: row})
    with pytest.raises(CorruptState) as found:
        world.tree.update({CLOSE_KEYS[0]: b"changed"})
    assert found.value.path == "0000"


def test_a_chunk_or_proof_is_not_made_of_what_does_not_verify() -> None:
    world = used_world()
    for key in LEAF_ROWS:
        world.source.apply({key: ROWS[key] + b"!"})
    refused = 0
    for key in world.model:
        try:
            world.tree.prove(key)
        except CorruptState:
            refused += 1
    assert refused > len(world.model) // 2
    with pytest.raises(CorruptState):
        world.tree.chunk(bytes(32), 1 << 20)
