"""A Tetrarch network in a laboratory: each replica a process in a host of its own, and a host for clients.

What lives here: how replicas are laid out on hosts, by transport, and a network that runs until a block ends.
What must not be known here: what is done to it.

A transport says which further hosts it wants, such as a broker's. All else is the same: a laboratory knows
processes in hosts, and nothing of what they say to each other.
"""

import getpass
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final, Protocol

import pytest
from msgspec import Struct
from msgspec.structs import replace

from ledger.audit.audit import Options
from ledger.audit.report import Verdict
from tests.machines.hosts import Host
from tests.machines.laboratory import Laboratory, missing
from tests.machines.load import SteadyLoad
from tests.processes.running import PATIENCE, Running
from tetrarch.auditing import audit_stores, compare_stores, worst
from tetrarch.layout import BROKER_FILE, CLIENT_FILE, GENESIS_FILE, NODE_FILE
from tetrarch.processes import PROGRAM, BrokerProcess, LocalNetwork, Pid, ReplicaProcess
from tetrarch.setup import places
from tetrarch.setup.brokers import SERVICE_USER
from tetrarch.setup.network import make_network
from tetrarch.setup.plan import NetworkPlan
from tetrarch.wire import StatusReply

BROKER: Final = "broker"
"""The host of the broker, where there is one."""

CLIENT: Final = "client"
"""The host in which the test itself is."""


class Transport(Protocol):
    """How members are connected."""

    further: tuple[str, ...]
    """Hosts beside those of replicas and clients."""

    def plan(self, replicas: Sequence[Host], further: Mapping[str, Host]) -> NetworkPlan:
        """Return the network that is to be made."""
        ...

    def prepare(self, directory: Path) -> None:
        """Change what must be changed in the network's files, which are in `directory`."""
        ...


class Tcp:
    """Every member dials those above it."""

    further: tuple[str, ...] = ()

    def plan(self, replicas: Sequence[Host], further: Mapping[str, Host]) -> NetworkPlan:
        """Return a network whose replicas have the usual ports, each at its own address."""
        return NetworkPlan(tuple(places.Host(host.address) for host in replicas))

    def prepare(self, directory: Path) -> None:
        """Nothing."""


class AtBroker:
    """Everybody meets at a broker in a host of its own, and nobody knows anybody else's address."""

    further: tuple[str, ...] = (BROKER,)

    def plan(self, replicas: Sequence[Host], further: Mapping[str, Host]) -> NetworkPlan:
        """Return a network with one broker."""
        members = tuple(places.Host(host.address, transport="mqtt") for host in replicas)
        return NetworkPlan(members, brokers=(places.BrokerHost(further[BROKER].address),))

    def prepare(self, directory: Path) -> None:
        """Started by root, Mosquitto becomes another user, who may not read what lies in a test's
        directory."""
        for file in directory.glob(f"*/{BROKER_FILE}"):
            file.write_text(file.read_text().replace(f"user {SERVICE_USER}\n", f"user {getpass.getuser()}\n"))


TRANSPORTS: Final[dict[str, Transport]] = {"tcp": Tcp(), "mqtt": AtBroker()}


class Choices(Struct, frozen=True):
    """What may be chosen for a network; `None`: the default."""

    checkpoint_interval: int | None = None
    request_timeout_ms: int | None = None
    settings: tuple[tuple[str, str], ...] = ()
    """The kernel's, of all hosts: names and values."""


USUAL: Final = Choices()


class HostedReplica(ReplicaProcess):
    """A replica that is started in its host, wherever who starts it is."""

    def __init__(self, directory: Path, host: Host) -> None:
        super().__init__(directory)
        self.host = host

    def start(self, arguments: Sequence[str] = (), program: Sequence[str] = PROGRAM) -> Pid:
        """Start it there. Raises `AlreadyRunning`, `OSError`."""
        with self.host.namespace.entered():
            return super().start(arguments, program)


class HostedBroker(BrokerProcess):
    """A broker that is started in its host, wherever who starts it is."""

    def __init__(self, directory: Path, host: Host) -> None:
        super().__init__(directory)
        self.host = host

    def start(self) -> Pid:
        """Start it there. Raises `BrokerMissing`, `AlreadyRunning`, `OSError`."""
        with self.host.namespace.entered():
            return super().start()


class HostedNetwork(LocalNetwork):
    """A network directory whose replicas and brokers run in hosts."""

    def __init__(self, directory: Path, hosts: Sequence[Host], further: Sequence[Host]) -> None:
        super().__init__(directory)
        brokers = zip(self.brokers, further, strict=True)
        self.brokers = tuple(HostedBroker(broker.directory, host) for broker, host in brokers)
        members = zip(self.genesis.members, hosts, strict=True)
        self.replicas = tuple(HostedReplica(directory / member.name, host) for member, host in members)


@dataclass
class Deployed(Running):
    """A network that runs in a laboratory. Who holds it is in the clients' host."""

    lab: Laboratory

    @property
    def members(self) -> list[str]:
        """The replicas' hosts, by member."""
        return [replica.name for replica in self.network.replicas]

    def pairs(self) -> list[tuple[str, str]]:
        """All directions between two members."""
        return [(one, other) for one in self.members for other in self.members if one != other]

    def load(self, per_second: float = 10.0, timeout: float = PATIENCE) -> SteadyLoad:
        """Return a load for this network; each transaction may take `timeout` seconds."""
        return SteadyLoad(self.directory / CLIENT_FILE, per_second, timeout)

    def wait_until(
        self, holds: Callable[[list[StatusReply]], bool], seconds: float = PATIENCE
    ) -> list[StatusReply]:
        """Ask all replicas again and again until all answer and `holds`; returns the answers.

        Raises `TimeoutError` after so many seconds.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            states = [state for state in self.states() if state is not None]
            if len(states) == len(self.network.replicas) and holds(states):
                return states
        raise TimeoutError(f"what was waited for did not come in {seconds} s: {states}")

    def audit(self) -> Verdict:
        """Audit all stores, everything computed anew, and compare them height by height."""
        genesis = self.directory / GENESIS_FILE
        audits = worst(audit_stores([self.directory], genesis, Options(processes=1)))
        compared = compare_stores([self.directory], genesis).verdict
        return compared if audits is Verdict.VALID else audits


@contextmanager
def deployed(
    directory: Path,
    replicas: int = 4,
    *,
    transport: str = "tcp",
    seed: int = 0,
    choices: Choices = USUAL,
) -> Iterator[Deployed]:
    """Make a network in `directory` and run it in a laboratory until the block ends, however it ends.

    Raises `Unavailable`.
    """
    way = TRANSPORTS[transport]
    names = [f"replica-{number}" for number in range(replicas)]
    with Laboratory([*names, *way.further, CLIENT], seed) as lab:
        hosts = [lab.hosts[name] for name in names]
        for setting, host in product(choices.settings, lab.hosts.values()):
            host.set(*setting)
        plan = way.plan(hosts, {name: lab.hosts[name] for name in way.further})
        make_network(directory, replace(plan, checkpoint_interval=choices.checkpoint_interval))
        _tune(directory, choices.request_timeout_ms)
        way.prepare(directory)
        network = HostedNetwork(directory, hosts, [lab.hosts[name] for name in way.further])
        with lab.inside(CLIENT):
            try:
                found = Deployed(network, lab)
                found.up()
                yield found
            finally:
                network.kill()


def _tune(directory: Path, request_timeout_ms: int | None) -> None:
    if request_timeout_ms is not None:
        for file in directory.glob(f"*/{NODE_FILE}"):
            with file.open("a") as text:
                text.write(f"\n[tuning]\nrequest_timeout_ms = {request_timeout_ms}\n")


def require_laboratory() -> None:
    """Skip a test where there can be no laboratory."""
    if missing():
        pytest.skip(f"hosts of their own need root, ip, nft, tc and TUN devices: {missing()}")
