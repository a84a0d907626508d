"""What the client needs of a network: a way to dial one replica and to exchange frames with it.

What lives here: two protocols. Those over TLS are in `tetrarch.client.tls`, those by
way of brokers in `tetrarch.client.mqtt`; tests bring replicas in memory.
"""

from collections.abc import Callable
from typing import Protocol

from crypto.roster import MemberId


class Connection(Protocol):
    """An open connection to one replica, which has shown its certificate."""

    def send(self, frame: bytes) -> bool:
        """Send a frame, in order; never blocks. Returns `False` where it was not taken (closed, or too much
        is waiting already), and then the peer has seen nothing of it."""
        ...

    def close(self) -> None:
        """Close at once. May be called again."""
        ...

    async def wait_closed(self) -> str:
        """Wait until the connection is closed, by whomever, and return why."""
        ...


class Dialer(Protocol):
    """Opens connections."""

    async def dial(self, member: MemberId, receive: Callable[[bytes], None]) -> Connection:
        """Return a connection to `member`; every frame that comes is passed to `receive` in order.

        Raises `OSError` where it cannot be reached or is not who it should be.
        """
        ...
