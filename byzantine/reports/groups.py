"""Thousands of runs as one row per scenario."""

from collections.abc import Iterable
from statistics import median

from msgspec import Struct

from byzantine.verdicts import Result, Verdict, worst


class Group(Struct, frozen=True):
    """What all runs of one scenario came to."""

    name: str
    sizes: tuple[int, ...]
    """The numbers of replicas it ran with, ascending."""
    results: tuple[Result, ...]

    @property
    def fired(self) -> int:
        """How often its behaviours fired, over all runs."""
        return sum(sum(result.fired.values()) for result in self.results)

    @property
    def silent(self) -> int:
        """Runs in which nothing fired: they tested nothing."""
        return sum(not any(result.fired.values()) for result in self.results)

    @property
    def verdict(self) -> Verdict:
        """The worst of all its runs."""
        return worst(result.verdict for result in self.results)

    @property
    def recoveries(self) -> tuple[int, ...]:
        """The milliseconds from the end of the faults to convergence, of the runs that converged."""
        return tuple(result.recovered_ms for result in self.results if result.recovered_ms is not None)

    @property
    def median_ms(self) -> float | None:
        """The median of the recoveries; `None` where no run converged."""
        return median(self.recoveries) if self.recoveries else None

    @property
    def max_ms(self) -> int | None:
        """The longest of the recoveries."""
        return max(self.recoveries, default=None)

    @property
    def median_blocks(self) -> int:
        """The median of the heights that the runs reached."""
        return round(median(result.blocks for result in self.results))

    def count(self, verdict: Verdict) -> int:
        """Return how many runs came to `verdict`."""
        return sum(result.verdict is verdict for result in self.results)


def grouped(results: Iterable[Result]) -> tuple[Group, ...]:
    """Return the runs by scenario, in the order in which the scenarios first appear."""
    by_name: dict[str, list[Result]] = {}
    for result in results:
        by_name.setdefault(result.name, []).append(result)
    return tuple(
        Group(name, tuple(sorted({result.n for result in runs})), tuple(runs))
        for name, runs in by_name.items()
    )
