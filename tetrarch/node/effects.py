"""What one turn of the heart wants done outside: bytes to send, a sync to wait for, lines to log.

Plain data. Nothing here sends, syncs or logs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NewType

from crypto.attestation import Height
from crypto.keys import Check
from crypto.roster import MemberId

ConnectionId = NewType("ConnectionId", int)
"""A client's connection, numbered by the listener; never used twice in one run."""

ChunkNumber = NewType("ChunkNumber", int)

Fact = str | int | bool | None


class Level(Enum):
    """How loud an event is."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that people should be able to read in the log."""

    name: str
    level: Level
    facts: tuple[tuple[str, Fact], ...]


@dataclass(frozen=True, slots=True)
class ChecksWanted:
    """Signatures to be verified elsewhere; the answer goes to `Heart.checked` under `number`."""

    number: ChunkNumber
    checks: Sequence[Check]


@dataclass(slots=True)
class Effects:
    """The outcome of one turn.

    `to_members` and `to_clients` may leave only when everything that this turn wrote is durable (if
    `sync`), and after those of all earlier turns. `more`: there is work left, call `turn` again soon.
    """

    sync: bool = False
    more: bool = False
    to_members: list[tuple[MemberId, bytes]] = field(default_factory=list)
    to_clients: list[tuple[ConnectionId, bytes]] = field(default_factory=list)
    closes: list[ConnectionId] = field(default_factory=list)
    """Clients whose frames made no sense."""
    events: list[Event] = field(default_factory=list)
    checks: list[ChecksWanted] = field(default_factory=list)
    blocks: list[Height] = field(default_factory=list)
    """The heights executed in this turn: what follows from them is said in these frames."""

    def tell(self, name: str, level: Level = Level.INFO, **facts: Fact) -> None:
        """Note an event for the log."""
        self.events.append(Event(name, level, tuple(facts.items())))

    def forget_sends(self) -> None:
        """Send nothing of this turn: what it rests on could not be written."""
        self.to_members.clear()
        self.to_clients.clear()
        self.blocks.clear()


class Counters:
    """How often something was dropped or refused, by reason. Reasons are our own texts: they are few."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def count(self, reason: str, times: int = 1) -> None:
        """Add to what is counted under `reason`."""
        self._counts[reason] = self._counts.get(reason, 0) + times

    def all(self) -> tuple[tuple[str, int], ...]:
        """Return (reason, count), sorted by reason."""
        return tuple(sorted(self._counts.items()))
