"""A run in words: one line for what a message or an event was, and the list of all that turned it.

The words are cleaned, but not escaped.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from byzantine.reports.frames import Fate, Message, is_member, member_of
from byzantine.reports.wording import clean, moment
from byzantine.trace import Event, What

MAX_LINES: Final = 300
_TOLD: Final = frozenset(What) - {
    What.SENT,
    What.DELIVERED,
    What.LOST,
    What.CUT,
    What.SUBMITTED,
    What.BELIEVED,
}


class Line(Struct, frozen=True):
    """What happened, to one or several."""

    at_us: int
    what: What
    text: str


def participant(name: str) -> str:
    """Return a lane's name for people."""
    return f"replica {clean(name)}" if is_member(name) else clean(name)


def message_words(message: Message) -> str:
    """Return all that is known of a message."""
    slot = [f"view {message.view}"] if message.view >= 0 else []
    slot += [f"slot {message.sequence}"] if message.sequence >= 0 else []
    slot += [f"digest {clean(message.digest)}"] if message.digest else []
    parts = [
        " · ".join((clean(message.kind), *slot)),
        f"{participant(message.source)} → {participant(message.target)}",
        _way(message),
    ]
    if message.signer != message.source:
        parts.append(f"signed by {participant(message.signer)}, passed on")
    if message.lie:
        parts.append(f"a lie: {clean(message.lie)}")
    if message.version:
        parts.append(f"version {message.version}: its signer also signed another digest for this place")
    if message.note:
        parts.append(clean(message.note))
    return "\n".join(parts)


def _way(message: Message) -> str:
    if message.fate is Fate.UNDER_WAY:
        return f"sent {moment(message.sent_us)}, {message.fate.value}"
    took = (message.ended_us - message.sent_us) / 1000
    fate = {Fate.CUT: "lost at a cut link", Fate.LOST: "lost"}.get(message.fate, "delivered")
    return f"sent {moment(message.sent_us)}, {fate} {moment(message.ended_us)} ({took:.3f} ms)"


def event_words(event: Event) -> str:
    """Return what an event says, without its time."""
    return _sentence(event, (event.source,))


def shortened(lines: list[Line]) -> list[Line]:
    """Return as many lines as are read: of a long run without the blocks that all goes well with."""
    if len(lines) > MAX_LINES:
        lines = [line for line in lines if line.what not in (What.EXECUTED, What.STABLE)]
    return lines[:MAX_LINES]


def told(events: Iterable[Event]) -> list[Line]:
    """Return all that turned the run, in order; what several did alike is one line."""
    groups: dict[tuple[object, ...], list[Event]] = {}
    for event in events:
        if event.what in _TOLD:
            groups.setdefault(_alike(event), []).append(event)
    lines = []
    for alike in groups.values():
        first = alike[0]
        sources = tuple(dict.fromkeys(event.source for event in alike))
        times = len(alike) if first.what is What.LIED else 1
        text = _sentence(first, sources) + (f" ({times} times)" if times > 1 else "")
        lines.append(Line(first.at_us, first.what, text))
    return sorted(lines, key=lambda line: line.at_us)


def _alike(event: Event) -> tuple[object, ...]:
    match event.what:
        case What.EXECUTED | What.STABLE:
            return (event.what, event.sequence, event.digest)
        case What.VIEW:
            return (event.what, event.view, event.note)
        case What.LIED:
            return (event.what, event.source, event.kind, event.view, event.sequence)
        case What.EVIDENCE:
            return (event.what, event.target, event.kind)
        case _:
            return (event.what, event.source, event.at_us, event.kind, event.note)


def _sentence(event: Event, sources: tuple[str, ...]) -> str:
    who = _who(sources)
    several = len(sources) > 1
    place = f"slot {event.sequence}" if event.sequence >= 0 else ""
    digest = f", {clean(event.digest)}" if event.digest else ""
    note = f": {clean(event.note)}" if event.note else ""
    match event.what:
        case What.LIED:
            where = ", ".join(filter(None, (f"view {event.view}" if event.view >= 0 else "", place)))
            return f"{who} lied by {clean(event.kind)}" + (f" ({where})" if where else "") + note
        case What.VIEW if event.note == "leaving":
            return f"{who} {'are' if several else 'is'} on the way into view {event.view}"
        case What.VIEW:
            return f"{who} entered view {event.view}"
        case What.EXECUTED:
            return f"{who} executed {place}{digest}"
        case What.STABLE:
            return f"the checkpoint at {place} became stable at {who}"
        case What.EVIDENCE:
            kind = f" by {clean(event.kind)}" if event.kind else ""
            verb = "hold" if several else "holds"
            return f"{who} {verb} proof against {participant(event.target)}{kind}{note}"
        case What.HEALED:
            return f"all faults ended here: from now on convergence is demanded{note}"
        case What.FAILED:
            return f"{clean(event.kind)} failed{f' at {place}' if place else ''}{note}"
        case What.FAULT:
            return f"{who}{note or f': {clean(event.kind)}'}"
        case What.CRASHED | What.RESTARTED:
            return f"{who} {event.what.value}{note}"
        case What.SUBMITTED | What.BELIEVED:
            verb = "submitted" if event.what is What.SUBMITTED else "believes the outcome of"
            return f"{who} {verb} transaction {clean(event.digest)}{note}"
        case _:
            return f"{who}: {event.what.value}{note}"


def _who(sources: tuple[str, ...]) -> str:
    if all(is_member(source) for source in sources):
        names = [clean(source) for source in sorted(sources, key=lambda name: (member_of(name) or 0, name))]
        listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        return f"replica{'s' if len(names) > 1 else ''} {listed}"
    return ", ".join(participant(source) for source in sources)
