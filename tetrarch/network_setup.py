"""`tetrarch init`: makes the files of a new network, all of them or none.

What lives here: keys, certificates, ports, and the text of genesis.json, node.toml and client.toml. What must
not be known here: how they are read (`tetrarch.config`, `tetrarch.client`), and how replicas are run. Where
each file lies says `tetrarch.layout`.

A replica on another machine needs genesis.json, certificates/ and its own directory, nothing else.
"""

import getpass
import secrets
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from consensus.quorum import Quorums
from crypto.digest import Digest
from crypto.errors import CryptoError
from crypto.keyfile import write_key_file, write_private_file
from crypto.keys import SigningKey
from crypto.roster import MAX_MEMBERS, MemberId
from crypto.tls import TlsError, certificate_der, fingerprint, make_identity
from ledger.application import load_application
from ledger.applications.assets import ISSUERS
from ledger.errors import ApplicationError
from ledger.genesis import FORMAT, Genesis, GenesisMember
from network.address import Address
from network.mqtt.broker import MAX_BROKERS
from tetrarch.broker_setup import CLIENT_USER, access_rights, new_password, write_broker
from tetrarch.brokers import BrokerText, brokers_toml
from tetrarch.client.config import ReplicaText, client_toml
from tetrarch.engines import UnusableGenesis, ordering
from tetrarch.errors import ConfigurationError
from tetrarch.genesis_file import save_genesis
from tetrarch.layout import (
    BROKER,
    BROKER_PASSWORD,
    CERTIFICATES,
    CLIENT_FILE,
    CLIENT_KEY,
    CLIENT_PASSWORD,
    GENESIS_FILE,
    LOG_FILE,
    NODE_FILE,
    OUTBOX_FILE,
    SIGNING_KEY,
    STORE,
    TLS_CERTIFICATE,
    TLS_KEY,
)
from tetrarch.passwords import read_password
from tetrarch.ports import LOOPBACK, all_free, take_ports
from tetrarch.toml_file import read_toml, toml_string

SMALLEST: Final = 4
"""The smallest network that survives one malicious member: f = (n - 1) // 3."""

INTERVALS: Final = (64, 32, 16, 8)
"""Checkpoint intervals to choose from, the best first. Large networks need short ones: what a view change
must show grows with the square of the members and with the window."""

MAX_NAME: Final = 64
"""The longest name of a network."""

_Port = Annotated[int, Meta(ge=1, le=65535)]


class Host(Struct, frozen=True, forbid_unknown_fields=True):
    """Where one replica is reached. `listen`: the interface it binds to, if that is another name."""

    host: Annotated[str, Meta(min_length=1, max_length=253)]
    peer_port: _Port = 7000
    client_port: _Port = 7001
    listen: Annotated[str, Meta(min_length=1, max_length=253)] | None = None
    transport: Literal["tcp", "mqtt"] = "tcp"
    """How it is reached: at an address of its own, or by way of the brokers, behind whatever it may be."""
    name: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A[A-Za-z0-9._-]+\Z")] | None = None


class BrokerHost(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a broker is reached."""

    host: Annotated[str, Meta(min_length=1, max_length=253)]
    port: _Port = 8883
    listen: Annotated[str, Meta(min_length=1, max_length=253)] | None = None
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


class NetworkPlan(Struct, frozen=True):
    """What a new network is to be."""

    hosts: tuple[Host, ...]
    application: str = "kv"
    parameters: tuple[tuple[str, str], ...] = ()
    testing: bool = False
    development: bool = False
    """Allow a single replica, which tolerates no fault."""
    checkpoint_interval: int | None = None
    """Blocks between checkpoints; `None`: the longest that suits so many replicas."""
    largest_batch: int | None = None
    """Transactions in a block at most; `None`: what a genesis says where nothing is said."""
    password_file: Path | None = None
    """Encrypt the signing keys with this file's password; `None`: plain, for networks on one machine."""
    brokers: tuple[BrokerHost, ...] = ()
    """In the order of preference. Needed where a replica is reached by way of them."""


class SetupError(ValueError):
    """A network that cannot be made as asked. One line that says why, and what can be done."""


def load_hosts(path: Path) -> Places:
    """Return the places in a hosts.toml: `[[replicas]]` with `host`, and ports if not 7000, 7001;
    `[[brokers]]` with `host`, and a port if not 8883.

    Raises `ConfigurationError`.
    """
    text = read_toml(path, _HostsText)
    hosts = text.replicas
    for place, host in enumerate(hosts):
        for other, earlier in enumerate(hosts[:place]):
            if _name(host, place) == _name(earlier, other):
                raise ConfigurationError(path, f"replicas[{place}].name", f"is that of replicas[{other}]")
            ports, taken = {host.peer_port, host.client_port}, {earlier.peer_port, earlier.client_port}
            if host.host == earlier.host and ports & taken:
                raise ConfigurationError(
                    path, f"replicas[{place}].peer_port", f"the ports are those of replicas[{other}]"
                )
        if host.peer_port == host.client_port:
            raise ConfigurationError(path, f"replicas[{place}].client_port", "is the peers' port already")
        if host.transport == "mqtt" and not text.brokers:
            raise ConfigurationError(
                path, f"replicas[{place}].transport", "is mqtt, but there are no [[brokers]]"
            )
    for place, broker in enumerate(text.brokers):
        if (broker.host, broker.port) in [(other.host, other.port) for other in text.brokers[:place]]:
            raise ConfigurationError(path, f"brokers[{place}]", "stands there twice")
    brokers = tuple(
        broker if broker.authority is None else replace(broker, authority=str(path.parent / broker.authority))
        for broker in text.brokers
    )
    return Places(tuple(hosts), brokers)


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


def check_size(replicas: int, development: bool) -> None:
    """Raise `SetupError` for a number of replicas that makes no network."""
    if replicas in (2, 3):
        raise SetupError(
            f"{replicas} replicas tolerate no fault and stop with the first that fails: take {SMALLEST} or"
            " more (f faults need 3f + 1 replicas), or 1 with --dev"
        )
    if replicas == 1 and not development:
        raise SetupError("a single replica tolerates no fault: it is for development only, with --dev")
    if not 1 <= replicas <= MAX_MEMBERS:
        raise SetupError(f"{replicas} replicas: there can be {SMALLEST} to {MAX_MEMBERS}")


def local_plan(places: Places, application: str = "kv", *, development: bool = False) -> NetworkPlan:
    """Return the plan of a network in `places`."""
    return NetworkPlan(places.replicas, application, development=development, brokers=places.brokers)


def make_network(directory: Path, plan: NetworkPlan) -> Genesis:
    """Make the network in `directory`, which must not exist yet or be empty; returns its genesis.

    The directory appears with everything in it, or not at all. Raises `SetupError`, `ConfigurationError`.
    """
    check_size(len(plan.hosts), plan.development)
    try:
        taken = directory.exists() and (not directory.is_dir() or any(directory.iterdir()))
    except OSError as error:
        raise SetupError(f"{directory} cannot be made: {error.strerror or error}") from None
    if taken:
        raise SetupError(f"{directory} exists already, and is never overwritten: choose another directory")
    directory = directory.absolute()
    password = None if plan.password_file is None else read_password(plan.password_file)
    client = SigningKey.generate()
    parameters = _checked_parameters(plan, client)
    beside = directory.with_name(f".{directory.name}.{secrets.token_hex(8)}")
    try:
        beside.mkdir(mode=0o755, parents=True)
        try:
            genesis = _write(beside, directory.name, plan, parameters, client, password)
            beside.rename(directory)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
    except OSError as error:
        raise SetupError(f"{directory} cannot be made: {error.strerror or error}") from None
    except CryptoError as error:
        raise SetupError(str(error)) from None
    return genesis


def _checked_parameters(plan: NetworkPlan, client: SigningKey) -> dict[str, str]:
    """The application's parameters, after seeing that the application accepts them."""
    parameters = dict(plan.parameters)
    if plan.application == "assets":
        # Who makes the network may issue; that anybody may is never what was meant.
        parameters.setdefault(ISSUERS, client.public_key.hex())
    try:
        load_application(plan.application, parameters)
    except ApplicationError as error:
        raise SetupError(str(error)) from None
    return parameters


def _write(
    directory: Path,
    name: str,
    plan: NetworkPlan,
    parameters: dict[str, str],
    client: SigningKey,
    password: bytes | None,
) -> Genesis:
    (directory / CERTIFICATES).mkdir()
    names = [_name(host, place) for place, host in enumerate(plan.hosts)]
    if plan.brokers and CLIENT_USER in names:
        raise SetupError(
            f"no replica may be called {CLIENT_USER!r}: that is the clients' account at the brokers"
        )
    members = [
        _write_identity(directory, _name(host, place), host, password)
        for place, host in enumerate(plan.hosts)
    ]
    more = {} if plan.largest_batch is None else {"max_batch_transactions": plan.largest_batch}
    genesis = _with_interval(
        Genesis(
            format=FORMAT,
            name=name[:MAX_NAME],
            created=time.time_ns() // 1_000_000,
            engine="pbft",
            application=plan.application,
            members=tuple(members),
            testing=plan.testing,
            parameters=tuple(sorted(parameters.items())),
            **more,
        ),
        INTERVALS if plan.checkpoint_interval is None else (plan.checkpoint_interval,),
    )
    save_genesis(genesis, directory / GENESIS_FILE)
    passwords = _write_brokers(directory, plan, genesis) if plan.brokers else {}
    for name, secret in passwords.items():
        where = directory / CLIENT_PASSWORD if name == CLIENT_USER else directory / name / BROKER_PASSWORD
        write_private_file(where, f"{secret}\n".encode())
    for place in range(len(members)):
        (directory / members[place].name / NODE_FILE).write_text(_node_text(plan, genesis, place))
    write_key_file(directory / CLIENT_KEY, client.seed, password)
    (directory / CLIENT_FILE).write_text(_client_text(plan, genesis))
    return genesis


def _write_brokers(directory: Path, plan: NetworkPlan, genesis: Genesis) -> dict[str, str]:
    """Make the files of the brokers; returns the password of every account."""
    members = {member.name: MemberId(place) for place, member in enumerate(genesis.members)}
    rights = access_rights(genesis.chain_id, members, (CLIENT_USER,))
    passwords = {user: new_password() for user in rights}
    run_as = getpass.getuser() if all(broker.host == LOOPBACK for broker in plan.brokers) else None
    for number, broker in enumerate(plan.brokers):
        name = broker_name(number)
        if broker.authority is not None:
            try:
                shutil.copy(broker.authority, directory / CERTIFICATES / f"{name}.pem")
            except OSError as error:
                raise SetupError(f"{broker.authority} cannot be read: {error.strerror or error}") from None
            continue
        listen = Address(broker.listen or broker.host, broker.port)
        home = directory / name
        certificate = write_broker(home, genesis.name, listen, broker.host, rights, passwords, run_as)
        (directory / CERTIFICATES / f"{name}.crt").write_bytes(certificate)
    return passwords


def broker_name(number: int) -> str:
    """Return the name of a broker's directory and certificate."""
    return f"{BROKER}-{number}"


def _broker_texts(plan: NetworkPlan, user: str, password_file: str, certificates: str) -> list[BrokerText]:
    return [
        BrokerText(
            str(Address(broker.host, broker.port)),
            user,
            password_file,
            certificate=None if broker.authority else f"{certificates}/{broker_name(number)}.crt",
            authority=f"{certificates}/{broker_name(number)}.pem" if broker.authority else None,
        )
        for number, broker in enumerate(plan.brokers)
    ]


def _with_interval(genesis: Genesis, intervals: Sequence[int]) -> Genesis:
    """Return `genesis` with the first of the `intervals` that its engine can bear. Raises `SetupError`."""
    why = ""
    for interval in intervals:
        candidate = replace(genesis, checkpoint_interval=interval)
        try:
            ordering(candidate, candidate.roster())
        except UnusableGenesis as error:
            why = str(error)
        else:
            return candidate
    raise SetupError(why)


def _write_identity(directory: Path, name: str, host: Host, password: bytes | None) -> GenesisMember:
    """Make one replica's directory with its keys and its certificate."""
    place = directory / name
    place.mkdir(mode=0o700)
    signer = SigningKey.generate()
    write_key_file(place / SIGNING_KEY, signer.seed, password)
    try:
        certificate, key = make_identity(name, [host.host])
    except TlsError as error:
        raise SetupError(str(error)) from None
    write_private_file(place / TLS_KEY, key)
    (place / TLS_CERTIFICATE).write_bytes(certificate)
    (directory / CERTIFICATES / f"{name}.crt").write_bytes(certificate)
    return GenesisMember(name, signer.public_key, Digest(fingerprint(certificate_der(certificate))))


_NODE_TEXT: Final = """\
# {name}: what is local to this machine. What all replicas must agree on is in the genesis.
# Paths are relative to this file's directory.
name = "{name}"
genesis = "../{genesis}"
store = "{store}"
# JSON lines; without this key, readable lines on stderr.
log = "{log}"
# true for the first start on a store that came out of a backup (or is new while the old one is lost), then
# false again: the replica itself remembers until it is safe to vote.
restored_from_backup = false

[keys]
signing_key = "{signing_key}"
certificate = "{certificate}"
private_key = "{private_key}"
{password}"""

_LISTEN_TEXT: Final = """
[listen]
peers = "{peers}"
clients = "{clients}"
"""

_PEER_TEXT: Final = """
[[peers]]
name = "{name}"
address = "{address}"
certificate = "../{certificates}/{name}.crt"
"""


def _node_text(plan: NetworkPlan, genesis: Genesis, place: int) -> str:
    host = plan.hosts[place]
    password = plan.password_file
    name = genesis.members[place].name
    text = _NODE_TEXT.format(
        name=name,
        genesis=GENESIS_FILE,
        store=STORE,
        log=LOG_FILE,
        signing_key=SIGNING_KEY,
        certificate=TLS_CERTIFICATE,
        private_key=TLS_KEY,
        password="" if password is None else f"password_file = {toml_string(str(password.absolute()))}\n",
    )
    if host.transport == "tcp":
        interface = host.listen or host.host
        text += _LISTEN_TEXT.format(
            peers=Address(interface, host.peer_port), clients=Address(interface, host.client_port)
        )
    text += brokers_toml(_broker_texts(plan, name, BROKER_PASSWORD, f"../{CERTIFICATES}"))
    return text + "".join(
        _PEER_TEXT.format(
            name=genesis.members[other].name,
            address=Address(there.host, there.peer_port),
            certificates=CERTIFICATES,
        )
        for other, there in enumerate(plan.hosts)
        if other != place and host.transport == there.transport == "tcp"
    )


def _client_text(plan: NetworkPlan, genesis: Genesis) -> str:
    replicas = {
        member.name: ReplicaText(
            str(Address(host.host, host.client_port)), f"{CERTIFICATES}/{member.name}.crt"
        )
        for member, host in zip(genesis.members, plan.hosts, strict=True)
        if host.transport == "tcp"
    }
    brokers = _broker_texts(plan, CLIENT_USER, CLIENT_PASSWORD, CERTIFICATES)
    return client_toml(GENESIS_FILE, CLIENT_KEY, OUTBOX_FILE, replicas, brokers)


def _name(host: Host, place: int) -> str:
    return host.name or f"replica-{place}"


def tolerated(replicas: int) -> int:
    """Return how many replicas may be malicious at once."""
    return Quorums.byzantine(replicas).f
