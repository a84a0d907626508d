"""What lies where in a diagram."""

import pytest

from byzantine.reports.frames import read
from byzantine.reports.lanes import OTHER_CLIENTS, draw
from byzantine.reports.selection import select
from byzantine.trace import Event, What
from tests.byzantine.reports.traces import Maker, crash, equivocation, fork, long, quiet


def drawn(events, n: int = 4, liars=()):
    return draw(events, select(events, read(events, n)), n, liars)


def test_clients_stand_left_of_the_replicas_and_these_in_order():
    drawing = drawn(quiet())
    assert [lane.name for lane in drawing.lanes] == ["client", "0", "1", "2", "3"]
    places = [lane.x for lane in drawing.lanes]
    assert places == sorted(places)


def test_a_silent_replica_has_a_lane_too():
    maker = Maker(4)
    maker.send(0, 0, 1, "prepare")
    assert [lane.name for lane in drawn(maker.events).lanes] == ["0", "1", "2", "3"]


def test_two_copies_of_a_member_stand_beside_each_other():
    events = [Event(1, What.SENT, "1b", "2", 1, "prepare"), Event(1, What.SENT, "10", "2", 2, "prepare")]
    assert [lane.name for lane in drawn(events).lanes] == ["0", "1", "1b", "2", "3", "10"]


def test_a_flood_of_clients_shares_a_lane():
    events = [Event(at, What.SENT, f"c{at}", "0", at, "submit") for at in range(1, 60)]
    drawing = drawn(events)
    assert OTHER_CLIENTS in [lane.name for lane in drawing.lanes]
    assert len(drawing.lanes) == 4 + 3
    assert len(drawing.arrows) == len(events)


def test_liars_are_known_by_the_result_or_by_their_lies():
    assert [lane.name for lane in drawn(quiet(), liars=(2,)).lanes if lane.liar] == ["2"]
    assert [lane.name for lane in drawn(equivocation()).lanes if lane.liar] == ["0"]


def test_an_arrow_leads_from_sender_to_receiver_and_downwards():
    drawing = drawn(quiet())
    places = {lane.name: lane.x for lane in drawing.lanes}
    for arrow in drawing.arrows:
        assert abs(arrow.x1 - places[arrow.message.source]) < 10
        assert abs(arrow.x2 - places[arrow.message.target]) < 10
        assert arrow.y1 < arrow.y2


def test_a_lost_message_ends_on_its_way():
    drawing = drawn(crash(), n=7)
    places = {lane.name: lane.x for lane in drawing.lanes}
    lost = [arrow for arrow in drawing.arrows if arrow.message.fate != "delivered"]
    assert len(lost) == 4
    for arrow in lost:
        start, end = sorted((places[arrow.message.source], places[arrow.message.target]))
        assert start + 10 < arrow.x2 < end - 10


def test_views_are_bands_that_know_their_primary():
    drawing = drawn(equivocation())
    places = {lane.x: lane.name for lane in drawing.lanes}
    primaries = {(places[band.x], band.view) for band in drawing.bands if band.primary and not band.leaving}
    assert primaries == {("0", 0), ("1", 1)}
    for name in "0123":
        states = [(band.view, band.leaving) for band in drawing.bands if places[band.x] == name]
        assert states == [(0, False), (1, True), (1, False)]


def test_a_lane_is_interrupted_while_its_replica_is_down():
    drawing = drawn(crash(), n=7)
    (outage,) = drawing.outages
    assert outage.x == drawing.lanes[-1].x
    bands = [band for band in drawing.bands if band.x == outage.x]
    assert [band.bottom <= outage.top or band.top >= outage.bottom for band in bands] == [True, True]


def test_forked_blocks_bear_letters():
    blocks = [mark for mark in drawn(fork()).marks if mark.event.what is What.EXECUTED]
    assert sorted(mark.fork for mark in blocks if mark.event.sequence == 2) == ["A", "B"]
    assert {mark.fork for mark in blocks if mark.event.sequence == 1} == {""}


def test_marks_of_one_moment_stand_beside_each_other():
    events = [Event(5, What.EXECUTED, "0", sequence=height) for height in range(1, 5)]
    marks = drawn(events).marks
    assert len({mark.x for mark in marks}) == 4


def test_what_concerns_all_lanes_crosses_them():
    assert [rule.event.what for rule in drawn(fork()).rules] == [What.FAULT, What.HEALED, What.FAILED]


def test_a_fault_of_one_member_is_on_its_lane():
    drawing = drawn([Event(5, What.FAULT, "2", note="clock runs fast")])
    assert not drawing.rules
    assert [mark.label for mark in drawing.marks] == ["clock runs fast"]


def test_a_picture_that_begins_late_says_how_many_messages_are_left_out_before():
    maker = Maker(4)
    at = maker.run_slots(0, 0, range(1, 200))
    maker.note(at + 10, What.FAILED, "network", kind="agreement", sequence=199)
    messages = read(maker.events, 4)
    selection = select(maker.events, messages, arrows=200)
    drawing = draw(maker.events, selection, 4, ())
    assert drawing.before == len(selection.omitted_us) > 6000
    assert drawing.after == 0


def test_a_break_says_how_many_messages_are_left_out_of_it():
    events = long(300)
    selection = select(events, read(events, 4))
    drawing = draw(events, selection, 4, ())
    counts = [count for _, count in drawing.breaks]
    assert max(counts) > 1000
    assert sum(counts) + drawing.before + drawing.after <= len(selection.omitted_us)


@pytest.mark.parametrize("number", [1, 4])
def test_a_slots_bar_runs_through_its_steps_to_its_execution(number):
    bar = next(bar for bar in drawn(quiet()).slots if bar.sequence == number)
    assert [key for key, _, _ in bar.parts] == ["pre-prepare", "prepare", "commit"]
    assert bar.executed
    assert all(start < end for _, start, end in bar.parts)


def test_a_slot_that_its_view_left_undecided_is_not_shown_as_executed():
    bars = {(bar.sequence, bar.view): bar for bar in drawn(equivocation()).slots}
    assert not bars[2, 0].executed
    assert bars[2, 1].executed


def test_an_empty_trace_can_be_drawn():
    assert len(drawn([]).lanes) == 4
