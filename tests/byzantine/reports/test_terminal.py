import io

import pytest
from rich.console import Console

from byzantine.reports import terminal
from byzantine.verdicts import Finding
from tests.byzantine.reports.traces import INCONCLUSIVE, make_failure, make_result, make_summary


def printed(show, summary, width: int = 80, is_terminal: bool = True, colours: bool = False) -> str:
    out = io.StringIO()
    screen = Console(
        file=out,
        width=width,
        force_terminal=is_terminal,
        color_system="standard" if colours else None,
        highlight=False,
        legacy_windows=False,
    )
    show(screen, summary)
    return out.getvalue()


SUMMARY = make_summary(
    make_result("equivocating-primary", fired={"equivocate": 3, "drop": 1200}, blamed=(0,), liars=(0,)),
    make_failure("two-faced"),
    make_result(
        "a-name-that-is-much-too-long-for-a-table",
        fired={"mute": 0},
        findings=(Finding("liveness", INCONCLUSIVE, "a process was lost " * 8),),
        recovered_ms=None,
    ),
)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("show", [terminal.show_runs, terminal.show_groups])
def test_no_line_is_wider_than_the_terminal(show, width):
    assert all(len(line) <= width for line in printed(show, SUMMARY, width).splitlines())


def test_a_row_tells_what_fired_whether_it_was_safe_and_live_and_who_is_blamed():
    row = next(line for line in printed(terminal.show_runs, SUMMARY, 120).splitlines() if "drop" in line)
    told = "equivocating-primary 4 7 equivocate 3, drop 1,200 yes yes, 870 ms of 10.0 s replica 0 pass"
    assert " ".join(row.split()) == told


def test_a_narrow_terminal_shows_how_often_faults_fired_altogether():
    assert "1,203" in printed(terminal.show_runs, SUMMARY, 80)
    assert "drop" not in printed(terminal.show_runs, SUMMARY, 80)


def test_a_failure_names_its_oracle_the_reason_and_the_command_that_repeats_it():
    text = printed(terminal.show_runs, make_summary(make_failure("two faced", n=7, seed=99)))
    assert "agreement: replicas 2 and 3 stored different blocks at height 2" in text
    assert "tetrarch attack run 'two faced' --replicas 7 --seed 99" in text


def test_the_command_that_repeats_a_run_is_the_callers_where_one_is_given():
    text = printed(
        lambda screen, summary: terminal.show(
            screen, summary, lambda result: "tetrarch attack replay x.json"
        ),
        SUMMARY,
    )
    assert "again: tetrarch attack replay x.json" in text
    assert "attack run" not in text


def test_a_behaviour_that_never_fired_is_named():
    assert "never fired: mute" in printed(terminal.show_runs, SUMMARY)


def test_a_failure_tells_who_fired_what_where_several_could():
    alone = make_failure(fired_by={"member 2": {"mute": 3}})
    assert "fired at" not in printed(terminal.show_runs, make_summary(alone))
    both = make_failure(fired_by={"member 2": {"mute": 3}, "member 5": {"mute": 1_200}})
    assert "fired at member 2: mute 3; member 5: mute 1,200" in printed(
        terminal.show_runs, make_summary(both)
    )


def test_the_totals_count_inconclusive_runs_apart_and_tell_the_pace():
    text = printed(terminal.show_runs, SUMMARY)
    assert "3 schedules in 1.5 s, 120 per minute: 1 passed, 1 failed, 1 inconclusive" in text


def test_nothing_that_ran_is_no_pass():
    assert "no pass" in printed(terminal.show, make_summary())


def test_without_a_terminal_nothing_is_cut_wrapped_or_coloured():
    text = printed(terminal.show_runs, SUMMARY, is_terminal=False)
    assert "a-name-that-is-much-too-long-for-a-table" in text
    assert ("a process was lost " * 8).strip() in text
    assert "\x1b" not in text


def test_colours_are_left_out_where_no_color_is_set(monkeypatch):
    assert "\x1b[" in printed(terminal.show_runs, SUMMARY, colours=True)
    monkeypatch.setenv("NO_COLOR", "1")
    text = printed(terminal.show_runs, SUMMARY, colours=True)
    assert "\x1b[3" not in text
    assert "\x1b[1;3" not in text


def test_thousands_of_runs_are_a_row_per_scenario():
    runs = [make_result("mute", seed=seed, n=4 + 3 * (seed % 2), recovered_ms=seed) for seed in range(2001)]
    text = printed(terminal.show, make_summary(*runs, make_failure("two-faced")), 120)
    row = next(line for line in text.splitlines() if line.startswith("mute"))
    assert " ".join(row.split()) == "mute 4 7 2,001 20 6,003 2,001 0 0 1.0 s 2.0 s"
    assert len(text.splitlines()) < 15


def test_of_many_failures_the_first_are_explained_and_the_rest_counted():
    text = printed(terminal.show, make_summary(*[make_failure(seed=seed) for seed in range(100)]))
    assert text.count("again:") == terminal.MAX_EXPLAINED
    assert f"and {100 - terminal.MAX_EXPLAINED} more" in text


def test_names_cannot_move_the_cursor_or_add_markup():
    text = printed(
        terminal.show_runs, make_summary(make_failure("[red]x\x1b[2J\u202ey", fired={"a\x07b": 1})), 120
    )
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text
    assert "[red]x" in text
