"""`tetrarch attack campaign`: many random schedules on all cores; failures shrunk and kept."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from byzantine.cli.reporting import progress_bar, report, report_options, summarised
from byzantine.cli.saving import Saving
from byzantine.scenario import Scenario
from byzantine.verdicts import Finding, Result, Verdict
from tetrarch.cli.output import INTERRUPTED
from tetrarch.signals import end_like_interrupt

SHRUNK = 5
"""Failures of one campaign that are shrunk: more of them seldom say more."""

SAVED = 200
"""Failures of one campaign that are kept as files: more of them nobody reads."""


@click.command()
@click.option(
    "--schedules", type=click.IntRange(1, 10_000_000), default=2_000, show_default=True, help="How many."
)
@click.option(
    "--first", type=click.IntRange(0, 2**53 - 1), default=0, show_default=True, help="The first seed."
)
@click.option(
    "--kind",
    type=click.Choice(["mixed", "random", "byzzfuzz", "twins"]),
    default="mixed",
    show_default=True,
    help="Random faults and lies; messages mutated by rounds; members that run twice; or all of these.",
)
@click.option(
    "--replicas",
    "-n",
    "sizes",
    type=click.IntRange(4, 64),
    multiple=True,
    help="In each network; several are taken in turn [default: 4].",
)
@click.option(
    "--no-liars", is_flag=True, help="Only faults of networks, clocks, disks and processes (--kind random)."
)
@click.option(
    "--signatures",
    type=click.Choice(["stand-in", "ed25519"]),
    default="stand-in",
    show_default=True,
    help="Cheap ones that liars cannot forge either, or real ones.",
)
@click.option("--processes", type=click.IntRange(1, 256), help="Cores to use [default: all].")
@report_options
def campaign(
    schedules: int,
    first: int,
    kind: str,
    sizes: tuple[int, ...],
    no_liars: bool,
    signatures: str,
    processes: int | None,
    html: Path | None,
    junit: Path | None,
    save: Path | None,
    as_json: bool,
) -> int:
    """Run schedules of work, faults and lies that chance makes, judge each by all oracles, shrink what fails.

    Failures are kept in the directory that --save names: each as it was found, at once, and the first ones as
    small as they get, at the end. Interrupted, the command reports on what has run so far."""
    from byzantine.campaign.kinds import Schedules

    if no_liars and kind != "random":
        raise click.UsageError(
            f"--no-liars: in schedules of --kind {kind} somebody always lies; add --kind random"
        )
    made = Schedules(kind, sizes or (4,), not no_liars, signatures)
    saving = Saving(save, made.of)
    end_like_interrupt()
    began = time.perf_counter()
    results: list[Result] = []
    with progress_bar(schedules, as_json) as advance:
        interrupted = _run(made.take(first, schedules), processes, saving, results, advance)
    summary = summarised("simulated", began, results)
    if interrupted:
        click.echo(f"interrupted after {len(results)} of {schedules} schedules", err=True)
    elif save is not None:
        interrupted = _save_shrunk(summary.failures[:SHRUNK], saving)
    drawn = len(summary.failures[:SHRUNK])
    code = report(summary, saving, html, junit, as_json, drawn, made.command)
    return INTERRUPTED if interrupted else code


def _run(
    scenarios: Iterator[Scenario],
    processes: int | None,
    saving: Saving,
    results: list[Result],
    advance: Callable[[Result], None],
) -> bool:
    """Add results as they come, and keep the first failures; returns whether somebody interrupted it."""
    from byzantine.campaign.parallel import run_all
    from byzantine.campaign.runs import judged, lost

    same: dict[tuple[Finding, ...], tuple[Finding, ...]] = {}
    failed = 0
    try:
        for result in run_all(judged, scenarios, lost, processes):
            advance(result)
            results.append(result.lean(same))
            failed += result.verdict is not Verdict.PASS
            if result.verdict is not Verdict.PASS and failed <= SAVED:
                saving.save([result])
    except KeyboardInterrupt:
        return True
    return False


def _save_shrunk(failures: tuple[Result, ...], saving: Saving) -> bool:
    """Save what failures shrink to; returns whether somebody interrupted it."""
    from byzantine.campaign.runs import judged
    from byzantine.campaign.shrink import same_failure, shrink

    try:
        for result in failures:
            if not saving.why_not:
                small = shrink(saving.scenarios(result), same_failure(judged, result)).scenario
                saving.save_shrunk(judged(small), small)
    except KeyboardInterrupt:
        click.echo("interrupted while failures were shrunk", err=True)
        return True
    return False
