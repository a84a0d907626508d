"""A scenario's time in a real run: so many times slower than the clock's, from the beginning of the run on.

What lives here: reading it, and calling something later. What must not be known here: steps.
"""

import asyncio
import time
from collections.abc import Callable


class RunClock:
    """One run's time."""

    def __init__(self, slowdown: float) -> None:
        self.slowdown = slowdown
        self.began_ms: int | None = None
        """When the run began, by the monotonic clock; `None`: it has not yet."""
        self._over = False

    def begin(self) -> None:
        """The run begins now."""
        self.began_ms = time.monotonic_ns() // 1_000_000

    def end(self) -> None:
        """Call nothing any more that was to be called later."""
        self._over = True

    def now_ms(self) -> int:
        """Return the ms since the run began, in the scenario's time; before it does, less than 0."""
        if self.began_ms is None:
            return -1
        return int((time.monotonic_ns() // 1_000_000 - self.began_ms) / self.slowdown)

    def after(self, delay_ms: float, action: Callable[[], object]) -> None:
        """Call `action` so many of the scenario's ms later, unless all is over then."""
        asyncio.get_running_loop().call_later(delay_ms * self.slowdown / 1000, self._unless_over, action)

    def _unless_over(self, action: Callable[[], object]) -> None:
        if not self._over:
            action()
