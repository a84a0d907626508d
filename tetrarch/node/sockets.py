"""The seam between the shell and the network: what the shell needs of sockets, and the real ones."""

from typing import Protocol

from crypto.roster import MemberId
from tetrarch.node.effects import ConnectionId


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


class Network(Protocol):
    """What the shell needs of a network. Sending never blocks and never raises: who is gone gets nothing."""

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
