"""What an application raised in a simulated world though it should not, with its traceback.

What lives here: the application as a replica is given it, which keeps what it raised, and the notes that come
of it. What must not be known here: which of it counts. That the heart tells (`application_error`): what the
state raises passes through the application as well, and is none of its faults.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from traceback import format_exception, walk_tb

from ledger.application import Application, ApplicationContext, Invalid, Refused, StateReader, StateView
from ledger.fault import told
from tetrarch.node.effects import Fact
from tetrarch.node.queries import shown

FRAMES = 30
"""Of a traceback, the last: more are of one that calls itself."""

KINDS = 20
"""Faults that are kept apart; others are counted alone. Who sends payloads can cause as many as they like."""

ASKED = {"check": "payload", "execute": "transaction", "query": "question"}
"""What each method is given."""

ID_SHOWN = 12
"""Digits of an id, as oracles tell it."""


@dataclass
class ApplicationFault:
    """What an application raised at one place of its code, at whichever replica, and however often."""

    method: str
    """`check`, `execute` or `query`."""
    what: str
    """The exception and the place, in one line, as it was first."""
    traceback: str
    """Of that; empty where nothing was raised, and what was returned is no result."""
    first: str
    """The payload, the transaction's id, or the question, at which it was first raised."""
    asked: set[str] = field(default_factory=set)
    """All of them."""

    def __str__(self) -> str:
        more = f", and {len(self.asked) - 1} more" if len(self.asked) > 1 else ""
        return f"{self.method} raised {self.what} ({ASKED[self.method]} {self.first}{more})"


class WatchedApplication:
    """An application that keeps what it raises, until it is asked for (`ledger.application.Application`)."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self.raised: dict[tuple[str, str], BaseException] = {}
        """By method and what was asked for; as of the turn that is under way."""

    def check(self, payload: bytes) -> None:
        """Check a payload."""
        try:
            self._application.check(payload)
        except Invalid:
            raise
        except BaseException as error:
            self.raised["check", shown(payload)] = error
            raise

    def execute(self, context: ApplicationContext, payload: bytes, state: StateView) -> bytes:
        """Carry out a payload."""
        try:
            return self._application.execute(context, payload, state)
        except (Invalid, Refused):
            raise
        except BaseException as error:
            self.raised["execute", context.tx_id.hex()] = error
            raise

    def query(self, question: bytes, state: StateReader) -> bytes:
        """Answer a question."""
        try:
            return self._application.query(question, state)
        except Invalid:
            raise
        except BaseException as error:
            self.raised["query", shown(question)] = error
            raise


class ApplicationFaults:
    """What was noted of all replicas."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], ApplicationFault] = {}
        self.untold = 0
        """How often something was raised beyond so many kinds."""

    def of(self, *methods: str) -> tuple[ApplicationFault, ...]:
        """Return what these methods raised, in the order in which it was first seen."""
        return tuple(fault for fault in self._kinds.values() if fault.method in methods)

    def on_event(self, facts: Mapping[str, Fact], application: WatchedApplication) -> None:
        """A replica told of an `application_error`."""
        method, subject = ("execute", "tx_id") if "tx_id" in facts else ("query", "question")
        asked = str(facts[subject])
        self._note(method, asked, str(facts["what"]), application.raised.get((method, asked)))

    def on_turn_ended(self, application: WatchedApplication) -> None:
        """A turn is over: what `check` raised in it is no event, since whoever can connect may cause it."""
        for (method, asked), error in application.raised.items():
            if method == "check":
                self._note(method, asked, told(error, __file__), error)
        application.raised.clear()

    def _note(self, method: str, asked: str, what: str, error: BaseException | None) -> None:
        kind = method, _kind(what, error)
        fault = self._kinds.get(kind)
        if fault is None:
            if len(self._kinds) >= KINDS:
                self.untold += 1
                return
            trace = "" if error is None else _traceback(error)
            first = asked[:ID_SHOWN] if method == "execute" else asked
            fault = self._kinds[kind] = ApplicationFault(method, what, trace, first)
        fault.asked.add(asked)


def _kind(what: str, error: BaseException | None) -> str:
    """Return what tells one fault from another: the place, rather than a text that may name each payload."""
    if error is None:
        return what
    places = [f"{frame.f_code.co_filename}:{line}" for frame, line in walk_tb(error.__traceback__)]
    return f"{type(error).__name__} {places[-1]}"


def _traceback(error: BaseException) -> str:
    # From the application's own frame on: those above it are how a replica came to call it.
    begin = place = error.__traceback__
    while place is not None:
        if place.tb_frame.f_code.co_filename == __file__:
            begin = place.tb_next
        place = place.tb_next
    return "".join(format_exception(type(error), error, begin, limit=-FRAMES))
