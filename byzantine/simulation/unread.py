"""Connections to a simulated replica that are left half open, or on which nobody reads.

What lives here: what a replica's listener does about them (`network.listener`, `network.channel`): with its
own limits, queue of frames and cutting of streams, on the virtual clock. What must not be known here: who
leaves them, and what for.

A simulated link carries frames, and has neither handshakes nor buffers. So each of these connections stands
beside the links, as a replica would see it: what it asks comes to the replica's heart, and what the heart
answers waits in a queue that nobody empties. How many there may be in all is not asked: the accepting of
connections is the kernel's part and the acceptor's.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from byzantine.liars.client import Stage
from network.bounds import Ending
from network.channel import WRITE_BYTES
from network.framing import Framer
from network.queue import FrameQueue
from network.simulated import MILLISECOND
from tetrarch.node.effects import ConnectionId

if TYPE_CHECKING:
    from byzantine.simulation.world import World
    from tetrarch.node.heart import Heart

REACH_US = 2_000
"""How long a connection takes to come to its stage, and its bytes to come to the replica."""

FIRST_CONNECTION = 1_000_000
"""Numbers of connections below are those of clients that read."""


class SimulatedUnread:
    """One of them (`byzantine.liars.client.Unread`)."""

    def __init__(
        self, world: "World", member: int, stage: Stage, data: bytes, reached: Callable[[], object]
    ) -> None:
        self._world, self._replica, self._stage = world, world.replicas[member], stage
        self._arrived = self._over = False
        self._heart: Heart | None = None
        """Of the replica in the life in which it was reached."""
        self._limits = world.listener_limits
        self._connection = ConnectionId(FIRST_CONNECTION + len(world.unread))
        world.unread[self._connection] = self
        self._framer = Framer(self._limits.frame_bytes)
        self._queue = FrameQueue(self._limits.queue_bytes, self._limits.queue_frames)
        self._completed = 0
        """Frames that came whole."""
        self._blocked = False
        """Whether no more is written, since the other end does not read."""
        world.scheduler.after(REACH_US, self._arrive, data, reached)

    @property
    def gone(self) -> bool:
        """Whether it has ended: a replica that crashed has lost all of its connections."""
        return self._over or (self._arrived and self._replica.heart is not self._heart)

    def send(self, data: bytes) -> None:
        """Send further bytes of the stream."""
        self._world.scheduler.after(REACH_US, self._take, data)

    def answer(self, frame: bytes) -> None:
        """Queue what the replica answers, as far as it keeps that for somebody who does not read."""
        if self.gone:
            return
        if not self._queue.has_room(len(frame)):
            self._end(Ending.BACKLOG)
            return
        self._queue.push(frame)
        if not self._blocked:
            # One write is more than a transport takes without being read.
            self._blocked = len(self._queue.take(WRITE_BYTES)) >= WRITE_BYTES
            if self._blocked:
                self._after(self._limits.stalled_ms, self._end, Ending.READER_SLOW)

    def _arrive(self, data: bytes, reached: Callable[[], object]) -> None:
        self._arrived, self._heart, self._ended = True, self._replica.heart, self._replica.ended
        if self._heart is None:
            self._over = True
            return
        if self._stage is Stage.OPEN:
            self._take(data)
        else:
            self._after(self._limits.handshake_ms, self._end, Ending.HANDSHAKE_SLOW)
        reached()

    def _take(self, data: bytes) -> None:
        if self.gone:
            return
        for frame in self._framer.feed(data):
            self._completed += 1
            self._replica.deliver_client(self._connection, frame)
        if self._framer.buffered:
            self._after(self._limits.frame_ms, self._look_at_frame, self._completed)

    def _look_at_frame(self, completed: int) -> None:
        if completed == self._completed:
            self._end(Ending.FRAME_SLOW)

    def _after(self, milliseconds: int, action: Callable[..., object], about: object) -> None:
        self._world.scheduler.after(milliseconds * MILLISECOND, action, about)

    def _end(self, ending: Ending) -> None:
        if not self.gone and self._heart is not None:
            self._over = True
            self._ended[f"client connection: {ending}"] += 1
            self._heart.client_gone(self._connection)
            self._queue = FrameQueue(0, 0)
