"""One open transaction, and what a proven result makes of it.

What lives here: the state that is kept per open transaction (small: there may be thousands), and functions of
it. What must not be known here: links, timers, and when anything is sent.
"""

from collections.abc import Callable, Sequence

from crypto.batch import Millis, TxId
from crypto.errors import CodecError
from crypto.roster import MemberId
from ledger.result import ResultCode, results
from tetrarch.client.outcome import Outcome, Proof, Status
from tetrarch.client.tuning import MAX_SUBMIT_BYTES
from tetrarch.errors import Expired, TetrarchError, VerificationError
from tetrarch.wire import MAX_SUBMIT


class Order:
    """One open transaction."""

    __slots__ = (
        "codes",
        "deadline",
        "done",
        "expired",
        "index",
        "key",
        "late",
        "open",
        "raw",
        "repeated",
        "sent",
        "tx_id",
        "valid_until",
    )

    def __init__(
        self,
        raw: bytes,
        tx_id: TxId,
        valid_until: Millis,
        deadline: float,
        done: Callable[["Order", Outcome], None],
        index: int = 0,
        key: str | None = None,
    ) -> None:
        self.raw = raw
        self.tx_id = tx_id
        self.valid_until = valid_until
        self.deadline = deadline
        """When the caller's time is up (loop time, s)."""
        self.done = done
        """Called once, with the outcome."""
        self.index = index
        self.key = key
        self.open = True
        self.sent = False
        self.late = False
        """Whether it is past its time, and asked for instead of sent."""
        self.repeated = False
        """Whether a marker of its repetition was seen, and its first execution asked for."""
        self.codes: dict[MemberId, str] | None = None
        """The last refusal of each member that refused it."""
        self.expired: set[MemberId] | None = None
        """Who signed that it was not executed in its time."""

    def outcome(self, status: Status, error: TetrarchError | None = None) -> Outcome:
        """Return an outcome without a proof."""
        return Outcome(self.index, self.tx_id, status, idempotency_key=self.key, error=error)


def proven_outcome(order: Order, proof: Proof) -> Outcome | None:
    """Return what a proven result means; `None` for a marker that points to an earlier execution."""
    try:
        result = results.decode(proof.result_bytes)
    except CodecError as cause:
        fault = VerificationError("result", "the canonical bytes of a result", str(cause))
        return order.outcome("unknown", fault)
    if result.code is ResultCode.REPEATED:
        return None
    expired = result.code is ResultCode.EXPIRED
    error = Expired(order.tx_id, proof.receipt(order.raw)) if expired else None
    return Outcome(
        order.index,
        order.tx_id,
        "expired" if expired else "committed",
        idempotency_key=order.key,
        height=proof.proven.header.height,
        result=result,
        error=error,
        transaction=order.raw,
        proof=proof,
    )


def share(order: Order, twin: Order) -> None:
    """Let the same transaction, submitted twice at once, have one outcome for both who wait."""
    first = order.done
    order.deadline = max(order.deadline, twin.deadline)

    def both(settled: Order, outcome: Outcome) -> None:
        first(settled, outcome)
        twin.done(twin, outcome.at(twin.index))

    order.done = both


def frames_of(orders: Sequence[Order]) -> list[list[Order]]:
    """Cut into parts that one Submit frame may hold."""
    chunks: list[list[Order]] = []
    chunk: list[Order] = []
    size = 0
    for order in orders:
        if chunk and (len(chunk) >= MAX_SUBMIT or size + len(order.raw) > MAX_SUBMIT_BYTES):
            chunks.append(chunk)
            chunk, size = [], 0
        chunk.append(order)
        size += len(order.raw)
    if chunk:
        chunks.append(chunk)
    return chunks
