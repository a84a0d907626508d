"""Gives every time of a run its place on the page: in proportion where something happens, short elsewhere.

A view change waits for seconds and takes milliseconds. So a pause longer than a little is drawn as a break of
one height, and said to be one.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import median
from typing import Final

from msgspec import Struct

TYPICAL_PX: Final = 58.0
"""How far down a typical message goes on its way: steep enough to be followed by eye."""
PAUSE_PX: Final = 170.0
"""A pause that would be longer than this becomes a break."""
BREAK_PX: Final = 46.0
MAX_HEIGHT_PX: Final = 40_000.0
"""Browsers draw no taller pictures well. A longer run is drawn closer."""
MIN_TICK_PX: Final = 52.0
_STEPS_US: Final = tuple(base * 10**power for power in range(9) for base in (1, 2, 5))


class Break(Struct, frozen=True):
    """A pause that is drawn shorter than it was."""

    start_us: int
    end_us: int
    top: float
    bottom: float


class Tick(Struct, frozen=True):
    """A time that is written beside the lanes."""

    at_us: int
    y: float


class Timeline:
    """Places on the page, in pixels downwards, for the times of a run."""

    def __init__(self, times_us: Iterable[int], typical_us: float, top: float) -> None:
        self._times = sorted(set(times_us)) or [0]
        self.scale = TYPICAL_PX / max(typical_us, 1.0)
        """Pixels per microsecond, outside breaks."""
        self._places = self._placed(top, 1.0)
        height = self._places[-1] - top
        if height > MAX_HEIGHT_PX:
            self._places = self._placed(top, MAX_HEIGHT_PX / height)
            self.scale *= MAX_HEIGHT_PX / height

    def _placed(self, top: float, factor: float) -> list[float]:
        places = [top]
        self._breaks: list[Break] = []
        for start, end in pairwise(self._times):
            height = (end - start) * self.scale
            if height > PAUSE_PX:
                height = BREAK_PX
                bottom = places[-1] + height * factor
                self._breaks.append(Break(start, end, places[-1], bottom))
            places.append(places[-1] + height * factor)
        return places

    @property
    def start_us(self) -> int:
        """The first time that has a place of its own."""
        return self._times[0]

    @property
    def end_us(self) -> int:
        """The last one."""
        return self._times[-1]

    @property
    def top(self) -> float:
        """The place of the first time."""
        return self._places[0]

    @property
    def bottom(self) -> float:
        """The place of the last time."""
        return self._places[-1]

    @property
    def breaks(self) -> Sequence[Break]:
        """The pauses that are drawn short."""
        return self._breaks

    def y(self, at_us: float) -> float:
        """Return the place of a time; those before the first and after the last lie at the ends."""
        times, places = self._times, self._places
        index = bisect_right(times, at_us)
        if index == 0:
            return places[0]
        if index == len(times):
            return places[-1]
        start, end = times[index - 1], times[index]
        return places[index - 1] + (places[index] - places[index - 1]) * (at_us - start) / (end - start)

    def ticks(self) -> list[Tick]:
        """Return round times at readable distances, none of them inside a break."""
        step = next((step for step in _STEPS_US if step * self.scale >= MIN_TICK_PX), _STEPS_US[-1])
        found: list[Tick] = []
        edges = [self._times[0], *(time for one in self._breaks for time in (one.start_us, one.end_us))]
        edges.append(self._times[-1])
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            for at_us in (start, *range(-(-start // step) * step, end + 1, step)):
                place = self.y(at_us)
                if not found or place - found[-1].y >= MIN_TICK_PX / 2:
                    found.append(Tick(at_us, place))
        return found


def typical(latencies_us: Sequence[int]) -> float:
    """Return the median latency of a run, a millisecond where nothing arrived."""
    return median(latencies_us) if latencies_us else 1000.0
