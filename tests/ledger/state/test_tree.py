"""Rules of the state tree: one root per content, nothing visible before commit, everything found again."""

import random
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ledger.state import (
    EMPTY_ROOT,
    MAX_KEY_BYTES,
    MAX_VALUE_BYTES,
    CorruptState,
    MemorySource,
    StateLimitExceeded,
    StateTree,
    UpdateOutdated,
    state_root,
)
from tests.ledger.state.worlds import CLOSE_KEYS, World, accounts, batches, keys, values, worlds


class AnyHistory(RuleBasedStateMachine):
    """Whatever happened before, the root is the one of the dict, and every key has the dict's value."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(changes=batches)
    def commit(self, changes: dict[bytes, bytes | None]) -> None:
        self.world.apply(changes)

    @rule(changes=batches)
    def discard(self, changes: dict[bytes, bytes | None]) -> None:
        pending = self.world.tree.update(changes)
        pending.discard()
        with pytest.raises(UpdateOutdated):
            pending.commit()

    @rule(number=st.integers(0, 350), count=st.integers(1, 90))
    def add_many(self, number: int, count: int) -> None:
        self.world.apply(accounts(count, number))

    @rule(number=st.integers(0, 350), count=st.integers(1, 90))
    def remove_many(self, number: int, count: int) -> None:
        self.world.apply(dict.fromkeys(accounts(count, number)))

    @rule()
    def add_close_keys(self) -> None:
        self.world.apply(dict.fromkeys(CLOSE_KEYS, b"close"))

    @rule(count=st.integers(1, 40))
    def remove_close_keys(self, count: int) -> None:
        self.world.apply(dict.fromkeys(CLOSE_KEYS[:count]))

    @rule()
    def reopen(self) -> None:
        self.world.tree = StateTree.open(self.world.source, self.world.tree.root)

    @rule(key=keys)
    def read(self, key: bytes) -> None:
        assert self.world.tree.get(key) == self.world.model.get(key)
        assert self.world.tree.get_verified(key) == self.world.model.get(key)

    @invariant()
    def root_is_that_of_the_content(self) -> None:
        assert self.world.tree.root == self.world.fresh_root()


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=60, stateful_step_count=20)


@given(worlds, st.randoms(use_true_random=False))
def test_the_root_does_not_depend_on_order_or_batches(
    world: dict[bytes, bytes], chance: random.Random
) -> None:
    items = list(world.items())
    chance.shuffle(items)
    in_parts = World()
    while items:
        cut = chance.randint(1, len(items))
        in_parts.apply(dict(items[:cut]))
        items = items[cut:]
    at_once = World()
    at_once.apply(world)
    assert in_parts.tree.root == at_once.tree.root == state_root(world.items())


@given(worlds, st.dictionaries(keys, values, min_size=1, max_size=60))
def test_deleting_what_was_added_restores_the_root(
    world: dict[bytes, bytes], added: dict[bytes, bytes]
) -> None:
    state = World()
    before = state.apply(world)
    state.apply({key: value for key, value in added.items() if key not in world})
    assert state.apply({key: None for key in added if key not in world}) == before


@pytest.mark.parametrize("count", [32, 33])
def test_a_bucket_splits_and_joins_at_the_same_number_of_keys(count: int) -> None:
    state = World()
    state.apply(accounts(count))
    for key in accounts(40, 1000):
        before = state.tree.root
        state.apply({key: b"1"})
        assert state.tree.root == state.fresh_root()
        assert state.apply({key: None}) == before


def test_deleting_everything_leaves_the_empty_root_and_no_rows() -> None:
    state = World()
    assert state.tree.root == EMPTY_ROOT
    everything = {**accounts(2000), **dict.fromkeys(CLOSE_KEYS, b"close")}
    state.apply(everything)
    assert state.apply(dict.fromkeys(everything)) == EMPTY_ROOT
    assert list(state.source.scan(b"", b"\xff")) == []


@given(worlds, batches)
def test_any_two_different_contents_have_different_roots(
    world: dict[bytes, bytes], changes: dict[bytes, bytes | None]
) -> None:
    state = World()
    before_content, before = world, state.apply(world)
    after = state.apply(changes)
    assert (after == before) == (state.model == before_content)


def test_nothing_is_visible_before_commit() -> None:
    state = World()
    before = state.apply(accounts(100))
    pending = state.tree.update({b"account/1": b"changed", b"account/2": None, b"new": b"1"})
    assert pending.root != before
    assert state.tree.root == before
    assert state.tree.get_verified(b"account/1") == b"7"
    assert state.tree.get_verified(b"account/2") == b"14"
    assert state.tree.get_verified(b"new") is None
    state.source.apply(pending.writes)
    pending.commit()
    assert state.tree.root == pending.root
    assert state.tree.get_verified(b"account/1") == b"changed"
    assert state.tree.get_verified(b"account/2") is None
    assert state.tree.get_verified(b"new") == b"1"


def test_an_update_of_an_older_state_cannot_be_committed() -> None:
    state = World()
    old = state.tree.update({b"a": b"1"})
    state.apply({b"b": b"2"})
    root = state.tree.root
    with pytest.raises(UpdateOutdated):
        old.commit()
    assert state.tree.root == root


def test_an_update_is_outdated_even_when_the_root_came_back() -> None:
    state = World()
    old = state.tree.update({b"a": b"1"})
    state.apply({b"b": b"2"})
    state.apply({b"b": None})
    with pytest.raises(UpdateOutdated):
        old.commit()


def test_an_update_is_committed_once() -> None:
    state = World()
    pending = state.tree.update({b"a": b"1"})
    state.source.apply(pending.writes)
    pending.commit()
    with pytest.raises(UpdateOutdated):
        pending.commit()


def test_deleting_an_absent_key_writes_nothing() -> None:
    state = World()
    root = state.apply(accounts(200))
    pending = state.tree.update({b"nobody": None, b"account/500": None})
    assert pending.root == root
    assert not pending.writes


def test_one_row_is_written_per_changed_key() -> None:
    state = World()
    state.apply(accounts(3000))
    changed = {b"account/%d" % number: b"changed" for number in range(0, 3000, 6)}
    assert len(state.tree.update(changed).writes) == len(changed)


@settings(max_examples=25)
@given(st.lists(batches, max_size=8))
def test_a_tree_that_remembers_little_computes_the_same(history: list[dict[bytes, bytes | None]]) -> None:
    little, much = World(cached_buckets=0), World(cached_buckets=100_000)
    for world in (little, much):
        world.apply({**accounts(3000), **dict.fromkeys(CLOSE_KEYS, b"close")})
    for changes in history:
        assert little.apply(changes) == much.apply(changes)


def test_one_batch_may_fill_an_empty_state() -> None:
    everything = accounts(20_000)
    state = World()
    assert state.apply(everything) == state_root(everything.items())


def test_one_batch_may_overwrite_delete_and_add_in_a_bucket_that_overflows() -> None:
    state = World()
    state.apply(accounts(30))
    changes: dict[bytes, bytes | None] = dict(accounts(2000, 100))
    changes.update({b"account/3": b"changed", b"account/4": None, b"account/99999": None})
    assert state.apply(changes) == state.fresh_root()
    assert state.tree.get_verified(b"account/3") == b"changed"
    assert state.tree.get_verified(b"account/4") is None


@pytest.mark.parametrize("size", [0, 1, MAX_VALUE_BYTES])
def test_values_of_every_allowed_size_are_kept(size: int) -> None:
    state = World()
    root = state.apply({b"k" * MAX_KEY_BYTES: b"v" * size, b"": b"the empty key"})
    assert StateTree.open(state.source, root).get_verified(b"k" * MAX_KEY_BYTES) == b"v" * size
    assert state.tree.get_verified(b"") == b"the empty key"


def test_a_key_or_value_that_is_too_long_is_refused_and_changes_nothing() -> None:
    state = World()
    root = state.apply(accounts(10))
    too_long = b"k" * (MAX_KEY_BYTES + 1)
    for changes in ({too_long: b""}, {too_long: None}, {b"k": b"v" * (MAX_VALUE_BYTES + 1)}):
        with pytest.raises(StateLimitExceeded):
            state.tree.update({b"fine": b"1", **changes})
    with pytest.raises(StateLimitExceeded):
        state.tree.get(too_long)
    with pytest.raises(StateLimitExceeded):
        state_root([(too_long, b"")])
    assert state.tree.root == root


def test_a_key_given_twice_has_no_root() -> None:
    with pytest.raises(CorruptState):
        state_root([(b"a", b"1"), (b"b", b"2"), (b"a", b"1")])


def test_the_lengths_of_key_and_value_are_bound() -> None:
    assert state_root([(b"ab", b"c")]) != state_root([(b"a", b"bc")])


# The format's definition, once more and as plainly as possible, sharing nothing with the package.


def tagged(domain: str, data: bytes) -> bytes:
    name = domain.encode()
    return sha256(b"\x0atetrarch/1" + bytes([len(name)]) + name + data).digest()


def plain_root(items: dict[bytes, bytes]) -> bytes:
    entries = sorted(
        (tagged("state key", key), tagged("state leaf", len(key).to_bytes(2, "big") + key + value))
        for key, value in items.items()
    )
    return plain_node(entries, 0)[1] if entries else tagged("state bucket", b"")


def plain_node(entries: list[tuple[bytes, bytes]], depth: int) -> tuple[int, bytes]:
    if not entries:
        return 0, bytes(32)
    if len(entries) <= 32:
        head = tagged("state paths", b"".join(path for path, _ in entries))
        return len(entries), tagged("state bucket", head + b"".join(leaf for _, leaf in entries))
    children = [
        plain_node([entry for entry in entries if int(entry[0].hex()[depth], 16) == digit], depth + 1)
        for digit in range(16)
    ]
    return 255, tagged(
        "state node", bytes(kind for kind, _ in children) + b"".join(one for _, one in children)
    )


@given(worlds)
def test_the_root_is_the_one_that_the_format_defines(world: dict[bytes, bytes]) -> None:
    assert state_root(world.items()) == plain_root(world)


@pytest.mark.parametrize(
    ("content", "root"),
    [
        ({}, "c497b5a8a9590a94942a6dfb26e88a0f9f86328be24ee88c7755d1f6a129efbe"),
        ({b"": b""}, "1eaf1fe277bb06cd899811e19b11a12a054e1ad92b708704140a697afaab531a"),
        ({b"a": b"1", b"b": b"2"}, "d29d72321debd2d5e1d0f97d8db5a35452be3e810206d484614e191c24776ec7"),
        (accounts(32), "77948207c10d36d58e4a9692eef358f8e6f32569ec2849fbc820c365d6baf95e"),
        (accounts(33), "9f58febf030d5e4f780e8bf61e537ab1692610557fdc32cb954fe1646a62e130"),
        (accounts(5000), "40258f6448f66b0749579735a9a8da226571d00970a7ccb89f0cf76589663fb1"),
        (
            dict.fromkeys(CLOSE_KEYS, b"close"),
            "4e65c9ad95617028272104ae6e3d2a8c49259f79925110d734a5d34a263c103b",
        ),
    ],
    ids=["empty", "empty key", "two keys", "a full bucket", "one key more", "three levels", "close keys"],
)
def test_the_format_does_not_drift(content: dict[bytes, bytes], root: str) -> None:
    state = World()
    assert state.apply(content).hex() == root
    assert plain_root(content).hex() == root


def test_a_source_in_memory_scans_in_order_and_within_bounds() -> None:
    source = MemorySource()
    source.apply({b"%03d" % number: b"" for number in range(100)})
    source.apply({b"050": None, b"0505": b"x", b"999": None})
    assert [key for key, _ in source.scan(b"049", b"053")] == [b"049", b"0505", b"051", b"052"]
    assert source.get(b"0505") == b"x"
    assert source.get(b"050") is None
