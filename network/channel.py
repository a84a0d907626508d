"""One TCP connection that carries frames under TLS: the part that members' and clients' connections share.

What lives here: bytes to frames and back, one write per event-loop turn, back-pressure in both directions,
deadlines of the handshake, and how a connection ends. What must not be known here: who the other end is, who
dials, what frames mean.

Everything is called from one event loop's thread. An owner hears of a channel when its handshake is done
(`opened`) and, in any case, when it is gone (`closed`, once).
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Final, Protocol, cast

from network.bounds import Budget, ChannelLimits, Ending
from network.errors import FramingError, MalformedFrame
from network.framing import Framer
from network.held import HeldFrames
from network.options import tune
from network.queue import FrameQueue
from network.readbuffer import read_buffer
from network.session import Session, SessionFailed
from network.tally import Tally

HEARTBEAT: Final = b"\x00"
"""A frame of this one byte says that its sender lives. No handler sees it, and none is sent as a message."""

WRITE_BYTES: Final = 256 * 1024
"""Encrypted and handed to the transport at a time, and held there when the peer does not read: larger pieces
save nothing, and what is there can no longer be dropped for something newer."""

MAX_UNSENT_BYTES: Final = 4 * WRITE_BYTES
"""More than our own writing can leave in the transport. TLS itself answers some records (RFC 8446, 4.6.3), so
a peer that sends nothing else and reads nothing could make us keep ever more."""


class ChannelOwner(Protocol):
    """Who makes channels and is told of their life."""

    def opened(self, channel: "Channel") -> None:
        """The handshake is done. Sets `channel.deliver`, or closes the channel."""
        ...

    def closed(self, channel: "Channel") -> None:
        """The connection is gone; `channel.ending` says why. Also where it never opened."""
        ...


class Channel(asyncio.BufferedProtocol):
    """A connection. `queue` holds what it is to send; `deliver` takes what came.

    `deliver` may raise `MalformedFrame`, which is counted. Anything else it raises is a fault of our own and
    goes up to the event loop.
    """

    def __init__(
        self,
        owner: ChannelOwner,
        session: Session,
        queue: FrameQueue,
        limits: ChannelLimits,
        tally: Tally,
        budget: Budget,
        *,
        weighs_queue: bool = False,
        answers_heartbeats: bool = False,
    ) -> None:
        self.queue = queue
        self.deliver: Callable[[bytes], None] = _nothing
        self.ending: Ending | None = None
        self.detail = ""
        """What there is to say about the ending beyond its kind."""
        self.gone = asyncio.Event()
        self.when_gone: Callable[[], None] = _nothing_to_do
        """Called before the owner hears of it, by whoever counts connections."""
        self.heard = False
        """Whether anything came since an owner last set this to false."""
        self.completed = False
        """Whether a frame was completed since an owner last set this to false."""
        self.spoke = False
        """Whether anything was sent since an owner last set this to false."""
        self._owner = owner
        self._session = session
        self._limits = limits
        self._tally = tally
        self._budget = budget
        self._weighs_queue = weighs_queue
        self._answers_heartbeats = answers_heartbeats
        self._weight = 0
        self._loop = asyncio.get_running_loop()
        self._buffer = read_buffer()
        self._transport: asyncio.Transport | None = None
        self._framer = Framer(limits.frame_bytes, limits.first_frame_bytes)
        self._held = HeldFrames()
        self._paused = False
        self._delivering = False
        self._reading = True
        self._writable = True
        self._flush_scheduled = False
        self._deadline: asyncio.TimerHandle | None = None

    # What owners ask and want.

    @property
    def ssl_object(self) -> ssl.SSLObject:
        """For the comparison of certificates, once the channel has opened."""
        return self._session.ssl_object

    @property
    def remote(self) -> str:
        """The other end's socket address, for people."""
        name = None if self._transport is None else self._transport.get_extra_info("peername")
        return "unknown" if not name else f"{name[0]} port {name[1]}"

    @property
    def open(self) -> bool:
        """Whether frames can be exchanged."""
        return self.ending is None and self._session.established

    @property
    def weight(self) -> int:
        """The bytes it keeps that count for the budget."""
        return self._weight

    @property
    def writable(self) -> bool:
        """Whether the peer takes what is written."""
        return self._writable

    @property
    def paused(self) -> bool:
        """Whether the handler wants no frames at present."""
        return self._paused

    @property
    def in_frame(self) -> bool:
        """Whether a frame has begun to come in and is not complete."""
        return self._framer.buffered > 0

    def send(self, payload: bytes) -> int:
        """Queue a frame for the end of this loop turn. Returns how many older ones were dropped for it."""
        dropped = self.queue.push(payload)
        if self._weighs_queue:
            self._weigh()
        self.flush_soon()
        return dropped

    def send_first(self, framed: bytes) -> None:
        """Write the bytes of one frame at once, before anything that is queued."""
        if self.open:
            self._write(framed)

    def flush_soon(self) -> None:
        """Send what is queued when this loop turn ends."""
        if not self._flush_scheduled and self.open:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def pause(self) -> None:
        """Deliver no more frames until `resume`. What comes is held, and then not read any more."""
        self._paused = True

    def resume(self) -> None:
        """Deliver what was held, and go on."""
        self._paused = False
        self._deliver_held()

    def close(self, ending: Ending, detail: str = "") -> None:
        """Send what is queued, then end the connection; within `closing_ms` at the latest."""
        if self.ending is not None:
            return
        if self.open and self._writable:
            self._flush()
        if self.ending is None:
            self._finish(ending, detail, self._limits.closing_ms)

    def abort(self, ending: Ending, detail: str = "") -> None:
        """End the connection now, whatever waits."""
        if self.ending is None:
            self._finish(ending, detail, 0)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._transport = cast(asyncio.Transport, transport)
        if self.ending is not None:
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=WRITE_BYTES)
        tune(self._transport.get_extra_info("socket"))
        self._deadline = self._loop.call_later(
            self._limits.handshake_ms / 1000,
            self.abort,
            Ending.HANDSHAKE_SLOW,
            f"no handshake within {self._limits.handshake_ms} ms",
        )
        self._session.begin()
        self._write_output()

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Return where the next bytes are to be read to."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Decrypt, cut into frames, deliver."""
        if self.ending is not None:
            return
        data = self._buffer[:nbytes]
        established = self._session.established
        try:
            pieces = self._session.receive(data)
        except SessionFailed as failure:
            self._write_output()
            self.close(Ending.RECORD if established else Ending.HANDSHAKE_FAILED, str(failure))
            return
        if self._session.outgoing.pending:
            self._write_output()
        if not established and self._session.established:
            self._open()
        for piece in pieces:
            self._take(piece)
        if self._session.ended and self.ending is None:
            self.close(Ending.PEER)
        self._weigh()

    def pause_writing(self) -> None:
        """The peer reads more slowly than we write."""
        self._writable = False

    def resume_writing(self) -> None:
        """The peer has read."""
        self._writable = True
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the owner, once."""
        if self.gone.is_set():
            return
        if self._deadline is not None:
            self._deadline.cancel()
        if self.ending is None:
            if exc is not None:
                self.ending, self.detail = Ending.BROKEN, str(exc)
            elif self._session.established:
                self.ending = Ending.PEER
            else:
                self.ending, self.detail = Ending.HANDSHAKE_FAILED, "closed during the handshake"
        self._release()
        self.gone.set()
        self.when_gone()
        self._owner.closed(self)

    # In.

    def _open(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._owner.opened(self)
        self.flush_soon()

    def _take(self, plaintext: bytes) -> None:
        if self.ending is not None:
            return
        self.heard = True
        try:
            frames = self._framer.feed(plaintext)
        except FramingError as error:
            self._tally.count(error.fault)
            self.abort(Ending.FRAMING, str(error))
            return
        if not frames:
            return
        self.completed = True
        if HEARTBEAT in frames:
            frames = [payload for payload in frames if payload != HEARTBEAT]
            if self._answers_heartbeats and not self.queue:
                self.send(HEARTBEAT)
        if self._paused or self._held:
            self._hold(frames)
            return
        delivered = self._hand_over(frames)
        if delivered < len(frames):
            self._hold(frames[delivered:])

    def _hand_over(self, frames: Sequence[bytes]) -> int:
        """Give the handler frames, as long as it wants them. Returns how many it got."""
        self._delivering = True
        delivered = 0
        try:
            for payload in frames:
                delivered += 1
                try:
                    self.deliver(payload)
                except MalformedFrame as malformed:
                    self._tally.count(malformed.reason)
                if self._paused or self.ending is not None:
                    break
        finally:
            self._delivering = False
        return delivered

    def _hold(self, frames: list[bytes]) -> None:
        if self.ending is not None:
            return
        self._held.extend(frames)
        self._read_or_not()

    def _deliver_held(self) -> None:
        # A handler that pauses and resumes within one frame is already inside the loop that delivers.
        if self._delivering:
            return
        while self._held and not self._paused and self.ending is None:
            self._hand_over((self._held.pop(),))
        self._read_or_not()
        self._weigh()

    def _read_or_not(self) -> None:
        wanted = self._held.size <= self._limits.held_bytes
        transport = self._transport
        if wanted == self._reading or transport is None or transport.is_closing():
            return
        self._reading = wanted
        if wanted:
            transport.resume_reading()
        else:
            transport.pause_reading()

    def _weigh(self) -> None:
        if self.ending is not None:
            return
        weight = self._framer.buffered + self._held.size
        if self._weighs_queue:
            weight += self.queue.size
        difference = weight - self._weight
        self._weight = weight
        if difference:
            self._budget.change(difference)

    # Out.

    def _flush(self) -> None:
        self._flush_scheduled = False
        while self.queue.size and self._writable and self.open:
            self._write(self.queue.take(WRITE_BYTES))
        if self._weighs_queue:
            self._weigh()

    def _write(self, plaintext: bytes) -> None:
        self.spoke = True
        try:
            self._session.protect(plaintext)
        except SessionFailed as failure:
            self.abort(Ending.RECORD, str(failure))
            return
        self._write_output()

    def _write_output(self) -> None:
        output = self._session.output()
        transport = self._transport
        if not output or transport is None or transport.is_closing():
            return
        transport.write(output)
        if transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self.abort(Ending.READER_SLOW, f"it leaves {MAX_UNSENT_BYTES} bytes unread")

    # The end.

    def _finish(self, ending: Ending, detail: str, closing_ms: int) -> None:
        self.ending = ending
        self.detail = detail
        self._release()
        if self._transport is None:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        if not closing_ms:
            self._transport.abort()
            return
        if self._session.established:
            self._session.end()
            self._write_output()
        self._transport.close()
        self._deadline = self._loop.call_later(closing_ms / 1000, self._transport.abort)

    def _release(self) -> None:
        """Give back what was kept at once, so that a full budget ends no more channels than it must."""
        self._held.clear()
        self._budget.change(-self._weight)
        self._weight = 0


def _nothing(_payload: bytes) -> None:
    """Takes frames that come before the owner said who takes them: there are none."""


def _nothing_to_do() -> None:
    """Nobody counts this channel."""
