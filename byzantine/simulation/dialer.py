"""Connections of a production client into a simulated network (`tetrarch.client.transport`).

What lives here: one client's endpoint and what arrives at it. What must not be known here: frames.

A member that is down refuses connections, and the next frame sent over an old one finds it closed. Links
between clients and members otherwise do to frames what the network does to all.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from byzantine.simulation.virtual_loop import VirtualLoop
from crypto.roster import MemberId
from network.simulated import Endpoint

if TYPE_CHECKING:
    from byzantine.simulation.world import World

HANDSHAKE_SECONDS = 0.001


class SimulatedDialer:
    """Dials for one client."""

    def __init__(self, world: "World", endpoint: Endpoint, loop: VirtualLoop) -> None:
        self._world, self._endpoint, self._loop = world, endpoint, loop
        self._lines: dict[MemberId, _Line] = {}
        world.network.attach(endpoint, self._deliver)
        world.connect(endpoint)

    async def dial(self, member: MemberId, receive: Callable[[bytes], None]) -> "_Line":
        """Return a connection to `member`. Raises `OSError`."""
        await asyncio.sleep(HANDSHAKE_SECONDS)
        if not self.reaches(member):
            raise ConnectionRefusedError(f"member {member} is down")
        line = self._lines[member] = _Line(self, member, receive)
        return line

    def reaches(self, member: MemberId) -> bool:
        """Whether the member runs; one with a twin, whether either does."""
        return any(self._world.network.is_up(each) for each in self._world.endpoints(member))

    def send(self, member: MemberId, frame: bytes) -> None:
        """Send a frame."""
        self._world.send_from_client(self._endpoint, member, frame)

    def _deliver(self, source: Endpoint, frame: bytes) -> None:
        line = self._lines.get(self._world.member_at[source])
        if line is not None and not line.closed:
            line.receive(frame)
            self._loop.wake()


class _Line:
    """An open connection to one member."""

    def __init__(self, dialer: SimulatedDialer, member: MemberId, receive: Callable[[bytes], None]) -> None:
        self.receive = receive
        self._dialer, self._member = dialer, member
        self._ended = asyncio.Event()
        self._why = ""

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self._ended.is_set()

    def send(self, frame: bytes) -> bool:
        """Send a frame. Returns `False` where it was not taken."""
        if not self.closed and not self._dialer.reaches(self._member):
            self._end(f"member {self._member} went down")
        if self.closed:
            return False
        self._dialer.send(self._member, frame)
        return True

    def close(self) -> None:
        """Close at once."""
        self._end("closed")

    def _end(self, why: str) -> None:
        self._why = self._why or why
        self._ended.set()

    async def wait_closed(self) -> str:
        """Wait until it is closed, and return why."""
        await self._ended.wait()
        return self._why
