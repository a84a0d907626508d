"""Virtual time: a heap of things to be done, in one order that depends on nothing but what was put in.

What lives here: the scheduler, and the clocks that members read. What must not be known here: networks,
nodes, real time. No threads, no event loop, no chance.

Time is counted in whole microseconds from 0, so that it neither drifts nor depends on a machine's arithmetic.
What is due at the same instant happens in the order in which it was scheduled.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any, Final

MILLISECOND: Final = 1_000
SECOND: Final = 1_000_000

WALL_START_MS: Final = 1_700_000_000_000
"""What wall clocks show at virtual time 0, in ms since the Unix epoch: some day in November 2023."""

MAX_AT_ONE_INSTANT: Final = 1_000_000
"""Events without time going on: beyond, two of them keep calling each other and no run would ever end."""

_SWEPT_FROM: Final = 256
"""Cancelled timers are only removed early where there are more than this, and more than half of all."""

Entry = tuple[int, int, Callable[..., object], tuple[Any, ...]]


class TimeStandsStill(Exception):
    """Events follow one another at one instant without end: a fault of what is being simulated."""


class Timer:
    """Something to be done later that may be called off."""

    __slots__ = ("_action", "_scheduler", "due_us")

    def __init__(self, scheduler: "Scheduler", due_us: int, action: Callable[[], object]) -> None:
        self._scheduler = scheduler
        self._action: Callable[[], object] | None = action
        self.due_us = due_us

    @property
    def pending(self) -> bool:
        """Whether it is still to happen."""
        return self._action is not None

    def cancel(self) -> None:
        """Call it off; no error if it is over already."""
        if self._action is not None:
            self._action = None
            self._scheduler._one_cancelled()

    def _ring(self) -> None:
        action, self._action = self._action, None
        if action is None:
            self._scheduler._cancelled -= 1
        else:
            action()


class Scheduler:
    """Runs actions in the order of their times.

    What an action raises goes to whoever runs the scheduler; `now_us` then shows when it was.
    """

    def __init__(self) -> None:
        self.now_us = 0
        """The virtual time. Only moves forward."""
        self._heap: list[Entry] = []
        self._scheduled = 0
        self._cancelled = 0
        self._at_this_instant = 0

    def __len__(self) -> int:
        """How many things are still to be done."""
        return len(self._heap) - self._cancelled

    def at(self, time_us: int, action: Callable[..., object], *arguments: Any) -> None:
        """Call `action(*arguments)` at `time_us`. Raises `ValueError` for a time that is over."""
        if time_us < self.now_us:
            raise ValueError(f"{time_us} us is over: it is {self.now_us} us")
        self._scheduled += 1
        heappush(self._heap, (time_us, self._scheduled, action, arguments))

    def after(self, delay_us: int, action: Callable[..., object], *arguments: Any) -> None:
        """Call `action(*arguments)` when `delay_us` have passed."""
        self.at(self.now_us + delay_us, action, *arguments)

    def timer(self, delay_us: int, action: Callable[[], object]) -> Timer:
        """Like `after`, for something that may have to be called off."""
        timer = Timer(self, self.now_us + delay_us, action)
        self.at(timer.due_us, timer._ring)
        return timer

    def run_until(self, time_us: int) -> None:
        """Do all that is due up to and including `time_us`, and let it be that time."""
        heap = self._heap
        while heap and heap[0][0] <= time_us:
            self._do_next()
        self.now_us = max(self.now_us, time_us)

    def run_for(self, duration_us: int) -> None:
        """Do all that is due within `duration_us` from now."""
        self.run_until(self.now_us + duration_us)

    def run_while(self, condition: Callable[[], bool], limit_us: int) -> bool:
        """Go on while `condition()` holds, asking before each event, for `limit_us` from now at most.

        Returns whether the condition ended. Where nothing is left to be done, time passes up to the limit.
        """
        heap = self._heap
        end = self.now_us + limit_us
        while condition():
            if not heap or heap[0][0] > end:
                self.now_us = end
                return not condition()
            self._do_next()
        return True

    def _do_next(self) -> None:
        time_us, _, action, arguments = heappop(self._heap)
        if time_us > self.now_us:
            self.now_us = time_us
            self._at_this_instant = 0
        self._at_this_instant += 1
        if self._at_this_instant > MAX_AT_ONE_INSTANT:
            raise TimeStandsStill(f"{MAX_AT_ONE_INSTANT} events at {time_us} us, and no end of them")
        action(*arguments)

    def _one_cancelled(self) -> None:
        self._cancelled += 1
        if self._cancelled > _SWEPT_FROM and 2 * self._cancelled > len(self._heap):
            # In place: whoever is running holds on to this very list.
            self._heap[:] = [entry for entry in self._heap if not _is_cancelled(entry)]
            heapify(self._heap)
            self._cancelled = 0


def _is_cancelled(entry: Entry) -> bool:
    timer = getattr(entry[2], "__self__", None)
    return isinstance(timer, Timer) and not timer.pending


class VirtualClock:
    """What one member's clocks show.

    The monotonic clock shows the virtual time itself: it neither jumps nor drifts. The wall clock may be
    wrong by `skew_us` and go wrong by `drift_ppm` (microseconds too fast in each second; negative: too slow).
    """

    def __init__(
        self, scheduler: Scheduler, skew_us: int = 0, drift_ppm: int = 0, start_ms: int = WALL_START_MS
    ) -> None:
        self._scheduler = scheduler
        self._since_us = scheduler.now_us
        self._wall_us = start_ms * MILLISECOND + scheduler.now_us + skew_us
        self._drift_ppm = drift_ppm

    @property
    def monotonic_ms(self) -> int:
        """Whole ms. Only differences mean anything."""
        return self._scheduler.now_us // MILLISECOND

    @property
    def wall_ms(self) -> int:
        """Whole ms since the Unix epoch, as far as this member knows; never below 0."""
        return max(0, self._wall_now() // MILLISECOND)

    def delay_us(self, deadline_ms: int) -> int:
        """Return how long it is until the monotonic clock shows `deadline_ms`; 0 where it does already."""
        return max(0, deadline_ms * MILLISECOND - self._scheduler.now_us)

    def jump(self, by_us: int) -> None:
        """Set the wall clock forward or, with a negative number, back."""
        self._wall_us, self._since_us = self._wall_now() + by_us, self._scheduler.now_us

    def set_drift(self, drift_ppm: int) -> None:
        """From now on go wrong at this rate; what the clock shows now stays."""
        self._wall_us, self._since_us = self._wall_now(), self._scheduler.now_us
        self._drift_ppm = drift_ppm

    def _wall_now(self) -> int:
        passed = self._scheduler.now_us - self._since_us
        return self._wall_us + passed + passed * self._drift_ppm // SECOND
