"""`tetrarch status`: what every replica says it is doing."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tetrarch.cli.output import NOT_RUNNING, Exit, console, json_option, print_json
from tetrarch.layout import NODE_FILE

if TYPE_CHECKING:
    from tetrarch.client.states import ReplicaStatus

HEAD_CHARACTERS = 12


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@json_option
def status(directory: Path, as_json: bool) -> int:
    """Show view, height, head and lag of every replica. DIR is a network, or its client.toml; or a replica's
    own directory or node.toml, and then this replica alone is asked, where it listens.

    Replicas say this of themselves; nothing of it is proven. Exit code 3 if fewer answer than a client has to
    hear to believe, 4 if some do not. Of a single replica: 1 if it has halted, 3 if it does not answer.
    """
    if directory.name == NODE_FILE or (directory / NODE_FILE).is_file():
        return _status_of_one(directory, as_json)
    from consensus.quorum import Quorums
    from tetrarch.cli.connect import dialer_of, genesis_of
    from tetrarch.event_loop import run
    from tetrarch.survey import survey

    genesis = genesis_of(directory)
    reports = run(survey(genesis, dialer_of(directory)))
    if as_json:
        print_json(rows(reports))
    else:
        show(reports)
    reached = sum(report.reply is not None for report in reports)
    if reached < Quorums.byzantine(len(reports)).weak:
        click.echo(NOT_RUNNING, err=True)
        return Exit.UNREACHABLE
    return Exit.FINE if reached == len(reports) else Exit.INCOMPLETE


def _status_of_one(directory: Path, as_json: bool) -> int:
    from tetrarch.client.tls import Endpoint, TlsDialer
    from tetrarch.client.tuning import Tuning
    from tetrarch.config import load_door
    from tetrarch.event_loop import run
    from tetrarch.survey import ask
    from tetrarch.trust import TrustRoot

    door = load_door(directory)
    endpoints = {door.member: Endpoint(door.address, door.certificate)}
    dialer = TlsDialer(endpoints, TrustRoot.of(door.genesis), Tuning())
    report = run(ask(door.member, door.genesis.members[door.member].name, dialer))
    if as_json:
        print_json(rows([report]))
    else:
        show([report])
    if report.reply is None:
        return Exit.UNREACHABLE
    return Exit.FAILED if report.reply.halted else Exit.FINE


def rows(reports: "Sequence[ReplicaStatus]") -> list[dict[str, Any]]:
    """Return what is known of every replica, as plain values; `null` where it does not answer."""
    highest = max((report.reply.height for report in reports if report.reply), default=0)
    return [_row(report, highest) for report in reports]


def _row(report: "ReplicaStatus", highest: int) -> dict[str, Any]:
    reply = report.reply
    row: dict[str, Any] = {"id": report.member, "name": report.name, "reachable": reply is not None}
    if reply is None:
        keys = ("view", "height", "head", "state_root", "lag", "role")
        return row | dict.fromkeys(keys) | {"cause": report.cause}
    return row | {
        "view": reply.view,
        "height": reply.height,
        "head": reply.head.hex(),
        "state_root": reply.state_root.hex(),
        "lag": highest - reply.height,
        "role": reply.role,
        "leader": reply.leader,
        "stable": reply.stable,
        "last_vote": reply.last_vote,
        "pending": reply.pending,
        "waiting_for": reply.waiting_for,
        "halted": reply.halted,
        "block_time": reply.block_time,
        "peers": list(reply.peers),
        "ignored": dict(reply.ignored),
        "memory_mb": round(reply.resident_bytes / 1e6, 1),
        "uptime_s": reply.uptime_ms / 1000,
    }


def show(reports: "Sequence[ReplicaStatus]") -> None:
    """Print the table."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("replica", no_wrap=True)
    for name in ("role", "view", "height", "lag", "voted", "head", "peers", "memory"):
        table.add_column(name, justify="left" if name in ("role", "head") else "right", no_wrap=True)
    for row in rows(reports):
        if not row["reachable"]:
            table.add_row(row["name"], "[red]unreachable[/]", *[""] * 7)
            continue
        style = {"primary": "bold green", "backup": "green", "halted": "red"}.get(row["role"], "yellow")
        table.add_row(
            row["name"],
            f"[{style}]{row['role']}[/]",
            str(row["view"]),
            f"{row['height']:,}",
            f"{row['lag']:,}" if not row["lag"] else f"[yellow]{row['lag']:,}[/]",
            f"{row['last_vote']:,}",
            row["head"][:HEAD_CHARACTERS],
            f"{sum(row['peers']) - 1}/{len(row['peers']) - 1}",
            f"{row['memory_mb']:.0f} MB",
        )
    console().print(table)
    for row in rows(reports):
        if not row["reachable"]:
            click.echo(f"{row['name']}: {row['cause']}", err=True)
        elif row["halted"]:
            click.echo(f"{row['name']} takes no part: {row['halted']}", err=True)
