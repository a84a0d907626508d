"""Nothing leaves before what it and all earlier turns wrote is durable."""

from hypothesis import given
from hypothesis import strategies as st

from tetrarch.node.durability import GroupSync
from tetrarch.node.effects import Effects


def test_a_turn_that_wrote_nothing_leaves_at_once() -> None:
    effects = Effects()
    order = GroupSync()
    assert order.add(effects) == [effects]
    assert not order.wanted


def test_a_turn_that_wrote_waits_for_a_sync_that_began_after_it() -> None:
    order = GroupSync()
    first, second = Effects(sync=True), Effects(sync=True)
    assert order.add(first) == []
    wanted = [order.wanted]
    order.begin()
    assert order.add(second) == []
    wanted.append(order.wanted)
    assert order.finished() == [first]
    wanted.append(order.wanted)
    order.begin()
    assert order.finished() == [second]
    wanted.append(order.wanted)
    assert wanted == [True, False, True, False], "one sync at a time, and one more for who came late"


def test_a_turn_that_wrote_nothing_waits_only_for_earlier_ones() -> None:
    order = GroupSync()
    wrote, read, late = Effects(sync=True), Effects(), Effects(sync=True)
    order.add(wrote)
    order.begin()
    assert order.add(read) == []
    order.add(late)
    released = order.finished()
    assert released[0] is wrote
    assert released[1] is read
    assert len(released) == 2


def test_what_waited_for_a_failed_sync_never_leaves() -> None:
    order = GroupSync()
    order.add(Effects(sync=True))
    order.begin()
    order.add(Effects())
    order.failed()
    assert len(order) == 0
    later = Effects()
    released = order.add(later)
    assert released[0] is later


@given(st.lists(st.sampled_from(["write", "read", "begin", "finish"]), max_size=60))
def test_effects_leave_in_order_and_never_before_their_writes_are_durable(steps: list[str]) -> None:
    order = GroupSync()
    written = covered = durable = 0
    needs: dict[int, int] = {}
    added: list[Effects] = []
    left: list[int] = []

    def leave(released: list[Effects]) -> None:
        for effects in released:
            index = next(place for place, known in enumerate(added) if known is effects)
            assert needs[index] <= durable
            left.append(index)

    for step in steps:
        if step in ("write", "read"):
            written += step == "write"
            needs[len(added)] = written
            effects = Effects(sync=step == "write")
            added.append(effects)
            leave(order.add(effects))
        elif step == "begin" and order.wanted:
            order.begin()
            covered = written
        elif step == "finish" and order.running:
            durable = covered
            leave(order.finished())
    while order.wanted or order.running:
        if not order.running:
            order.begin()
            covered = written
        durable = covered
        leave(order.finished())
    assert left == list(range(len(added)))
