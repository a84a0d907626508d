"""A real Mosquitto on a free port of the loopback, and whoever meets there."""

import asyncio
import getpass
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path

import aiomqtt
import pytest

from crypto.digest import ChainId
from crypto.keys import SigningKey
from crypto.roster import MemberId
from crypto.tls import certificate_der, client_context_anonymous
from network.address import Address
from network.mesh import MeshLimits
from network.mqtt.broker import Broker, Password
from network.mqtt.station import MqttStation
from network.mqtt.topics import Rights, Topics
from network.tcp import ListenerLimits
from tests.network.harness import CHAIN, PATIENCE_S, Recorder
from tetrarch.layout import ERROR_FILE
from tetrarch.ports import LOOPBACK, take_ports
from tetrarch.processes import BrokerMissing, BrokerProcess, mosquitto
from tetrarch.setup.brokers import CLIENT_USER, access_rights, hashed, write_broker

ALL_POWERFUL = "all-powerful"
"""An account that may read and write every topic: what the broker itself could do."""

PASSWORD = "correct horse"
TOPICS = Topics(ChainId(CHAIN))


def require_mosquitto() -> None:
    try:
        mosquitto()
    except BrokerMissing as missing:
        pytest.skip(str(missing))


class RunningBroker:
    """The files of a broker, and its process, which can be killed and started again."""

    def __init__(self, directory: Path) -> None:
        port = take_ports(1)
        assert port is not None
        self.address = Address(LOOPBACK, port)
        members = {f"replica-{number}": MemberId(number) for number in range(4)}
        rights = access_rights(ChainId(CHAIN), members, (CLIENT_USER,))
        rights[ALL_POWERFUL] = Rights(("#",), ("#",))
        hashes = {user: hashed(PASSWORD) for user in rights}
        own = getpass.getuser()
        self.certificate = write_broker(directory, "tests", self.address, LOOPBACK, rights, hashes, own)
        self.process = BrokerProcess(directory)

    def start(self) -> None:
        """Start, and wait until it listens."""
        self.process.start()
        until = time.monotonic() + PATIENCE_S
        while " running" not in (self.process.directory / ERROR_FILE).read_text():
            assert not self.process.ended(), self.process.last_words()
            assert time.monotonic() < until
            time.sleep(0.01)

    def kill(self) -> None:
        self.process.kill()

    def seen_by(self, user: str, password: str = PASSWORD, certificate: bytes | None = None) -> Broker:
        """The broker as one account knows it."""
        context = client_context_anonymous([certificate_der(certificate or self.certificate)])
        return Broker(self.address, context, user, Password(password))

    @asynccontextmanager
    async def plain_client(self, user: str) -> AsyncIterator[aiomqtt.Client]:
        """A client of the broker that is none of ours."""
        broker = self.seen_by(user)
        async with aiomqtt.Client(
            self.address.host,
            self.address.port,
            username=user,
            password=PASSWORD,
            tls_context=broker.context,
            tls_insecure=True,
        ) as client:
            yield client


@contextmanager
def running_broker(directory: Path) -> Iterator[RunningBroker]:
    """A broker that runs until the block ends."""
    require_mosquitto()
    broker = RunningBroker(directory)
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


@cache
def member_key(member: int) -> SigningKey:
    return SigningKey(bytes([member + 1]) * 32)


class Member:
    """One member at its brokers, and what it saw."""

    def __init__(
        self,
        number: int,
        brokers: Sequence[Broker],
        n: int = 2,
        mesh: MeshLimits | None = None,
        listener: ListenerLimits | None = None,
    ) -> None:
        self.number = number
        self.seen = Recorder()
        keys = {MemberId(other): member_key(other).public_key for other in range(n) if other != number}
        self.station = MqttStation(
            MemberId(number),
            ChainId(CHAIN),
            keys,
            member_key(number),
            brokers,
            self.seen,
            mesh=mesh,
            listener=listener,
            report=self.seen.report,
        )
        self.station.start()

    def send(self, member: int, frame: bytes) -> None:
        self.station.send_member(MemberId(member), frame)

    async def until_at_all_brokers(self) -> None:
        """Wait until every broker can be used. Nobody is told of it, so this looks now and then."""
        async with asyncio.timeout(PATIENCE_S):
            while not all(self.station.brokers_up):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def until_counted(self, reason: str, times: int = 1, *, clients: bool = False) -> None:
        """Wait until something was counted so often. Counting wakes nobody, so this looks now and then."""

        def counted() -> int:
            return (self.station.client_counts if clients else self.station.counts).get(reason, 0)

        async with asyncio.timeout(PATIENCE_S):
            while counted() < times:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


@asynccontextmanager
async def leaving(*members: Member) -> AsyncIterator[None]:
    """Have members leave when the block ends."""
    try:
        yield
    finally:
        for member in members:
            await member.station.close()


def pair(broker: RunningBroker) -> tuple[Member, Member]:
    """Two members that speak by way of one broker."""
    one, other = (Member(number, [broker.seen_by(f"replica-{number}")]) for number in (0, 1))
    return one, other
