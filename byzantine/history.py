"""Histories of clients: what each asked of `kv` and when, what it was told and when, and what that implies.

What lives here: one operation of a history, its words, and the demand that its answer makes on the key. What
must not be known here: how an order is looked for.

Every key is a register of its own, a text or `None` for absent, as `ledger.applications.kv` keeps it.
"""

from collections.abc import Iterable
from enum import Enum, StrEnum
from typing import NamedTuple, TypeAlias

from msgspec import Struct

Value: TypeAlias = str | None
"""What a key holds; `None` where it is absent."""


class Kind(StrEnum):
    """What was asked for, and what its result is."""

    PUT = "put"
    """Set the key. True."""
    GET = "get"
    """Read the key. Its value, or `None`."""
    DELETE = "delete"
    """Remove the key. Whether it was there."""
    CAS = "cas"
    """Set the key from `expected` to `value`. True, or False where it was refused: the key held another."""


class Outcome(StrEnum):
    """What the client knows of an operation in the end."""

    ANSWERED = "answered"
    """It took effect once, between its invocation and its return, with the result told."""
    UNKNOWN = "unknown"
    """It may have taken effect at any time after its invocation, or may do so yet, or never."""
    WITHOUT_EFFECT = "without effect"
    """It certainly never took effect: expired, or refused at the door. Not for a refused compare-and-set,
    which is an answer that says something of the key."""


class Operation(Struct, frozen=True):
    """One operation of one client. Raises `ValueError` where the fields contradict each other.

    An operation precedes another if it returned at an earlier time than the other was invoked. Equal times
    make them concurrent; where many events share a time, number the events and give the numbers as times.
    """

    client: str
    key: str
    kind: Kind
    invoked_us: int
    returned_us: int | None
    """`None` for an unknown outcome, and for no other."""
    outcome: Outcome = Outcome.ANSWERED
    result: str | bool | None = None
    """Means something for an answered operation only."""
    value: Value = None
    """Of a put and a compare-and-set."""
    expected: Value = None
    """Of a compare-and-set."""
    order: int | None = None
    """A hint: where it is believed to stand among all others, such as its place in the chain, or, for a read
    of the state after a block, a number between two blocks. A wrong hint costs time, and changes no
    verdict."""

    def __post_init__(self) -> None:
        """Refuse what can be no operation."""
        if (self.returned_us is None) != (self.outcome is Outcome.UNKNOWN):
            raise ValueError(
                "returned_us: an operation has no time of return exactly if its outcome is unknown"
            )
        if self.returned_us is not None and self.returned_us < self.invoked_us:
            raise ValueError("returned_us: an operation returns no earlier than it is invoked")
        if self.kind is Kind.PUT and self.value is None:
            raise ValueError("value: a put sets a text")
        if self.kind in _WITHOUT_VALUE and self.value is not None:
            raise ValueError(f"value: a {self.kind} has none")
        if self.kind is not Kind.CAS and self.expected is not None:
            raise ValueError(f"expected: a {self.kind} expects nothing")

    def __str__(self) -> str:
        """Return the operation in words: `c1: cas "1" to "2" -> refused (10..25 us)`."""
        if self.outcome is Outcome.ANSWERED:
            said, when = f" -> {self._said()}", f"{self.invoked_us}..{self.returned_us} us"
        else:
            said, when = "", f"since {self.invoked_us} us, {self.outcome}"
        return f"{self.client}: {self._asked()}{said} ({when})"

    def _asked(self) -> str:
        if self.kind is Kind.PUT:
            return f"put {shown(self.value)}"
        if self.kind is Kind.CAS:
            return f"cas {shown(self.expected)} to {shown(self.value)}"
        return str(self.kind)

    def _said(self) -> str:
        if isinstance(self.result, bool):
            return "refused" if self.kind is Kind.CAS and not self.result else str(self.result).lower()
        return shown(self.result)


_WITHOUT_VALUE = frozenset({Kind.GET, Kind.DELETE})


def shown(value: Value) -> str:
    """Return a value for people, long ones cut."""
    if value is None:
        return "absent"
    return f'"{value}"' if len(value) <= _SHOWN else f'"{value[:_SHOWN]}..."'


_SHOWN = 40


def effective(operations: Iterable[Operation]) -> list[Operation]:
    """Return the operations that took effect or may have: all but those known to be without."""
    return [operation for operation in operations if operation.outcome is not Outcome.WITHOUT_EFFECT]


class Mark(Enum):
    """What stands in a demand where there is no value."""

    ANY = "any"
    """Every value will do."""
    NONE = "none"
    """No value at all, not even absence."""
    SAME = "same"
    """The key keeps its value."""
    OTHER = "other"
    """Some value that no demand speaks of: all such are alike."""


class Demand(NamedTuple):
    """At what value an operation can take effect with the result told, and what the key holds then.

    For an operation of unknown outcome: at what value it would do something. Elsewhere it does nothing, which
    is as if it had never been carried out.
    """

    equal: Value | Mark
    """The value that the key must hold; `ANY`, or `NONE` where the answer is never given."""
    unequal: Value | Mark
    """The value that the key must not hold; or `NONE`."""
    becomes: Value | Mark
    """What the key holds afterwards; or `SAME`."""

    def met(self, present: Value | Mark) -> bool:
        """Whether the operation can take effect at this value."""
        return (self.equal is Mark.ANY or self.equal == present) and self.unequal != present


IMPOSSIBLE = Demand(Mark.NONE, Mark.NONE, Mark.SAME)
"""Of an answer that `kv` gives in no state."""


def demand(operation: Operation) -> Demand:
    """Return what an operation demands of its key. This is all that is known of `kv` here."""
    kind, value, result = operation.kind, operation.value, operation.result
    unknown = operation.outcome is not Outcome.ANSWERED
    if kind is Kind.PUT:
        return Demand(Mark.ANY, Mark.NONE, value) if unknown or result is True else IMPOSSIBLE
    if kind is Kind.GET:
        if unknown:
            return Demand(Mark.ANY, Mark.NONE, Mark.SAME)
        return IMPOSSIBLE if isinstance(result, bool) else Demand(result, Mark.NONE, Mark.SAME)
    if not unknown and not isinstance(result, bool):
        return IMPOSSIBLE
    if kind is Kind.DELETE:
        return Demand(Mark.ANY, None, None) if unknown or result else Demand(None, Mark.NONE, Mark.SAME)
    if unknown or result:
        becomes = Mark.SAME if value == operation.expected else value
        return Demand(operation.expected, Mark.NONE, becomes)
    return Demand(Mark.ANY, operation.expected, Mark.SAME)
