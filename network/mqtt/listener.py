"""Clients that come by way of brokers: what `network.listener` is for TCP.

What lives here: clients' conversations, their numbers and their bounds. What must not be known here: what
frames mean, and who a client is: clients show no identity, their transactions are signed.

A client that offers keys costs an answer, at a bounded rate, and a conversation that is forgotten soon unless
something sealed comes in it. Only then does the handler hear of it.
"""

import asyncio
from collections import Counter, deque
from typing import Final

from crypto.digest import ChainId
from crypto.keys import Signer
from crypto.roster import MemberId
from crypto.sealed import SESSION_ID_BYTES, SealError
from network.bounds import Budget, Ending
from network.errors import MalformedFrame
from network.framing import check_payload
from network.listener import ClientHandler, ConnectionId, ListenerLimits
from network.mqtt.conversation import OFFER, SEALED, UNKNOWN, Conversation, Party, Rhythm
from network.mqtt.names import client_and_member
from network.mqtt.post import Post
from network.mqtt.topics import Topics
from network.queue import FrameQueue
from network.tally import Tally

FIRST_CONNECTION: Final = 1 << 32
"""Connections by way of brokers are counted from here, those over TCP from 1: so they are never confused."""

CLIENT_RHYTHM: Final = Rhythm(beat_s=5.0, silent_s=20.0)
"""Of clients' conversations, at both ends: a client has several replicas and asks another one sooner than
that."""

MAX_COMPLAINTS: Final = 64
"""Answers to messages of sessions that nobody here knows any more, waiting to leave."""


class _Client:
    """One client. Asked by the post for messages."""

    def __init__(self, name: str, topic: str, conversation: Conversation, post: Post, now: float) -> None:
        self.name = name
        self.user = name.partition("/")[0]
        self.connection = ConnectionId(0)
        """0 until something sealed has come."""
        self.since = now
        self.unfinished_since: float | None = None
        self.weight = 0
        self.closing = False
        self.conversation = conversation
        self._topic = topic
        self._post = post
        self._loop = asyncio.get_running_loop()

    def next_message(self, broker: int) -> tuple[str, bytes] | None:
        """Return what is to go by `broker` next."""
        message = self.conversation.next_message(broker, self._post.up, self._loop.time())
        return None if message is None else (self._topic, message)


class MqttListener:
    """Accepts clients. All calls from the event loop's thread. `brokers`: how many there are."""

    def __init__(
        self,
        member: MemberId,
        chain_id: ChainId,
        signer: Signer,
        post: Post,
        handler: ClientHandler,
        tally: Tally,
        *,
        limits: ListenerLimits | None = None,
        brokers: int = 1,
    ) -> None:
        self._member = member
        self._chain_id = chain_id
        self._signer = signer
        self._post = post
        self._handler = handler
        self._tally = tally
        self._limits = limits or ListenerLimits()
        self._brokers = brokers
        self._topics = Topics(chain_id)
        self._budget = Budget(self._limits.total_bytes, self._relieve)
        self._loop = asyncio.get_running_loop()
        self._by_name: dict[str, _Client] = {}
        self._by_connection: dict[ConnectionId, _Client] = {}
        self._users: Counter[str] = Counter()
        self._last = FIRST_CONNECTION
        self._allowance = float(self._limits.accept.handshakes_per_second)
        self._reckoned_at = self._loop.time()
        self._complaints: deque[tuple[int, str, bytes]] = deque(maxlen=MAX_COMPLAINTS)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._by_connection)

    def __contains__(self, connection: int) -> bool:
        return ConnectionId(connection) in self._by_connection

    def send(self, connection: int, payload: bytes) -> bool:
        """Queue a frame for a client. Never blocks.

        Returns `False` where the client is gone, or is given up because too much waits for it. Raises
        `ValueError` for a frame that nobody may send.
        """
        check_payload(payload, self._limits.answer_bytes)
        client = self._by_connection.get(ConnectionId(connection))
        if client is None or client.closing:
            return False
        queue = client.conversation.queue
        if not queue.has_room(len(payload)):
            self._end(client, Ending.BACKLOG)
            return False
        queue.push(payload)
        self._weigh(client)
        self._post.wake(client)
        return True

    def disconnect(self, connection: int) -> None:
        """Say goodbye to a client, after what is queued for it. Not an error if it is gone."""
        client = self._by_connection.get(ConnectionId(connection))
        if client is not None:
            client.closing = True
            client.conversation.leave()
            self._post.wake(client)

    def leave(self) -> None:
        """Say goodbye to everyone, after what is queued."""
        for connection in list(self._by_connection):
            self.disconnect(connection)

    def receive(self, name: str, broker: int, message: bytes) -> None:
        """Take what came on the topic of the client named so."""
        client = self._by_name.get(name)
        if client is None:
            client = self._welcome(name, broker, message)
            if client is None:
                return
        try:
            frames = client.conversation.receive(broker, message, self._loop.time())
        except SealError as error:
            self._tally.count(error.fault)
            frames = []
        except MalformedFrame as malformed:
            self._tally.count(malformed.reason)
            frames = []
        if client.conversation.alive and not client.connection:
            self._up(client)
        self._weigh(client)
        self._deliver(client, frames)
        if client.conversation.left and name in self._by_name:
            self._end(client, Ending.PEER)
        elif name in self._by_name:
            self._post.wake(client)

    def tick(self) -> None:
        """Part with those who are gone or take too long. To be called some times a second."""
        now = self._loop.time()
        limits = self._limits
        for client in list(self._by_name.values()):
            client.conversation.tick(now)
            unfinished = client.unfinished_since
            if not client.connection:
                if now - client.since >= limits.handshake_ms / 1000:
                    self._end(client, Ending.HANDSHAKE_SLOW)
            elif not client.conversation.alive:
                self._end(client, Ending.SILENT)
            elif client.closing and not client.conversation.queue:
                self._end(client, Ending.ASKED)
            elif unfinished is not None and now - unfinished >= limits.frame_ms / 1000:
                client.conversation.reader.forget()
                self._tally.count(Ending.FRAME_SLOW)
                self._weigh(client)
            if client.name in self._by_name:
                self._post.wake(client)

    def next_message(self, broker: int) -> tuple[str, bytes] | None:
        """Return the next answer to someone who is not known here."""
        if self._complaints and self._complaints[0][0] == broker:
            _, topic, message = self._complaints.popleft()
            return topic, message
        return None

    # Coming and going.

    def _welcome(self, name: str, broker: int, message: bytes) -> _Client | None:
        """Make a conversation for someone who offers keys, within limits."""
        if message[:1] == SEALED and len(message) > SESSION_ID_BYTES:
            topic = self._topics.to_client(self._member, name)
            if self._spend():
                self._complaints.append((broker, topic, UNKNOWN + message[1 : 1 + SESSION_ID_BYTES]))
                self._post.wake(self)
            self._tally.count("sealed_for_no_session")
            return None
        refusal = "message_of_no_kind" if message[:1] != OFFER else self._refusal(name.partition("/")[0])
        if refusal is not None:
            self._tally.count(refusal)
            return None
        limits, now = self._limits, self._loop.time()
        party = Party(client_and_member(self._chain_id, name, self._member), False, self._signer, None)
        queue = FrameQueue(limits.queue_bytes, limits.queue_frames)
        conversation = Conversation(party, queue, limits.frame_bytes, self._brokers, CLIENT_RHYTHM, now)
        client = _Client(name, self._topics.to_client(self._member, name), conversation, self._post, now)
        self._by_name[name] = client
        self._users[client.user] += 1
        return client

    def _refusal(self, user: str) -> str | None:
        accept = self._limits.accept
        if len(self._by_name) >= accept.connections:
            return "refused_too_many_connections"
        if self._users[user] >= accept.per_origin:
            return "refused_too_many_from_one_user"
        if len(self._by_name) - len(self._by_connection) >= accept.handshakes:
            return "refused_too_many_handshakes"
        return None if self._spend() else "accept_paced"

    def _spend(self) -> bool:
        """Take one from the allowance for what strangers can make us do."""
        rate = self._limits.accept.handshakes_per_second
        now = self._loop.time()
        self._allowance = min(float(rate), self._allowance + (now - self._reckoned_at) * rate)
        self._reckoned_at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    def _up(self, client: _Client) -> None:
        self._last += 1
        client.connection = ConnectionId(self._last)
        self._by_connection[client.connection] = client
        self._handler.client_up(client.connection)

    def _deliver(self, client: _Client, frames: list[bytes]) -> None:
        if not client.connection or client.closing:
            return
        for frame in frames:
            try:
                self._handler.client_frame(client.connection, frame)
            except MalformedFrame as malformed:
                self._tally.count(malformed.reason)

    def _end(self, client: _Client, ending: Ending) -> None:
        self._tally.count(ending)
        self._budget.change(-client.weight)
        client.weight = 0
        self._post.forget(client)
        del self._by_name[client.name]
        self._users[client.user] -= 1
        if not self._users[client.user]:
            del self._users[client.user]
        if self._by_connection.pop(client.connection, None) is not None:
            self._handler.client_gone(client.connection)

    # Memory.

    def _weigh(self, client: _Client) -> None:
        if client.name not in self._by_name:
            return
        buffered = client.conversation.reader.buffered
        if not buffered:
            client.unfinished_since = None
        elif client.unfinished_since is None:
            client.unfinished_since = self._loop.time()
        before, client.weight = client.weight, buffered + client.conversation.queue.size
        self._budget.change(client.weight - before)

    def _relieve(self) -> None:
        """Part with the client that keeps the most memory."""
        heaviest = max(self._by_name.values(), key=lambda client: client.weight, default=None)
        if heaviest is not None:
            self._end(heaviest, Ending.BUDGET)
