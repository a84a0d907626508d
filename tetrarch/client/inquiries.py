"""Asking what became of transactions whose time is over: few at a time, every replica, until it is settled.

What lives here: the queue and the pauses. What must not be known here: what the answers mean; they reach the
orders by the same way as answers that nobody asked for.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from tetrarch.client.links import Links
from tetrarch.client.tuning import MAX_INQUIRIES, Tuning
from tetrarch.wire import AskOutcome, Frame


class Asked(Protocol):
    """What is asked for: an order."""

    @property
    def raw(self) -> bytes:
        """The transaction's wire bytes."""
        ...

    @property
    def deadline(self) -> float:
        """When nobody waits for the outcome any more (loop time, s)."""
        ...


A = TypeVar("A", bound=Asked)


class Inquiries(Generic[A]):
    """Transactions that are asked for again and again, as long as `still_open(order)` says so."""

    def __init__(self, links: Links, tuning: Tuning, still_open: Callable[[A], bool]) -> None:
        self._links = links
        self._tuning = tuning
        self._still_open = still_open
        self._queue: deque[A] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._closed = False

    def add(self, order: A) -> None:
        """Ask for `order` as soon as it is its turn."""
        if self._closed:
            return
        self._queue.append(order)
        if len(self._workers) < MAX_INQUIRIES:
            worker = asyncio.get_running_loop().create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    def close(self) -> None:
        """Stop asking."""
        self._closed = True
        self._queue.clear()
        for timer in self._timers:
            timer.cancel()
        for worker in self._workers:
            worker.cancel()

    async def _work(self) -> None:
        while self._queue:
            order = self._queue.popleft()
            if self._still_open(order):
                await self._ask(order)
            if self._still_open(order):
                self._later(order)

    async def _ask(self, order: A) -> None:
        """Ask every replica at once, until the outcome is settled or each has answered or been silent."""
        loop = asyncio.get_running_loop()
        patience = min(self._tuning.answer_ms / 1000, max(order.deadline - loop.time(), 0.0))

        def question(request: int) -> Frame:
            return AskOutcome(request, order.raw)

        asks = {loop.create_task(link.ask(question, patience)) for link in self._links.up}
        try:
            while asks and self._still_open(order):
                _, asks = await asyncio.wait(asks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for ask in asks:
                ask.cancel()

    def _later(self, order: A) -> None:
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def again() -> None:
            self._timers.discard(timer)
            self.add(order)

        at = min(loop.time() + self._tuning.silence_ms / 1000, order.deadline)
        timer = loop.call_at(at, again)
        self._timers.add(timer)
