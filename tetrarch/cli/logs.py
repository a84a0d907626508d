"""`tetrarch logs`: one transaction's way through all replicas, out of their logs."""

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tetrarch.cli.output import Exit, console, fail, json_option, print_json, printable

if TYPE_CHECKING:
    from tetrarch.tracing import TxEvent

_ID = re.compile(r"[0-9a-f]{64}")

NOT_FOLLOWED = (
    "The logs say nothing of it. Replicas write of single transactions where node.toml says so:\n"
    '[trace] transactions = "all", or the first digits of ids. SIGUSR2 has a running replica read that anew.'
)


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--tx", "tx_id", required=True, metavar="TXID", help="The transaction to follow.")
@json_option
def logs(directory: Path, tx_id: str, as_json: bool) -> int:
    """Tell what happened to one transaction, in order of time. DIR is a network, or one replica's directory.

    Read from the replicas' logs, with the times of their machines' clocks. Exit code 4 if they say nothing of
    it.
    """
    from tetrarch.tracing import replica_directories, story

    wanted = tx_id.lower()
    if not _ID.fullmatch(wanted):
        fail(Exit.USAGE, f"--tx {tx_id!r}: a transaction's id is 64 hexadecimal digits")
    told = story(replica_directories(directory), wanted)
    if as_json:
        for event in told.events:
            print_json(_plain(event))
    elif told.events:
        _show(told.events)
    if told.unreadable:
        click.echo(f"{told.unreadable} lines name it and cannot be understood", err=True)
    if not told.events:
        click.echo(NOT_FOLLOWED, err=True)
        return Exit.INCOMPLETE
    return Exit.FINE


def _plain(event: "TxEvent") -> dict[str, Any]:
    # In this order: what every event has cannot be taken for a detail, whatever a log says.
    return {**event.details, "time": event.time, "replica": event.replica, "event": event.event}


def _show(events: "tuple[TxEvent, ...]") -> None:
    """Print the table: the time of the first event, and how much later the others were."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("after", "replica", "event", "details"):
        table.add_column(name, justify="right" if name == "after" else "left", no_wrap=name != "details")
    first = _moment(events[0])
    for event in events:
        name = event.event.removeprefix("tx_")
        style = _STYLES.get(name, "")
        details = ", ".join(f"{printable(key)} {_word(value)}" for key, value in event.details.items())
        after = "" if first is None else _after(first, _moment(event))
        who, what = Text(printable(event.replica)), Text(printable(name), style)
        table.add_row(Text(after, "dim"), who, what, Text(details))
    screen = console()
    screen.print(f"from {printable(events[0].time)}", markup=False)
    screen.print(table)


_STYLES = {
    "refused": "red",
    "expired": "red",
    "executed": "green",
    "replied": "bold green",
    "proposed": "cyan",
}


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return printable(str(value))


def _moment(event: "TxEvent") -> datetime | None:
    try:
        return datetime.fromisoformat(event.time)
    except ValueError:
        return None


def _after(first: datetime, moment: datetime | None) -> str:
    """Return how long after the first event one came, in ms."""
    try:
        return "" if moment is None else f"+{(moment - first).total_seconds() * 1000:,.1f} ms"
    except TypeError:  # one with a time zone and one without
        return ""
