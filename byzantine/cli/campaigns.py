"""`tetrarch attack campaign`: many random schedules on all cores; failures shrunk and kept."""

import time
from collections.abc import Iterator
from pathlib import Path

import click

from byzantine.cli.reporting import progress_bar, report, report_options, save_failures, summarised
from byzantine.scenario import Scenario
from byzantine.verdicts import Result

SHRUNK = 5
"""Failures of one campaign that are shrunk: more of them seldom say more."""


@click.command()
@click.option(
    "--schedules", type=click.IntRange(1, 10_000_000), default=2_000, show_default=True, help="How many."
)
@click.option(
    "--first", type=click.IntRange(0, 2**53 - 1), default=0, show_default=True, help="The first seed."
)
@click.option(
    "--replicas", "-n", type=click.IntRange(4, 64), default=4, show_default=True, help="In each network."
)
@click.option("--no-liars", is_flag=True, help="Only faults of networks, clocks, disks and processes.")
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
    replicas: int,
    no_liars: bool,
    signatures: str,
    processes: int | None,
    html: Path | None,
    junit: Path | None,
    save: Path | None,
    as_json: bool,
) -> int:
    """Run random schedules of work, faults and lies, judge each by all oracles, and shrink what fails.

    Failures are kept in the directory that --save names, as they were found and as small as they get."""
    from byzantine.campaign.generator import random_scenario
    from byzantine.campaign.parallel import run_all
    from byzantine.campaign.runs import judged

    def scenario_of(seed: int) -> Scenario:
        return random_scenario(seed, replicas, not no_liars, signatures)

    def scenarios() -> Iterator[Scenario]:
        return map(scenario_of, range(first, first + schedules))

    began = time.perf_counter()
    results = []
    with progress_bar(schedules, as_json) as advance:
        for result in run_all(judged, scenarios(), processes):
            advance(result)
            results.append(result)
    summary = summarised("simulated", began, results)
    if save is not None:
        _save_shrunk(summary.failures[:SHRUNK], scenario_of, save)
    return report(
        summary,
        lambda result: scenario_of(result.seed),
        html,
        junit,
        save,
        as_json,
        drawn=len(summary.failures[:SHRUNK]),
    )


def _save_shrunk(failures: tuple[Result, ...], scenario_of: "object", directory: Path) -> None:
    from byzantine.campaign.runs import judged
    from byzantine.campaign.shrink import same_failure, shrink

    for result in failures:
        small = shrink(scenario_of(result.seed), same_failure(judged, result)).scenario  # type: ignore[operator]
        save_failures([judged(small)], lambda _result, small=small: small, directory / "shrunk")  # type: ignore[misc]
