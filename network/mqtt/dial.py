"""The clients' end: connections to replicas by way of brokers, as `network.dial` makes them over TCP.

What lives here: one post that all of a client's connections share for as long as there are any, and each
connection's life. What must not be known here: what frames mean, which replicas there are, when to try again.
"""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from itertools import count
from random import Random
from typing import Final

from crypto.digest import ChainId
from crypto.keys import PublicKey, SigningKey
from crypto.roster import MemberId
from crypto.sealed import SealError
from network.acceptor import report_fault
from network.bounds import Ending
from network.dial import ClientLimits
from network.errors import ConnectError, MalformedFrame
from network.framing import check_payload
from network.mqtt.broker import Broker
from network.mqtt.conversation import Conversation, Party
from network.mqtt.listener import CLIENT_RHYTHM
from network.mqtt.names import client_and_member
from network.mqtt.post import Post
from network.mqtt.station import TICK_S
from network.mqtt.topics import Topics, client_name
from network.queue import FrameQueue
from network.tally import Report, Tally

IDENTIFIER_CHARACTERS: Final = 32
"""Of the client's key, in the name that brokers know its connection by: enough not to meet another's."""


class MqttConnection:
    """A conversation with one replica. Made by `MqttClientPost.connect`; all calls from the event loop's
    thread."""

    def __init__(
        self,
        home: "_Home",
        name: str,
        member: MemberId,
        topic: str,
        conversation: Conversation,
        receive: Callable[[bytes], None],
        limits: ClientLimits,
    ) -> None:
        self.name = name
        self.member = member
        self.settled = asyncio.Event()
        """Set when the replica has answered, or the connection is gone."""
        self._home = home
        self._topic = topic
        self._conversation = conversation
        self._receive = receive
        self._limits = limits
        self.gone = asyncio.Event()
        self.released = asyncio.Event()
        """Set when it is gone, and so is the post, if nobody else needs it."""
        self._ending: Ending | None = None
        self._detail = ""
        self._loop = asyncio.get_running_loop()

    @property
    def open(self) -> bool:
        """Whether frames can be exchanged."""
        return self._ending is None and self._conversation.alive

    @property
    def queued(self) -> int:
        """Bytes that wait to be sent."""
        return self._conversation.queue.size

    def send(self, frame: bytes) -> bool:
        """Queue a frame. Never blocks.

        Returns `False` where it was not taken (closed, or too much waits already): then the replica will see
        nothing of it. Raises `ValueError` for a frame that nobody may send.
        """
        check_payload(frame, self._limits.request_bytes)
        if not self.open or not self._conversation.queue.has_room(len(frame)):
            return False
        self._conversation.queue.push(frame)
        self._home.post.wake(self)
        return True

    def close(self) -> None:
        """Say goodbye after what is queued. May be called again."""
        self.end(Ending.ASKED)

    async def wait_closed(self) -> str:
        """Wait until the connection is gone, by whomever, and what was queued has left; return why, in one
        line."""
        await self.released.wait()
        return self.why

    @property
    def why(self) -> str:
        """Why it is gone."""
        ending = (self._ending or Ending.BROKEN).replace("_", " ")
        return f"{ending}: {self._detail}" if self._detail else ending

    # What the post and the home call.

    def next_message(self, broker: int) -> tuple[str, bytes] | None:
        """Return what is to go by `broker` next."""
        message = self._conversation.next_message(broker, self._home.post.up, self._loop.time())
        return None if message is None else (self._topic, message)

    def take(self, broker: int, message: bytes) -> None:
        """Take what came from the replica."""
        if self._ending is not None:
            return
        try:
            frames = self._conversation.receive(broker, message, self._loop.time())
        except (SealError, MalformedFrame) as error:
            self._home.tally.count(error.fault if isinstance(error, SealError) else error.reason)
            return
        self._look()
        for frame in frames:
            if self._ending is None:
                self._receive(frame)
        self._home.post.wake(self)

    def tick(self) -> None:
        """Notice silence; see to what is to be sent again."""
        self._conversation.tick(self._loop.time())
        self._look()
        self._home.post.wake(self)

    def end(self, ending: Ending, detail: str = "") -> None:
        """The connection is over."""
        if self._ending is not None:
            return
        self._ending = ending
        self._detail = detail
        self._conversation.leave()
        self._home.post.wake(self)
        self.settled.set()
        self.gone.set()
        self._home.parted(self)

    def _look(self) -> None:
        conversation = self._conversation
        if not self.settled.is_set():
            if conversation.alive:
                self.settled.set()
        elif conversation.left:
            self.end(Ending.PEER)
        elif conversation.outdated:
            self.end(Ending.BROKEN, "the replica has started anew")
        elif not conversation.alive:
            self.end(Ending.SILENT, f"nothing for {CLIENT_RHYTHM.silent_s:.0f} s")


class _Home:
    """What the connections of one client share while there are any: its post, and a timer."""

    def __init__(
        self, topics: Topics, user: str, key: PublicKey, brokers: Sequence[Broker], tally: Tally
    ) -> None:
        self.tally = tally
        self.connections: dict[tuple[str, MemberId], MqttConnection] = {}
        self.users = 0
        """How many connections and attempts need it."""
        self._topics = topics
        self.post = Post(
            brokers,
            f"tetrarch-{key.hex()[:IDENTIFIER_CHARACTERS]}",
            [topics.all_of_client(user, key)],
            self._take,
            self._changed,
            tally,
            Random(secrets.randbits(64)),
        )
        self.post.start()
        self._timer: asyncio.TimerHandle | None = None
        self._tick()

    def parted(self, connection: MqttConnection) -> None:
        """A connection is over: what still comes for it is for nobody."""
        self.connections.pop((connection.name, connection.member), None)

    async def close(self) -> None:
        """Nobody needs it any more."""
        if self._timer is not None:
            self._timer.cancel()
        await self.post.close()

    def _take(self, broker: int, topic: str, message: bytes) -> None:
        answering = self._topics.answering(topic)
        if answering is None:
            self.tally.count("message_on_wrong_topic")
            return
        connection = self.connections.get(answering)
        if connection is not None:
            connection.take(broker, message)

    def _changed(self) -> None:
        if not any(self.post.up):
            for connection in list(self.connections.values()):
                connection.end(Ending.BROKEN, self.post.causes)
        else:
            self._look()

    def _tick(self) -> None:
        self._look()
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _look(self) -> None:
        for connection in list(self.connections.values()):
            connection.tick()


class MqttClientPost:
    """Opens connections to members of a chain by way of `brokers`.

    `user`: the name in topics, the same at each broker. May be used in several event loops, one after the
    other: what it keeps open lives no longer than its connections. `report` gets lines about brokers.
    """

    def __init__(
        self, chain_id: ChainId, user: str, brokers: Sequence[Broker], report: Report | None = None
    ) -> None:
        self._chain_id = chain_id
        self._topics = Topics(chain_id)
        self._user = user
        self._signer = SigningKey.generate()
        """Drawn for this object: it says which conversations are ours, not who we are."""
        self._brokers = tuple(brokers)
        self._tally = Tally(report) if report is not None else Tally(_nothing)
        self._numbers = count(1)
        self._home: _Home | None = None
        self._watches: set[asyncio.Task[None]] = set()

    @property
    def counts(self) -> dict[str, int]:
        """How often something was wrong, by reason."""
        return self._tally.counts

    async def connect(
        self, member: MemberId, key: PublicKey, receive: Callable[[bytes], None], limits: ClientLimits
    ) -> MqttConnection:
        """Return a connection to the member whose signing key this is.

        `receive` is called with every frame that comes. Raises `ConnectError`, a `ConnectionError`: no
        broker, nobody there, or somebody else.
        """
        home = self._home
        if home is None:
            home = self._home = _Home(
                self._topics, self._user, self._signer.public_key, self._brokers, self._tally
            )
        home.users += 1
        connection = self._begin(home, member, key, receive, limits)
        kept = False
        try:
            await self._settle(home, connection, limits)
            kept = True
        finally:
            if not kept:
                connection.end(Ending.ASKED)
                await self._release(home)
        watch = asyncio.create_task(self._watch(home, connection))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        watch.add_done_callback(report_fault)
        return connection

    def _begin(
        self,
        home: _Home,
        member: MemberId,
        key: PublicKey,
        receive: Callable[[bytes], None],
        limits: ClientLimits,
    ) -> MqttConnection:
        name = client_name(self._user, self._signer.public_key, next(self._numbers))
        party = Party(client_and_member(self._chain_id, name, member), True, self._signer, key)
        queue = FrameQueue(limits.queue_bytes, limits.queue_frames)
        now = asyncio.get_running_loop().time()
        # No name is used twice: there are no earlier offers.
        conversation = Conversation(
            party, queue, limits.frame_bytes, len(self._brokers), CLIENT_RHYTHM, 0, now
        )
        topic = self._topics.to_member(name, member)
        connection = MqttConnection(home, name, member, topic, conversation, receive, limits)
        home.connections[name, member] = connection
        return connection

    async def _settle(self, home: _Home, connection: MqttConnection, limits: ClientLimits) -> None:
        try:
            async with asyncio.timeout(limits.connect_ms / 1000):
                await home.post.tried()
                if not any(home.post.up):
                    raise ConnectError(home.post.causes)
                connection.tick()
                await connection.settled.wait()
        except TimeoutError:
            why = f"no answer by way of {', '.join(str(broker.address) for broker in self._brokers)}"
            raise ConnectError(f"{why} within {limits.connect_ms} ms") from None
        if not connection.open:
            raise ConnectError(connection.why)

    async def _watch(self, home: _Home, connection: MqttConnection) -> None:
        await connection.gone.wait()
        try:
            await self._release(home)
        finally:
            connection.released.set()

    async def _release(self, home: _Home) -> None:
        home.users -= 1
        if not home.users:
            if self._home is home:
                self._home = None
            await home.close()


def _nothing(_name: str, /, **_facts: str | int) -> None:
    """Whoever dials is told in the error."""
