"""`tetrarch attack list`: the catalogue."""

import json
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

import click

from tetrarch.cli.output import Exit, console, fail, json_option, print_json, tell

if TYPE_CHECKING:
    from byzantine.attacks.attack import Attack

RULES: Final = 'docs/protocol.md, "The rules that are easy to get wrong".'
"""Where the rules stand that attacks and mutants name by number."""


@click.command(name="list")
@click.argument("names", nargs=-1, metavar="[NAME|GROUP]...")
@click.option(
    "--behaviours",
    is_flag=True,
    help="Instead: what scenario files are made of, each with its parameters.",
)
@json_option
def list_attacks(names: tuple[str, ...], behaviours: bool, as_json: bool) -> int:
    """Show every attack in a line, those of a GROUP, or those NAMED in full."""
    if behaviours:
        if names:
            fail(Exit.USAGE, "--behaviours: shows all; attacks are named without it")
        return _list_behaviours(as_json)
    from byzantine.attacks.catalogue import ATTACKS

    found = _chosen(names) if names else sorted(ATTACKS.values(), key=lambda each: (each.number, each.name))
    if as_json:
        fields = ("name", "number", "group", "does", "attacks", "rule", "source")
        print_json([{field: getattr(each, field) for field in fields} for each in found])
    elif any(name in ATTACKS for name in names):
        _show_in_full(found)
    else:
        _show_lines(found)
    return Exit.FINE


def _chosen(names: Sequence[str]) -> "list[Attack]":
    """Return what names and groups mean, in their order. Ends the command where one means nothing."""
    from byzantine.attacks.catalogue import ATTACKS
    from byzantine.attacks.document import GROUPS

    found: dict[str, Attack] = {}
    for name in names:
        if name not in ATTACKS and name not in GROUPS:
            like = get_close_matches(name, [*ATTACKS, *GROUPS])
            hint = f"; did you mean {' or '.join(like)}?" if like else ""
            line = f"there is no attack and no group called {name!r}{hint}; the groups: {', '.join(GROUPS)}"
            fail(Exit.USAGE, line)
        meant = [each for each in ATTACKS.values() if name in (each.name, each.group)]
        found |= {each.name: each for each in sorted(meant, key=lambda each: (each.number, each.name))}
    return list(found.values())


def _show_in_full(attacks: "Sequence[Attack]") -> None:
    from byzantine.attacks.attack import LETTERS

    screen = console()
    for each in attacks:
        screen.print(f"{each.number}. {each.name} ({each.group})", style="bold", markup=False)
        aims = ", ".join(f"{letter} {LETTERS[letter]}" for letter in each.attacks.split(", "))
        lines = (("does", each.does), ("attacks", aims), ("outcome", each.rule), ("source", each.source))
        for label, text in lines:
            tell(screen, f"{label:8} {text}", "  ")
    if any("(rule" in each.rule for each in attacks):
        tell(screen, f"Rules, by their numbers: {RULES}")


def _show_lines(attacks: "Sequence[Attack]") -> None:
    from byzantine.attacks.attack import LETTERS
    from byzantine.reports.terminal import plain_table, show_table

    table = plain_table()
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("name", no_wrap=True)
    for column in ("group", "attacks", "what the liar does"):
        table.add_column(column, overflow="fold")
    for each in attacks:
        table.add_row(str(each.number), each.name, each.group, each.attacks, each.does)
    screen = console()
    show_table(screen, table)
    tell(screen, "Attacks: " + ", ".join(f"{letter} {words}" for letter, words in LETTERS.items()) + ".")
    tell(screen, f"{len(attacks)} attacks. In full: tetrarch attack list NAME")


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
    from byzantine.reports.terminal import plain_table, show_table

    table = plain_table()
    table.add_column("of a", no_wrap=True)
    table.add_column("name", no_wrap=True)
    for column in ("parameters", "what it does"):
        table.add_column(column, overflow="fold")
    for whose, name, parameters, does in found:
        table.add_row(
            whose, name, ", ".join(f"{key} = {json.dumps(value)}" for key, value in parameters.items()), does
        )
    show_table(console(), table)
    return Exit.FINE
