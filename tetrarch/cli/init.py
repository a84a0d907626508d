"""`tetrarch init`: makes a network's files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from tetrarch.cli.ceremony import ceremony_options, parameters_of, step_of
from tetrarch.cli.output import Exit, fail, json_option, print_json, shell
from tetrarch.layout import CLIENT, CLIENT_FILE, GENESIS_FILE

if TYPE_CHECKING:
    from ledger.genesis import Genesis
    from tetrarch.setup.places import Host, Places
    from tetrarch.setup.plan import NetworkPlan


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--replicas", "-n", type=click.IntRange(1, 256), help="How many.  [default: 4]")
@click.option(
    "--transport",
    type=click.Choice(["tcp", "mqtt"]),
    help="How replicas are reached: directly, or by way of MQTT brokers.  [default: tcp]",
)
@click.option("--brokers", type=click.IntRange(1, 8), help="How many, with --transport mqtt.  [default: 1]")
@click.option(
    "--app",
    "application",
    default="kv",
    metavar="NAME",
    show_default=True,
    help="kv, assets, notary, or your own as module:Class.",
)
@click.option(
    "--parameter",
    "-p",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the application; may be given several times.",
)
@click.option(
    "--hosts",
    "hosts_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="hosts.toml: where each replica runs, if not on this machine. Makes a directory for each machine.",
)
@click.option(
    "--base-port",
    type=click.IntRange(1, 65535),
    help="The first of two ports for each replica; by default free ones, in turn.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65535),
    help="Tell metrics and health over HTTP on loopback: the first of one port for each replica.",
)
@click.option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Encrypt all signing keys with the password in this file.",
)
@click.option("--testing", is_flag=True, help="Allow emulated malicious replicas: for tests only.")
@click.option("--dev", "development", is_flag=True, help="Allow a single replica, which tolerates no fault.")
@ceremony_options
@json_option
@click.pass_context
def init(context: click.Context, /, directory: Path, as_json: bool, **options: Any) -> None:
    """Make a network in DIR: its genesis, and keys, certificates and configuration of all replicas and of a
    client.

    With --hosts, DIR holds a directory for each machine. With --join, --members, --client or --admit, DIR is
    one party's own, and a network is made of which nobody ever holds two members' keys: docs/deployment.md.
    """
    from tetrarch.setup.errors import SetupError

    given = {name for name in options if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
    try:
        step = step_of(given)
        if step is not None:
            return step(directory, options, as_json)
        _make(directory, options, as_json)
    except SetupError as error:
        fail(Exit.USAGE, str(error))
    return None


def _make(directory: Path, options: dict[str, Any], as_json: bool) -> None:
    """Make a whole network by one hand."""
    from tetrarch.setup.network import make_network
    from tetrarch.setup.places import with_metrics
    from tetrarch.setup.plan import NetworkPlan

    hosts_file: Path | None = options["hosts_file"]
    metrics_port: int | None = options["metrics_port"]
    places = _places(
        hosts_file,
        options["replicas"],
        options["base_port"],
        options["development"],
        options["transport"],
        options["brokers"],
    )
    plan = NetworkPlan(
        hosts=places.replicas if metrics_port is None else with_metrics(places.replicas, metrics_port),
        brokers=places.brokers,
        application=options["application"],
        parameters=parameters_of(options["parameters"]),
        testing=options["testing"],
        development=options["development"],
        password_file=options["password_file"],
        bundles=hosts_file is not None,
    )
    genesis = make_network(directory, plan)
    if as_json:
        print_json(_summary(directory, plan, genesis))
    else:
        _tell(directory, plan, genesis)


def _places(
    hosts_file: Path | None,
    replicas: int | None,
    base_port: int | None,
    development: bool,
    transport: str | None,
    brokers: int | None,
) -> "Places":
    from tetrarch.setup.errors import SetupError
    from tetrarch.setup.places import load_hosts, local_places
    from tetrarch.setup.plan import SMALLEST, check_size

    if hosts_file is None:
        if brokers is not None and transport != "mqtt":
            raise SetupError("--brokers is for --transport mqtt")
        count = replicas if replicas is not None else 1 if development else SMALLEST
        check_size(count, development)
        return local_places(count, transport or "tcp", brokers or 1, base_port)
    for option, given in (("--base-port", base_port), ("--transport", transport), ("--brokers", brokers)):
        if given is not None:
            raise SetupError(
                f"{option} is for networks on one machine: with --hosts, it stands in {hosts_file}"
            )
    places = load_hosts(hosts_file)
    if replicas not in (None, len(places.replicas)):
        raise SetupError(f"{hosts_file} lists {len(places.replicas)} replicas, --replicas says {replicas}")
    return places


def _summary(directory: Path, plan: "NetworkPlan", genesis: "Genesis") -> dict[str, object]:
    from tetrarch.setup.bundles import machines

    return {
        "directory": str(directory),
        "chain_id": genesis.chain_id.hex(),
        "application": genesis.application,
        "genesis": str((directory / CLIENT if plan.bundles else directory) / GENESIS_FILE),
        "client": str((directory / CLIENT if plan.bundles else directory) / CLIENT_FILE),
        "transport": "/".join(sorted({host.transport for host in plan.hosts})),
        "machines": machines(plan) if plan.bundles else {},
        "replicas": [
            {"name": member.name, "host": host.host, "transport": host.transport, **_ports(host)}
            for member, host in zip(genesis.members, plan.hosts, strict=True)
        ],
        "brokers": [{"host": broker.host, "port": broker.port} for broker in plan.brokers],
    }


def _ports(host: "Host") -> dict[str, int]:
    """The ports that a replica has."""
    ports = {} if host.metrics_port is None else {"metrics_port": host.metrics_port}
    if host.transport == "tcp":
        ports |= {"peer_port": host.peer_port, "client_port": host.client_port}
    return ports


def _tell(directory: Path, plan: "NetworkPlan", genesis: "Genesis") -> None:
    from tetrarch.setup.places import broker_name
    from tetrarch.setup.plan import tolerated

    n = len(plan.hosts)
    faults = tolerated(n)
    click.echo(f"Made the network {genesis.name} in {directory}: chain {genesis.chain_id.hex()[:16]}…")
    click.echo(
        f"  {n} replicas, of which {faults} may fail or lie; application {genesis.application}"
        if n > 1
        else f"  1 replica, for development: it tolerates no fault; application {genesis.application}"
    )
    keys = "signing keys are encrypted" if plan.password_file else "signing keys are plain files (mode 0600)"
    click.echo(f"  {keys}")
    for member, host in zip(genesis.members, plan.hosts, strict=True):
        ports = f"peers {host.peer_port}, clients {host.client_port}"
        way = ports if host.transport == "tcp" else "by way of the brokers"
        click.echo(f"  {member.name}: {host.host}, {way}")
    for number, broker in enumerate(plan.brokers):
        click.echo(f"  {broker_name(number)}: {broker.host}, port {broker.port}")
    if genesis.testing:
        click.echo("  TESTING: emulated malicious replicas may take part in this chain")
    _tell_next(directory, plan, genesis)


def _tell_next(directory: Path, plan: "NetworkPlan", genesis: "Genesis") -> None:
    click.echo("\nNext:")
    if not plan.bundles:
        where = shell(directory)
        click.echo(f"  tetrarch up {where}")
        click.echo(f"  tetrarch tx submit {where} '{EXAMPLES.get(genesis.application, '{…}')}'")
        click.echo(f"  tetrarch status {where}")
        return
    from tetrarch.setup.bundles import machines
    from tetrarch.setup.services import bundle_home

    home = bundle_home(genesis.name)
    for name, parts in machines(plan).items():
        click.echo(f"  copy {shell(directory / name)} to that machine, as {home}: {', '.join(parts)}")
    click.echo(f"  keep {shell(directory / CLIENT)} for a client")
    click.echo("  and delete them here: each holds secrets that only its own machine should have")


EXAMPLES = {
    "kv": '{"op": "put", "key": "a", "value": "1"}',
    "assets": '{"op": "open", "account": "alice"}',
    "notary": '{"op": "record", "digest": "%s"}' % ("0123456789abcdef" * 4),
}
"""A first transaction for each application."""
