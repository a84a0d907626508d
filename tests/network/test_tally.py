"""Rules of the tally: everything is counted, and a flood of one reason is a few lines."""

import logging

import pytest

from network.tally import LINE_INTERVAL_S, MAX_REASONS, Tally


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def tally() -> tuple[Tally, list[tuple[str, dict]], Clock]:
    lines: list[tuple[str, dict]] = []
    clock = Clock()
    return Tally(lambda name, /, **facts: lines.append((name, facts)), clock), lines, clock


def test_everything_is_counted_by_reason() -> None:
    counting, lines, _ = tally()
    counting.count("a")
    counting.count("b", 3)
    counting.note("a")
    assert counting.counts == {"a": 2, "b": 3}
    assert lines == [("a", {})]


def test_a_flood_of_one_reason_is_one_line_now_and_one_later_that_tells_how_many_were_left_out() -> None:
    counting, lines, clock = tally()
    for _ in range(1_000):
        counting.note("knock", remote="somewhere")
    clock.now = LINE_INTERVAL_S
    counting.note("knock", remote="elsewhere")
    assert lines == [
        ("knock", {"remote": "somewhere"}),
        ("knock", {"remote": "elsewhere", "also_unwritten": 999}),
    ]
    assert counting.counts == {"knock": 1_001}


def test_lines_about_one_member_hide_none_about_another() -> None:
    counting, lines, _ = tally()
    for member in (1, 2, 1, 2):
        counting.note("dial_failed", member=member)
    assert [facts["member"] for _, facts in lines] == [1, 2]


def test_the_number_of_distinct_reasons_is_bounded() -> None:
    counting, _, _ = tally()
    for number in range(2 * MAX_REASONS):
        counting.count(f"reason {number}")
    assert len(counting.counts) == MAX_REASONS + 1
    assert counting.counts["other"] == MAX_REASONS


def test_without_another_wish_lines_go_to_the_standard_logger(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tetrarch.network"):
        Tally().note("silent", member=3, why="nothing for 5000 ms")
    assert caplog.messages == ["silent member=3 why=nothing for 5000 ms"]
