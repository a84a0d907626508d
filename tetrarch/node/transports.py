"""A replica's network, as its settings want it: over TCP, by way of MQTT brokers, or both.

What lives here: which member and which client is spoken with in which way. What must not be known here: how
either works (`tetrarch.node.sockets`, `network.mqtt`).

Two members that both have an address speak over TCP, all others by way of the brokers. Clients may come
either way.
"""

from collections.abc import Sequence

from crypto.roster import MemberId
from network.mqtt.listener import FIRST_CONNECTION
from network.mqtt.station import MqttStation
from network.tcp import Report
from tetrarch.node.effects import ConnectionId
from tetrarch.node.settings import NodeSettings
from tetrarch.node.sockets import Handler, Network, NetworkLoad, Sockets, counted


def open_network(settings: NodeSettings, handler: Handler, report: Report) -> Network:
    """Return the network that `settings` want. To be called in an event loop.

    Raises `TlsError` for certificates and keys that cannot be used.
    """
    if not settings.brokers:
        return Sockets(settings, handler, report)
    at_brokers = AtBrokers(settings, handler, report)
    if settings.peer_listen is None:
        return at_brokers
    return Both(Sockets(settings, handler, report), at_brokers, settings)


class AtBrokers:
    """Members and clients by way of brokers."""

    def __init__(self, settings: NodeSettings, handler: Handler, report: Report) -> None:
        members = settings.genesis.members
        keys = {
            MemberId(number): member.public_key
            for number, member in enumerate(members)
            if number != settings.member and settings.peers[number] is None
        }
        self._station = MqttStation(
            settings.member,
            settings.genesis.chain_id,
            keys,
            settings.signer,
            settings.brokers,
            handler,
            mesh=settings.mesh,
            listener=settings.listener,
            report=report,
        )

    @property
    def counts(self) -> dict[str, int]:
        """How often something was wrong, by whose it was and reason."""
        return counted(self._station.client_counts, self._station.counts)

    @property
    def load(self) -> NetworkLoad:
        """What it holds now."""
        return NetworkLoad(self._station.clients, self._station.queued)

    async def start(self) -> None:
        """Begin to connect to the brokers. That none can be reached is no reason not to start."""
        self._station.start()

    def send_member(self, member: MemberId, frame: bytes) -> None:
        """Queue a frame for a member."""
        self._station.send_member(member, frame)

    def send_client(self, connection: ConnectionId, frame: bytes) -> None:
        """Queue a frame for a client, if it is still there."""
        self._station.send_client(connection, frame)

    def close_client(self, connection: ConnectionId) -> None:
        """Part with a client."""
        self._station.close_client(connection)

    async def close(self) -> None:
        """Say goodbye to everyone and leave."""
        await self._station.close()


class Both:
    """Some members over TCP, the others by way of brokers; clients as they come."""

    def __init__(self, sockets: Sockets, at_brokers: AtBrokers, settings: NodeSettings) -> None:
        self._sockets = sockets
        self._at_brokers = at_brokers
        self._over_tcp: Sequence[bool] = [address is not None for address in settings.peers]

    @property
    def counts(self) -> dict[str, int]:
        """How often something was wrong, by whose it was and reason."""
        counts = self._sockets.counts
        for reason, times in self._at_brokers.counts.items():
            counts[reason] = counts.get(reason, 0) + times
        return counts

    @property
    def load(self) -> NetworkLoad:
        """What both hold now."""
        one, other = self._sockets.load, self._at_brokers.load
        return NetworkLoad(one.clients + other.clients, {**one.queued, **other.queued})

    async def start(self) -> None:
        """Listen, and begin to connect. Raises `ListenError`."""
        await self._sockets.start()
        await self._at_brokers.start()

    def send_member(self, member: MemberId, frame: bytes) -> None:
        """Queue a frame for a member."""
        way = self._sockets if self._over_tcp[member] else self._at_brokers
        way.send_member(member, frame)

    def send_client(self, connection: ConnectionId, frame: bytes) -> None:
        """Queue a frame for a client, if it is still there."""
        self._way(connection).send_client(connection, frame)

    def close_client(self, connection: ConnectionId) -> None:
        """Part with a client."""
        self._way(connection).close_client(connection)

    async def close(self) -> None:
        """End everything."""
        await self._sockets.close()
        await self._at_brokers.close()

    def _way(self, connection: ConnectionId) -> Network:
        return self._at_brokers if connection >= FIRST_CONNECTION else self._sockets
