"""How far an audit is, how fast it goes, and how long it may still take.

What lives here: the figures a progress bar needs. What must not be known here: terminals.
"""

from collections.abc import Callable

from msgspec import Struct

SMOOTHED_SECONDS = 5.0
"""The rate is measured over about so long: a bar that jumps tells nobody when to come back."""

REPORT_SECONDS = 0.1
"""No more often than this, so that progress costs nothing."""


class Progress(Struct, frozen=True):
    """One stage's progress."""

    stage: str
    """What is being checked: `records`, `blocks`, `index`, `state`."""
    done: int
    total: int
    """0 where it is not known."""
    unit: str
    """What `done` and `total` count: `records`, `blocks`, `transactions`, `keys`."""
    rate: float
    """Units per second, lately."""
    transactions: int
    """Transactions whose blocks are done, in this stage."""

    @property
    def seconds_left(self) -> float | None:
        """About how long this stage may still take, where that can be said."""
        if self.rate <= 0 or not self.total:
            return None
        return max(self.total - self.done, 0) / self.rate


ProgressCallback = Callable[[Progress], None]


class Meter:
    """Tells a callback how far one stage is, seldom enough."""

    def __init__(
        self, report: ProgressCallback | None, clock: Callable[[], float], stage: str, unit: str, total: int
    ) -> None:
        """`clock` is monotonic, in seconds."""
        self._report = report
        self._clock = clock
        self._stage, self._unit, self._total = stage, unit, total
        self.done = self.transactions = 0
        self._since = self._told = clock()
        self._from = 0
        self._rate = 0.0
        self._tell(self._since)

    def advance(self, count: int = 1, transactions: int = 0) -> None:
        """Note that `count` more units are done."""
        self.done += count
        self.transactions += transactions
        if self._report is None:
            return
        now = self._clock()
        if now - self._told >= REPORT_SECONDS:
            self._measure(now)
            self._tell(now)

    def finish(self) -> None:
        """Tell the last figures of this stage."""
        now = self._clock()
        self._measure(now)
        self._tell(now)

    def _measure(self, now: float) -> None:
        elapsed = now - self._since
        if elapsed > 0:
            self._rate = (self.done - self._from) / elapsed
        if elapsed > SMOOTHED_SECONDS:
            # Half of what was measured is kept, so that the rate follows without jumping.
            self._since += elapsed / 2
            self._from += (self.done - self._from) // 2

    def _tell(self, now: float) -> None:
        self._told = now
        if self._report is not None:
            self._report(
                Progress(self._stage, self.done, self._total, self._unit, self._rate, self.transactions)
            )
