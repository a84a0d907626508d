"""Lays a run out as a lane diagram: clients and replicas side by side, time downwards.

Everything here is places and sizes, in pixels; how it looks is `svg` and assets/page.css.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from sys import maxsize
from typing import Final

from msgspec import Struct

from byzantine.reports.frames import NETWORK, STATUS, Fate, Message, is_member, letter, member_of
from byzantine.reports.selection import Selection, forked
from byzantine.reports.slots import SlotBar, slot_bars
from byzantine.reports.timeline import Break, Tick, Timeline, typical
from byzantine.trace import Event, What

GUTTER: Final = 152.0
"""Left of the lanes: times, and a bar per slot."""
NOTES: Final = 200.0
"""Right of the lanes: what was done to all of them."""
ROOM: Final = 1200.0
"""As wide as a page on a common screen; more lanes than fit are scrolled."""
MIN_LANE: Final = 92.0
MAX_LANE: Final = 185.0
TOP: Final = 26.0
BOTTOM: Final = 34.0
LANE_EDGE: Final = 7.0
"""Where arrows end beside a lane's middle."""
STOPPED_AT: Final = 0.62
"""How far along its way a message that never arrived is drawn."""
MARK_ROOM: Final = 17.0
MARK_STEP: Final = 31.0
MAX_CLIENTS: Final = 3
"""Lanes for clients; floods come from many, which share one lane."""
OTHER_CLIENTS: Final = "other clients"


class Lane(Struct, frozen=True):
    """One participant."""

    name: str
    x: float
    member: int | None
    """`None` for a client."""
    liar: bool


class Band(Struct, frozen=True):
    """A replica in a view, or on its way into it."""

    x: float
    top: float
    bottom: float
    view: int
    leaving: bool
    primary: bool


class Outage(Struct, frozen=True):
    """A replica that is down."""

    x: float
    top: float
    bottom: float


class Arrow(Struct, frozen=True):
    """A message."""

    message: Message
    x1: float
    y1: float
    x2: float
    y2: float


class Mark(Struct, frozen=True):
    """An event on a lane."""

    event: Event
    x: float
    y: float
    label: str = ""
    fork: str = ""
    """A, B, ... for a block that others have not."""


class Rule(Struct, frozen=True):
    """An event that concerns all lanes."""

    event: Event
    y: float
    label_y: float


class Drawing(Struct, frozen=True):
    """A lane diagram."""

    width: float
    height: float
    left: float
    right: float
    lanes: tuple[Lane, ...]
    bands: tuple[Band, ...]
    outages: tuple[Outage, ...]
    arrows: tuple[Arrow, ...]
    marks: tuple[Mark, ...]
    rules: tuple[Rule, ...]
    breaks: tuple[tuple[Break, int], ...]
    """With the number of messages in each that are left out."""
    before: int
    """Messages that are left out above everything that is drawn."""
    after: int
    """And below it."""
    ticks: tuple[Tick, ...]
    slots: tuple[SlotBar, ...]


def draw(events: Sequence[Event], selection: Selection, n: int, liars: Iterable[int]) -> Drawing:
    """Return the diagram of what is selected of a run of `n` members."""
    usual = typical(_latencies(selection.messages))
    timeline = Timeline(_anchors(selection, usual), usual, TOP)
    lanes = _lanes(events, selection.messages, n, frozenset(liars))
    places = _Places(lanes)
    bottom = timeline.bottom + BOTTOM
    bands, outages = _states(events, lanes, timeline, n, bottom)
    right = lanes[-1].x + lanes[0].x - GUTTER
    return Drawing(
        width=right + NOTES,
        height=bottom + 10,
        left=GUTTER,
        right=right,
        lanes=lanes,
        bands=bands,
        outages=outages,
        arrows=tuple(_arrows(selection.messages, timeline, places, usual)),
        marks=tuple(_marks(selection.marks, timeline, places)),
        rules=tuple(_rules(selection.marks, timeline, places)),
        breaks=tuple((one, selection.omitted_between(one.start_us, one.end_us)) for one in timeline.breaks),
        before=selection.omitted_between(-1, timeline.start_us),
        after=selection.omitted_between(timeline.end_us, maxsize),
        ticks=tuple(timeline.ticks()),
        slots=slot_bars(selection.messages, events, timeline),
    )


def _latencies(messages: Iterable[Message]) -> list[int]:
    return [message.ended_us - message.sent_us for message in messages if message.fate is Fate.DELIVERED]


def _anchors(selection: Selection, usual: float) -> set[int]:
    """The times that get room. STATUS is hidden at first, so that it does not stretch what is quiet."""
    times = {event.at_us for event in selection.marks}
    for message in selection.messages:
        if message.family is not STATUS:
            arrived = message.fate is Fate.DELIVERED
            times |= {message.sent_us, message.ended_us if arrived else message.sent_us + int(usual)}
    return times


def _lanes(
    events: Sequence[Event], messages: Sequence[Message], n: int, liars: frozenset[int]
) -> tuple[Lane, ...]:
    names = Counter(name for message in messages for name in (message.source, message.target))
    names.update(event.source for event in events if event.what in (What.SUBMITTED, What.LIED, What.CRASHED))
    replicas = {str(member) for member in range(n)} | {name for name in names if is_member(name)}
    clients = [name for name, _ in names.most_common() if not is_member(name) and name not in ("", NETWORK)]
    if len(clients) > MAX_CLIENTS:
        clients = [*clients[: MAX_CLIENTS - 1], OTHER_CLIENTS]
    ordered = clients + sorted(replicas, key=lambda name: (member_of(name) or 0, name))
    lied = {event.source for event in events if event.what is What.LIED}
    step = min(MAX_LANE, max(MIN_LANE, (ROOM - GUTTER - NOTES) / len(ordered)))
    return tuple(
        Lane(name, GUTTER + step * (index + 0.5), member_of(name), name in lied or member_of(name) in liars)
        for index, name in enumerate(ordered)
    )


class _Places:
    """Where a participant's lane is."""

    def __init__(self, lanes: Iterable[Lane]) -> None:
        self._x = {lane.name: lane.x for lane in lanes}

    def x(self, name: str) -> float | None:
        if name in self._x:
            return self._x[name]
        return None if is_member(name) or name in ("", NETWORK) else self._x.get(OTHER_CLIENTS)


def _arrows(
    messages: Iterable[Message], timeline: Timeline, places: _Places, usual: float
) -> Iterable[Arrow]:
    for message in messages:
        start, end = places.x(message.source), places.x(message.target)
        if start is None or end is None or start == end:
            continue
        edge = LANE_EDGE if end > start else -LANE_EDGE
        x1, x2 = start + edge, end - edge
        y1 = timeline.y(message.sent_us)
        if message.fate is Fate.DELIVERED:
            yield Arrow(message, x1, y1, x2, timeline.y(message.ended_us))
            continue
        y2 = timeline.y(message.sent_us + usual)
        yield Arrow(message, x1, y1, x1 + (x2 - x1) * STOPPED_AT, y1 + (y2 - y1) * STOPPED_AT)


def _states(
    events: Iterable[Event], lanes: Iterable[Lane], timeline: Timeline, n: int, bottom: float
) -> tuple[tuple[Band, ...], tuple[Outage, ...]]:
    """Follow each replica through views and outages, from the top of the page to its bottom."""
    bands: list[Band] = []
    outages: list[Outage] = []
    turns: dict[str, list[Event]] = {}
    for event in events:
        if event.what in (What.VIEW, What.CRASHED, What.RESTARTED):
            turns.setdefault(event.source, []).append(event)
    for lane in lanes:
        if lane.member is None:
            continue
        top, view, leaving, down = 0.0, 0, False, False
        for event in (*turns.get(lane.name, ()), None):
            y = timeline.y(event.at_us) if event else bottom
            if down:
                outages.append(Outage(lane.x, top, y))
            elif y - top >= 0.5:
                bands.append(Band(lane.x, top, y, view, leaving, lane.member == view % n))
            top = y
            if event is not None:
                down = event.what is What.CRASHED or (down and event.what is not What.RESTARTED)
                view = event.view if event.what is What.VIEW and event.view >= 0 else view
                leaving = event.what is What.VIEW and event.note == "leaving"
    return tuple(bands), tuple(outages)


ON_LANES: Final = frozenset(
    {
        What.LIED,
        What.CRASHED,
        What.RESTARTED,
        What.EXECUTED,
        What.STABLE,
        What.EVIDENCE,
        What.SUBMITTED,
        What.BELIEVED,
        What.FAULT,
    }
)
LABEL_AGAIN: Final = 130.0
"""Pixels after which a label that was written already is written again."""


def _marks(events: Sequence[Event], timeline: Timeline, places: _Places) -> Iterable[Mark]:
    """Place marks on their lanes, beside one another where they would cover each other."""
    taken: dict[float, list[tuple[float, int]]] = {}
    labelled: dict[tuple[float, str], float] = {}
    versions = _block_versions(events)
    for event in events:
        x = places.x(event.source)
        if x is None or event.what not in ON_LANES:
            continue
        y = timeline.y(event.at_us)
        near = [(place, column) for place, column in taken.get(x, ()) if y - place < MARK_ROOM]
        columns = {column for _, column in near}
        column = next(index for index in range(len(near) + 1) if index not in columns)
        taken[x] = [*near, (y, column)]
        label = _label(event)
        if label and y - labelled.get((x, label), -LABEL_AGAIN) < LABEL_AGAIN:
            label = ""
        elif label:
            labelled[x, label] = y
        yield Mark(event, x + column * MARK_STEP, y, label, versions.get((event.sequence, event.digest), ""))


def _label(event: Event) -> str:
    match event.what:
        case What.LIED:
            return event.kind
        case What.EVIDENCE:
            return f"proof against {event.target}"
        case What.CRASHED | What.RESTARTED:
            return event.what.value
        case What.FAULT:
            return event.note or event.kind
        case _:
            return ""


def _block_versions(events: Sequence[Event]) -> dict[tuple[int, str], str]:
    """Name the blocks of sequences at which members stored different ones: A, B, ..."""
    torn = forked(events)
    versions: dict[tuple[int, str], str] = {}
    counts: Counter[int] = Counter()
    for event in events:
        key = (event.sequence, event.digest)
        if event.what is What.EXECUTED and event.sequence in torn and key not in versions:
            versions[key] = letter(counts[event.sequence])
            counts[event.sequence] += 1
    return versions


RULE_STEP: Final = 15.0


def _rules(events: Iterable[Event], timeline: Timeline, places: _Places) -> Iterable[Rule]:
    """What concerns all lanes: the end of all faults, what oracles found, and faults of the network."""
    last = -RULE_STEP
    for event in events:
        everywhere = event.what in (What.HEALED, What.FAILED)
        if everywhere or (event.what is What.FAULT and places.x(event.source) is None):
            y = timeline.y(event.at_us)
            last = max(y, last + RULE_STEP)
            yield Rule(event, y, last)
