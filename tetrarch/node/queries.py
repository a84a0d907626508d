"""Clients' questions to the application: answered at the head, within a budget of their own.

What lives here: what is said for an answer, and for none. What must not be known here: which questions wait,
and whose they are. A fault of the store comes through: it is this replica's own, and stops it.
"""

from crypto.batch import Millis
from ledger.application import Invalid
from ledger.ledger import Ledger
from ledger.question import QuestionFailed
from tetrarch.node.effects import Counters, Effects, Level
from tetrarch.node.limits import NodeLimits
from tetrarch.wire import AskQuery, NoAnswer, QueryReply, Unknown

FAILED = "the application failed at this question"
"""All that a client is told: what was raised depends on the machine, and is for the log."""

TOLD_BYTES = 200
"""So much of a question is told beside its failure."""


class Queries:
    """Asks the application. `begin` a turn, then `answer` while there is `room`."""

    def __init__(self, ledger: Ledger, limits: NodeLimits, counters: Counters) -> None:
        self._ledger = ledger
        self._limits = limits
        self._counters = counters
        self._left = 0
        self._tell_at = Millis(0)

    def begin(self) -> None:
        """Allow one turn's queries."""
        self._left = self._limits.queries_per_turn

    @property
    def room(self) -> bool:
        """Whether the turn may ask once more."""
        return self._left > 0

    def answer(self, item: AskQuery, monotonic: Millis, effects: Effects) -> QueryReply | NoAnswer | Unknown:
        """Return what the application says at the head. Raises `StoreError`."""
        height = self._ledger.height
        if height < item.min_height:
            return Unknown(item.request, height)
        self._left -= 1
        try:
            return QueryReply(item.request, height, self._ledger.query(item.question))
        except Invalid as invalid:
            return NoAnswer(item.request, height, "invalid", str(invalid))
        except QuestionFailed as failed:
            self._tell(item.question, str(failed), monotonic, effects)
            return NoAnswer(item.request, height, "error", FAILED)

    def _tell(self, question: bytes, what: str, monotonic: Millis, effects: Effects) -> None:
        """Note a failure for the log, where clients must not be able to drown what else stands there."""
        self._counters.count("client: the application failed at a question")
        if monotonic >= self._tell_at:
            self._tell_at = Millis(monotonic + self._limits.query_fault_ms)
            effects.tell("application_error", Level.ERROR, question=shown(question), what=what)


def shown(question: bytes) -> str:
    """Return the beginning of a question, for the log."""
    return repr(question[:TOLD_BYTES])
