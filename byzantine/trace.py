"""The trace of a run: what happened, in order, as lines that reports draw and that runs are compared by.

What lives here: one event's shape and its line of text. What must not be known here: who notes events, and
what is made of them.

The same scenario, seed and commit give the same lines, byte for byte, on every machine.
"""

from collections.abc import Iterable
from enum import StrEnum
from hashlib import sha256

from msgspec import Struct
from msgspec.json import Decoder, Encoder


class What(StrEnum):
    """What an event is about."""

    SENT = "sent"
    DELIVERED = "delivered"
    LOST = "lost"
    """By chance, or because its receiver was down."""
    CUT = "cut"
    """Lost because the link was cut."""
    LIED = "lied"
    """A behaviour fired; `kind` is its name."""
    CRASHED = "crashed"
    RESTARTED = "restarted"
    FAULT = "fault"
    """Something was done to the network, a clock or a disk; `note` says what."""
    HEALED = "healed"
    """All faults ended here: from now on convergence is demanded."""
    VIEW = "view"
    """`source` entered `view`, or, with the note "leaving", is on its way into it."""
    EXECUTED = "executed"
    """`source` stored the block at `sequence`; `digest` is its hash."""
    STABLE = "stable"
    """The checkpoint at `sequence` became stable at `source`."""
    EVIDENCE = "evidence"
    """`source` holds proof against the member `target`."""
    SUBMITTED = "submitted"
    """A client sent the transaction `digest` for the first time."""
    BELIEVED = "believed"
    """A client believes an outcome of the transaction `digest`."""
    FAILED = "failed"
    """An oracle found something wrong; `kind` is its name."""


class Event(Struct, frozen=True, omit_defaults=True):
    """One line of a trace."""

    at_us: int
    """Virtual microseconds since the run began."""
    what: What
    source: str
    """A member's number, a client's name, or `network`."""
    target: str = ""
    number: int = 0
    """Frames are counted from 1; what became of one carries its number."""
    kind: str = ""
    """For frames: `pre-prepare`, `prepare`, ..., `bodies`, `submit`, `results`."""
    view: int = -1
    sequence: int = -1
    digest: str = ""
    """The first 8 hexadecimal digits of what the message is about."""
    note: str = ""
    signer: str = ""
    """The member that signed what a frame carries, where that is not `source`: some are passed on."""


_encoder, _decoder = Encoder(), Decoder(Event)


def line(event: Event) -> str:
    """Return an event as one line of JSON, without a line's end."""
    return _encoder.encode(event).decode()


def parse(text: str) -> Event:
    """Return the event in a line. Raises `msgspec.MsgspecError`."""
    return _decoder.decode(text)


def fingerprint(events: Iterable[Event]) -> str:
    """Return the SHA-256 of all lines, in hexadecimal: equal for two runs in which the same happened."""
    hashed = sha256()
    for event in events:
        hashed.update(_encoder.encode(event) + b"\n")
    return hashed.hexdigest()
