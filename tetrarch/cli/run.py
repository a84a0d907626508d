"""`tetrarch up`, `down`, `node` and `dev`: replicas as processes."""

import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tetrarch.cli.connect import ask_password
from tetrarch.cli.output import Exit, console, error_line, fail, json_option, print_json

if TYPE_CHECKING:
    from tetrarch.processes import LocalNetwork
    from tetrarch.survey import Report

UP_SECONDS = 60.0
"""How long all replicas together may take to answer. A store of 100,000 blocks opens in some seconds."""

PAUSE_SECONDS = 0.1


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--timeout", type=click.FloatRange(1, 3600), default=UP_SECONDS, show_default=True, help="Seconds."
)
@json_option
def up(directory: Path, timeout: float, as_json: bool) -> int:
    """Run all replicas of the network in DIR on this machine, as processes that go on when this one ends.

    Replicas that run already are left alone. Ends as soon as all of them answer.
    """
    from tetrarch.cli.status import show
    from tetrarch.processes import LocalNetwork

    network = LocalNetwork(directory)
    network.require_all()
    reports = start_and_wait(network, timeout)
    if as_json:
        print_json(
            [
                {
                    "id": report.member,
                    "name": report.name,
                    "pid": replica.pid_number(),
                    "reachable": report.reply is not None,
                    "log": str(replica.log),
                    "cause": report.cause,
                }
                for replica, report in zip(network.replicas, reports, strict=True)
            ]
        )
    else:
        show(reports)
    if any(report.reply is None for report in reports):
        for replica, report in zip(network.replicas, reports, strict=True):
            if report.reply is None:
                reason = replica.last_words() or report.cause
                click.echo(f"tetrarch: {replica.name}: {reason} (log: {replica.log})", err=True)
        return Exit.UNREACHABLE
    if not as_json:
        click.echo(f"\nAll {len(reports)} replicas answer. Logs: {directory}/replica-*/node.log")
        click.echo(f"Stop them with: tetrarch down {directory}")
    return Exit.FINE


def start_and_wait(network: "LocalNetwork", seconds: float) -> "list[Report]":
    """Start what does not run, and return the last reports: when all answer, one has ended, or time is up."""
    import asyncio

    from tetrarch.cli.connect import dialer_of
    from tetrarch.survey import survey

    try:
        network.start()
    except OSError as error:
        fail(Exit.FAILED, f"a replica cannot be started: {error_line(error)}")
    dialer = dialer_of(network.directory)
    until = time.monotonic() + seconds
    while True:
        reports = asyncio.run(survey(network.genesis, dialer))
        waiting = [
            replica for replica, report in zip(network.replicas, reports, strict=True) if report.reply is None
        ]
        if not waiting or time.monotonic() >= until or all(replica.ended() for replica in waiting):
            return reports
        time.sleep(PAUSE_SECONDS)


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 3600),
    default=10.0,
    show_default=True,
    help="Seconds that a replica may take to stop before it is killed.",
)
@json_option
def down(directory: Path, timeout: float, as_json: bool) -> int:
    """Stop all replicas of the network in DIR that run on this machine."""
    from tetrarch.processes import LocalNetwork

    outcome = LocalNetwork(directory).stop(timeout)
    if as_json:
        print_json([{"name": name, "outcome": what} for name, what in outcome.items()])
    else:
        for name, what in outcome.items():
            click.echo(f"{name}: {what}")
    return Exit.FINE


@click.command()
@click.argument("directory", metavar="REPLICA", type=click.Path(path_type=Path))
@click.option("--log-to-terminal", is_flag=True, help="Readable lines on stderr, instead of the log file.")
@json_option
def node(directory: Path, log_to_terminal: bool, as_json: bool) -> int:
    """Run the replica in the directory REPLICA (or with that node.toml) until Ctrl-C or SIGTERM."""
    from msgspec.structs import replace

    from crypto.tls import TlsError
    from ledger.errors import LedgerError
    from network.errors import NetworkError
    from tetrarch.config import load_node, node_file
    from tetrarch.engines import UnknownEngine
    from tetrarch.node.shell import run_node
    from tetrarch.processes import AlreadyRunning, registered

    settings = load_node(directory, password=ask_password)
    if log_to_terminal:
        settings = replace(settings, log=None)
    home = node_file(directory).parent
    try:
        with registered(home):
            if as_json:
                print_json({"name": settings.name, "clients": str(settings.client_listen)})
            return run_node(settings)
    except AlreadyRunning as error:
        fail(Exit.USAGE, str(error))
    except (LedgerError, NetworkError, TlsError, UnknownEngine, OSError) as error:
        fail(Exit.FAILED, f"{settings.name} cannot run: {error_line(error)}")


@click.command()
@click.option(
    "--app", "application", default="kv", metavar="NAME", show_default=True, help="The application."
)
@click.option("--replicas", "-n", type=click.IntRange(1, 256), default=4, show_default=True, help="How many.")
@click.option("--keep", is_flag=True, help="Leave the directory when it ends.")
@json_option
def dev(application: str, replicas: int, keep: bool, as_json: bool) -> int:
    """Run a throw-away network until Ctrl-C, and print where it is and how to talk to it."""
    import shutil

    from tetrarch.network_setup import NetworkPlan, SetupError, check_size, local_hosts, make_network
    from tetrarch.processes import LocalNetwork

    home = Path(tempfile.mkdtemp(prefix="tetrarch-dev-"))
    directory = home / "net"
    try:
        check_size(replicas, development=True)
        plan = NetworkPlan(local_hosts(replicas), application=application, development=True)
        genesis = make_network(directory, plan)
        network = LocalNetwork(directory)
        try:
            return _run_dev(network, application, genesis.chain_id.hex(), as_json)
        finally:
            network.stop()
    except SetupError as error:
        fail(Exit.USAGE, str(error))
    finally:
        if keep:
            click.echo(f"kept: {directory}", err=True)
        else:
            shutil.rmtree(home, ignore_errors=True)


def _run_dev(network: "LocalNetwork", application: str, chain: str, as_json: bool) -> int:
    from tetrarch.cli.init import EXAMPLES
    from tetrarch.cli.status import show

    reports = start_and_wait(network, UP_SECONDS)
    directory = network.directory
    if as_json:
        print_json(
            {
                "directory": str(directory),
                "chain_id": chain,
                "client": str(directory / "client.toml"),
                "reachable": [report.reply is not None for report in reports],
            }
        )
    else:
        show(reports)
        lines = (
            "",
            f"A network of {len(reports)} for as long as this runs: chain {chain}",
            f"  client  {directory / 'client.toml'}",
            f"  key     {directory / 'client.key'} (plain)",
            f"  try     tetrarch tx submit {directory} '{EXAMPLES.get(application, '{…}')}'",
            f"  python  Client.open({str(directory / 'client.toml')!r})",
            "Ctrl-C stops it and removes it.",
        )
        console().print("\n".join(lines), markup=False)
    if any(report.reply is None for report in reports):
        for replica in network.replicas:
            click.echo(f"tetrarch: {replica.name}: {replica.last_words()}", err=True)
        return Exit.UNREACHABLE
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(3600)
    return Exit.FINE
