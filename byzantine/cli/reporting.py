"""What the commands of `tetrarch attack` share: progress, reports in all forms, exit codes.

What lives here: from results to what is printed and written. What must not be known here: where results come
from.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from byzantine.scenario import Scenario
from byzantine.verdicts import Result, Summary, Verdict, worst
from tetrarch.cli.output import Exit, console, print_json

_FILE = click.Path(path_type=Path, dir_okay=False)

F = TypeVar("F", bound=Callable[..., Any])

Scenarios = Callable[[Result], Scenario]
"""Gives the scenario that a result is of."""

DRAWN = 20
"""Runs drawn in an HTML page, unless a command says otherwise: failures first."""


def report_options(command: F) -> F:
    """Add the options by which reports are asked for."""
    save = click.Path(path_type=Path, file_okay=False)
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Machine-readable output."),
        click.option(
            "--save", type=save, metavar="DIR", help="Write a replay and a pytest file per failure."
        ),
        click.option("--junit", type=_FILE, help="Write JUnit XML."),
        click.option("--html", type=_FILE, help="Write a page with diagrams."),
    ):
        command = option(command)
    return command


@contextmanager
def progress_bar(total: int, quiet: bool) -> Iterator[Callable[[Result], None]]:
    """Show how many runs are done and how many failed, while a block runs; on a terminal only."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    failed = 0
    screen = console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=quiet or not screen.is_terminal,
    ) as bars:
        task = bars.add_task("runs", total=total)

        def advance(result: Result) -> None:
            nonlocal failed
            failed += result.verdict is not Verdict.PASS
            bars.update(task, advance=1, description=f"runs, {failed} failed" if failed else "runs")

        yield advance


def summarised(runner: str, began: float, results: Iterable[Result]) -> Summary:
    """Return the summary of results, in a fixed order."""
    from byzantine.campaign.replay import this_commit, this_version

    ordered = sorted(results, key=lambda result: (result.name, result.n, result.seed))
    return Summary(this_version(), this_commit(), runner, time.perf_counter() - began, tuple(ordered))


def report(
    summary: Summary,
    scenarios: Scenarios,
    html: Path | None,
    junit: Path | None,
    save: Path | None,
    as_json: bool,
    drawn: int = DRAWN,
    again: Callable[[Result], str] | None = None,
) -> int:
    """Print and write everything that was asked for; returns the exit code. Raises `OSError`.

    `again`: gives the command that repeats a run, where it is not `tetrarch attack run`."""
    from byzantine.reports import json_report, terminal
    from byzantine.reports.wording import replay_command

    if save is not None and summary.failures:
        save_failures(summary.failures, scenarios, save)
    if junit is not None:
        from byzantine.reports import junit as junit_report

        junit.write_bytes(junit_report.render(summary))
    if html is not None:
        html.write_text(_page(summary, scenarios, drawn))
    if as_json:
        print_json(json_report.value(summary))
    else:
        terminal.show(console(), summary, again or replay_command)
        if html is not None:
            click.echo(f"Diagrams: {html}")
    return exit_code(summary.results)


def _page(summary: Summary, scenarios: Scenarios, drawn: int) -> str:
    from byzantine.campaign.runs import recorded
    from byzantine.reports.html import Run, render

    chosen = [*summary.failures, *(each for each in summary.results if each.verdict is Verdict.PASS)][:drawn]
    simulated = [result for result in chosen if result.runner == "simulated"]
    return render(summary, [Run(*recorded(scenarios(result))) for result in simulated])


def save_failures(failures: Sequence[Result], scenarios: Scenarios, directory: Path) -> None:
    """Write a replay file and a pytest file for each failure. Raises `OSError`."""
    from byzantine.campaign.replay import as_test, replay_of, save_replay
    from byzantine.campaign.runs import recorded
    from byzantine.trace import fingerprint

    directory.mkdir(parents=True, exist_ok=True)
    for result in failures:
        scenario = scenarios(result)
        trace = fingerprint(recorded(scenario)[1]) if result.runner == "simulated" else ""
        replay = replay_of(scenario, result, trace)
        name = f"{result.name}-n{result.n}-seed{result.seed}"
        save_replay(replay, directory / f"{name}.replay.json")
        (directory / f"test_{name.replace('-', '_')}.py").write_text(as_test(replay))


def exit_code(results: Sequence[Result]) -> int:
    """Return 0 where all passed, 1 where one failed, 4 where one is inconclusive and none failed."""
    verdict = worst(result.verdict for result in results)
    return {Verdict.PASS: Exit.FINE, Verdict.FAIL: Exit.FAILED, Verdict.INCONCLUSIVE: Exit.INCOMPLETE}[
        verdict
    ]
