"""Chooses what is drawn of a long run: lies, contradictions, changes of view, and what was around a failure.

A picture of tens of thousands of arrows shows nothing. What is left out is counted, and the page says so.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from msgspec import Struct

from byzantine.reports.frames import STATUS, Message
from byzantine.trace import Event, What

T = TypeVar("T")

MAX_ARROWS: Final = 3000
"""More make a page slow, and nobody reads them."""
MAX_MARKS: Final = 1500

_TURNS: Final = frozenset({"view-change", "new-view"})
_MARKS: Final = {
    What.FAILED: 0,
    What.HEALED: 0,
    What.FAULT: 0,
    What.CRASHED: 0,
    What.RESTARTED: 0,
    What.EVIDENCE: 1,
    What.VIEW: 1,
    What.LIED: 2,
    What.EXECUTED: 3,
    What.STABLE: 3,
    What.SUBMITTED: 4,
    What.BELIEVED: 4,
}
"""What is drawn as a mark on a lane, and which go first where there are too many."""
ORDINARY: Final = 3
"""From this on, marks say only that all goes well."""


class Selection(Struct, frozen=True):
    """What is drawn, and how much is not."""

    messages: tuple[Message, ...]
    marks: tuple[Event, ...]
    messages_left_out: dict[str, int]
    """How many, by the label of their family."""
    marks_left_out: dict[str, int]
    omitted_us: tuple[int, ...]
    """When the messages that are left out were sent, ascending."""

    def omitted_between(self, start_us: int, end_us: int) -> int:
        """Return how many messages that were sent after `start_us` and before `end_us` are left out."""
        return max(0, bisect_left(self.omitted_us, end_us) - bisect_left(self.omitted_us, start_us + 1))


def select(
    events: Sequence[Event], messages: Sequence[Message], arrows: int = MAX_ARROWS, marks: int = MAX_MARKS
) -> Selection:
    """Return what is drawn of a run: everything, where it is short enough."""
    drawable = [message for message in messages if message.source != message.target]
    focus = _Focus(events, messages)
    kept, omitted = _best(drawable, arrows, focus.rank)
    omitted_us = sorted(message.sent_us for message in omitted)
    candidates = [event for event in events if event.what in _MARKS]
    near = _near(candidates, sorted(message.sent_us for message in kept), omitted_us)
    kept_marks, _ = _best(near, marks, focus.rank_mark)
    marks_left_out = Counter(event.what.value for event in candidates)
    marks_left_out.subtract(event.what.value for event in kept_marks)
    return Selection(
        messages=tuple(kept),
        marks=tuple(kept_marks),
        messages_left_out=dict(Counter(message.family.label for message in omitted).most_common()),
        marks_left_out={what: count for what, count in marks_left_out.most_common() if count},
        omitted_us=tuple(omitted_us),
    )


def _near(candidates: Sequence[Event], kept_us: Sequence[int], omitted_us: Sequence[int]) -> list[Event]:
    """Leave out the blocks and transactions of those parts of a run of which no message is drawn."""
    if not omitted_us:
        return list(candidates)
    return [
        event
        for event in candidates
        if _MARKS[event.what] < ORDINARY or _latest(kept_us, event.at_us) >= _latest(omitted_us, event.at_us)
    ]


def _latest(times_us: Sequence[int], at_us: int) -> int:
    """Return the last of ascending times that is not after `at_us`; -1 where there is none."""
    index = bisect_right(times_us, at_us)
    return times_us[index - 1] if index else -1


def _best(items: Sequence[T], limit: int, rank: Callable[[T], tuple[int, int]]) -> tuple[list[T], list[T]]:
    """Return the `limit` items of the lowest rank and all others, both in their own order."""
    if len(items) <= limit:
        return list(items), []
    ranks = [rank(item) for item in items]
    chosen = set(sorted(range(len(items)), key=ranks.__getitem__)[:limit])
    kept = [item for index, item in enumerate(items) if index in chosen]
    return kept, [item for index, item in enumerate(items) if index not in chosen]


class _Focus:
    """What a reader of this run looks for: slots that went wrong, and moments at which something turned."""

    def __init__(self, events: Sequence[Event], messages: Sequence[Message]) -> None:
        failed = [event for event in events if event.what is What.FAILED]
        self._sequences = {event.sequence for event in failed} - {-1}
        self._sequences |= forked(events)
        turns = {event.at_us for event in events if event.what in (What.CRASHED, What.RESTARTED, What.HEALED)}
        turns |= {message.sent_us for message in messages if message.version or message.kind == "new-view"}
        # An oracle that looks back when all is over says nothing of when it happened.
        self._times = sorted({event.at_us for event in failed} | turns) or [0]

    def rank(self, message: Message) -> tuple[int, int]:
        """Return how much a message is to be kept: the lower the better; then those near to what matters."""
        return self._rank(message), self._distance(message.sent_us)

    def _rank(self, message: Message) -> int:
        if message.version or message.lie:
            return 0
        if message.kind in _TURNS:
            return 1
        if message.family is STATUS:
            return 4
        if message.sequence in self._sequences or message.kind == "suspect":
            return 2
        return 3

    def rank_mark(self, event: Event) -> tuple[int, int]:
        """Return the same for a mark."""
        rank = _MARKS[event.what]
        return (0 if event.sequence in self._sequences else rank), self._distance(event.at_us)

    def _distance(self, at_us: int) -> int:
        index = bisect_left(self._times, at_us)
        return min(abs(time - at_us) for time in self._times[max(0, index - 1) : index + 1])


def forked(events: Sequence[Event]) -> set[int]:
    """Return the sequences at which members stored different blocks."""
    stored: dict[int, set[str]] = {}
    for event in events:
        if event.what is What.EXECUTED and event.digest:
            stored.setdefault(event.sequence, set()).add(event.digest)
    return {sequence for sequence, digests in stored.items() if len(digests) > 1}
