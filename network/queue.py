"""Frames that wait to be sent to one peer: bounded in bytes and in number, taken as one piece of stream.

What lives here: the queue and its arithmetic, sans-IO. Which frames are dropped when it is full is decided
here: the oldest, since what is resent later makes old ones superfluous. A frame of which a part has left is
never dropped, or the stream would be broken.
"""

from collections import deque
from itertools import chain

from network.framing import HEADER_BYTES, pack_length

_NO_REST = memoryview(b"")


class FrameQueue:
    """A queue of frames for one peer.

    `max_bytes` counts headers and what is left of a half-sent frame. A single frame larger than that is kept
    all the same, alone: a peer must be able to get the largest frame there is.
    """

    __slots__ = ("_frames", "_max_bytes", "_max_frames", "_rest", "dropped", "size")

    def __init__(self, max_bytes: int, max_frames: int) -> None:
        self._frames: deque[bytes] = deque()
        self._rest = _NO_REST
        self.size = 0
        """How many bytes of stream wait. To be read only."""
        self._max_bytes = max_bytes
        self._max_frames = max_frames
        self.dropped = 0
        """How many frames were dropped so far."""

    def __len__(self) -> int:
        """How many frames wait whole."""
        return len(self._frames)

    def __bool__(self) -> bool:
        """Whether anything waits, be it the rest of a frame."""
        return self.size > 0

    @property
    def rest(self) -> int:
        """Bytes that are left of a frame of which a part has left: the next frame begins after these."""
        return len(self._rest)

    def has_room(self, payload_bytes: int) -> bool:
        """Whether a frame of so many bytes would push out none."""
        return not self._frames or not self._above(
            self.size + HEADER_BYTES + payload_bytes, len(self._frames) + 1
        )

    def push(self, payload: bytes) -> int:
        """Add a frame, which must not be empty. Returns how many older ones were dropped for it."""
        frames = self._frames
        frames.append(payload)
        self.size += HEADER_BYTES + len(payload)
        if self.size > self._max_bytes or len(frames) > self._max_frames:
            return self._drop_oldest()
        return 0

    def limit(self, max_bytes: int, max_frames: int) -> int:
        """Set other limits. Returns how many frames were dropped for them."""
        self._max_bytes = max_bytes
        self._max_frames = max_frames
        return self._drop_oldest()

    def take(self, max_bytes: int) -> bytes:
        """Remove and return the next bytes of the stream: about `max_bytes` (a header more at most)."""
        if self.size <= max_bytes:
            return self._take_all()
        parts: list[bytes | memoryview] = [self._rest[:max_bytes]]
        size = len(parts[0])
        self._rest = self._rest[max_bytes:]
        while self._frames and size < max_bytes:
            payload = self._frames.popleft()
            parts.append(pack_length(len(payload)))
            room = max(0, max_bytes - size - HEADER_BYTES)
            if len(payload) > room:
                view = memoryview(payload)
                parts.append(view[:room])
                self._rest = view[room:]
                size = max_bytes
            else:
                parts.append(payload)
                size += HEADER_BYTES + len(payload)
        taken = b"".join(parts)
        self.size -= len(taken)
        return taken

    def forget_rest(self) -> None:
        """The stream is broken: what is left of a half-sent frame can never be sent."""
        self.size -= len(self._rest)
        if self._rest:
            self.dropped += 1
        self._rest = _NO_REST

    def _take_all(self) -> bytes:
        frames = self._frames
        if len(frames) == 1 and not self._rest:
            # Votes on an idle ledger leave one by one.
            payload = frames.popleft()
            taken = pack_length(len(payload)) + payload
        else:
            parts = chain.from_iterable((pack_length(len(payload)), payload) for payload in frames)
            taken = b"".join(chain((self._rest,), parts))
            frames.clear()
            self._rest = _NO_REST
        self.size = 0
        return taken

    def _above(self, size: int, frames: int) -> bool:
        return size > self._max_bytes or frames > self._max_frames

    def _drop_oldest(self) -> int:
        before = len(self._frames)
        while len(self._frames) > 1 and self._above(self.size, len(self._frames)):
            self.size -= HEADER_BYTES + len(self._frames.popleft())
        dropped = before - len(self._frames)
        self.dropped += dropped
        return dropped
