"""A bar for each slot and view: when it was proposed, prepared, committed, and first executed.

The four steps of PBFT for one sequence number, as they show from outside: each begins with its first message.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from byzantine.reports.frames import Message
from byzantine.reports.timeline import Timeline
from byzantine.trace import Event, What

STEPS: Final = ("pre-prepare", "prepare", "commit")
MAX_COLUMNS: Final = 4
"""As many slots in flight as find room beside the times; more are not shown as bars."""
GAP: Final = 14.0


class SlotBar(Struct, frozen=True):
    """One slot in one view."""

    sequence: int
    view: int
    column: int
    top: float
    bottom: float
    parts: tuple[tuple[str, float, float], ...]
    """A family's key, and where its part begins and ends."""
    executed: bool


def slot_bars(
    messages: Iterable[Message], events: Iterable[Event], timeline: Timeline
) -> tuple[SlotBar, ...]:
    """Return the bars of all slots whose messages are drawn, as far as they find room."""
    begun: dict[tuple[int, int], dict[str, int]] = defaultdict(dict)
    last: dict[tuple[int, int], int] = {}
    for message in messages:
        if message.kind in STEPS and message.sequence >= 0:
            slot = (message.sequence, message.view)
            begun[slot].setdefault(message.kind, message.sent_us)
            last[slot] = max(message.sent_us, last.get(slot, 0))
    executions = _executions(events)
    bars: list[SlotBar] = []
    free = [float("-inf")] * MAX_COLUMNS
    for slot, times in sorted(begun.items(), key=lambda item: min(item[1].values())):
        start = min(times.values())
        executed = next((time for time in executions[slot[0]] if start <= time), None)
        if "commit" not in times:
            executed = None
        end = last[slot] if executed is None else executed
        top, bottom = timeline.y(start), max(timeline.y(end), timeline.y(start) + 8)
        column = next((index for index, place in enumerate(free) if place <= top), None)
        if column is not None:
            free[column] = bottom + GAP
            parts = _parts(times, timeline, bottom)
            bars.append(SlotBar(*slot, column, top, bottom, parts, executed is not None))
    return tuple(bars)


def _executions(events: Iterable[Event]) -> dict[int, Sequence[int]]:
    found: dict[int, list[int]] = defaultdict(list)
    for event in events:
        if event.what is What.EXECUTED:
            found[event.sequence].append(event.at_us)
    return defaultdict(tuple, {sequence: sorted(times) for sequence, times in found.items()})


def _parts(times: dict[str, int], timeline: Timeline, bottom: float) -> tuple[tuple[str, float, float], ...]:
    begun = sorted((timeline.y(times[step]), STEPS.index(step)) for step in STEPS if step in times)
    ends = [place for place, _ in begun[1:]] + [bottom]
    return tuple(
        (STEPS[step], place, min(end, bottom))
        for (place, step), end in zip(begun, ends, strict=True)
        if place < bottom
    )
