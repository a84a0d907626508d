from itertools import pairwise

from byzantine.reports.timeline import BREAK_PX, MAX_HEIGHT_PX, Timeline, typical


def test_time_runs_downwards_and_in_proportion():
    timeline = Timeline([0, 1000, 3000], typical_us=1000, top=10)
    first, second, third = map(timeline.y, (0, 1000, 3000))
    assert first == 10
    assert abs((third - second) - 2 * (second - first)) < 1e-9
    assert abs(timeline.y(2000) - (second + third) / 2) < 1e-9


def test_a_long_pause_is_a_break_of_one_height():
    timeline = Timeline([0, 1000, 5_000_000, 5_001_000], typical_us=1000, top=0)
    (pause,) = timeline.breaks
    assert (pause.start_us, pause.end_us) == (1000, 5_000_000)
    assert pause.bottom - pause.top == BREAK_PX


def test_no_time_is_written_inside_a_break():
    timeline = Timeline([0, 1000, 5_000_000, 5_001_000], typical_us=1000, top=0)
    (pause,) = timeline.breaks
    assert not [tick for tick in timeline.ticks() if pause.start_us < tick.at_us < pause.end_us]


def test_times_beside_the_lanes_do_not_overlap():
    ticks = Timeline(range(0, 50_000, 700), typical_us=1000, top=0).ticks()
    assert len(ticks) > 5
    assert all(later.y - earlier.y >= 20 for earlier, later in pairwise(ticks))


def test_no_picture_is_taller_than_browsers_draw():
    timeline = Timeline(range(0, 10_000_000, 1500), typical_us=1000, top=0)
    assert timeline.bottom <= MAX_HEIGHT_PX + 1


def test_times_outside_lie_at_the_ends():
    timeline = Timeline([100, 200], typical_us=100, top=5)
    assert timeline.y(0) == 5
    assert timeline.y(10_000) == timeline.bottom


def test_a_run_in_which_nothing_happened_has_a_place_for_its_beginning():
    timeline = Timeline([], typical_us=typical([]), top=5)
    assert timeline.y(0) == timeline.bottom == 5
    assert len(timeline.ticks()) == 1
