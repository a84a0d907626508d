"""A replica at its brokers: one post for its conversations with members and with clients.

What lives here: sorting what comes by its topic, and the timer of all conversations. What must not be known
here: what frames mean, where settings were read.
"""

import asyncio
from collections.abc import Mapping, Sequence
from random import Random
from typing import Final, Protocol

from crypto.digest import ChainId
from crypto.keys import PublicKey, Signer
from crypto.roster import MemberId
from network.listener import ClientHandler, ListenerLimits
from network.mesh import MeshLimits, PeerHandler
from network.mqtt.broker import Broker
from network.mqtt.listener import MqttListener
from network.mqtt.mesh import MqttMesh
from network.mqtt.post import Post
from network.mqtt.topics import CHAIN_CHARACTERS, Topics
from network.tally import Report, Tally, log_line

TICK_S: Final = 0.25
"""How often conversations are looked at: as often as an offer is sent again at most."""


class Handler(PeerHandler, ClientHandler, Protocol):
    """Who gets what members and clients send."""


class MqttStation:
    """The member `member` of a chain at its `brokers`.

    `keys`: the signing keys of the members with whom it speaks this way, by id; itself not among them.
    `signer`: signs as the member. All calls from the event loop's thread.
    """

    def __init__(
        self,
        member: MemberId,
        chain_id: ChainId,
        keys: Mapping[MemberId, PublicKey],
        signer: Signer,
        brokers: Sequence[Broker],
        handler: Handler,
        *,
        mesh: MeshLimits | None = None,
        listener: ListenerLimits | None = None,
        report: Report = log_line,
    ) -> None:
        self._member = member
        self._members = tuple(keys)
        self._topics = Topics(chain_id)
        self._tally = Tally(report)
        self._client_tally = Tally(report)
        self._post = Post(
            brokers,
            f"tetrarch-{chain_id.hex()[:CHAIN_CHARACTERS]}-{member}",
            [self._topics.all_of_member(member)],
            self._take,
            self._changed,
            self._tally,
            Random(member),
        )
        count = len(brokers)
        self._mesh = MqttMesh(
            member, chain_id, keys, signer, self._post, handler, self._tally, limits=mesh, brokers=count
        )
        self._listener = MqttListener(
            member, chain_id, signer, self._post, handler, self._client_tally, limits=listener, brokers=count
        )
        self._timer: asyncio.TimerHandle | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How often something was wrong with brokers and members, by reason."""
        return self._tally.counts

    @property
    def client_counts(self) -> dict[str, int]:
        """How often something was wrong with clients, by reason."""
        return self._client_tally.counts

    @property
    def brokers_up(self) -> tuple[bool, ...]:
        """Which brokers can be used, in their order."""
        return self._post.up

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return self._listener.connections

    @property
    def queued(self) -> dict[MemberId, int]:
        """Bytes that wait for each member with whom it speaks this way."""
        return {member: self._mesh.queued(member) for member in self._members}

    def start(self) -> None:
        """Begin to connect."""
        self._post.start()
        self._tick()

    def send_member(self, member: MemberId, frame: bytes) -> None:
        """Queue a frame for a member."""
        self._mesh.send(member, frame)

    def send_client(self, connection: int, frame: bytes) -> bool:
        """Queue a frame for a client; `False` where it is gone."""
        return self._listener.send(connection, frame)

    def close_client(self, connection: int) -> None:
        """Part with a client."""
        self._listener.disconnect(connection)

    async def close(self, *, silently: bool = False) -> None:
        """Say goodbye to everyone, unless `silently`, as in a crash, and leave; within seconds."""
        if self._timer is not None:
            self._timer.cancel()
        if not silently:
            self._mesh.leave()
            self._listener.leave()
        await self._post.close()

    def _take(self, broker: int, topic: str, message: bytes) -> None:
        sender = self._topics.sender_of(topic, self._member)
        if sender is None:
            self._tally.count("message_on_wrong_topic")
        elif isinstance(sender, str):
            self._listener.receive(sender, broker, message)
        else:
            self._mesh.receive(sender, broker, message)

    def _changed(self) -> None:
        """A broker can be used, or not any more."""
        self._mesh.tick()

    def _tick(self) -> None:
        self._mesh.tick()
        self._listener.tick()
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
