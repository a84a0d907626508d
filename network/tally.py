"""How often things went wrong, by reason, and lines about it that cannot flood a log.

What lives here: counting and rationing. Where lines go is the caller's choice.
"""

import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

MAX_REASONS: Final = 256
"""Distinct reasons counted. Ours are literals; a handler's own are not in our hands."""

LINE_INTERVAL_S: Final = 10.0
"""At most one line per reason and member in so long: knocking a thousand times a second fills no log."""

_OTHER: Final = "other"
_LOGGER: Final = logging.getLogger("tetrarch.network")


class Report(Protocol):
    """Where lines go: a name, and facts about it."""

    def __call__(self, name: str, /, **facts: str | int) -> object:
        """Write one line."""
        ...


def log_line(name: str, /, **facts: str | int) -> None:
    """Write to the standard library's logger `tetrarch.network`."""
    _LOGGER.warning("%s %s", name, " ".join(f"{key}={value}" for key, value in facts.items()))


class Tally:
    """Counts by reason. `clock`: monotonic seconds."""

    def __init__(self, report: Report = log_line, clock: Callable[[], float] = time.monotonic) -> None:
        self._report = report
        self._clock = clock
        self._counts: dict[str, int] = {}
        self._written: dict[tuple[str, object], float] = {}
        self._unwritten: dict[tuple[str, object], int] = {}

    @property
    def counts(self) -> dict[str, int]:
        """How often, by reason."""
        return dict(self._counts)

    def count(self, reason: str, times: int = 1) -> None:
        """Add to what is counted under `reason`."""
        self._add(reason, times)

    def note(self, reason: str, /, **facts: str | int) -> None:
        """Count `reason` and write a line, unless one about it and the same `member` was written just now."""
        reason = self._add(reason, 1)
        about = reason, facts.get("member")
        now = self._clock()
        written = self._written.get(about)
        if written is not None and now - written < LINE_INTERVAL_S:
            self._unwritten[about] = self._unwritten.get(about, 0) + 1
            return
        self._written[about] = now
        unwritten = self._unwritten.pop(about, 0)
        if unwritten:
            facts["also_unwritten"] = unwritten
        self._report(reason, **facts)

    def _add(self, reason: str, times: int) -> str:
        reason = str(reason)
        if reason not in self._counts and len(self._counts) >= MAX_REASONS:
            reason = _OTHER
        self._counts[reason] = self._counts.get(reason, 0) + times
        return reason
