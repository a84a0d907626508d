"""Many transactions under way at once: a window of open ones, and outcomes in the order in which they come.

What lives here: the window, and waiting for room or for outcomes. What must not be known here: how
transactions are signed, kept and sent (the `take` function does that).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from tetrarch.client.orders import Orders
from tetrarch.client.outcome import Outcome
from tetrarch.client.tuning import MAX_CHUNK

T = TypeVar("T")
Take = Callable[[Sequence[T], Callable[[Outcome], None]], Awaitable[None]]
"""Signs and sends items; each one's outcome is passed to the function given, now or later, once."""


class Pipeline(Generic[T]):
    """Items in by `exchange`, outcomes out. At most `window` are open or wait to be fetched."""

    def __init__(self, orders: Orders, take: Take[T], window: int) -> None:
        self._orders = orders
        self._take = take
        self._window = window
        self._ready: list[Outcome] = []
        self._woken = asyncio.Event()
        self.open = 0
        """Items given and not returned yet."""

    @property
    def room(self) -> int:
        """How many items the next `exchange` may bring."""
        return min(self._window - self.open, MAX_CHUNK)

    async def exchange(self, items: Sequence[T], wait: bool) -> list[Outcome]:
        """Take `items` and return the outcomes that came since.

        `wait`: there is nothing more to bring, so return only when there is an outcome, or nothing is open.
        """
        if items:
            self.open += len(items)
            await self._take(items, self._settled)
        # Replies get their turn between two chunks of signing.
        await asyncio.sleep(0)
        await self._calm()
        while not self._ready and self.open and (wait or self.room <= 0):
            self._woken.clear()
            await self._woken.wait()
        ready, self._ready = self._ready, []
        self.open -= len(ready)
        return ready

    async def _calm(self) -> None:
        """Hold back while replicas say that they are overloaded, unless there are outcomes to hand out."""
        loop = asyncio.get_running_loop()
        while not self._ready and (pause := self._orders.congested_until - loop.time()) > 0:
            self._woken.clear()
            try:
                async with asyncio.timeout(pause):
                    await self._woken.wait()
            except TimeoutError:
                return

    def _settled(self, outcome: Outcome) -> None:
        self._ready.append(outcome)
        self._woken.set()
