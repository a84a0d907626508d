"""Clients that come by way of brokers: what `network.listener` is for TCP.

What lives here: clients' conversations, their numbers and their bounds. What must not be known here: what
frames mean, and who a client is: clients show no identity, their transactions are signed.

A client that offers keys costs an answer, at a bounded rate, and a conversation that is forgotten soon unless
something sealed comes in it. Only then does the handler hear of it.

A broker can make up as many clients and users as it likes. So each has an equal share of what clients may
take, and a client counts for the one by which its first message came: a broker that lies keeps nobody out who
comes by another one as well, as clients do with every offer.
"""

import asyncio
from collections import deque
from typing import Final

from crypto.digest import ChainId
from crypto.keys import Signer
from crypto.roster import MemberId
from crypto.sealed import Ends, SealError, deny, session_id_of
from network.bounds import Budget, Ending
from network.errors import MalformedFrame
from network.framing import check_payload
from network.listener import ClientHandler, ConnectionId, ListenerLimits
from network.mqtt.allowance import Allowance
from network.mqtt.conversation import DENIAL, OFFER, SEALED, Conversation, Party, Rhythm
from network.mqtt.names import client_and_member
from network.mqtt.post import Post
from network.mqtt.topics import Topics, client_key
from network.queue import FrameQueue
from network.tally import Tally

FIRST_CONNECTION: Final = 1 << 32
"""Connections by way of brokers are counted from here, those over TCP from 1: so they are never confused."""

CLIENT_RHYTHM: Final = Rhythm(beat_s=5.0, silent_s=20.0)
"""Of clients' conversations, at both ends: a client has several replicas and asks another one sooner than
that."""

MAX_DENIALS: Final = 64
"""Answers to messages of sessions that nobody here knows any more, waiting to leave by one broker."""


class _Client:
    """One client. Asked by the post for messages."""

    def __init__(
        self, name: str, broker: int, topic: str, conversation: Conversation, post: Post, now: float
    ) -> None:
        self.name = name
        self.origin = _origin(broker, name)
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


def _origin(broker: int, name: str) -> tuple[int, str]:
    """Return whom the client named so counts for: a user, as one broker knows users."""
    return broker, name.partition("/")[0]


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
        self._last = FIRST_CONNECTION
        now = self._loop.time()
        rate = self._limits.accept.handshakes_per_second / brokers
        self._allowances = [Allowance(max(1.0, rate), now) for _ in range(brokers)]
        self._denials: list[deque[tuple[str, bytes]]] = [deque(maxlen=MAX_DENIALS) for _ in range(brokers)]

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
        now = self._loop.time()
        client = self._by_name.get(name)
        if client is None:
            client = self._welcome(name, broker, message)
            if client is None:
                return
        elif message[:1] == OFFER and not self._allowances[broker].spend(now):
            self._tally.count("accept_paced")
            return
        try:
            frames = client.conversation.receive(broker, message, now)
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
                client.conversation.forget()
                self._tally.count(Ending.FRAME_SLOW)
            # What has left since weighs nothing any more.
            self._weigh(client)
            if self._by_name.get(client.name) is client:
                self._post.wake(client)

    def next_message(self, broker: int) -> tuple[str, bytes] | None:
        """Return the next answer to someone who is not known here."""
        denials = self._denials[broker]
        return denials.popleft() if denials else None

    # Coming and going.

    def _welcome(self, name: str, broker: int, message: bytes) -> _Client | None:
        """Make a conversation for someone who offers keys, within limits."""
        if message[:1] == SEALED:
            self._deny(name, broker, message[1:])
            return None
        refusal = self._refusal(name, broker) if message[:1] == OFFER else "message_of_no_kind"
        if refusal is not None:
            self._tally.count(refusal)
            return None
        limits, now = self._limits, self._loop.time()
        party = Party(self._ends(name), False, self._signer, client_key(name))
        queue = FrameQueue(limits.queue_bytes, limits.queue_frames)
        conversation = Conversation(party, queue, limits.frame_bytes, self._brokers, CLIENT_RHYTHM, 0, now)
        topic = self._topics.to_client(self._member, name)
        client = self._by_name[name] = _Client(name, broker, topic, conversation, self._post, now)
        return client

    def _deny(self, name: str, broker: int, sealed: bytes) -> None:
        """Tell someone that we do not have the session in which it speaks."""
        try:
            session_id = session_id_of(sealed)
        except SealError as error:
            self._tally.count(error.fault)
            return
        self._tally.count("sealed_for_no_session")
        if self._allowances[broker].spend(self._loop.time()):
            denial = DENIAL + deny(self._ends(name), session_id, self._signer)
            self._denials[broker].append((self._topics.to_client(self._member, name), denial))
            self._post.wake(self)

    def _ends(self, name: str) -> Ends:
        return client_and_member(self._chain_id, name, self._member)

    def _refusal(self, name: str, broker: int) -> str | None:
        accept, origin = self._limits.accept, _origin(broker, name)
        by_broker = [client for client in self._by_name.values() if client.origin[0] == broker]
        if len(by_broker) >= max(1, accept.connections // self._brokers):
            return "refused_too_many_connections"
        if sum(client.origin == origin for client in by_broker) >= accept.per_origin:
            return "refused_too_many_from_one_user"
        waiting = [client for client in by_broker if not client.connection]
        if len(waiting) >= max(1, accept.handshakes // self._brokers):
            return "refused_too_many_handshakes"
        if sum(client.origin == origin for client in waiting) >= accept.handshakes_per_origin:
            return "refused_too_many_handshakes_of_one_user"
        return None if self._allowances[broker].spend(self._loop.time()) else "accept_paced"

    def _up(self, client: _Client) -> None:
        self._last += 1
        client.connection = ConnectionId(self._last)
        self._by_connection[client.connection] = client
        self._handler.client_up(client.connection)

    def _deliver(self, client: _Client, frames: list[bytes]) -> None:
        for frame in frames:
            # Whatever the handler does with one frame may be the end of the client.
            if client.connection not in self._by_connection or client.closing:
                return
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
        if self._by_connection.pop(client.connection, None) is not None:
            self._handler.client_gone(client.connection)

    # Memory.

    def _weigh(self, client: _Client) -> None:
        if self._by_name.get(client.name) is not client:
            return
        buffered = client.conversation.buffered
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
