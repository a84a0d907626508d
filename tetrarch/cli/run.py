"""`tetrarch up`, `down`, `node` and `dev`: replicas as processes."""

import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tetrarch.cli.connect import ask_password, transport_option
from tetrarch.cli.output import Exit, error_line, fail, json_option, print_json, shell
from tetrarch.layout import CLIENT_FILE, CLIENT_KEY, LOG_FILE
from tetrarch.signals import end_like_interrupt

if TYPE_CHECKING:
    from ledger.genesis import Genesis
    from tetrarch.client.states import ReplicaStatus
    from tetrarch.processes import LocalNetwork


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--timeout", type=click.FloatRange(1, 3600), default=60.0, show_default=True, help="Seconds.")
@json_option
def up(directory: Path, timeout: float, as_json: bool) -> int:
    """Run all replicas of the network in DIR on this machine, as processes that go on when this one ends.

    Replicas that run already are left alone. Ends as soon as all of them answer. Where DIR is one machine's
    part of a network, only its own replicas and brokers are run, until all of these listen.
    """
    from tetrarch.cli.status import show
    from tetrarch.local_network import bring_up, faults
    from tetrarch.processes import LocalNetwork

    network = LocalNetwork(directory)
    network.require_all()
    if network.is_part:
        return _up_part(network, timeout, as_json)
    try:
        reports = bring_up(network, timeout)
    except OSError as error:
        fail(Exit.FAILED, f"a replica cannot be started: {error_line(error)}")
    if as_json:
        print_json(_rows(network, reports))
    else:
        show(reports)
    silent = faults(network, reports)
    if silent:
        for line in silent:
            click.echo(f"tetrarch: {line}", err=True)
        return Exit.UNREACHABLE
    if not as_json:
        click.echo(f"\nAll {len(reports)} replicas answer. Logs: {directory}/replica-*/{LOG_FILE}")
        click.echo(f"Stop them with: tetrarch down {shell(directory)}")
    return Exit.FINE


def _rows(network: "LocalNetwork", reports: "list[ReplicaStatus]") -> list[dict[str, object]]:
    return [
        {
            "id": report.member,
            "name": report.name,
            "pid": replica.pid_number(),
            "reachable": report.reply is not None,
            "log": str(replica.log),
            "cause": report.cause and (replica.last_words() or report.cause),
        }
        for replica, report in zip(network.replicas, reports, strict=True)
    ]


def _up_part(network: "LocalNetwork", timeout: float, as_json: bool) -> int:
    """Run what one machine has of a network."""
    from tetrarch.local_part import bring_up_part

    try:
        causes = bring_up_part(network, timeout)
    except OSError as error:
        fail(Exit.FAILED, f"{network.directory} cannot be started: {error_line(error)}")
    if as_json:
        print_json([{"name": name, "listens": not cause, "cause": cause} for name, cause in causes.items()])
    else:
        for name, cause in causes.items():
            click.echo(f"{name}: {cause or 'listens'}", err=bool(cause))
    if any(causes.values()):
        return Exit.UNREACHABLE
    if not as_json:
        click.echo(
            "\nThis machine's part runs; whether the network does, a client can ask (tetrarch status)."
        )
        click.echo(f"Stop it with: tetrarch down {shell(network.directory)}")
    return Exit.FINE


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
@click.option("--check", is_flag=True, help="Only tell whether it runs, and listens if it should.")
@json_option
def node(directory: Path, log_to_terminal: bool, check: bool, as_json: bool) -> int:
    """Run the replica in the directory REPLICA (or with that node.toml) until Ctrl-C or SIGTERM."""
    if check:
        return _check_node(directory, as_json)
    from msgspec.structs import replace

    from crypto.tls import TlsError
    from ledger.errors import ApplicationError, LedgerError
    from network.errors import NetworkError
    from tetrarch.config import load_node, load_trace, node_file
    from tetrarch.engines import UnusableGenesis
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
            return run_node(settings, reread=lambda: load_trace(directory))
    except AlreadyRunning as error:
        fail(Exit.USAGE, str(error))
    except (TlsError, UnusableGenesis, ApplicationError) as error:
        fail(Exit.USAGE, f"{settings.name}: {error_line(error)}")
    except (LedgerError, NetworkError, OSError) as error:
        fail(Exit.FAILED, f"{settings.name} cannot run: {error_line(error)}")


def _check_node(directory: Path, as_json: bool) -> int:
    """Look at the replica's process and port. What it does with the others, `status` asks."""
    from tetrarch.config import node_file
    from tetrarch.local_part import fault
    from tetrarch.processes import ReplicaProcess

    replica = ReplicaProcess(node_file(directory).parent)
    cause = fault(replica)
    if as_json:
        print_json({"name": replica.name, "listens": not cause, "cause": cause})
    else:
        click.echo(f"{replica.name}: {cause or 'runs'}", err=bool(cause))
    return Exit.UNREACHABLE if cause else Exit.FINE


@click.command()
@click.option(
    "--app", "application", default="kv", metavar="NAME", show_default=True, help="The application."
)
@click.option("--replicas", "-n", type=click.IntRange(1, 256), default=4, show_default=True, help="How many.")
@transport_option
@click.option("--keep", is_flag=True, help="Leave the directory when it ends.")
@json_option
def dev(application: str, replicas: int, transport: str, keep: bool, as_json: bool) -> int:
    """Run a throw-away network until Ctrl-C, and print where it is and how to talk to it."""
    import shutil

    from tetrarch.local_network import NotRunning, throw_away
    from tetrarch.setup.errors import SetupError
    from tetrarch.setup.places import local_places
    from tetrarch.setup.plan import check_size, local_plan

    home = Path(tempfile.mkdtemp(prefix="tetrarch-dev-"))
    try:
        check_size(replicas, development=True)
        end_like_interrupt()
        plan = local_plan(local_places(replicas, transport), application, development=True)
        with throw_away(home / "net", plan) as (network, genesis):
            _tell_dev(network, genesis, as_json, keep)
            with suppress(KeyboardInterrupt):
                while True:
                    time.sleep(3600)
    except SetupError as error:
        fail(Exit.USAGE, str(error))
    except NotRunning as error:
        fail(Exit.UNREACHABLE, str(error))
    finally:
        if keep:
            click.echo(f"kept: {home / 'net'}", err=True)
        else:
            shutil.rmtree(home, ignore_errors=True)
    return Exit.FINE


def _tell_dev(network: "LocalNetwork", genesis: "Genesis", as_json: bool, keep: bool) -> None:
    from tetrarch.cli.init import EXAMPLES

    directory = network.directory
    chain, client = genesis.chain_id.hex(), directory / CLIENT_FILE
    if as_json:
        print_json(
            {
                "directory": str(directory),
                "chain_id": chain,
                "client": str(client),
                "replicas": [
                    {"name": replica.name, "pid": replica.pid_number(), "log": str(replica.log)}
                    for replica in network.replicas
                ],
            }
        )
        return
    click.echo(f"A network of {len(network.replicas)} for as long as this runs: chain {chain}")
    click.echo(f"  client  {client}")
    click.echo(f"  key     {directory / CLIENT_KEY} (plain)")
    for name, address in client_addresses(client):
        click.echo(f"  {name}  {address}")
    example = EXAMPLES.get(genesis.application, "{…}")
    click.echo(f"  try     tetrarch tx submit {shell(directory)} '{example}'")
    click.echo(f"  python  Client.open({str(client)!r})")
    click.echo("Ctrl-C stops it." if keep else "Ctrl-C stops it and removes it.")


def client_addresses(client: Path) -> list[tuple[str, str]]:
    """Return name and address of every replica, or how else it is reached."""
    from crypto.roster import MemberId
    from tetrarch.client.config import ClientConfig

    config = ClientConfig.load(client)
    members = config.trust.genesis.members
    brokers = ", ".join(str(broker.address) for broker in config.brokers)
    return [
        (
            member.name,
            str(config.endpoints[MemberId(place)].address)
            if place in config.endpoints
            else f"by way of {brokers}",
        )
        for place, member in enumerate(members)
    ]
