"""Length-framed messages: four bytes, big-endian, then as many bytes of payload. Sans-IO.

What lives here: cutting a byte stream into frames and putting frames into one. What must not be known here:
sockets, and what frames mean.

A length is judged as soon as its four bytes are there, before any of the payload is kept. What is kept is at
most one unfinished frame, in one buffer: thousands of tiny reads cost no more memory than one large one.
"""

from struct import Struct
from typing import Final

from network.errors import FramingError, FramingFault

HEADER_BYTES: Final = 4

MAX_PAYLOAD_BYTES: Final = 2**31 - 1
"""No limit may lie above this. The highest bit of a length stays free for later versions."""

pack_length = Struct(">I").pack
_unpack_length = Struct(">I").unpack_from


def frame(payload: bytes) -> bytes:
    """Return `payload` as a frame. Raises `ValueError` for one that is empty or too long: our own fault."""
    check_payload(payload, MAX_PAYLOAD_BYTES)
    return pack_length(len(payload)) + payload


def check_payload(payload: bytes, limit: int) -> None:
    """Raise `ValueError` unless `payload` has from 1 to `limit` bytes."""
    if not 0 < len(payload) <= limit:
        raise ValueError(f"a frame carries 1 to {limit} bytes, not {len(payload)}")


class Framer:
    """Cuts one byte stream into frames.

    `limit`: the largest payload, in bytes. `first_limit`: the same for the first frame, before which a
    stranger should not be able to make us keep much. After a `FramingError` the stream is lost: every
    further call raises it again.
    """

    __slots__ = ("_buffer", "_failure", "_later_limit", "_limit", "_wanted")

    def __init__(self, limit: int, first_limit: int | None = None) -> None:
        if not 0 < limit <= MAX_PAYLOAD_BYTES:
            raise ValueError(f"a limit of frames lies from 1 to {MAX_PAYLOAD_BYTES} bytes, not {limit}")
        self._limit = limit if first_limit is None else first_limit
        self._later_limit = limit
        self._buffer = bytearray()
        self._wanted = HEADER_BYTES
        self._failure: FramingError | None = None

    @property
    def buffered(self) -> int:
        """Bytes kept of a frame that is not complete."""
        return len(self._buffer)

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        """Take the next bytes of the stream and return the payloads they complete, in order.

        Raises `FramingError` for a length of zero or above the limit.
        """
        if self._failure is not None:
            raise self._failure
        buffer = self._buffer
        if not buffer:
            frames, used = self._cut(data)
            buffer += data[used:] if used else data
            return frames
        buffer += data
        if len(buffer) < self._wanted:
            return []
        with memoryview(buffer) as view:
            frames, used = self._cut(view)
        del buffer[:used]
        return frames

    def _cut(self, source: bytes | memoryview) -> tuple[list[bytes], int]:
        """Return all complete payloads in `source` and how many of its bytes they took."""
        frames: list[bytes] = []
        size = len(source)
        start = 0
        while size - start >= HEADER_BYTES:
            (length,) = _unpack_length(source, start)
            if not 0 < length <= self._limit:
                raise self._fail(length)
            end = start + HEADER_BYTES + length
            if end > size:
                self._wanted = end - start
                return frames, start
            # Of a memoryview this is the one copy; of bytes the slice is, and bytes() hands it through.
            frames.append(bytes(source[start + HEADER_BYTES : end]))
            self._limit = self._later_limit
            start = end
        self._wanted = HEADER_BYTES
        return frames, start

    def _fail(self, length: int) -> FramingError:
        if length == 0:
            failure = FramingError(FramingFault.EMPTY, "a frame of 0 bytes")
        else:
            failure = FramingError(
                FramingFault.OVERSIZED, f"a frame of {length} bytes, {self._limit} are allowed"
            )
        self._failure = failure
        return failure
