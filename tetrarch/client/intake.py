"""From submissions to open orders: drafted, looked up, signed, kept, and only then handed over for sending.

What lives here: the order of these steps, for many at once, and the outcomes that are known without asking
anybody (a key's earlier outcome, a conflict, what cannot be a transaction). What must not be known here: how
orders are sent and settled.
"""

from collections.abc import Callable, Sequence

from crypto.attestation import Height
from crypto.batch import TxId
from crypto.digest import ZERO_DIGEST, Digest
from ledger.outbox import Entry, NewEntry
from ledger.refusals import RefusalCode
from ledger.result import Result, ResultCode
from tetrarch.client.keeping import Keeping
from tetrarch.client.order import Order
from tetrarch.client.orders import Orders
from tetrarch.client.outcome import Outcome, Payload, Submission
from tetrarch.client.signing import Draft, Pen
from tetrarch.errors import Expired, IdempotencyConflict, Rejected, TetrarchError

Settle = Callable[[Outcome], None]
"""Takes each outcome, once."""


class Intake:
    """The way in of one client's transactions."""

    def __init__(self, pen: Pen, keeping: Keeping | None, orders: Orders) -> None:
        self._pen = pen
        self._keeping = keeping
        self._orders = orders

    async def take(
        self, items: Sequence[tuple[int, Payload | Submission]], settle: Settle, deadline: float
    ) -> None:
        """Take submissions with their places; one that cannot be a transaction is refused as malformed."""
        drafts: list[Draft] = []
        for index, item in items:
            submission = item if isinstance(item, Submission) else Submission(item)
            try:
                drafts.append(self._pen.draft(index, submission, remembered=self._keeping is not None))
            except (TypeError, ValueError) as error:
                settle(_refused(index, submission.idempotency_key, _malformed(error)))
        await self.take_drafts(drafts, settle, deadline)

    async def take_drafts(self, drafts: Sequence[Draft], settle: Settle, deadline: float) -> None:
        """Sign, keep and hand over; `deadline` (loop time, s) is when their outcomes are given up.

        Raises `ConfigurationError` where the outbox fails; then none of `drafts` was sent.
        """
        done = self._settling(settle)
        orders: list[Order] = []
        known = await self._known(drafts)
        kept_drafts: list[Draft] = []
        new_entries: list[NewEntry] = []
        for draft in drafts:
            entry = known.get(draft.key) if draft.key is not None else None
            if entry is not None:
                orders += self._order_of(entry, draft.index, draft.content, done, settle, deadline)
                continue
            try:
                signed = self._pen.sign(draft)
            except Rejected as error:
                settle(_refused(draft.index, draft.key, error))
                continue
            if draft.key is not None and self._keeping is not None:
                kept_drafts.append(draft)
                new_entries.append(
                    NewEntry(draft.key, signed.tx_id, draft.content, signed.valid_until, signed.raw)
                )
            else:
                orders.append(
                    Order(
                        signed.raw, signed.tx_id, signed.valid_until, deadline, done, draft.index, draft.key
                    )
                )
        if self._keeping is not None:
            for draft, kept in zip(kept_drafts, await self._keeping.put(new_entries), strict=True):
                if isinstance(kept, IdempotencyConflict):
                    settle(_refused(draft.index, draft.key, kept))
                else:
                    orders += self._order_of(kept, draft.index, draft.content, done, settle, deadline)
        self._orders.add(orders)

    def take_entries(self, entries: Sequence[tuple[int, Entry]], settle: Settle, deadline: float) -> None:
        """Take what the outbox holds."""
        done = self._settling(settle)
        orders: list[Order] = []
        for index, entry in entries:
            orders += self._order_of(entry, index, entry.content, done, settle, deadline)
        self._orders.add(orders)

    async def _known(self, drafts: Sequence[Draft]) -> dict[str, Entry]:
        if self._keeping is None:
            return {}
        return await self._keeping.find([draft.key for draft in drafts if draft.key is not None])

    def _order_of(
        self,
        entry: Entry,
        index: int,
        content: Digest,
        done: Callable[[Order, Outcome], None],
        settle: Settle,
        deadline: float,
    ) -> list[Order]:
        """Return the order for what a key stands for; none where its outcome is known, or it is a
        conflict."""
        if entry.content != content:
            conflict = IdempotencyConflict(entry.key, "was used for another payload or by another sender")
            settle(_refused(index, entry.key, conflict, entry.tx_id))
        elif entry.raw is None:
            settle(remembered(index, entry))
        else:
            return [Order(entry.raw, entry.tx_id, entry.valid_until, deadline, done, index, entry.key)]
        return []

    def _settling(self, settle: Settle) -> Callable[[Order, Outcome], None]:
        keeping = self._keeping

        def done(order: Order, outcome: Outcome) -> None:
            if keeping is not None and order.key is not None:
                keeping.settle(outcome)
            settle(outcome)

        return done


def remembered(index: int, entry: Entry) -> Outcome:
    """Return the outcome that the outbox holds for a key: without proof, and of results only failures.

    What an application returned is not kept: `Client.receipt` fetches it.
    """
    if entry.outcome == "committed":
        height, failures = Height(entry.height), {code.value: code for code in ResultCode}
        code = failures.get(entry.code)
        result = None if code is None else Result(code, reason=entry.reason)
        return Outcome(
            index, entry.tx_id, "committed", idempotency_key=entry.key, height=height, result=result
        )
    if entry.outcome == "expired":
        error: TetrarchError = Expired(entry.tx_id)
        return Outcome(index, entry.tx_id, "expired", idempotency_key=entry.key, error=error)
    return _refused(index, entry.key, Rejected(entry.code, entry.reason, entry.tx_id), entry.tx_id)


def _refused(index: int, key: str | None, error: TetrarchError, tx_id: TxId | None = None) -> Outcome:
    named = tx_id or TxId(getattr(error, "tx_id", b"") or ZERO_DIGEST)
    return Outcome(index, named, "refused", idempotency_key=key, error=error)


def _malformed(error: Exception) -> Rejected:
    return Rejected(RefusalCode.MALFORMED.value, str(error))
