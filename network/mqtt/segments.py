"""Frames in messages that may be lost: each message carries a piece of a stream, and says where in it a frame
begins.

What lives here: cutting a queue of frames into segments and segments into frames, sans-IO. What must not be
known here: sealing, topics.

| bytes | |
|---|---|
| 1 | flags: 1 a stream segment follows, 2 goodbye; times 16 the broker that the sender gave it to |
| 1 | bit b: the sender hears the receiver well by way of broker b |
| 4 | how many messages of this session the sender has given to that broker, this one included, modulo 2^32 |
| 4 | the segment's number, big-endian; counted from 0, modulo 2^32 |
| 4 | how many bytes to skip for the first frame that begins here; all ones where none does |
| … | a piece of the stream of frames (`network.framing`) |

A segment that is missing costs the frames that had a part in it and no others: reading goes on where the next
frame begins. Segments that come late (a broker may reorder) give the frames that lie in them whole.
"""

from dataclasses import dataclass
from struct import Struct
from typing import Final

from network.errors import FramingError, MalformedFrame
from network.framing import Framer
from network.queue import FrameQueue

SEGMENT_BYTES: Final = 96 * 1024
"""Of the stream in one message: below the 128 KiB that hosted brokers allow, sealing and topic included."""

_HEADER: Final = Struct(">BBIII")
_STREAM: Final = 1
_GOODBYE: Final = 2
_NONE_BEGINS: Final = 0xFFFFFFFF
_NUMBERS: Final = 1 << 32

HEADER_BYTES: Final = _HEADER.size


@dataclass(frozen=True, slots=True)
class Slip:
    """What every message says beside frames."""

    heard: int
    """Bit b: its sender hears us well by way of broker b."""
    broker: int
    """The broker that it was given to."""
    passage: int
    """How many messages of the session were given to that broker, modulo 2^32."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """What one message says: its slip, whether its sender leaves, and the frames, if any."""

    slip: Slip
    goodbye: bool
    frames: list[bytes]


def sign_of_life(slip: Slip, *, goodbye: bool = False) -> bytes:
    """Return a message without frames."""
    return _header(_GOODBYE if goodbye else 0, slip, 0, 0)


def _header(flags: int, slip: Slip, number: int, skip: int) -> bytes:
    return _HEADER.pack(flags | slip.broker << 4, slip.heard, slip.passage % _NUMBERS, number, skip)


class SegmentWriter:
    """Takes frames from a queue, message by message."""

    def __init__(self, queue: FrameQueue) -> None:
        self._queue = queue
        self._number = 0

    def take(self, slip: Slip) -> bytes:
        """Return the next message; the queue must not be empty."""
        rest = self._queue.rest
        piece = self._queue.take(SEGMENT_BYTES)
        skip = rest if rest < len(piece) else _NONE_BEGINS
        number, self._number = self._number, (self._number + 1) % _NUMBERS
        return _header(_STREAM, slip, number, skip) + piece


class SegmentReader:
    """Gives back the frames. `limit`: the largest frame, in bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._framer = Framer(limit)
        self._next: int | None = None
        """The number that continues what is read; `None`: reading begins where a frame begins."""

    @property
    def buffered(self) -> int:
        """Bytes kept of a frame that is not complete."""
        return self._framer.buffered

    def forget(self) -> None:
        """Drop what is kept of an unfinished frame."""
        self._framer = Framer(self._limit)
        self._next = None

    def read(self, message: bytes) -> Parcel:
        """Return what a message says. Raises `MalformedFrame`."""
        if len(message) < HEADER_BYTES:
            raise MalformedFrame("segment_short")
        flags, heard, passage, number, skip = _HEADER.unpack_from(message)
        slip = Slip(heard, flags >> 4, passage)
        goodbye = bool(flags & _GOODBYE)
        if not flags & _STREAM:
            return Parcel(slip, goodbye, [])
        piece = message[HEADER_BYTES:]
        if skip != _NONE_BEGINS and skip >= len(piece):
            raise MalformedFrame("segment_skips_too_far")
        return Parcel(slip, goodbye, self._frames(number, skip, piece))

    def _frames(self, number: int, skip: int, piece: bytes) -> list[bytes]:
        whole = b"" if skip == _NONE_BEGINS else piece[skip:]
        """From the first frame that begins here on."""
        if self._next is not None:
            ahead = (number - self._next) % _NUMBERS
            if ahead >= _NUMBERS // 2:
                # Late: what it would have completed is lost already; what lies in it whole is not.
                return self._cut(Framer(self._limit), whole)
            if not ahead:
                self._next = (number + 1) % _NUMBERS
                return self._cut(self._framer, piece)
        self.forget()
        if whole:
            self._next = (number + 1) % _NUMBERS
        return self._cut(self._framer, whole)

    def _cut(self, framer: Framer, piece: bytes) -> list[bytes]:
        try:
            return framer.feed(piece)
        except FramingError as error:
            self.forget()
            raise MalformedFrame(error.fault) from None
