"""Conversations with other members by way of brokers: what `network.mesh` is for TCP.

What lives here: the other members' queues and conversations, who is up. What must not be known here: what
frames mean, how messages reach a broker.

A member is up when it was heard lately under keys that both have, and a broker can be used. Nothing here
waits for anything to arrive: a queue that is full drops its oldest frames, and what is lost is resent by
whoever wants it.
"""

import asyncio
import time
from collections.abc import Mapping

from crypto.digest import ChainId
from crypto.keys import PublicKey, Signer
from crypto.roster import MemberId
from crypto.sealed import SealError
from network.bounds import Budget
from network.errors import MalformedFrame
from network.framing import check_payload
from network.mesh import MeshLimits, PeerHandler
from network.mqtt.conversation import Conversation, Party, Rhythm
from network.mqtt.names import between_members
from network.mqtt.post import Post
from network.mqtt.topics import Topics
from network.queue import FrameQueue
from network.tally import Tally


class _Peer:
    """One other member. Asked by the post for messages."""

    def __init__(self, member: MemberId, topic: str, conversation: Conversation, post: Post) -> None:
        self.member = member
        self.up = False
        self.weight = 0
        self.conversation = conversation
        self._topic = topic
        self._post = post
        self._loop = asyncio.get_running_loop()

    def next_message(self, broker: int) -> tuple[str, bytes] | None:
        """Return what is to go by `broker` next."""
        message = self.conversation.next_message(broker, self._post.up, self._loop.time())
        return None if message is None else (self._topic, message)


class MqttMesh:
    """The conversations of `member` with the members in `keys` (their signing keys, by id).

    All calls from the event loop's thread. `brokers`: how many there are.
    """

    def __init__(
        self,
        member: MemberId,
        chain_id: ChainId,
        keys: Mapping[MemberId, PublicKey],
        signer: Signer,
        post: Post,
        handler: PeerHandler,
        tally: Tally,
        *,
        limits: MeshLimits | None = None,
        brokers: int = 1,
    ) -> None:
        self._limits = limits = limits or MeshLimits()
        self._handler = handler
        self._tally = tally
        self._post = post
        self._budget = Budget(limits.received_bytes, self._relieve)
        self._loop = asyncio.get_running_loop()
        topics = Topics(chain_id)
        rhythm = Rhythm(limits.heartbeat_ms / 1000, limits.silent_heartbeats * limits.heartbeat_ms / 1000)
        self._peers: dict[MemberId, _Peer] = {}
        for other, key in sorted(keys.items()):
            party = Party(between_members(chain_id, member, other), member < other, signer, key)
            queue = FrameQueue(limits.absent_bytes, limits.absent_frames)
            conversation = Conversation(
                party, queue, limits.frame_bytes, brokers, rhythm, time.time_ns() // 10**6, self._loop.time()
            )
            peer = _Peer(other, topics.between(member, other), conversation, post)
            self._peers[other] = peer

    def send(self, member: MemberId, payload: bytes) -> None:
        """Queue a frame for `member`; all of one loop turn leave in one message. Never blocks and never
        fails: a full queue drops its oldest frames. Raises `ValueError` for a frame that nobody may send."""
        check_payload(payload, self._limits.frame_bytes)
        peer = self._peers[member]
        dropped = peer.conversation.queue.push(payload)
        if dropped:
            self._tally.count("dropped_oldest", dropped)
        self._post.wake(peer)

    def connected(self, member: MemberId) -> bool:
        """Whether `member` is up."""
        return self._peers[member].up

    def queued(self, member: MemberId) -> int:
        """Bytes that wait for `member`."""
        return self._peers[member].conversation.queue.size

    def receive(self, member: MemberId, broker: int, message: bytes) -> None:
        """Take what came on the topic of `member`."""
        peer = self._peers.get(member)
        if peer is None:
            self._tally.count("message_of_no_peer")
            return
        try:
            frames = peer.conversation.receive(broker, message, self._loop.time())
        except SealError as error:
            self._tally.count(error.fault)
            frames = []
        except MalformedFrame as malformed:
            self._tally.count(malformed.reason)
            frames = []
        self._weigh(peer)
        self._look_at(peer)
        for frame in frames:
            try:
                self._handler.peer_frame(member, frame)
            except MalformedFrame as malformed:
                self._tally.count(malformed.reason)
        self._post.wake(peer)

    def tick(self) -> None:
        """Notice silence, and see to what is to be sent again. To be called some times a second."""
        now = self._loop.time()
        for peer in self._peers.values():
            peer.conversation.tick(now)
            self._look_at(peer)
            self._post.wake(peer)

    def leave(self) -> None:
        """Say goodbye to everyone, after what is queued."""
        for peer in self._peers.values():
            peer.conversation.leave()
            self._post.wake(peer)

    def _look_at(self, peer: _Peer) -> None:
        """Tell the handler where a member has come or gone."""
        up = peer.conversation.alive and any(self._post.up)
        if up == peer.up:
            return
        peer.up = up
        limits = self._limits
        queue = peer.conversation.queue
        if up:
            queue.limit(limits.queue_bytes, limits.queue_frames)
            self._handler.peer_up(peer.member)
            return
        dropped = queue.limit(limits.absent_bytes, limits.absent_frames)
        if dropped:
            self._tally.count("dropped_oldest", dropped)
        if not peer.conversation.left and any(self._post.up):
            # Where no broker can be used, that has been said already, once for all.
            self._tally.note("silent", member=peer.member, why="it is not heard by way of any broker")
        self._handler.peer_down(peer.member)

    def _weigh(self, peer: _Peer) -> None:
        before, peer.weight = peer.weight, peer.conversation.buffered
        self._budget.change(peer.weight - before)

    def _relieve(self) -> None:
        """Forget the unfinished frame that takes the most memory."""
        heaviest = max(self._peers.values(), key=lambda peer: peer.weight)
        heaviest.conversation.forget()
        self._tally.count("memory_budget_full")
        self._weigh(heaviest)
