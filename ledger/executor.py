"""Executing one agreed batch: expiry, exactly-once, the application, layered writes. Pure: no store, no
clock.

What lives here: the one definition of what a batch does to a state, shared by replicas and the audit. What
must not be known here: where ids and values are stored, how roots are computed.

Each transaction sees the writes of the earlier ones. Whatever the application raises becomes a result with a
fixed text, and its writes are dropped. (An exception's own text could differ between machines. A
`MemoryError` of one machine alone would make its block differ: its attestation then finds no company, and it
stops.) What the state itself raises is this replica's own fault and comes through, even where the application
swallows it.
"""

from collections.abc import Sequence

from msgspec import Struct

from crypto.attestation import Height
from crypto.batch import Millis
from ledger.application import Application, ApplicationContext, Invalid, Refused
from ledger.fault import told
from ledger.result import (
    EXPIRED_RESULT,
    MAX_VALUE_BYTES,
    error_result,
    failed_result,
    given_reason,
    ok_result,
    repeated_result,
)
from ledger.state.nodes import MAX_KEY_BYTES
from ledger.state.nodes import MAX_VALUE_BYTES as MAX_STATE_VALUE_BYTES
from ledger.transaction import ParsedTransaction
from ledger.values import Read

MAX_TRANSACTION_WRITES = 1000
MAX_TRANSACTION_WRITE_BYTES = 256 * 1024
"""What one transaction may write, as it writes it: puts and deletes, and bytes of keys and values."""

MAX_BLOCK_WRITE_BYTES = 16 * 1024 * 1024
MAX_BLOCK_RESULT_BYTES = 8 * 1024 * 1024
"""What one block may write and return: with a batch of 4 MiB it then fits into MAX_BLOCK_BYTES, and into
memory. The transaction that comes too late in its block fails, and may be submitted anew."""

MAX_TOLD_FAULTS = 3
"""So many of a block's faults are told: clients can cause as many as they like."""

APPLICATION_ERROR = error_result("the application raised an error")
LIMIT_ERROR = error_result("the application broke a limit of the state or of results")
INVALID_RESULT = failed_result("the payload is not valid for this application")
NO_ROOM_RESULT = failed_result("this block had no room left for what it writes or returns")


class LimitBroken(Exception):
    """The application wrote or returned more than it may, or something that is not bytes."""


class BlockView:
    """The state as the transactions of one block see it, with one transaction's writes apart until they are
    kept."""

    __slots__ = ("_block", "_bytes", "_read", "_transaction", "_writes", "changes", "fault", "written")

    def __init__(self, read: Read) -> None:
        self._read = read
        self._block: dict[bytes, bytes | None] = {}
        """All that was read or kept in this block."""
        self._transaction: dict[bytes, bytes | None] = {}
        self._bytes = self._writes = 0
        self.changes: dict[bytes, bytes | None] = {}
        """What the kept transactions wrote, in the order of the first writes."""
        self.written = 0
        """Bytes of all kept writes, as they were made."""
        self.fault: Exception | None = None
        """What reading the committed state raised, whatever the application made of it."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or `None`."""
        if key in self._transaction:
            return self._transaction[key]
        if key in self._block:
            return self._block[key]
        if type(key) is not bytes or len(key) > MAX_KEY_BYTES:
            raise _broken("a key", key, MAX_KEY_BYTES)
        try:
            value = self._block[key] = self._read(key)
        except Exception as error:
            self.fault = error
            raise
        return value

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value of `key` for this transaction."""
        if type(value) is not bytes or len(value) > MAX_STATE_VALUE_BYTES:
            raise _broken("a value of the state", value, MAX_STATE_VALUE_BYTES)
        self._count(key, len(value))
        self._transaction[key] = value

    def delete(self, key: bytes) -> None:
        """Remove `key` for this transaction."""
        self._count(key, 0)
        self._transaction[key] = None

    def _count(self, key: bytes, size: int) -> None:
        if type(key) is not bytes or len(key) > MAX_KEY_BYTES:
            raise _broken("a key", key, MAX_KEY_BYTES)
        self._writes += 1
        total = self._bytes + len(key) + size
        if total > MAX_TRANSACTION_WRITE_BYTES or self._writes > MAX_TRANSACTION_WRITES:
            raise LimitBroken("more written than one transaction may")
        self._bytes = total

    def has_room(self) -> bool:
        """Return whether the block may keep this transaction's writes."""
        return self.written + self._bytes <= MAX_BLOCK_WRITE_BYTES

    def keep(self) -> None:
        """Make this transaction's writes part of the block."""
        transaction = self._transaction
        if transaction:
            self._block.update(transaction)
            self.changes.update(transaction)
            self.written += self._bytes
            transaction.clear()
            self._bytes = self._writes = 0

    def drop(self) -> None:
        """Forget this transaction's writes."""
        self._transaction.clear()
        self._bytes = self._writes = 0


class BatchOutcome(Struct, frozen=True):
    """What a batch came to."""

    results: list[bytes]
    """Canonical bytes, one per transaction, in order."""
    changes: dict[bytes, bytes | None]
    """The state's keys that were written; `None` for a deleted one."""
    executed: list[int]
    """Positions of the transactions whose ids count as executed from this block on."""
    faults: list[tuple[int, str]]
    """Position and one line of what the application raised and should not, for whoever writes it: the first
    MAX_TOLD_FAULTS. It depends on the machine, and is part of nothing that is agreed."""


def execute_batch(
    application: Application,
    read: Read,
    height: Height,
    time: Millis,
    transactions: Sequence[ParsedTransaction],
    first_heights: Sequence[Height | None],
) -> BatchOutcome:
    """Execute `transactions` in order in the block at `height`, whose time is `time` (ms).

    `first_heights` says for each where its id was executed before this block, or `None`. Raises only what
    `read` raises.
    """
    view = BlockView(read)
    outcomes: list[bytes] = []
    executed: list[int] = []
    faults: list[tuple[int, str]] = []
    here: set[bytes] = set()
    room = MAX_BLOCK_RESULT_BYTES
    for position, (parsed, first_height) in enumerate(zip(transactions, first_heights, strict=True)):
        if parsed.transaction.valid_until < time:
            outcome = EXPIRED_RESULT
        elif first_height is not None:
            outcome = repeated_result(first_height)
        elif parsed.id in here:
            outcome = repeated_result(height)
        else:
            here.add(parsed.id)
            executed.append(position)
            outcome, fault = _execute(application, view, parsed, height, time, room)
            if fault is not None and len(faults) < MAX_TOLD_FAULTS:
                faults.append((position, told(fault, __file__)))
            room -= len(outcome)
        outcomes.append(outcome)
    return BatchOutcome(outcomes, view.changes, executed, faults)


def _execute(
    application: Application,
    view: BlockView,
    parsed: ParsedTransaction,
    height: Height,
    time: Millis,
    room: int,
) -> tuple[bytes, BaseException | None]:
    """Execute one transaction, keep or drop its writes; returns its result's bytes, and what the application
    raised though it should not."""
    transaction = parsed.transaction
    context = ApplicationContext(transaction.sender, time, height, parsed.id)
    try:
        value = application.execute(context, transaction.payload, view)
        if type(value) is not bytes or len(value) > MAX_VALUE_BYTES:
            raise _broken("a result", value, MAX_VALUE_BYTES)
        outcome = ok_result(value)
    except KeyboardInterrupt:  # the operator's, not the application's
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a user's code raises is a result, SystemExit too
        view.drop()
        if view.fault is not None:
            raise view.fault from None
        return _result_of(error), None if isinstance(error, Invalid | Refused) else error
    if view.fault is not None:
        raise view.fault
    if len(outcome) > room or not view.has_room():
        view.drop()
        return NO_ROOM_RESULT, None
    view.keep()
    return outcome, None


def _broken(what: str, given: object, most: int) -> LimitBroken:
    """Return what is wrong with `given`, in words for whoever wrote the application: no result holds them."""
    if isinstance(given, bytes):
        return LimitBroken(f"{what} has {len(given)} bytes, at most {most} are allowed")
    return LimitBroken(f"{what} is bytes, not {type(given).__name__}")


def _result_of(error: BaseException) -> bytes:
    if isinstance(error, Invalid):
        return INVALID_RESULT
    if isinstance(error, Refused):
        return failed_result(given_reason(error, "refused"))
    return LIMIT_ERROR if isinstance(error, LimitBroken) else APPLICATION_ERROR
