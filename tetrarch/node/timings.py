"""How long each phase of a block takes at one replica, as histograms.

What lives here: moments in, durations out. What must not be known here: clocks (a moment is an argument, in
ns of any clock that never goes back), engines, and how histograms are shown.

| phase | from | to |
|---|---|---|
| bodies | a proposal came in | it is accepted: every body is here |
| prepare | accepted, or made by oneself | prepared |
| commit | prepared | decided, its predecessors too |
| execute | decided | its block is stored |
| reply | stored | what follows from it may leave: the sync before it has ended |
"""

from bisect import bisect_left
from enum import Enum
from typing import Final

from crypto.attestation import Height
from crypto.digest import Digest

NANOSECONDS: Final = 1e9

BOUNDS_S: Final = (
    *(0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
"""Upper bounds of histograms, in s: from one quick fsync to the longest that an operator waits for a view."""

MAX_BLOCKS: Final = 1024
"""Blocks watched at a time: several of the longest windows. One that a snapshot or a catch-up passed by is
never finished, and leaves as the oldest."""

MAX_OFFERS: Final = 1024
"""Proposals that came and were not accepted, of which the moment is kept: a lying primary may send any
number."""


class Phase(Enum):
    """A part of a block's way through one replica."""

    BODIES = "bodies"
    PREPARE = "prepare"
    COMMIT = "commit"
    EXECUTE = "execute"
    REPLY = "reply"


class Histogram:
    """Durations by upper bound. Observing costs some tenths of a us; one thread at a time observes."""

    __slots__ = ("_bounds", "counts", "total_s")

    def __init__(self, bounds: tuple[float, ...] = BOUNDS_S) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """How many lay within each bound and above the one before; the last is for what exceeds all."""
        self.total_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(self._bounds, seconds)] += 1
        self.total_s += seconds

    def cumulated(self) -> list[tuple[float, int]]:
        """Return (bound in s, how many lie within it), ascending; the last bound is infinite."""
        found, so_far = [], 0
        for bound, count in zip((*self._bounds, float("inf")), self.counts, strict=True):
            so_far += count
            found.append((bound, so_far))
        return found


class _Block:
    """The moments of one block, in ns; 0: not seen."""

    __slots__ = ("accepted", "decided", "executed", "offered", "prepared")

    def __init__(self) -> None:
        self.offered = self.accepted = self.prepared = self.decided = self.executed = 0


class PhaseTimes:
    """The histograms of one replica: of each phase, and of blocks from the first sight of them to the last
    phase.

    A phase whose beginning was not seen here (a decision learnt from others, one made without this replica's
    being prepared) is not counted.
    """

    def __init__(self) -> None:
        self.phases = {phase: Histogram() for phase in Phase}
        # Looking an enum's member up costs as much as observing.
        self._bodies, self._prepare, self._commit, self._execute, self._reply = self.phases.values()
        self.whole = Histogram()
        self._blocks: dict[Height, _Block] = {}
        self._offers: dict[Digest, int] = {}

    def __len__(self) -> int:
        return len(self._blocks)

    def offered(self, digest: Digest, ns: int) -> None:
        """A proposal of this batch came in; only the first one counts."""
        offers = self._offers
        if digest not in offers:
            offers[digest] = ns
            if len(offers) > MAX_OFFERS:
                del offers[next(iter(offers))]

    def accepted(self, height: Height, digest: Digest | None, ns: int) -> None:
        """A proposal was accepted, or made. One of a later view takes the earlier one's place."""
        block = self._blocks.get(height)
        if block is None or block.accepted != ns:
            block = self._open(height)
            block.offered = block.accepted = ns
        offered = None if digest is None else self._offers.pop(digest, None)
        if offered is not None:
            block.offered = offered
            _observe(self._bodies, offered, ns)

    def prepared(self, height: Height, ns: int) -> None:
        """The batch is prepared."""
        block = self._blocks.get(height)
        if block is not None:
            block.prepared = ns
            _observe(self._prepare, block.accepted, ns)

    def decided(self, height: Height, ns: int) -> None:
        """The batch is decided, and handed over in its turn."""
        block = self._blocks.get(height) or self._open(height)
        block.decided = ns
        _observe(self._commit, block.prepared, ns)

    def executed(self, height: Height, ns: int) -> None:
        """Its block is stored."""
        block = self._blocks.get(height)
        if block is not None:
            block.executed = ns
            _observe(self._execute, block.decided, ns)

    def replied(self, height: Height, ns: int) -> None:
        """What follows from it has left: it is watched no more."""
        block = self._blocks.pop(height, None)
        if block is not None:
            _observe(self._reply, block.executed, ns)
            if block.offered:
                self.whole.observe((ns - block.offered) / NANOSECONDS)

    def _open(self, height: Height) -> _Block:
        blocks = self._blocks
        blocks.pop(height, None)
        block = blocks[height] = _Block()
        if len(blocks) > MAX_BLOCKS:
            del blocks[next(iter(blocks))]
        return block


def _observe(histogram: Histogram, began: int, ended: int) -> None:
    if began:
        histogram.observe((ended - began) / NANOSECONDS)
