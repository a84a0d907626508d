"""`tetrarch init`, step by step: each party with its own directory, and nobody with two members' keys.

What lives here: the options of the steps, which of them go together, and what is printed. What must not be
known here: what the steps do (`tetrarch.setup.ceremony`, `tetrarch.setup.clients`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tetrarch.cli.output import Exit, fail, print_json, shell

if TYPE_CHECKING:
    from tetrarch.setup.places import BrokerHost
    from tetrarch.setup.public_network import PublicNetwork

F = TypeVar("F", bound=Callable[..., Any])
Step = Callable[[Path, dict[str, Any], bool], None]

_FILE = click.Path(path_type=Path, dir_okay=False)
_DIRECTORY = click.Path(path_type=Path, file_okay=False)
_PORT = click.IntRange(1, 65535)

_OPTIONS = [
    click.argument("parts", metavar="[PART]...", nargs=-1, type=_FILE),
    click.option("--join", metavar="NAME", help="Make one member's own keys, and DIR/NAME.public."),
    click.option("--host", help="Where others reach it: a name or an address."),
    click.option("--peer-port", type=_PORT, help="[default: 7000]"),
    click.option("--client-port", type=_PORT, help="[default: 7001]"),
    click.option("--listen", metavar="HOST", help="The interface it binds to, if that is another name."),
    click.option("--members", is_flag=True, help="Make a network of the public parts PART…"),
    click.option(
        "--broker", "broker", multiple=True, metavar="HOST:PORT", help="A broker; may be given several times."
    ),
    click.option("--broker-authority", type=_FILE, help="Who vouches for brokers that are there already."),
    click.option("--network", type=_DIRECTORY, help="The public directory of the network to take part in."),
    click.option("--client", metavar="NAME", help="Make a client's own key and configuration."),
    click.option("--admit", type=_FILE, help="Add this client's account to the broker in DIR."),
]


def ceremony_options(command: F) -> F:
    """Add the options of all steps."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_ALONE = {"parts", "host", "peer_port", "client_port", "listen", "broker", "broker_authority", "network"}
_SPELLED = {"hosts_file": "hosts", "application": "app", "parameters": "parameter", "development": "dev"}


def step_of(given: set[str]) -> Step | None:
    """Return the step that is asked for by the options that were given; `None`: a whole network.

    Raises `SetupError` for options that do not go together.
    """
    from tetrarch.setup.errors import SetupError

    steps = [name for name in _STEPS if name in given]
    if len(steps) > 1:
        raise SetupError(f"--{steps[0]} and --{steps[1]} are steps of different parties: one at a time")
    if not steps:
        for name in sorted(given & _ALONE):
            raise SetupError(f"{_option(name)} means nothing without --join, --members or --client")
        return None
    [name] = steps
    asked = "settle" if name == "join" and "network" in given else name
    allowed, step = _STEPS[asked]
    for other in sorted(given - allowed - {name}):
        raise SetupError(f"{_option(other)} is not for --{name}{' --network' if asked == 'settle' else ''}")
    return step


def _option(name: str) -> str:
    return "PART" if name == "parts" else f"--{_SPELLED.get(name, name).replace('_', '-')}"


def parameters_of(texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return the application's parameters as they were given."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            fail(Exit.USAGE, f"--parameter {text!r}: a parameter is given as NAME=VALUE")
        if name in found:
            fail(Exit.USAGE, f"--parameter {name!r} is given twice")
        found[name] = value
    return tuple(found.items())


def _join(directory: Path, options: dict[str, Any], as_json: bool) -> None:
    from tetrarch.setup.ceremony import join, public_file
    from tetrarch.setup.errors import SetupError
    from tetrarch.setup.places import CLIENT_PORT, PEER_PORT, Host

    name: str = options["join"]
    if not options["host"]:
        raise SetupError(f"--join {name} needs --host, or --network once there is a network")
    host = Host(
        options["host"],
        options["peer_port"] or PEER_PORT,
        options["client_port"] or CLIENT_PORT,
        options["listen"],
        options["transport"] or "tcp",
        name,
    )
    part = join(directory, host, options["password_file"])
    public = public_file(directory, name)
    if as_json:
        return print_json({"name": name, "public_key": part.public_key, "public": str(public)})
    click.echo(f"Made the keys of {name} in {directory / name}: they never leave this machine")
    click.echo(f"  public key {groups(part.public_key)}")
    click.echo(f"\nNext:\n  give {shell(public)} to whoever coordinates, and wait for the public directory")
    click.echo(f"  tetrarch init {shell(directory)} --join {name} --network PUBLIC")
    return None


def _gather(directory: Path, options: dict[str, Any], as_json: bool) -> None:
    from tetrarch.layout import PUBLIC
    from tetrarch.setup.ceremony import gather
    from tetrarch.setup.errors import SetupError
    from tetrarch.setup.plan import NetworkPlan

    if not options["parts"]:
        raise SetupError("--members needs the members' public parts: --members berlin.public paris.public …")
    plan = NetworkPlan(
        hosts=(),
        application=options["application"],
        parameters=parameters_of(options["parameters"]),
        testing=options["testing"],
        development=options["development"],
        brokers=_brokers(options["broker"], options["broker_authority"]),
    )
    network = gather(directory, options["parts"], plan)
    if as_json:
        return print_json({"directory": str(directory), **_facts(network)})
    click.echo(f"Made the network {network.genesis.name}; give {directory / PUBLIC} to all parties")
    _tell_network(network)
    for path in sorted(directory.glob("*/broker-*")):
        click.echo(f"  {path.name}: {path.parent}, which holds its secrets: for its own machine alone")
    return None


def _brokers(texts: tuple[str, ...], authority: Path | None) -> "tuple[BrokerHost, ...]":
    from network.address import Address
    from network.errors import AddressError
    from tetrarch.setup.errors import SetupError
    from tetrarch.setup.places import BrokerHost

    if authority is not None and not texts:
        raise SetupError("--broker-authority vouches for brokers: name them with --broker HOST:PORT")
    try:
        addresses = [Address.parse(text) for text in texts]
    except AddressError as error:
        raise SetupError(f"--broker {error}") from None
    file = None if authority is None else str(authority)
    return tuple(BrokerHost(address.host, address.port, authority=file) for address in addresses)


def _settle(directory: Path, options: dict[str, Any], as_json: bool) -> None:
    from tetrarch.setup.ceremony import settle
    from tetrarch.setup.services import bundle_home

    name: str = options["join"]
    network = settle(directory, name, options["network"])
    if as_json:
        return print_json({"name": name, "directory": str(directory), **_facts(network)})
    click.echo(f"{name} is a member of {network.genesis.name}, with the key and in the place it chose")
    _tell_network(network)
    click.echo(
        "\nNext:\n  compare all of this with every other party, aloud: only then is nobody added or left out"
    )
    click.echo(f"  tetrarch node {shell(directory / name)}")
    home = bundle_home(network.genesis.name)
    if directory.absolute() != home:
        click.echo(f"  before using its systemd unit, move {shell(directory)} to {home}")
    return None


def _client(directory: Path, options: dict[str, Any], as_json: bool) -> None:
    from tetrarch.setup.clients import make_client

    made = make_client(directory, options["client"], options["network"], options["password_file"])
    key = made.public_key.hex()
    if as_json:
        facts = {} if made.network is None else _facts(made.network)
        account = None if made.account is None else str(made.account)
        return print_json({"directory": str(directory), "public_key": key, "account": account, **facts})
    click.echo(f"Made a client in {directory}: it signs as {key}")
    if made.network is None:
        click.echo(
            f"\nNext:\n  tetrarch init {shell(directory)} --client {options['client']} --network PUBLIC"
        )
        return None
    _tell_network(made.network)
    if made.account is not None:
        click.echo(f"\nNext:\n  give {shell(made.account)} to whoever runs the brokers: they add it with")
        click.echo(f"  tetrarch init BROKER --admit {made.account.name}")
    return None


def _admit(directory: Path, options: dict[str, Any], as_json: bool) -> None:
    from tetrarch.setup.clients import admit

    account = admit(options["admit"], directory)
    if as_json:
        return print_json({"user": account.user, "broker": str(directory)})
    click.echo(f"{account.user} has an account at {directory}, as soon as the broker reads its files again:")
    click.echo(f"  systemctl reload tetrarch-{directory.absolute().name}, or send it SIGHUP")
    return None


def _facts(network: "PublicNetwork") -> dict[str, object]:
    brokers = network.brokers_digest()
    return {
        "chain_id": network.genesis.chain_id.hex(),
        "brokers_digest": None if brokers is None else brokers.hex(),
        "application": network.genesis.application,
        "testing": network.genesis.testing,
        "members": [part.name for part in network.parts],
    }


def _tell_network(network: "PublicNetwork") -> None:
    """Print what all parties have to find the same."""
    click.echo(f"  chain id   {groups(network.genesis.chain_id.hex())}")
    brokers = network.brokers_digest()
    if brokers is not None:
        click.echo(f"  brokers    {groups(brokers.hex())}")
    genesis = network.genesis
    click.echo(
        f"  members    {', '.join(part.name for part in network.parts)}; application {genesis.application}"
    )
    if genesis.testing:
        click.echo("  TESTING: emulated malicious replicas may take part in this chain")


def groups(digits: str) -> str:
    """Return hexadecimal digits in groups of four, as they are read aloud."""
    return " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))


_COMMON = {"application", "parameters", "testing", "development"}
_STEPS: dict[str, tuple[set[str], Step]] = {
    "join": ({"host", "peer_port", "client_port", "listen", "transport", "password_file"}, _join),
    "settle": ({"network"}, _settle),
    "members": ({"parts", "broker", "broker_authority", *_COMMON}, _gather),
    "client": ({"network", "password_file"}, _client),
    "admit": (set(), _admit),
}
"""Which other options each step takes."""
