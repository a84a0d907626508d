"""Joins the events of a trace to messages: what was sent, what became of it, whether it was a lie, and
whether its signer contradicts itself.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from byzantine.trace import Event, What

NETWORK: Final = "network"


class Fate(StrEnum):
    """What became of a message."""

    DELIVERED = "delivered"
    LOST = "lost"
    CUT = "cut"
    UNDER_WAY = "under way at the end of the trace"


class Family(Struct, frozen=True):
    """Kinds of messages that are drawn and hidden together."""

    key: str
    label: str
    meaning: str
    kinds: frozenset[str] = frozenset()


CLIENT: Final = Family("client", "client", "Requests of clients, and the replies to them.")
BODIES: Final = Family(
    "bodies",
    "bodies and fetching",
    "Transactions passed on or asked for by their ids, and stored blocks for those who fell behind.",
    frozenset(
        {"bodies", "ask-bodies", "fetch-proposal", "proposal", "ask-range", "range", "chunk", "ask-chunk"}
    ),
)
STATUS: Final = Family(
    "status",
    "status",
    "Where each replica stands, so that others resend what it lacks.",
    frozenset({"status"}),
)
OTHER: Final = Family("other", "other", "Everything else.")
FAMILIES: Final = (
    CLIENT,
    Family(
        "pre-prepare",
        "pre-prepare",
        "The primary proposes a batch of transactions for a slot.",
        frozenset({"pre-prepare"}),
    ),
    Family(
        "prepare", "prepare", "A backup says which proposal it accepted for a slot.", frozenset({"prepare"})
    ),
    Family(
        "commit",
        "commit",
        "The sender saw a quorum agree. A quorum of commits decides the slot.",
        frozenset({"commit"}),
    ),
    Family(
        "checkpoint",
        "checkpoint",
        "The sender executed up to a height and signs the block's hash there.",
        frozenset({"attestation", "checkpoint", "stable", "attested"}),
    ),
    Family(
        "suspect",
        "suspect",
        "The sender waited too long for the primary. At f+1 of these a view is left.",
        frozenset({"suspect"}),
    ),
    Family(
        "view-change",
        "view-change",
        "The sender left its view, and proves what it had prepared.",
        frozenset({"view-change"}),
    ),
    Family(
        "new-view",
        "new-view",
        "The next primary starts its view with a quorum of view-changes.",
        frozenset({"new-view"}),
    ),
    BODIES,
    STATUS,
    OTHER,
)

_BY_KIND: Final = {kind: family for family in FAMILIES for kind in family.kinds}
_BY_PRIMARY: Final = frozenset({"pre-prepare", "new-view"})
"""Signed by the primary of their view, whoever passes them on."""
_VOTES: Final = frozenset({"pre-prepare", "prepare", "commit"})
_ONCE_PER_SLOT: Final = _VOTES | {"attestation", "checkpoint"}
_ONCE_PER_VIEW: Final = frozenset({"view-change", "new-view"})


class Message(Struct, frozen=True):
    """One frame on its way, from the moment it was sent."""

    number: int
    kind: str
    family: Family
    source: str
    target: str
    signer: str
    sent_us: int
    ended_us: int
    """When it arrived or was lost; `sent_us` where neither happened."""
    fate: Fate
    view: int = -1
    sequence: int = -1
    digest: str = ""
    note: str = ""
    lie: str = ""
    """The behaviours that made it, if any did."""
    version: str = ""
    """A, B, ... where its signer signed several things for the same place; else empty."""
    side: str = ""
    """A, B, ... where several digests were proposed for its slot and view; else empty."""


def plain_kind(kind: str) -> str:
    """Return a kind in its one form: `pbft/prepare` is `prepare`, and `AskBodies` is `ask-bodies`."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", kind.rpartition("/")[2])
    return words.lower().replace("_", "-")


def is_member(name: str) -> bool:
    """Return whether a lane's name is that of a member, or of a twin of one: they begin with its number."""
    return name[:1].isdigit()


def member_of(name: str) -> int | None:
    """Return the member's number that a lane's name begins with."""
    found = re.match(r"[0-9]{1,9}", name)
    return int(found[0]) if found else None


def read(events: Sequence[Event], n: int) -> list[Message]:
    """Return all messages of a trace of `n` members, in the order in which they were sent.

    One that was delivered twice is there twice.
    """
    fates: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        if event.what in (What.DELIVERED, What.LOST, What.CUT):
            fates[event.number].append(event)
    lies = _Lies(events)
    messages = []
    for event in events:
        if event.what is What.SENT:
            ends = fates.pop(event.number, None) if event.number else None
            messages += _messages(event, ends or [None], n, lies)
    for number, ends in fates.items():
        messages += [_unsent(end, n) for end in ends if number or end.target]
    messages.sort(key=lambda message: (message.sent_us, message.number))
    return _compared(messages)


def _messages(event: Event, ends: Iterable[Event | None], n: int, lies: "_Lies") -> list[Message]:
    return [
        Message(
            number=event.number,
            kind=plain_kind(event.kind),
            family=family_of(event),
            source=event.source,
            target=event.target or (end.target if end else ""),
            signer=_signer(event, n),
            sent_us=event.at_us,
            ended_us=end.at_us if end else event.at_us,
            fate=Fate(end.what.value) if end else Fate.UNDER_WAY,
            view=event.view,
            sequence=event.sequence,
            digest=event.digest,
            note=event.note or (end.note if end else ""),
            lie=lies.behind(event),
        )
        for end in ends
    ]


def _unsent(end: Event, n: int) -> Message:
    """What arrived and was never sent here: a repetition from elsewhere, or the trace begins too late."""
    (message,) = _messages(end, (end,), n, _Lies(()))
    return replace(message, note=message.note or "its sending is not in the trace")


def family_of(event: Event) -> Family:
    """Return the family of a frame: all that clients send or get is theirs."""
    if not (is_member(event.source) and (is_member(event.target) or not event.target)):
        return CLIENT
    return _BY_KIND.get(plain_kind(event.kind), OTHER)


def _signer(event: Event, n: int) -> str:
    if event.signer:
        return event.signer
    if plain_kind(event.kind) in _BY_PRIMARY and event.view >= 0:
        return str(event.view % n)
    return event.source


class _Lies:
    """Which behaviours fired where and when."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._fired: dict[tuple[str, int], list[Event]] = defaultdict(list)
        for event in events:
            if event.what is What.LIED:
                self._fired[event.source, event.at_us].append(event)

    def behind(self, sent: Event) -> str:
        """Return the behaviours that a message was sent by: those that fired at its sender at its time.

        A behaviour that names a frame, a receiver, a view or a sequence means that one alone.
        """
        fired = self._fired.get((sent.source, sent.at_us), ())
        return ", ".join(dict.fromkeys(event.kind for event in fired if _means(event, sent)))


def _means(lie: Event, sent: Event) -> bool:
    if lie.number:
        return lie.number == sent.number
    return (
        lie.target in ("", sent.target)
        and lie.view in (-1, sent.view)
        and lie.sequence in (-1, sent.sequence)
    )


def _place(message: Message) -> tuple[str, str, int, int] | None:
    """For what a member may sign one thing only: its signer, kind, view and sequence."""
    if not message.digest:
        return None
    if message.kind in _ONCE_PER_SLOT and message.sequence >= 0:
        return (message.signer, message.kind, message.view, message.sequence)
    if message.kind in _ONCE_PER_VIEW and message.view >= 0:
        return (message.signer, message.kind, message.view, -1)
    return None


def _compared(messages: list[Message]) -> list[Message]:
    """Give a version to every message whose signer signed several digests for the same place."""
    digests: dict[tuple[str, str, int, int], list[str]] = defaultdict(list)
    for message in messages:
        place = _place(message)
        if place is not None and message.digest not in digests[place]:
            digests[place].append(message.digest)
    sides = _sides(messages)
    compared = []
    for message in messages:
        place = _place(message)
        if place is not None:
            signed, proposed = digests[place], sides.get((message.view, message.sequence), ())
            side = letter(proposed.index(message.digest)) if message.digest in proposed else ""
            version = (side or letter(signed.index(message.digest))) if len(signed) > 1 else ""
            message = replace(message, version=version, side=side) if version or side else message
        compared.append(message)
    return compared


def _sides(messages: Iterable[Message]) -> dict[tuple[int, int], list[str]]:
    """Return what was voted for, for each view and slot that has more than one such digest."""
    digests: dict[tuple[int, int], list[str]] = defaultdict(list)
    for message in messages:
        if message.kind in _VOTES and message.sequence >= 0 and message.digest:
            found = digests[message.view, message.sequence]
            if message.digest not in found:
                found.append(message.digest)
    return {place: found for place, found in digests.items() if len(found) > 1}


def letter(index: int) -> str:
    """Return A for 0, B for 1, ..., and Z for all that come after."""
    return chr(ord("A") + min(index, 25))


def conflicts(messages: Iterable[Message]) -> list[list[Message]]:
    """Return the groups of messages that contradict one another, one message for each version."""
    groups: dict[tuple[str, str, int, int], dict[str, Message]] = defaultdict(dict)
    for message in messages:
        place = _place(message)
        if message.version and place is not None:
            groups[place].setdefault(message.version, message)
    return [list(versions.values()) for versions in groups.values()]
