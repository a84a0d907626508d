"""Hostile clients of a real network: the behaviours of `byzantine.liars.clients`, over TCP and TLS or by way
of a broker.

What lives here: what a client's behaviour is given (`byzantine.liars.client.Connections`), and one connection
to each member, made anew whenever it ends. What must not be known here: what is sent over them.

A frame that no replica can decode ends the connection by which it came, and with it whatever waits there. So
each of these has a connection of its own, one after another, beside the one over which all others go.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

from byzantine.culprits import Deeds, hostile_client
from byzantine.liars import clients  # noqa: F401  # defines their behaviours
from byzantine.liars.client import Stage, Unread, key_number, make_client_behaviour
from byzantine.runners.clock import RunClock
from byzantine.runners.unread import UnreadConnection
from byzantine.scenario import Lie
from byzantine.simulation.signatures import RealSignatures
from crypto.batch import TxId
from crypto.errors import CryptoError
from crypto.keys import Signer
from crypto.roster import MemberId
from crypto.tls import client_context_anonymous
from ledger.genesis import Genesis
from ledger.transaction import transaction_id
from network.dial import ClientConnection, ClientLimits
from network.mqtt.dial import MqttClientPost
from tetrarch.client.config import ClientConfig
from tetrarch.client.transport import Connection
from tetrarch.decoding import FrameDecoder
from tetrarch.wire import FROM_CLIENTS, MAX_CLIENT_FRAME_BYTES

LIMITS = ClientLimits(request_bytes=2 * MAX_CLIENT_FRAME_BYTES, queue_bytes=64 * 1024 * 1024)
"""Wide enough for frames that are too large for a replica."""

PAUSE_SECONDS = 0.05
"""From a connection that failed to the next."""

CLOSING_SECONDS = 5.0
"""How long a replica may take to end a connection for what came over it, before the client goes on."""

Dial = Callable[[MemberId], Awaitable[Connection]]

_frames = FrameDecoder(FROM_CLIENTS, MAX_CLIENT_FRAME_BYTES)


class RealHostileClient:
    """One hostile client, connected to every replica, and deaf. Made inside a running event loop."""

    def __init__(
        self,
        number: int,
        lie: Lie,
        seed: int,
        config: ClientConfig,
        clock: RunClock,
        deeds: Deeds,
        sent: set[TxId],
    ) -> None:
        """`deeds` and `sent` are added to: how often it was hostile, and its transactions."""
        self.number = number
        self.genesis: Genesis = config.trust.genesis
        self._clock, self._deeds, self._sent = clock, deeds, sent
        self._keys = RealSignatures()
        self._endpoints = config.endpoints
        self._unread: list[UnreadConnection] = []
        dial = _over_tcp(config) if config.endpoints else _by_brokers(config)

        members = range(len(self.genesis.members))
        self._lines = [Line(MemberId(member), dial) for member in members]
        self._for_nonsense = [Line(MemberId(member), dial) for member in members]
        self.behaviour = make_client_behaviour(self, lie, f"{seed} {number}")

    def begin(self) -> None:
        """Connect, and begin to speak."""
        for line in self._lines:
            line.open()
        self.behaviour.begin()

    async def close(self) -> None:
        """End connections."""
        for line in (*self._lines, *self._for_nonsense):
            await line.close()
        for connection in self._unread:
            await connection.close()

    # What its behaviour is given.

    def signer(self, number: int) -> Signer:
        """Return one of its own keys."""
        return self._keys.client(key_number(self.number, number))

    def now_ms(self) -> int:
        """Return the ms since the run began, in the scenario's time."""
        return self._clock.now_ms()

    def wall_ms(self) -> int:
        """Return the wall clock."""
        return time.time_ns() // 1_000_000

    def after(self, delay_ms: int, action: Callable[[], object]) -> None:
        """Call `action` later."""
        self._clock.after(delay_ms, action)

    def send(self, member: int, frame: bytes) -> None:
        """Send bytes to a member."""
        lines = self._lines if _makes_sense(frame) else self._for_nonsense
        lines[member].send(frame)

    def leave(self, member: int, stage: Stage, data: bytes, reached: Callable[[], object]) -> Unread:
        """Open another connection to a member, and leave it at a stage."""
        self._unread = [each for each in self._unread if not each.gone]
        address = self._endpoints[MemberId(member)].address
        context = client_context_anonymous([each.certificate for each in self._endpoints.values()])
        connection = UnreadConnection(address, context, stage, data, reached)
        self._unread.append(connection)
        return connection

    def declare(self, raw: bytes) -> None:
        """Note a transaction of its own."""
        self._sent.add(transaction_id(raw))

    def on_lied(self, behaviour: str) -> None:
        """It fired."""
        self._deeds.note(hostile_client(self.number), behaviour)


def _over_tcp(config: ClientConfig) -> Dial:
    """How members are dialled that have an address."""
    context = client_context_anonymous([each.certificate for each in config.endpoints.values()])

    async def dial(member: MemberId) -> Connection:
        shown = config.trust.genesis.members[member].tls_fingerprint
        address = config.endpoints[member].address
        return await ClientConnection.connect(address, context, shown, _deaf, limits=LIMITS)

    return dial


def _by_brokers(config: ClientConfig) -> Dial:
    """How members are dialled that meet clients at a broker."""
    post = MqttClientPost(config.trust.chain_id, config.brokers[0].user, config.brokers)

    async def dial(member: MemberId) -> Connection:
        key = config.trust.genesis.members[member].public_key
        return await post.connect(member, key, _deaf, LIMITS)

    return dial


class Line:
    """What goes to one member, in order, over one connection after another. What makes no sense is the last
    thing on its connection."""

    def __init__(self, member: MemberId, dial: Dial) -> None:
        self._member, self._dial = member, dial
        self._waiting: deque[bytes] = deque()
        self._more = asyncio.Event()
        """Set when something was added to these."""
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Connect, unless that is done already."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep())

    def send(self, frame: bytes) -> None:
        """Send a frame as soon as there is a connection for it."""
        self.open()
        self._waiting.append(frame)
        self._more.set()

    async def close(self) -> None:
        """End the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            try:
                connection = await self._dial(self._member)
            except OSError:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            try:
                await self._use(connection)
            finally:
                connection.close()

    async def _use(self, connection: Connection) -> None:
        """Send what there is, until the connection has ended."""
        closed = asyncio.ensure_future(connection.wait_closed())
        try:
            while not closed.done():
                if self._send_all(connection):
                    await asyncio.wait((closed,), timeout=CLOSING_SECONDS)
                    return
                more = asyncio.ensure_future(self._more.wait())
                await asyncio.wait((more, closed), return_when=asyncio.FIRST_COMPLETED)
                more.cancel()
        finally:
            closed.cancel()

    def _send_all(self, connection: Connection) -> bool:
        """Send all that waits, in one turn of the event loop, so that it leaves in one piece: a replica that
        gets frames one by one may well answer each before the next one comes, and never has too many of them.

        Returns whether the last one makes no sense: then those behind it still wait.
        """
        self._more.clear()
        while self._waiting:
            frame = self._waiting[0]
            if not connection.send(frame):
                # For the next connection, or for when there is room in this one.
                break
            self._waiting.popleft()
            if not _makes_sense(frame):
                return True
        return False


def _makes_sense(frame: bytes) -> bool:
    try:
        _frames.decode(frame)
    except CryptoError:
        return False
    return True


def _deaf(_frame: bytes) -> None:
    """Answers are of no interest."""
