"""Rules of choosing a broker: what is missing is noticed, and what serves is kept."""

from itertools import pairwise

from network.mqtt.allowance import Allowance
from network.mqtt.ways import STALE_BEATS, Arrivals, Choice

BEAT = 1.0
PATIENCE = STALE_BEATS * BEAT


def arrivals(brokers: int = 2) -> Arrivals:
    return Arrivals(brokers, BEAT, 0.0)


def test_nobody_is_heard_before_anything_came() -> None:
    assert arrivals().serving(0.0) == 0


def test_a_broker_serves_from_the_first_message_until_nothing_came_for_some_beats() -> None:
    seen = arrivals()
    assert not seen.note(1, 1, 1, 1, 10.0)
    assert seen.serving(10.0) == 0b10
    assert seen.serving(9.9 + PATIENCE) == 0b10
    assert seen.serving(10.0 + PATIENCE) == 0


def test_a_broker_by_which_something_is_missing_does_not_serve_for_some_beats_and_that_is_told_once() -> None:
    seen = arrivals()
    seen.note(0, 1, 1, 1, 10.0)
    assert seen.note(0, 3, 3, 3, 10.1)
    assert not seen.note(0, 5, 5, 5, 10.2)
    assert seen.serving(10.2) == 0
    for passage in range(6, 10):
        assert not seen.note(0, passage, passage, passage, 10.2 + passage - 5)
    assert seen.serving(14.2) == 0b01


def test_the_first_message_of_a_session_may_be_missing_too() -> None:
    seen = arrivals()
    assert seen.note(0, 2, 2, 2, 10.0)
    seen.renew(20.0)
    assert not seen.note(0, 1, 1, 1, 20.0)
    assert seen.serving(20.0) == 0b01


def test_a_message_that_another_one_overtook_is_a_gap_once_and_not_twice() -> None:
    seen = arrivals()
    seen.note(0, 1, 1, 1, 10.0)
    assert seen.note(0, 3, 3, 3, 10.0)
    assert not seen.note(0, 2, 2, 3, 20.0)
    assert seen.serving(20.0) == 0b01


def test_passages_begin_again_after_the_last() -> None:
    seen = arrivals()
    seen._passages = [2**32 - 1, 0]
    assert not seen.note(0, 0, 2, 2, 10.0)
    assert not seen.note(0, 1, 3, 3, 10.0)


def test_a_broker_that_is_more_than_a_beat_behind_another_does_not_serve() -> None:
    seen = arrivals()
    for beat in range(1, 6):
        now = 10.0 + beat * BEAT
        seen.note(0, beat, 2 * beat, 2 * beat, now)
        # What was sent together with this comes by the other broker two beats later.
        if beat > 2:
            seen.note(1, beat - 2, 2 * (beat - 2) + 1, 2 * beat, now + 0.01)
    assert seen.serving(15.1) == 0b01


def test_a_broker_that_is_a_little_behind_another_serves() -> None:
    seen = arrivals()
    for beat in range(1, 6):
        now = 10.0 + beat * BEAT
        seen.note(0, beat, 2 * beat + 1, 2 * beat + 1, now)
        seen.note(1, beat, 2 * beat, 2 * beat + 1, now + 0.3)
    assert seen.serving(15.3) == 0b11


def test_what_serves_is_kept_though_another_one_serves_as_well() -> None:
    choice = Choice(PATIENCE, 0.0)
    assert choice.make([True, True], 0b10, 1.0) == 1
    assert [choice.make([True, True], 0b11, float(now)) for now in range(2, 20)] == [1] * 18


def test_what_does_not_serve_is_left_at_once_for_what_does() -> None:
    choice = Choice(PATIENCE, 0.0)
    assert choice.make([True, True, True], 0b111, 1.0) == 0
    assert choice.make([True, True, True], 0b110, 1.1) == 1
    assert choice.make([True, True, True], 0b001, 1.2) == 0


def test_what_cannot_be_used_is_left_at_once() -> None:
    choice = Choice(PATIENCE, 0.0)
    assert choice.make([True, True], 0b01, 1.0) == 0
    assert choice.make([False, True], 0b01, 1.1) == 1
    assert choice.make([False, False], 0b11, 1.2) is None


def test_where_none_serves_each_is_tried_in_turn() -> None:
    choice = Choice(PATIENCE, 0.0)
    tried = [choice.make([True, True, True], 0, now / 10) for now in range(130)]
    assert set(tried) == {0, 1, 2}
    changes = sum(before != after for before, after in pairwise(tried))
    assert changes == 4


def test_an_allowance_is_spent_at_its_rate_and_saved_for_a_second_at_most() -> None:
    allowance = Allowance(5, 0.0)
    assert [allowance.spend(0.0) for _ in range(6)] == [True] * 5 + [False]
    assert [allowance.spend(0.2), allowance.spend(0.2)] == [True, False]
    assert sum(allowance.spend(100.0) for _ in range(50)) == 5
