"""Asking the application a question about the state: a user's code, which may raise anything.

What lives here: the view that a question has of the state, and what counts as no answer. What must not be
known here: stores, blocks, who asks. What the state itself raises is this replica's own fault and comes
through, even where the application swallows it.
"""

from ledger.application import MAX_ANSWER_BYTES, Application, Invalid
from ledger.errors import LedgerError
from ledger.executor import LimitBroken
from ledger.fault import told
from ledger.result import given_reason
from ledger.state.nodes import MAX_KEY_BYTES
from ledger.values import Read


class QuestionFailed(LedgerError):
    """The application raised what it must not, or gave what is no answer. One line, for whoever writes it."""


class QuestionView:
    """The state for one question: to be read, and nothing else."""

    __slots__ = ("_read", "fault")

    def __init__(self, read: Read) -> None:
        self._read = read
        self.fault: Exception | None = None
        """What reading the state raised, whatever the application made of it."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or `None`."""
        if type(key) is not bytes or len(key) > MAX_KEY_BYTES:
            raise LimitBroken(f"a key has at most {MAX_KEY_BYTES} bytes, and is bytes")
        try:
            return self._read(key)
        except Exception as error:
            self.fault = error
            raise


def answer(application: Application, read: Read, question: bytes) -> bytes:
    """Return the application's answer, of at most MAX_ANSWER_BYTES.

    Raises `Invalid` with a bounded reason, `QuestionFailed` for whatever else the application raises, and
    what `read` raises.
    """
    view = QuestionView(read)
    try:
        found = application.query(question, view)
        if type(found) is not bytes:
            raise LimitBroken(f"an answer is bytes, not {type(found).__name__}")
        if len(found) > MAX_ANSWER_BYTES:
            raise LimitBroken(f"an answer of {len(found)} bytes, at most {MAX_ANSWER_BYTES} are allowed")
    except KeyboardInterrupt:  # the operator's, not the application's
        raise
    except BaseException as error:
        if view.fault is not None:
            raise view.fault from None
        if isinstance(error, Invalid):
            raise Invalid(given_reason(error, "the question is not valid")) from None
        raise QuestionFailed(told(error, __file__)) from error
    if view.fault is not None:
        raise view.fault
    return found
