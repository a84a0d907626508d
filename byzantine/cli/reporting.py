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

from byzantine.cli.saving import Saving, Scenarios, writable_directory, writable_file
from byzantine.reports.wording import Replay, replay_command
from byzantine.verdicts import Result, Summary, Verdict, worst
from tetrarch.cli.output import Exit, console, print_json

_FILE = click.Path(path_type=Path, dir_okay=False)

F = TypeVar("F", bound=Callable[..., Any])

DRAWN = 20
"""Runs drawn in an HTML page, unless a command says otherwise: failures first."""


def report_options(command: F) -> F:
    """Add the options by which reports are asked for."""
    save = click.Path(path_type=Path, file_okay=False)
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Machine-readable output."),
        click.option(
            "--save",
            type=save,
            metavar="DIR",
            callback=writable_directory,
            help="Write a replay and a pytest file per failure.",
        ),
        click.option("--junit", type=_FILE, callback=writable_file, help="Write JUnit XML."),
        click.option("--html", type=_FILE, callback=writable_file, help="Write a page with diagrams."),
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
    saving: Saving,
    html: Path | None,
    junit: Path | None,
    as_json: bool,
    drawn: int = DRAWN,
    again: Replay = replay_command,
) -> int:
    """Print and write everything that was asked for; returns the exit code.

    `saving`: saves the failures now, unless it did as they came. `again`: gives the command that repeats
    a run, where it is not that of the catalogue."""
    from byzantine.reports import json_report, terminal

    if as_json:
        print_json(json_report.value(summary))
    else:
        terminal.show(console(), summary, again)
    wrote = _write(junit, lambda: _junit(summary, again))
    if html is not None:
        drew = _write(html, lambda: _page(summary, saving.scenarios, drawn, again))
        if drew and not as_json:
            click.echo(f"Diagrams: {html}")
        wrote = wrote and drew
    if not saving.saved:
        saving.save(summary.failures)
    saving.tell(len(summary.failures), as_json)
    return exit_code(summary.results) or (Exit.FINE if wrote else Exit.USAGE)


def _write(path: Path | None, document: Callable[[], bytes]) -> bool:
    """Write a file, if one was asked for; returns whether there is nothing to complain of, else says it."""
    if path is None:
        return True
    try:
        path.write_bytes(document())
    except OSError as error:
        click.echo(f"tetrarch: {path} was not written: {error.strerror or error}", err=True)
        return False
    return True


def _junit(summary: Summary, again: Replay) -> bytes:
    from byzantine.reports import junit

    return junit.render(summary, again)


def _page(summary: Summary, scenarios: Scenarios, drawn: int, again: Replay) -> bytes:
    from byzantine.campaign.runs import recorded
    from byzantine.reports.html import Run, render

    chosen = [*summary.failures, *(each for each in summary.results if each.verdict is Verdict.PASS)][:drawn]
    simulated = [result for result in chosen if result.runner == "simulated"]
    return render(summary, [Run(*recorded(scenarios(result))) for result in simulated], again).encode()


def exit_code(results: Sequence[Result]) -> int:
    """Return 0 where all passed, 1 where one failed, 4 where one is inconclusive and none failed."""
    verdict = worst(result.verdict for result in results)
    return {Verdict.PASS: Exit.FINE, Verdict.FAIL: Exit.FAILED, Verdict.INCONCLUSIVE: Exit.INCOMPLETE}[
        verdict
    ]
