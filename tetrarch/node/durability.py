"""Which effects may leave: in the order of turns, and not before what they rest on is durable.

One sync serves all turns that wrote before it started; while it runs, further turns go on. Nothing is synced
or sent here: the shell and the simulator do both, and ask here what and when.
"""

from collections import deque
from typing import NamedTuple

from tetrarch.node.effects import Effects


class _Held(NamedTuple):
    effects: Effects
    needs: int
    """The number of the sync that must have finished, counted from 1; 0: none."""


class GroupSync:
    """Holds back the effects of turns until the sync that covers them has finished.

    `add` after every turn; whenever `wanted`, `begin` a sync and report its end with `finished` or `failed`.
    """

    def __init__(self) -> None:
        self._held: deque[_Held] = deque()
        self._begun = 0
        self._done = 0

    def __len__(self) -> int:
        return len(self._held)

    @property
    def running(self) -> bool:
        """Whether a sync has begun and not ended."""
        return self._begun > self._done

    @property
    def wanted(self) -> bool:
        """Whether a sync should begin now."""
        return bool(self._held) and not self.running and self._held[-1].needs > self._begun

    def add(self, effects: Effects) -> list[Effects]:
        """Take a turn's effects; return those that may leave at once."""
        if not (self._held or effects.sync):
            return [effects]
        earlier = self._held[-1].needs if self._held else 0
        # A sync that runs now may have started before this turn's writes: only the next surely covers them.
        self._held.append(_Held(effects, self._begun + 1 if effects.sync else earlier))
        return self._release()

    def begin(self) -> None:
        """A sync begins: it covers every write made so far."""
        self._begun += 1

    def finished(self) -> list[Effects]:
        """The sync ended well; return what may leave now, in order."""
        self._done = self._begun
        return self._release()

    def failed(self) -> None:
        """The sync failed: what waited for it, and all behind it, never leaves."""
        self._held.clear()
        self._done = self._begun

    def _release(self) -> list[Effects]:
        released: list[Effects] = []
        while self._held and self._held[0].needs <= self._done:
            released.append(self._held.popleft().effects)
        return released
