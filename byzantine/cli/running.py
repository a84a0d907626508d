"""`tetrarch attack run`: stages attacks by name, or scenarios in files."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import click
from msgspec import structs

from byzantine.cli.reporting import progress_bar, report, report_options, summarised
from byzantine.cli.saving import Saving
from byzantine.reports.wording import replay_command
from byzantine.scenario import Scenario
from byzantine.verdicts import Result
from tetrarch.cli.output import Exit, fail
from tetrarch.signals import end_like_interrupt

FILES = ".toml"
"""How the name of a scenario file ends."""


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME|FILE.toml]...")
@click.option("--all", "everything", is_flag=True, help="The whole catalogue.")
@click.option("--group", "groups", multiple=True, help="All of one group (may be given several times).")
@click.option(
    "--runner",
    type=click.Choice(["simulated", "processes", "mqtt"]),
    default="simulated",
    show_default=True,
    help="In the simulator, or on real replica processes over TCP and TLS.",
)
@click.option(
    "--replicas",
    "-n",
    "sizes",
    type=click.IntRange(4, 64),
    multiple=True,
    help="How many; a file says it itself [default: 4].",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**53 - 1), help="The first seed [default: 0, or what a file says]."
)
@click.option(
    "--seeds", type=click.IntRange(1, 100_000), default=1, show_default=True, help="How many seeds."
)
@click.option("--processes", type=click.IntRange(1, 256), help="Cores to use [default: all].")
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="With --runner processes: keep each run's network in DIR, with its stores, logs and genesis.",
)
@report_options
def run(
    names: tuple[str, ...],
    everything: bool,
    groups: tuple[str, ...],
    runner: str,
    sizes: tuple[int, ...],
    seed: int | None,
    seeds: int,
    processes: int | None,
    keep: Path | None,
    html: Path | None,
    junit: Path | None,
    save: Path | None,
    as_json: bool,
) -> int:
    """Stage attacks and judge what comes of each: whether it happened, whether the network stayed safe, how
    soon it recovered, and who is blamed."""
    if keep is not None and runner == "simulated":
        fail(
            Exit.USAGE, "--keep: only runs on processes leave something: give --runner processes or mqtt too"
        )
    files = load_files(names)
    if files and sizes:
        fail(Exit.USAGE, f"-n: {files[0][1]} says itself how many replicas it has")
    scenarios = [
        *from_files(files, seed, seeds),
        *chosen(names, everything, groups, sizes or (4,), range(seed or 0, (seed or 0) + seeds)),
    ]
    by_key = _by_key(scenarios)
    paths = {each.name: path for each, path in files}

    def again(result: Result) -> str:
        path = paths.get(result.name)
        return replay_command(result, None if path is None else str(path))

    began = time.perf_counter()
    with progress_bar(len(scenarios), as_json) as advance:
        results = list(_told(_run(scenarios, runner, processes, keep), advance))
    summary = summarised(runner, began, results)
    saving = Saving(save, lambda result: by_key[result.name, result.n, result.seed])
    return report(summary, saving, html, junit, as_json, again=again)


def _told(results: Iterator[Result], advance: Callable[[Result], object]) -> Iterator[Result]:
    for result in results:
        advance(result)
        yield result


def _by_key(scenarios: Sequence[Scenario]) -> dict[tuple[str, int, int], Scenario]:
    """Return scenarios as results name them. Ends the command where two have one name."""
    found: dict[tuple[str, int, int], Scenario] = {}
    for each in scenarios:
        if found.setdefault((each.name, each.replicas, each.seed), each) is not each:
            fail(Exit.USAGE, f"name: two of these scenarios are called {each.name!r}")
    return found


def _run(
    scenarios: Sequence[Scenario], runner: str, processes: int | None, keep: Path | None
) -> Iterator[Result]:
    if runner != "simulated":
        from byzantine.runners.processes import kept_in, run_on_processes

        end_like_interrupt()
        # One at a time: a network of its own for each fills a small machine.
        for scenario in scenarios:
            yield run_on_processes(scenario, kept_in(keep, scenario), keep is not None, runner=runner)
        return
    from byzantine.campaign.parallel import run_all
    from byzantine.campaign.runs import judged, lost

    number = 1 if len(scenarios) < 4 else processes
    yield from run_all(judged, scenarios, lost, number, chunk=max(1, min(8, len(scenarios) // 16)))


def load_files(names: Sequence[str]) -> list[tuple[Scenario, Path]]:
    """Return the scenarios in files, and which is in which. Ends the command where one cannot be used."""
    from byzantine.scenario_file import REPLAYED, UnusableFile, load_scenario

    for name in names:
        if name.endswith(".json"):
            fail(Exit.USAGE, f"{name}: is no scenario file. {REPLAYED}")
        if not name.endswith(FILES) and os.sep in name:
            fail(Exit.USAGE, f"{name}: is no name of an attack; the names of scenario files end in {FILES}")
    try:
        paths = [Path(name) for name in dict.fromkeys(names) if name.endswith(FILES)]
        return [(load_scenario(path), path) for path in paths]
    except UnusableFile as error:
        fail(Exit.USAGE, str(error))


def from_files(files: Iterable[tuple[Scenario, Path]], seed: int | None, seeds: int) -> Iterator[Scenario]:
    """Yield each with its own seed and those after it, or from `seed` on."""
    for scenario, _ in files:
        first = scenario.seed if seed is None else seed
        for number in range(first, first + seeds):
            yield structs.replace(scenario, seed=number)


def chosen(
    names: Sequence[str], everything: bool, groups: Sequence[str], sizes: Sequence[int], seeds: Sequence[int]
) -> list[Scenario]:
    """Return the catalogue's scenarios that the arguments mean. Ends the command where one means nothing."""
    from byzantine.attacks.catalogue import ATTACKS, UnknownAttack, find_attack

    known = {each.group for each in ATTACKS.values()}
    wrong = [group for group in groups if group not in known]
    if wrong:
        fail(Exit.USAGE, f"--group: there is no group {wrong[0]!r}: {', '.join(sorted(known))}")
    if not (names or everything or groups):
        fail(Exit.USAGE, "name attacks or files, or give --all or --group; `tetrarch attack list` shows them")
    attacks = [each for each in ATTACKS.values() if everything or each.group in groups]
    try:
        attacks += [find_attack(name) for name in names if not name.endswith(FILES)]
    except UnknownAttack as error:
        fail(Exit.USAGE, str(error))
    return [attack.scenario(n, seed) for attack in dict.fromkeys(attacks) for n in sizes for seed in seeds]
