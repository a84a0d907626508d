"""An event loop on a virtual clock: code that is written for asyncio runs inside a simulation.

What lives here: the loop, whose time is a scheduler's, and which lets simulated events happen where another
one waits for sockets. What must not be known here: what runs in it, and what is simulated.

Whatever an event wakes runs to its next wait before the next event happens; so a run is repeatable, as far as
what runs in the loop is.
"""

import asyncio
import math
from collections.abc import Mapping
from selectors import BaseSelector, SelectorKey
from typing import Any

from network.scheduler import SECOND, Scheduler

LONGEST_US = 3_600 * SECOND
"""Virtual time without anything to do in the loop, after which nothing will ever come: a fault of a test."""


class NothingComes(RuntimeError):
    """Whoever runs the loop waits for what no event brings about."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs on a scheduler's time."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._events = _Events(scheduler)
        super().__init__(self._events)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._scheduler.now_us / SECOND

    def wake(self) -> None:
        """An event gave the loop something to do."""
        self._events.woken = True


class _Events(BaseSelector):
    """Stands where an operating system's selector stands; nothing here has a file."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._keys: dict[Any, SelectorKey] = {}
        self.woken = False

    def register(self, fileobj: Any, events: int, data: Any = None) -> SelectorKey:
        """Note a file's number: the loop has a file of its own, for being woken by other threads."""
        key = self._keys[fileobj] = SelectorKey(fileobj, fileobj, events, data)
        return key

    def unregister(self, fileobj: Any) -> SelectorKey:
        """Forget a file."""
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        """Let events happen for `timeout` seconds, or until one gives the loop something to do."""
        if timeout is not None and timeout <= 0:
            return []
        self.woken = False
        limit = LONGEST_US if timeout is None else max(1, math.ceil(timeout * SECOND))
        if not self._scheduler.run_while(lambda: not self.woken, limit) and timeout is None:
            raise NothingComes(f"nothing happened for {LONGEST_US // SECOND} virtual seconds")
        return []

    def get_map(self) -> Mapping[Any, SelectorKey]:
        """Return what is registered."""
        return self._keys
