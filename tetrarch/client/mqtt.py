"""Dialling replicas by way of MQTT brokers: each one is known by its signing key in the genesis alone.

What lives here: which member is dialled in which way, and its key. What must not be known here: what frames
say, when to dial again.
"""

from collections.abc import Callable, Collection, Sequence

from crypto.roster import MemberId
from network.dial import ClientLimits
from network.mqtt.broker import Broker
from network.mqtt.dial import MqttClientPost, MqttConnection
from tetrarch.client.limits import frame_limit
from tetrarch.client.tls import TlsDialer
from tetrarch.client.transport import Connection
from tetrarch.client.tuning import Tuning
from tetrarch.trust import TrustRoot


class MqttDialer:
    """Opens connections by way of `brokers`."""

    def __init__(self, brokers: Sequence[Broker], trust: TrustRoot, tuning: Tuning) -> None:
        self._keys = [member.public_key for member in trust.genesis.members]
        self._post = MqttClientPost(trust.chain_id, brokers[0].user, brokers)
        self._limits = ClientLimits(frame_bytes=frame_limit(trust), connect_ms=tuning.connect_timeout_ms)

    async def dial(self, member: MemberId, receive: Callable[[bytes], None]) -> MqttConnection:
        """Return a connection to `member`. Raises `ConnectionError`."""
        return await self._post.connect(member, self._keys[member], receive, self._limits)


class WayDialer:
    """Dials the members that have an address, `endpoints`, over TCP, and all others by way of brokers."""

    def __init__(
        self, over_tcp: TlsDialer | None, endpoints: Collection[MemberId], by_brokers: MqttDialer
    ) -> None:
        self._over_tcp = over_tcp
        self._endpoints = frozenset(endpoints)
        self._by_brokers = by_brokers

    async def dial(self, member: MemberId, receive: Callable[[bytes], None]) -> Connection:
        """Return a connection to `member`. Raises `ConnectionError`."""
        if self._over_tcp is not None and member in self._endpoints:
            return await self._over_tcp.dial(member, receive)
        return await self._by_brokers.dial(member, receive)
