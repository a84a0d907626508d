"""`tetrarch attack campaign`: many random schedules on all cores; failures shrunk and kept."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from byzantine.cli.reporting import progress_bar, report, report_options, save_failures, summarised
from byzantine.scenario import Scenario
from byzantine.verdicts import Finding, Result, Verdict
from tetrarch.cli.output import INTERRUPTED, end_like_interrupt

if TYPE_CHECKING:
    from byzantine.campaign.kinds import Schedules

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
    from byzantine.campaign.parallel import run_all
    from byzantine.campaign.runs import judged, lost

    if no_liars and kind != "random":
        raise click.UsageError(
            f"--no-liars: in schedules of --kind {kind} somebody always lies; add --kind random"
        )
    made = Schedules(kind, sizes or (4,), not no_liars, signatures)

    def scenario_of(result: Result) -> Scenario:
        return made.again(result.name, result.n, result.seed)

    def again(result: Result) -> str:
        size = "" if result.n == 4 else f" -n {result.n}"
        more = (
            f"{size}{' --no-liars' if no_liars else ''}{' --signatures ed25519' * (signatures == 'ed25519')}"
        )
        return f"tetrarch attack campaign --kind {result.name} --first {result.seed} --schedules 1{more}"

    end_like_interrupt()
    began = time.perf_counter()
    results: list[Result] = []
    same: dict[tuple[Finding, ...], tuple[Finding, ...]] = {}
    failed, interrupted = 0, False
    with progress_bar(schedules, as_json) as advance:
        try:
            for result in run_all(judged, made.take(first, schedules), lost, processes):
                advance(result)
                results.append(result.lean(same))
                if result.verdict is not Verdict.PASS:
                    failed += 1
                    if save is not None and failed <= SAVED:
                        save_failures([result], scenario_of, save)
        except KeyboardInterrupt:
            interrupted = True
    summary = summarised("simulated", began, results)
    if interrupted:
        click.echo(f"interrupted after {len(results)} of {schedules} schedules", err=True)
    elif save is not None:
        _save_shrunk(summary.failures[:SHRUNK], made, save)
    drawn = len(summary.failures[:SHRUNK])
    code = report(summary, scenario_of, html, junit, None, as_json, drawn, again)
    return INTERRUPTED if interrupted else code


def _save_shrunk(failures: tuple[Result, ...], made: "Schedules", directory: Path) -> None:
    from byzantine.campaign.runs import judged
    from byzantine.campaign.shrink import same_failure, shrink

    for result in failures:
        scenario = made.again(result.name, result.n, result.seed)
        small = shrink(scenario, same_failure(judged, result)).scenario
        save_failures([judged(small)], lambda _result, small=small: small, directory / "shrunk")  # type: ignore[misc]
