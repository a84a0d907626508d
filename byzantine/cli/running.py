"""`tetrarch attack run`: stages attacks by name, or scenarios in files."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from byzantine.cli.reporting import progress_bar, report, report_options, summarised
from byzantine.scenario import Scenario
from byzantine.verdicts import Result
from tetrarch.cli.output import Exit, end_like_interrupt, fail


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME|FILE.toml]...")
@click.option("--all", "everything", is_flag=True, help="The whole catalogue.")
@click.option("--group", "groups", multiple=True, help="All of one group (may be given several times).")
@click.option(
    "--runner",
    type=click.Choice(["simulated", "processes"]),
    default="simulated",
    show_default=True,
    help="In the simulator, or on real replica processes over TCP and TLS.",
)
@click.option(
    "--replicas", "-n", "sizes", type=click.IntRange(4, 64), multiple=True, help="How many [default: 4]."
)
@click.option(
    "--seed", type=click.IntRange(0, 2**53 - 1), default=0, show_default=True, help="The first seed."
)
@click.option(
    "--seeds", type=click.IntRange(1, 100_000), default=1, show_default=True, help="How many seeds."
)
@click.option("--processes", type=click.IntRange(1, 256), help="Cores to use [default: all].")
@report_options
def run(
    names: tuple[str, ...],
    everything: bool,
    groups: tuple[str, ...],
    runner: str,
    sizes: tuple[int, ...],
    seed: int,
    seeds: int,
    processes: int | None,
    html: Path | None,
    junit: Path | None,
    save: Path | None,
    as_json: bool,
) -> int:
    """Stage attacks and judge what comes of each: whether it happened, whether the network stayed safe, how
    soon it recovered, and who is blamed."""
    scenarios = chosen(names, everything, groups, sizes or (4,), range(seed, seed + seeds))
    by_key = {(each.name, each.replicas, each.seed): each for each in scenarios}
    began = time.perf_counter()
    with progress_bar(len(scenarios), as_json) as advance:
        results = []
        for result in _run(scenarios, runner, processes):
            advance(result)
            results.append(result)
    summary = summarised(runner, began, results)
    return report(
        summary, lambda result: by_key[result.name, result.n, result.seed], html, junit, save, as_json
    )


def _run(scenarios: Sequence[Scenario], runner: str, processes: int | None) -> Iterator[Result]:
    if runner == "processes":
        from byzantine.runners.processes import run_on_processes

        end_like_interrupt()
        # One at a time: a network of its own for each fills a small machine.
        yield from map(run_on_processes, scenarios)
        return
    from byzantine.campaign.parallel import run_all
    from byzantine.campaign.runs import judged, lost

    number = 1 if len(scenarios) < 4 else processes
    yield from run_all(judged, scenarios, lost, number, chunk=max(1, min(8, len(scenarios) // 16)))


def chosen(
    names: Sequence[str], everything: bool, groups: Sequence[str], sizes: Sequence[int], seeds: Sequence[int]
) -> list[Scenario]:
    """Return the scenarios that the arguments mean. Ends the command where one means nothing."""
    from byzantine.attacks.catalogue import ATTACKS, UnknownAttack, find_attack
    from byzantine.scenario_file import UnusableFile, load_scenario

    known = {each.group for each in ATTACKS.values()}
    wrong = [group for group in groups if group not in known]
    if wrong:
        fail(Exit.USAGE, f"--group: there is no group {wrong[0]!r}: {', '.join(sorted(known))}")
    if not (names or everything or groups):
        fail(Exit.USAGE, "name attacks or files, or give --all or --group; `tetrarch attack list` shows them")
    attacks = [each for each in ATTACKS.values() if everything or each.group in groups]
    scenarios: list[Scenario] = []
    try:
        for name in names:
            if name.endswith(".toml"):
                scenarios.append(load_scenario(Path(name)))
            else:
                attacks.append(find_attack(name))
    except (UnknownAttack, UnusableFile) as error:
        fail(Exit.USAGE, str(error))
    for attack in dict.fromkeys(attacks):
        scenarios += [attack.scenario(n, seed) for n in sizes for seed in seeds]
    return scenarios
