"""`tetrarch attack list`: the catalogue."""

import json

import click

from tetrarch.cli.output import Exit, console, fail, json_option, print_json


@click.command(name="list")
@click.argument("names", nargs=-1)
@click.option(
    "--behaviours",
    is_flag=True,
    help="Instead: what scenario files are made of, each with its parameters.",
)
@json_option
def list_attacks(names: tuple[str, ...], behaviours: bool, as_json: bool) -> int:
    """Show every attack in a line, or those NAMED in full."""
    from byzantine.attacks.catalogue import ATTACKS, UnknownAttack, find_attack

    if behaviours:
        if names:
            fail(Exit.USAGE, "--behaviours: shows all; attacks are named without it")
        return _list_behaviours(as_json)
    try:
        chosen = [find_attack(name) for name in names] or sorted(
            ATTACKS.values(), key=lambda each: (each.number, each.name)
        )
    except UnknownAttack as error:
        fail(Exit.USAGE, str(error))
    fields = ("name", "number", "group", "does", "attacks", "rule", "source")
    if as_json:
        print_json([{field: getattr(each, field) for field in fields} for each in chosen])
        return Exit.FINE
    screen = console()
    if names:
        for each in chosen:
            screen.print(f"{each.number}. {each.name} ({each.group})", style="bold", markup=False)
            for label, text in (
                ("does", each.does),
                ("attacks", each.attacks),
                ("outcome", each.rule),
                ("source", each.source),
            ):
                screen.print(f"  {label:8} {text}", markup=False)
        return Exit.FINE
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("", justify="right")
    for column in ("name", "group", "attacks", "what the liar does"):
        table.add_column(column, overflow="fold")
    for each in chosen:
        table.add_row(str(each.number), each.name, each.group, each.attacks, each.does)
    screen.print(table)
    screen.print(f"{len(chosen)} attacks. In full: tetrarch attack list NAME", markup=False)
    return Exit.FINE


def _list_behaviours(as_json: bool) -> int:
    from byzantine.known import REGISTERS

    found = [
        (whose, name, dict(kind.parameters), " ".join((kind.__doc__ or "").split()))
        for whose, register in REGISTERS.items()
        for name, kind in sorted(register.items())
    ]
    if as_json:
        print_json([dict(zip(("of", "name", "parameters", "does"), each, strict=True)) for each in found])
        return Exit.FINE
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in ("of a", "name", "parameters", "what it does"):
        table.add_column(column, overflow="fold")
    for whose, name, parameters, does in found:
        table.add_row(
            whose, name, ", ".join(f"{key} = {json.dumps(value)}" for key, value in parameters.items()), does
        )
    console().print(table)
    return Exit.FINE
