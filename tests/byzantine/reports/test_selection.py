"""Of a long run the picture keeps what matters, and what is left out is counted."""

from collections import Counter

import pytest

from byzantine.reports.frames import read
from byzantine.reports.selection import MAX_ARROWS, forked, select
from byzantine.trace import Event, What
from tests.byzantine.reports.traces import Maker, equivocation, fork, long, quiet


@pytest.fixture(scope="module")
def long_run():
    events = long(400)
    return events, read(events, 4)


def test_a_short_run_is_whole():
    events = equivocation()
    messages = read(events, 4)
    selection = select(events, messages)
    assert list(selection.messages) == messages
    assert not selection.messages_left_out
    assert not selection.marks_left_out


def test_no_more_is_drawn_than_can_be_read(long_run):
    events, messages = long_run
    assert len(messages) > 3 * MAX_ARROWS
    selection = select(events, messages)
    assert len(selection.messages) == MAX_ARROWS


def test_what_is_left_out_is_counted_by_kind(long_run):
    events, messages = long_run
    selection = select(events, messages)
    missing = Counter(message.family.label for message in messages)
    missing.subtract(message.family.label for message in selection.messages)
    assert selection.messages_left_out == {label: count for label, count in missing.items() if count}
    assert sum(selection.messages_left_out.values()) == len(selection.omitted_us)


def test_lies_contradictions_and_changes_of_view_are_kept(long_run):
    events, messages = long_run
    kept = set(map(id, select(events, messages, arrows=100).messages))
    for message in messages:
        if message.version or message.lie or message.kind in ("view-change", "new-view", "suspect"):
            assert id(message) in kept


def test_the_slot_that_an_oracle_names_is_kept_whole(long_run):
    events, messages = long_run
    failed = next(event for event in events if event.what is What.FAILED)
    kept = set(map(id, select(events, messages, arrows=300).messages))
    assert all(id(message) in kept for message in messages if message.sequence == failed.sequence)


def test_the_kept_are_in_order(long_run):
    events, messages = long_run
    times = [message.sent_us for message in select(events, messages).messages]
    assert times == sorted(times)


def test_status_goes_first():
    maker = Maker()
    maker.run_slots(0, 0, range(1, 10))
    for at in range(0, 100_000, 1000):
        maker.chatter(at)
    messages = read(maker.events, 4)
    rest = sum(message.kind != "status" for message in messages)
    selection = select(maker.events, messages, arrows=rest)
    assert {message.kind for message in selection.messages}.isdisjoint({"status"})
    assert set(selection.messages_left_out) == {"status"}


def test_blocks_of_parts_that_are_not_drawn_are_not_drawn_either(long_run):
    events, messages = long_run
    selection = select(events, messages)
    drawn = {message.sequence for message in selection.messages}
    blocks = {event.sequence for event in selection.marks if event.what is What.EXECUTED}
    assert blocks <= drawn
    assert selection.marks_left_out["executed"] > 0


def test_marks_are_limited_and_failures_go_first():
    crashes = [Event(at, What.CRASHED, "1") for at in range(50)]
    blocks = [Event(at, What.EXECUTED, "1", sequence=at) for at in range(1, 50)]
    selection = select([*crashes, *blocks], [], marks=60)
    assert sum(event.what is What.CRASHED for event in selection.marks) == 50
    assert selection.marks_left_out == {"executed": 39}


def test_a_fork_is_seen_from_the_blocks_alone():
    assert forked(fork()) == {2}
    assert forked(quiet()) == set()


def test_omitted_messages_are_counted_between_times(long_run):
    events, messages = long_run
    selection = select(events, messages)
    assert selection.omitted_between(-1, 10**12) == len(selection.omitted_us)
    first = selection.omitted_us[0]
    assert selection.omitted_between(first, first + 1) == 0
