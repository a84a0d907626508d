"""Rules of virtual time: one order, cancellation, clocks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network import scheduler as scheduling
from network.scheduler import MILLISECOND, SECOND, WALL_START_MS, Scheduler, TimeStandsStill, VirtualClock


@given(st.lists(st.integers(0, 20), max_size=60))
def test_events_happen_by_time_and_at_one_instant_in_the_order_of_scheduling(times: list[int]) -> None:
    scheduler = Scheduler()
    happened: list = []
    for number, time in enumerate(times):
        scheduler.at(time, lambda n=number: happened.append((scheduler.now_us, n)))
    scheduler.run_until(20)
    assert happened == sorted((time, number) for number, time in enumerate(times))


def test_running_until_a_time_does_what_is_due_then_and_nothing_later() -> None:
    scheduler = Scheduler()
    happened: list = []
    for time in (5, 10, 11):
        scheduler.at(time, happened.append, time)
    scheduler.run_until(10)
    assert (happened, scheduler.now_us, len(scheduler)) == ([5, 10], 10, 1)


def test_time_passes_though_nothing_happens() -> None:
    scheduler = Scheduler()
    scheduler.run_until(7)
    scheduler.run_for(3)
    assert scheduler.now_us == 10
    scheduler.run_until(4)
    assert scheduler.now_us == 10


def test_an_event_may_schedule_another_at_the_same_instant() -> None:
    scheduler = Scheduler()
    happened: list = []
    scheduler.at(3, lambda: scheduler.after(0, happened.append, "second"))
    scheduler.at(3, happened.append, "first")
    scheduler.run_until(3)
    assert happened == ["first", "second"]


def test_nothing_is_scheduled_in_the_past() -> None:
    scheduler = Scheduler()
    scheduler.run_until(10)
    with pytest.raises(ValueError, match="9 us is over"):
        scheduler.at(9, lambda: None)


def test_a_timer_that_was_called_off_does_not_ring() -> None:
    scheduler = Scheduler()
    rung: list = []
    timer = scheduler.timer(5, lambda: rung.append(1))
    assert (timer.pending, timer.due_us, len(scheduler)) == (True, 5, 1)
    timer.cancel()
    timer.cancel()
    assert (timer.pending, len(scheduler)) == (False, 0)
    scheduler.run_until(10)
    assert (rung, len(scheduler)) == ([], 0)


def test_a_timer_that_has_rung_may_be_called_off_without_effect() -> None:
    scheduler = Scheduler()
    rung: list = []
    timer = scheduler.timer(5, lambda: rung.append(1))
    scheduler.run_until(5)
    timer.cancel()
    assert (rung, timer.pending, len(scheduler)) == ([1], False, 0)


def test_timers_that_are_set_and_called_off_for_ever_take_no_memory() -> None:
    scheduler = Scheduler()
    rung = []
    scheduler.timer(SECOND, lambda: rung.append("kept"))
    for _ in range(10_000):
        scheduler.timer(100 * SECOND, lambda: rung.append("cancelled")).cancel()
    assert len(scheduler._heap) < 1_000
    assert len(scheduler) == 1
    scheduler.run_until(200 * SECOND)
    assert rung == ["kept"]


def test_many_timers_called_off_from_within_an_event_leave_the_others_in_order() -> None:
    scheduler = Scheduler()
    rung: list = []
    doomed = [scheduler.timer(50, lambda: rung.append("doomed")) for _ in range(1_000)]

    def call_off() -> None:
        for timer in doomed:
            timer.cancel()

    scheduler.at(10, call_off)
    for time in (70, 60, 80):
        scheduler.at(time, rung.append, time)
    scheduler.run_until(100)
    assert rung == [60, 70, 80]


def test_running_while_a_condition_holds_stops_before_the_event_after_it_ended() -> None:
    scheduler = Scheduler()
    happened: list = []
    for time in (1, 2, 3):
        scheduler.at(time, happened.append, time)
    assert scheduler.run_while(lambda: len(happened) < 2, limit_us=100)
    assert (happened, scheduler.now_us) == ([1, 2], 2)


def test_running_while_a_condition_holds_gives_up_at_the_limit() -> None:
    scheduler = Scheduler()
    happened: list = []
    scheduler.run_until(50)
    scheduler.at(151, happened.append, 151)
    assert not scheduler.run_while(lambda: not happened, limit_us=100)
    assert (happened, scheduler.now_us) == ([], 150)
    assert scheduler.run_while(lambda: not happened, limit_us=1)


def test_a_condition_that_time_alone_ends_is_noticed_at_the_limit() -> None:
    scheduler = Scheduler()
    assert scheduler.run_while(lambda: scheduler.now_us < 100, limit_us=100)


def test_events_that_never_let_time_pass_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduling, "MAX_AT_ONE_INSTANT", 1_000)
    scheduler = Scheduler()

    def again() -> None:
        scheduler.after(0, again)

    scheduler.after(5, again)
    with pytest.raises(TimeStandsStill, match="1000 events at 5 us"):
        scheduler.run_until(10)


def test_what_an_event_raises_reaches_whoever_runs_the_scheduler() -> None:
    scheduler = Scheduler()
    scheduler.at(4, lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        scheduler.run_until(10)
    assert scheduler.now_us == 4


# Clocks.


def test_clocks_show_virtual_time_in_whole_milliseconds() -> None:
    scheduler = Scheduler()
    clock = VirtualClock(scheduler)
    scheduler.run_until(1_500 * MILLISECOND + 999)
    assert (clock.monotonic_ms, clock.wall_ms) == (1_500, WALL_START_MS + 1_500)


def test_wall_clocks_may_be_wrong_and_go_wrong() -> None:
    scheduler = Scheduler()
    fast = VirtualClock(scheduler, skew_us=3 * SECOND, drift_ppm=100)
    slow = VirtualClock(scheduler, skew_us=-3 * SECOND, drift_ppm=-100)
    scheduler.run_until(1_000 * SECOND)
    assert fast.wall_ms == WALL_START_MS + 1_003_100
    assert slow.wall_ms == WALL_START_MS + 996_900
    assert fast.monotonic_ms == slow.monotonic_ms == 1_000_000


def test_a_wall_clock_that_jumps_moves_no_monotonic_clock() -> None:
    scheduler = Scheduler()
    clock = VirtualClock(scheduler)
    scheduler.run_until(10 * SECOND)
    clock.jump(-5 * SECOND)
    assert (clock.wall_ms, clock.monotonic_ms) == (WALL_START_MS + 5_000, 10_000)
    scheduler.run_until(11 * SECOND)
    assert (clock.wall_ms, clock.monotonic_ms) == (WALL_START_MS + 6_000, 11_000)


def test_a_change_of_drift_makes_no_jump() -> None:
    scheduler = Scheduler()
    clock = VirtualClock(scheduler, drift_ppm=1_000)
    scheduler.run_until(100 * SECOND)
    before = clock.wall_ms
    clock.set_drift(-1_000)
    assert clock.wall_ms == before == WALL_START_MS + 100_100
    scheduler.run_until(200 * SECOND)
    assert clock.wall_ms == WALL_START_MS + 200_000


def test_a_wall_clock_never_shows_a_time_before_the_epoch() -> None:
    clock = VirtualClock(Scheduler(), skew_us=-10 * SECOND, start_ms=5)
    assert clock.wall_ms == 0


def test_a_deadline_is_reached_when_its_delay_has_passed() -> None:
    scheduler = Scheduler()
    clock = VirtualClock(scheduler)
    scheduler.run_until(1_234_567)
    scheduler.run_for(clock.delay_us(2_000))
    assert clock.monotonic_ms == 2_000
    assert clock.delay_us(1_999) == 0
