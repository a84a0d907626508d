"""Many moments, one timer: nearly all that is watched over is settled before its moment comes.

What lives here: waking for the earliest. What must not be known here: what is watched over.
"""

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Final, Generic, TypeVar

T = TypeVar("T")

GRAIN_SECONDS: Final = 0.02
"""Between two rings at least: a client with hundreds of transactions a second need not wake for each."""


class Alarms(Generic[T]):
    """Calls `ring` with everything whose moment (loop time, s) has come, at most a grain late."""

    def __init__(self, ring: Callable[[T], None]) -> None:
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[float, int, T]] = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = 0.0
        self._rang_at = 0.0

    def set(self, at: float, what: T) -> None:
        """Have `what` rung for at `at`."""
        heappush(self._waiting, (at, next(self._order), what))
        if self._timer is None or at < self._rings_at:
            self._arm()

    def clear(self) -> None:
        """Forget all."""
        self._waiting.clear()
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            self._rings_at = max(self._waiting[0][0], self._rang_at + GRAIN_SECONDS)
            self._timer = self._loop.call_at(self._rings_at, self._due)

    def _due(self) -> None:
        self._timer = None
        self._rang_at = now = self._loop.time()
        while self._waiting and self._waiting[0][0] <= now:
            self._ring(heappop(self._waiting)[2])
        if self._timer is None:
            self._arm()
