"""Where the parts of a network are: hosts.toml, places on this machine, and whatever contradicts itself.

What lives here: plain data, and its checks. What must not be known here: keys, files of replicas.
"""

import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

from msgspec import Meta, Struct
from msgspec.structs import replace

from crypto.roster import MAX_MEMBERS
from network.address import Address
from network.errors import AddressError
from network.mqtt.broker import MAX_BROKERS
from tetrarch.layout import BROKER, CERTIFICATES, CLIENT, COMPOSE_FILE, GENESIS_FILE, NETWORK_FILE, PUBLIC
from tetrarch.ports import LOOPBACK, all_free, take_ports
from tetrarch.setup.errors import SetupError
from tetrarch.toml_file import TomlText

PEER_PORT: Final = 7000
CLIENT_PORT: Final = 7001
BROKER_PORT: Final = 8883

Port = Annotated[int, Meta(ge=1, le=65535)]
HostName = Annotated[str, Meta(min_length=1, max_length=253)]
Transport = Literal["tcp", "mqtt"]
ReplicaName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A[A-Za-z0-9._-]+\Z")]

_USABLE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TAKEN: Final = re.compile(
    rf"{BROKER}-[0-9]+|{CLIENT}|{CLIENT}\..*|{CERTIFICATES}|{PUBLIC}|{GENESIS_FILE}|{NETWORK_FILE}"
    rf"|{COMPOSE_FILE}|.*\.(?:{PUBLIC}|service)",
    re.IGNORECASE,
)
"""Names of other things in a network's directories, and of the clients' account at the brokers."""


class Host(Struct, frozen=True, forbid_unknown_fields=True):
    """Where one replica is reached. `listen`: the interface it binds to, if that is another name. One that is
    reached by way of brokers listens only where it is told to: for questions from its own machine."""

    host: HostName
    peer_port: Port = PEER_PORT
    client_port: Port = CLIENT_PORT
    listen: HostName | None = None
    transport: Transport = "tcp"
    """How it is reached: at an address of its own, or by way of the brokers, behind whatever it may be."""
    name: ReplicaName | None = None
    metrics_port: Port | None = None
    """Where metrics and health are told, on this machine alone; `None`: nowhere."""


class BrokerHost(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a broker is reached."""

    host: HostName
    port: Port = BROKER_PORT
    listen: HostName | None = None
    """The interface that a Mosquitto of one's own binds to, if that is another name."""
    authority: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    """The file (PEM) of the authority that vouches for a broker which is there already; without it, files for
    a Mosquitto are made. Relative to the file that says so."""


class _HostsText(Struct, frozen=True, forbid_unknown_fields=True):
    replicas: Annotated[list[Host], Meta(min_length=1, max_length=MAX_MEMBERS)]
    brokers: Annotated[list[BrokerHost], Meta(max_length=MAX_BROKERS)] = []


class Places(Struct, frozen=True):
    """Where the parts of a network are."""

    replicas: tuple[Host, ...]
    brokers: tuple[BrokerHost, ...] = ()


class Contradiction(NamedTuple):
    """What is wrong with places, and where: `replicas[2].peer_port`."""

    key: str
    what: str


def load_hosts(path: Path) -> Places:
    """Return the places in a hosts.toml: `[[replicas]]` with `host`, and ports if not 7000, 7001;
    `[[brokers]]` with `host`, and a port if not 8883.

    Raises `ConfigurationError`, naming line and key.
    """
    text = TomlText(path)
    found = text.read_as(_HostsText)
    places = Places(tuple(found.replicas), tuple(found.brokers))
    for key, what in contradictions(places):
        raise text.fault(key, what)
    brokers = tuple(
        broker if broker.authority is None else replace(broker, authority=str(path.parent / broker.authority))
        for broker in places.brokers
    )
    return replace(places, brokers=brokers)


def contradictions(places: Places) -> Iterator[Contradiction]:
    """Yield whatever excludes each other in `places`, in their order."""
    names: set[str] = set()
    machines: dict[str, str] = {}
    ports: dict[tuple[str, int], str] = {}
    for number, host in enumerate(places.replicas):
        key, name = f"replicas[{number}]", replica_name(host, number)
        yield from _bad_name(f"{key}.name", name)
        if name.lower() in names:
            yield Contradiction(f"{key}.name", f"{name!r} is the name of an earlier replica already")
        names.add(name.lower())
        yield from _bad_hosts(key, host, machines)
        if host.transport == "tcp":
            for port, whom in (("peer_port", "peers"), ("client_port", "clients")):
                owner = f"the {whom} of {name}"
                yield from _taken(f"{key}.{port}", host.host, getattr(host, port), owner, ports)
        else:
            yield from _bad_mqtt(key, host, places.brokers)
        if host.metrics_port is not None:
            owner = f"the metrics of {name}"
            yield from _taken(f"{key}.metrics_port", host.host, host.metrics_port, owner, ports)
    for number, broker in enumerate(places.brokers):
        key = f"{BROKER}s[{number}]"
        yield from _bad_hosts(key, broker, machines)
        yield from _taken(f"{key}.port", broker.host, broker.port, broker_name(number), ports)
        if broker.authority is not None and broker.listen is not None:
            what = "is for a Mosquitto of one's own, and `authority` says that this broker is there already"
            yield Contradiction(f"{key}.listen", what)


def _bad_name(key: str, name: str) -> Iterator[Contradiction]:
    if not _USABLE.fullmatch(name):
        yield Contradiction(
            key, f"{name!r} is no name: 1 to 64 of a-z A-Z 0-9 . _ -, first a letter or digit"
        )
    elif _TAKEN.fullmatch(name):
        yield Contradiction(key, f"{name!r} is what something else is called: choose another name")


def _bad_hosts(key: str, place: Host | BrokerHost, machines: dict[str, str]) -> Iterator[Contradiction]:
    """What is no host; and machines, as found so far, whose directories would be one."""
    for field in ("host", "listen"):
        host = getattr(place, field)
        if host is None:
            continue
        try:
            Address.parse(str(Address(host, 1)))
        except AddressError:
            yield Contradiction(f"{key}.{field}", f"{host!r} is neither a host name nor an IP address")
        else:
            if "%" in host:
                yield Contradiction(
                    f"{key}.{field}", f"{host!r} has a zone, which other machines do not know"
                )
    directory = machine_directory(place.host)
    if directory in (CLIENT, PUBLIC):
        yield Contradiction(f"{key}.host", f"{place.host!r} is what another directory is called")
    elif machines.setdefault(directory, machine(place.host)) != machine(place.host):
        what = f"{place.host!r} would share its directory with {machines[directory]}"
        yield Contradiction(f"{key}.host", what)


def _bad_mqtt(key: str, host: Host, brokers: tuple[BrokerHost, ...]) -> Iterator[Contradiction]:
    if not brokers:
        yield Contradiction(f"{key}.transport", "is mqtt, but there are no [[brokers]]")
    for field, usual in (("peer_port", PEER_PORT), ("client_port", CLIENT_PORT)):
        if host.listen is None and getattr(host, field) != usual:
            yield Contradiction(f"{key}.{field}", "means nothing by way of brokers: nobody connects to it")


def _taken(
    key: str, host: str, port: int, owner: str, ports: dict[tuple[str, int], str]
) -> Iterator[Contradiction]:
    earlier = ports.setdefault((machine(host), port), owner)
    if earlier != owner:
        yield Contradiction(key, f"port {port} of {host} is for {earlier} already")


def machine(host: str) -> str:
    """Return what a host is called however it was written: two spellings are one machine."""
    try:
        return str(ip_address(host))
    except ValueError:
        return host.lower().removesuffix(".")


def machine_directory(host: str) -> str:
    """Return the name of a machine's directory."""
    return machine(host).replace(":", "-")


def replica_name(host: Host, place: int) -> str:
    """Return what the replica in this place is called."""
    return host.name or f"replica-{place}"


def broker_name(number: int) -> str:
    """Return the name of a broker's directory and certificate."""
    return f"{BROKER}-{number}"


def local_hosts(replicas: int, base_port: int | None = None) -> tuple[Host, ...]:
    """Return places for `replicas` on this machine: two ports each, from `base_port` on or wherever two of
    each are free. Raises `SetupError`."""
    count = 2 * replicas
    if base_port is None:
        first = take_ports(count)
        if first is None:
            raise SetupError(f"no {count} free ports in a row were found; name some with --base-port")
    elif not 0 < base_port <= 65536 - count:
        raise SetupError(
            f"base port {base_port}: {replicas} replicas need {count} ports from there, up to 65535"
        )
    elif not all_free(base_port, count):
        last = base_port + count - 1
        raise SetupError(f"not all of the ports {base_port} to {last} can be used: choose another base port")
    else:
        first = base_port
    return tuple(Host(LOOPBACK, first + 2 * member, first + 2 * member + 1) for member in range(replicas))


def local_places(replicas: int, transport: str, brokers: int = 1, base_port: int | None = None) -> Places:
    """Return places for a network on this machine. With "mqtt", only its `brokers` have ports: from
    `base_port` on or wherever one is free. Raises `SetupError`."""
    if transport == "tcp":
        return Places(local_hosts(replicas, base_port))
    first = take_ports(brokers) if base_port is None else base_port
    if first is None or (base_port is not None and not all_free(base_port, brokers)):
        raise SetupError(f"no {brokers} free ports for brokers were found; name some with --base-port")
    hosts = (Host(LOOPBACK, transport="mqtt"),) * replicas
    return Places(hosts, tuple(BrokerHost(LOOPBACK, first + number) for number in range(brokers)))


def with_metrics(hosts: Sequence[Host], base_port: int) -> tuple[Host, ...]:
    """Return `hosts`, each telling metrics at a port of its own from `base_port` on. Raises `SetupError`."""
    last = base_port + len(hosts) - 1
    if not 0 < base_port <= last <= 65535:
        raise SetupError(f"metrics port {base_port}: {len(hosts)} ports are needed from there, up to 65535")
    for host in hosts:
        for port in (host.peer_port, host.client_port) if host.transport == "tcp" else ():
            if base_port <= port <= last:
                raise SetupError(f"metrics ports {base_port} to {last}: {port} is another one of {host.host}")
    return tuple(replace(host, metrics_port=base_port + place) for place, host in enumerate(hosts))
