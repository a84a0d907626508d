"""`tetrarch attack mutants`: each rule of the protocol broken, and whether the campaign notices."""

import time
from functools import partial
from math import isnan
from typing import TYPE_CHECKING

import click

from byzantine.cli.listing import RULES
from tetrarch.cli.output import Exit, console, fail, json_option, print_json, tell

if TYPE_CHECKING:
    from byzantine.campaign.hunting import Hunted
    from byzantine.mutants import Mutant


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--patience",
    type=click.FloatRange(0.1, 36_000),
    default=60.0,
    show_default=True,
    help="Seconds of a core for which a mutant is hunted before it counts as survivor.",
)
@click.option("--processes", type=click.IntRange(1, 256), help="Cores to use [default: all].")
@click.option("--list", "listing", is_flag=True, help="Only show which there are.")
@json_option
def mutants(
    names: tuple[str, ...], patience: float, processes: int | None, listing: bool, as_json: bool
) -> int:
    """Break one rule at a time in every replica, and run the campaign until an oracle notices."""
    from byzantine.campaign.hunting import hunt, lost
    from byzantine.campaign.parallel import run_all
    from byzantine.mutants import MUTANTS, MutantError, mutant_named

    if isnan(patience):
        fail(Exit.USAGE, "--patience: is no number")
    try:
        chosen = [mutant_named(name) for name in names] or list(MUTANTS.values())
    except MutantError as error:
        fail(Exit.USAGE, str(error))
    if listing:
        return _list(chosen, as_json)
    began = time.perf_counter()
    hunted: list[Hunted] = []
    screen = console(stderr=True)
    for one in run_all(
        partial(hunt, patience_s=patience), [each.name for each in chosen], lost, processes, chunk=1
    ):
        hunted.append(one)
        if not as_json:
            said = f"killed by {one.scenario} ({one.oracle})" if one.killed else "SURVIVED"
            line = f"{len(hunted):3}/{len(chosen)} {one.mutant}: {said}, {one.runs} runs, {one.seconds:.1f} s"
            screen.print(line, markup=False)
    return _report(hunted, time.perf_counter() - began, as_json)


def _report(hunted: "list[Hunted]", seconds: float, as_json: bool) -> int:
    survivors = sorted(one.mutant for one in hunted if not one.killed)
    if as_json:
        print_json(
            {
                "total": len(hunted),
                "killed": len(hunted) - len(survivors),
                "survivors": survivors,
                "seconds": round(seconds, 1),
                "mutants": [
                    {field: getattr(one, field) for field in one.__struct_fields__}
                    for one in sorted(hunted, key=lambda one: one.mutant)
                ],
            }
        )
    else:
        killed = len(hunted) - len(survivors)
        console().print(f"{killed} of {len(hunted)} mutants killed in {seconds:.0f} s", markup=False)
        for name in survivors:
            console().print(f"  survived: {name}", markup=False)
    return Exit.FAILED if survivors else Exit.FINE


def _list(chosen: "list[Mutant]", as_json: bool) -> int:
    if as_json:
        print_json([{"name": each.name, "rules": each.rules, "breaks": each.breaks} for each in chosen])
        return Exit.FINE
    from byzantine.reports.terminal import plain_table, show_table

    table = plain_table()
    table.add_column("rule", justify="right", no_wrap=True)
    table.add_column("mutant", no_wrap=True)
    table.add_column("what is broken", overflow="fold")
    for each in sorted(chosen, key=lambda mutant: (mutant.rules, mutant.name)):
        table.add_row(", ".join(map(str, each.rules)), each.name, each.breaks)
    screen = console()
    show_table(screen, table)
    tell(screen, f"Rules, by their numbers: {RULES}")
    return Exit.FINE
