"""`tetrarch init`: makes a network's files."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tetrarch.cli.output import Exit, fail, json_option, print_json, shell
from tetrarch.layout import CLIENT_FILE, GENESIS_FILE

if TYPE_CHECKING:
    from ledger.genesis import Genesis
    from tetrarch.network_setup import Host, NetworkPlan, Places


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
    help="hosts.toml: where each replica runs, if not on this machine.",
)
@click.option(
    "--base-port",
    type=click.IntRange(1, 65535),
    help="The first of two ports for each replica; by default free ones, in turn.",
)
@click.option(
    "--password-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Encrypt all signing keys with the password in this file.",
)
@click.option("--testing", is_flag=True, help="Allow emulated malicious replicas: for tests only.")
@click.option("--dev", "development", is_flag=True, help="Allow a single replica, which tolerates no fault.")
@json_option
def init(
    directory: Path,
    replicas: int | None,
    transport: str | None,
    brokers: int | None,
    application: str,
    parameters: tuple[str, ...],
    hosts_file: Path | None,
    base_port: int | None,
    password_file: Path | None,
    testing: bool,
    development: bool,
    as_json: bool,
) -> None:
    """Make a network in DIR: its genesis, and keys, certificates and configuration of all replicas and of a
    client.
    """
    from tetrarch.network_setup import NetworkPlan, SetupError, make_network

    try:
        places = _places(hosts_file, replicas, base_port, development, transport, brokers)
        plan = NetworkPlan(
            hosts=places.replicas,
            brokers=places.brokers,
            application=application,
            parameters=_parameters(parameters),
            testing=testing,
            development=development,
            password_file=password_file,
        )
        genesis = make_network(directory, plan)
    except SetupError as error:
        fail(Exit.USAGE, str(error))
    if as_json:
        print_json(_summary(directory, plan, genesis))
    else:
        _tell(directory, plan, genesis, local=hosts_file is None)


def _places(
    hosts_file: Path | None,
    replicas: int | None,
    base_port: int | None,
    development: bool,
    transport: str | None,
    brokers: int | None,
) -> "Places":
    from tetrarch.network_setup import SMALLEST, SetupError, check_size, load_hosts, local_places

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


def _parameters(texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            fail(Exit.USAGE, f"--parameter {text!r}: a parameter is given as NAME=VALUE")
        if name in found:
            fail(Exit.USAGE, f"--parameter {name!r} is given twice")
        found[name] = value
    return tuple(found.items())


def _summary(directory: Path, plan: "NetworkPlan", genesis: "Genesis") -> dict[str, object]:
    return {
        "directory": str(directory),
        "chain_id": genesis.chain_id.hex(),
        "application": genesis.application,
        "genesis": str(directory / GENESIS_FILE),
        "client": str(directory / CLIENT_FILE),
        "transport": "/".join(sorted({host.transport for host in plan.hosts})),
        "replicas": [
            {"name": member.name, "host": host.host, "transport": host.transport, **_ports(host)}
            for member, host in zip(genesis.members, plan.hosts, strict=True)
        ],
        "brokers": [{"host": broker.host, "port": broker.port} for broker in plan.brokers],
    }


def _ports(host: "Host") -> dict[str, int]:
    return {"peer_port": host.peer_port, "client_port": host.client_port} if host.transport == "tcp" else {}


def _tell(directory: Path, plan: "NetworkPlan", genesis: "Genesis", *, local: bool) -> None:
    from tetrarch.network_setup import broker_name, tolerated

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
    click.echo("\nNext:")
    if local:
        where = shell(directory)
        click.echo(f"  tetrarch up {where}")
        click.echo(f"  tetrarch tx submit {where} '{EXAMPLES.get(genesis.application, '{…}')}'")
        click.echo(f"  tetrarch status {where}")
    else:
        click.echo(f"  copy {directory}/genesis.json, certificates/ and its own directory to each host, then")
        click.echo(f"  tetrarch node {shell(directory)}/NAME, on each host")


EXAMPLES = {
    "kv": '{"op": "put", "key": "a", "value": "1"}',
    "assets": '{"op": "open", "account": "alice"}',
    "notary": '{"op": "record", "digest": "%s"}' % ("0123456789abcdef" * 4),
}
"""A first transaction for each application."""
