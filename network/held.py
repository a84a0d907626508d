"""Frames that came and whose handler wants none at present, and how many bytes they keep. Sans-IO."""

from collections import deque
from collections.abc import Sequence
from typing import Final

HELD_OVERHEAD: Final = 64
"""Bytes reckoned for each held frame beside its own: what Python keeps for it."""


class HeldFrames:
    """A queue that knows its size. Without a bound of its own: who holds too much reads no more."""

    __slots__ = ("_frames", "size")

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self.size = 0
        """How many bytes they keep. To be read only."""

    def __bool__(self) -> bool:
        return bool(self._frames)

    def extend(self, frames: Sequence[bytes]) -> None:
        """Hold more."""
        self._frames.extend(frames)
        self.size += sum(map(len, frames)) + HELD_OVERHEAD * len(frames)

    def pop(self) -> bytes:
        """Take out the one that came first. Raises `IndexError` where there is none."""
        payload = self._frames.popleft()
        self.size -= len(payload) + HELD_OVERHEAD
        return payload

    def clear(self) -> None:
        """Forget all."""
        self._frames.clear()
        self.size = 0
