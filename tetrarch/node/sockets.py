"""The seam between the shell and the network: what the shell needs of sockets, and the real ones."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from crypto.roster import MemberId
from crypto.tls import client_context, server_context, server_context_anonymous
from network.bounds import Ending
from network.tcp import Address, ClientListener, PeerMesh, Report
from tetrarch.node.effects import ConnectionId
from tetrarch.node.settings import NodeSettings

OF_ITSELF = frozenset({str(Ending.ASKED), str(Ending.PEER)})
"""How connections end with which nothing is wrong: no more is said of them."""


class Handler(Protocol):
    """What a network calls, from the event loop's thread."""

    def peer_frame(self, member: MemberId, frame: bytes) -> None:
        """A member's frame came."""

    def peer_up(self, member: MemberId) -> None:
        """A member is connected."""

    def peer_down(self, member: MemberId) -> None:
        """A member's connection is gone."""

    def client_frame(self, connection: int, frame: bytes) -> None:
        """A client's frame came."""

    def client_up(self, connection: int) -> None:
        """A client is connected."""

    def client_gone(self, connection: int) -> None:
        """A client's connection is gone."""


class NetworkLoad(NamedTuple):
    """What the network holds at a moment."""

    clients: int
    """How many are connected."""
    queued: Mapping[MemberId, int]
    """Bytes that wait for each other member."""


class Network(Protocol):
    """What the shell needs of a network. Sending never blocks and never raises: who is gone gets nothing."""

    @property
    def counts(self) -> Mapping[str, int]:
        """How often something was wrong with connections, by whose they were and reason."""

    @property
    def load(self) -> NetworkLoad:
        """What it holds now."""

    async def start(self) -> None:
        """Listen and connect. Raises `OSError`."""

    def send_member(self, member: MemberId, frame: bytes) -> None:
        """Queue a frame for a member."""

    def send_client(self, connection: ConnectionId, frame: bytes) -> None:
        """Queue a frame for a client."""

    def close_client(self, connection: ConnectionId) -> None:
        """End a client's connection."""

    async def close(self) -> None:
        """End everything, what is queued sent as far as possible."""


OpenNetwork = Callable[[NodeSettings, Handler, Report], Network]
"""Makes a replica's network: `Sockets`, or what stands in its place."""


def counted(clients: Mapping[str, int], members: Mapping[str, int]) -> dict[str, int]:
    """Return how often something was wrong, by whose connections they were and reason."""
    return {
        f"{whose} connection: {reason}": times
        for whose, counts in (("client", clients), ("member", members))
        for reason, times in counts.items()
        if reason not in OF_ITSELF
    }


class Sockets:
    """TCP and TLS: a mesh of members and a listener for clients.

    Speaks with the members that have an address in `settings`. Raises `TlsError` for certificates and keys
    that cannot be used.
    """

    def __init__(self, settings: NodeSettings, handler: Handler, report: Report) -> None:
        if settings.peer_listen is None or settings.client_listen is None:
            raise ValueError(f"{settings.name} has no address to listen on")
        own, key = settings.certificate, settings.private_key
        members = settings.genesis.members
        addresses = {
            MemberId(number): address for number, address in enumerate(settings.peers) if address is not None
        }
        self._others = [number for number in addresses if number != settings.member]
        self._mesh = PeerMesh(
            settings.member,
            settings.genesis.chain_id,
            settings.peer_listen,
            addresses,
            {number: members[number].tls_fingerprint for number in addresses},
            server_context(own, key, settings.peer_certificates),
            client_context(own, key, settings.peer_certificates),
            handler,
            limits=settings.mesh,
            report=report,
        )
        context = server_context_anonymous(own, key)
        self._listener = ClientListener(
            settings.client_listen, context, handler, limits=settings.listener, report=report
        )

    @property
    def peer_address(self) -> Address:
        """Where members connect to: with the port found, where port 0 was asked for."""
        return self._mesh.address

    @property
    def client_address(self) -> Address:
        """Where clients connect to."""
        return self._listener.address

    @property
    def counts(self) -> dict[str, int]:
        """How often connections were refused, ended or not made, by whose they were and reason."""
        return counted(self._listener.counts, self._mesh.counts)

    @property
    def load(self) -> NetworkLoad:
        """What it holds now."""
        queued = {member: self._mesh.queued(member) for member in self._others}
        return NetworkLoad(self._listener.connections, queued)

    async def start(self) -> None:
        """Listen and begin to dial. Raises `ListenError`."""
        await self._mesh.start()
        await self._listener.start()

    def send_member(self, member: MemberId, frame: bytes) -> None:
        """Queue a frame for a member."""
        self._mesh.send(member, frame)

    def send_client(self, connection: ConnectionId, frame: bytes) -> None:
        """Queue a frame for a client, if it is still there."""
        self._listener.send(connection, frame)

    def close_client(self, connection: ConnectionId) -> None:
        """End a client's connection."""
        self._listener.disconnect(connection)

    async def close(self) -> None:
        """End everything, what is queued sent as far as it is read."""
        await self._listener.close()
        await self._mesh.close()
