"""Open transactions: sent to every replica, proven by one, believed at f + 1, tried again until settled.

What lives here: the life of a transaction from the signed bytes to its outcome. What must not be known here:
keys, outboxes and files; who waits for an outcome (a function is called).

The rules:

- a transaction goes to every replica, so that none can hide it; the designated one sends its result with the
  proof, the others their attestation alone;
- a result counts when its block is believed (`witnesses`); late attestations still join its receipts;
- a refusal is final from as many members as are believed, with one code, where the code depends on the bytes
  alone; any other refusal is waited out;
- past valid_until it is not sent any more, but asked for: it has expired when as many members as are believed
  have signed that their ledger's time has passed it, and that they have not executed it;
- a designated replica that is silent is passed over; whoever answers wrongly is distrusted;
- when the caller's time is up the outcome is unknown: except where nobody was sent anything.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from crypto.batch import Millis, TxId
from crypto.digest import digest
from ledger.attestations import Attestations
from ledger.refusals import RefusalCode
from tetrarch.client.alarms import Alarms
from tetrarch.client.inquiries import Inquiries
from tetrarch.client.links import Link, Links
from tetrarch.client.order import Order, frames_of, proven_outcome, share
from tetrarch.client.outcome import Outcome, Proof
from tetrarch.client.proof import ProvenResults
from tetrarch.client.tuning import MAX_UNBELIEVED, Tuning
from tetrarch.client.witnesses import Witnesses
from tetrarch.errors import (
    Expired,
    OutcomeUnknown,
    Rejected,
    TetrarchError,
    Unreachable,
)
from tetrarch.wire import Entry, NotExecuted, Refusals, Submit, pack

MAX_DOUBLINGS: Final = 3
"""Of the pause between two sendings, which stays as long as it is then."""

_CODES: Final = {code.value: code for code in RefusalCode}


class _Watch:
    """Transactions that were sent together, and when to worry about them (loop times, s)."""

    __slots__ = ("attempt", "designated", "orders", "resend_at", "since")

    def __init__(
        self, orders: Sequence[Order], attempt: int, designated: Link | None, since: float, resend_at: float
    ) -> None:
        self.orders = orders
        self.attempt = attempt
        self.designated = designated
        """Who is to send their results."""
        self.since = since
        """Since when it is."""
        self.resend_at = resend_at


class Orders:
    """All open transactions of one client."""

    def __init__(
        self, links: Links, witnesses: Witnesses, tuning: Tuning, wall: Callable[[], Millis], acceptance: int
    ) -> None:
        self._links = links
        self._witnesses = witnesses
        self._tuning = tuning
        self._wall = wall
        self._acceptance = acceptance
        self._silence = tuning.silence_ms / 1000
        self._loop = asyncio.get_running_loop()
        self._open: dict[TxId, Order] = {}
        self._outgoing: list[Order] = []
        self._flushing = False
        self._gated: asyncio.TimerHandle | None = None
        self._watches = Alarms(self._look)
        self._unbelieved: dict[Attestations, list[tuple[Order, Proof]]] = {}
        self._by_digest: dict[bytes, Order] | None = None
        """Exact bytes to orders, for refusals; made when the first one comes."""
        self._inquiries = Inquiries(links, tuning, self._still_late)
        self.congested_until = 0.0
        """Until when (loop time, s) new transactions are better held back: replicas are overloaded."""

    def get(self, tx_id: TxId) -> Order | None:
        """Return the open order with this id."""
        return self._open.get(tx_id)

    def add(self, orders: Sequence[Order]) -> None:
        """Take up new transactions; they are sent at the end of this loop turn."""
        for order in orders:
            twin = self._open.get(order.tx_id)
            if twin is not None:
                share(twin, order)
                continue
            self._open[order.tx_id] = order
            if self._by_digest is not None:
                self._by_digest[digest("received", order.raw)] = order
            self._outgoing.append(order)
        self._flush_soon()

    def close(self, error: TetrarchError | None = None) -> None:
        """Settle everything: with `error` if there is one, else as unknown. Stop all timers."""
        self._watches.clear()
        if self._gated is not None:
            self._gated.cancel()
        self._inquiries.close()
        for order in list(self._open.values()):
            cause = error or self._unknown(order, "the client was closed")
            self._settle(order, order.outcome("unknown", cause))

    # Sending.

    def _flush_soon(self) -> None:
        if self._outgoing and not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        orders = [order for order in self._outgoing if order.open]
        if not self._links.enough:
            self._outgoing = orders
            self._gate()
            return
        self._outgoing = []
        for chunk in frames_of(orders):
            self._send(chunk, 0)

    def _gate(self) -> None:
        """Wait for connections, a while: nothing of what waits has been sent to anybody."""
        if self._gated is None:
            self._gated = self._loop.call_later(self._tuning.connect_timeout_ms / 1000, self._give_up_waiting)

    def _give_up_waiting(self) -> None:
        self._gated = None
        waiting, self._outgoing = self._outgoing, []
        reached = len(self._links.up)
        error = Unreachable(reached, self._acceptance, self._links.causes())
        for order in waiting:
            if order.open:
                self._settle(order, order.outcome("unknown", error))

    def link_up(self, link: Link) -> None:
        """Tell a replica that was away of everything open, since it owes us its attestations too."""
        if self._links.enough and self._gated is not None:
            self._gated.cancel()
            self._gated = None
        self._flush_soon()
        sent = [order for order in self._open.values() if order.sent and not order.late]
        full = link is self._links.designate()
        for chunk in frames_of(sent):
            link.send(pack(Submit(full, tuple(order.raw for order in chunk))))

    def _send(self, chunk: Sequence[Order], attempt: int) -> None:
        raws = tuple(order.raw for order in chunk)
        links, designated = self._links.up, self._links.designate()
        plain = pack(Submit(False, raws))
        taken = False
        for link in links:
            taken |= link.send(pack(Submit(True, raws)) if link is designated else plain)
        if taken:
            for order in chunk:
                order.sent = True
        now = self._loop.time()
        resend_at = now + self._tuning.resend_ms / 1000 * 2.0 ** min(attempt, MAX_DOUBLINGS)
        self._watch_until_due(_Watch(chunk, attempt, designated, now, resend_at))

    # Trying again.

    def _watch_until_due(self, watch: "_Watch") -> None:
        deadline = min([order.deadline for order in watch.orders])
        self._watches.set(min(self._loop.time() + self._silence, watch.resend_at, deadline), watch)

    def _look(self, watch: "_Watch") -> None:
        """Decide for each transaction that is still open: time is up, too late, send again, or wait on."""
        now = self._loop.time()
        watch.orders = self._timely(watch.orders, now)
        if not watch.orders:
            return
        if now >= watch.resend_at:
            if watch.designated is not None:
                self._links.pass_over(watch.designated)
            self._send(watch.orders, watch.attempt + 1)
            return
        heard = watch.since if watch.designated is None else max(watch.designated.proved_at, watch.since)
        if heard + self._silence <= now:
            self._ask_another(watch)
        self._watch_until_due(watch)

    def _timely(self, orders: Sequence[Order], now: float) -> list[Order]:
        """Return those that are to be waited for, or sent again; settle or hand on the others."""
        wall = self._wall()
        timely: list[Order] = []
        for order in orders:
            if not order.open or order.late:
                continue
            if order.deadline <= now:
                self._settle(order, order.outcome("unknown", self._unknown(order, self._why(order))))
            elif order.valid_until < wall:
                self._inquire(order)
            else:
                timely.append(order)
        return timely

    def _ask_another(self, watch: "_Watch") -> None:
        """Have another replica send the results: the one that should does not, or is not there."""
        if watch.designated is not None:
            self._links.pass_over(watch.designated)
        watch.designated = self._links.designate()
        watch.since = self._loop.time()
        if watch.designated is not None:
            watch.designated.send(pack(Submit(True, tuple(order.raw for order in watch.orders))))

    def _inquire(self, order: Order) -> None:
        order.late = True
        self._inquiries.add(order)

    def _still_late(self, order: Order) -> bool:
        """Whether an order that is asked for is still open; here the caller's time may end."""
        if order.open and order.deadline <= self._loop.time():
            self._settle(order, order.outcome("unknown", self._unknown(order, self._why(order))))
        return order.open

    def _unknown(self, order: Order, why: str) -> TetrarchError:
        if order.sent:
            return OutcomeUnknown(order.tx_id, why)
        return Unreachable(len(self._links.up), self._acceptance, self._links.causes())

    def _why(self, order: Order) -> str:
        if order.codes:
            return "refused for now: " + ", ".join(sorted(set(order.codes.values())))
        if not self._links.enough:
            return "; ".join(self._links.causes())
        return "no proven result in time"

    # What replicas say.

    def proven(
        self, link: Link, proven: ProvenResults, entries: Sequence[Entry], attestations: Attestations
    ) -> None:
        """Take results whose places in a block were verified; whether the block is believed is seen here."""
        link.proved_at = self._loop.time()
        found: list[tuple[Order, Proof]] = []
        for index, entry in enumerate(entries):
            order = self._open.get(entry.tx_id)
            if order is not None:
                found.append((order, Proof(proven, index, entry.result, attestations)))
        if self._witnesses.believed(attestations):
            self._witnesses.link(proven.header)
            self._conclude(found)
        elif found:
            self._unbelieved.setdefault(attestations, []).extend(found)
            if len(self._unbelieved) > MAX_UNBELIEVED:
                del self._unbelieved[next(iter(self._unbelieved))]

    def attested(self, attestations: Attestations) -> None:
        """Another member attested a block."""
        if attestations in self._unbelieved and self._witnesses.believed(attestations):
            found = self._unbelieved.pop(attestations)
            self._witnesses.link(found[0][1].proven.header)
            self._conclude(found)

    def _conclude(self, found: Sequence[tuple[Order, Proof]]) -> None:
        again: list[Order] = []
        for order, proof in found:
            if not order.open:
                continue
            outcome = proven_outcome(order, proof)
            if outcome is not None:
                self._settle(order, outcome)
            elif not order.repeated:
                order.repeated = True
                again.append(order)
        # A marker: replicas that are told of the transaction anew prove its first execution.
        for chunk in frames_of(again):
            self._send(chunk, 0)

    def refused(self, link: Link, statement: Refusals, reasons: Sequence[str]) -> None:
        """Count a member's refusals, which name the exact bytes refused."""
        if self._by_digest is None:
            self._by_digest = {digest("received", order.raw): order for order in self._open.values()}
        for place, refusal in enumerate(statement.refusals):
            order = self._by_digest.get(refusal.digest)
            if order is not None:
                reason = reasons[place] if place < len(reasons) else ""
                self._refused(link, order, refusal.code, reason)

    def _refused(self, link: Link, order: Order, code: str, reason: str) -> None:
        if order.codes is None:
            order.codes = {}
        order.codes[link.member] = code
        agreed = sum(said == code for said in order.codes.values())
        if agreed < self._acceptance:
            return
        known = _CODES.get(code)
        if known is not None and known.final:
            self._settle(order, order.outcome("refused", Rejected(code, reason, order.tx_id)))
        elif known is RefusalCode.EXPIRED:
            # Clocks that run ahead of ours may be right: what counts is the ledger's time.
            if not order.late:
                self._inquire(order)
        elif known is RefusalCode.OVERLOADED:
            self.congested_until = self._loop.time() + self._silence

    def not_executed(self, link: Link, statement: NotExecuted) -> None:
        """Count a member's word that a transaction was not executed up to a time."""
        order = self._open.get(statement.tx_id)
        if order is None or statement.time <= order.valid_until:
            return
        if order.expired is None:
            order.expired = set()
        order.expired.add(link.member)
        if len(order.expired) >= self._acceptance:
            self._settle(order, order.outcome("expired", Expired(order.tx_id)))

    def _settle(self, order: Order, outcome: Outcome) -> None:
        order.open = False
        self._open.pop(order.tx_id, None)
        if self._by_digest is not None:
            self._by_digest.pop(digest("received", order.raw), None)
        if outcome.status == "committed":
            self._note_denials(order)
        order.done(order, outcome)

    def _note_denials(self, order: Order) -> None:
        """Count whoever signed that what stands proven in a block was not executed, or never can be."""
        codes = {member: _CODES.get(code) for member, code in (order.codes or {}).items()}
        refused = {member for member, code in codes.items() if code is not None and code.final}
        for member in refused | (order.expired or set()):
            self._links.all[member].wrong["denial"] += 1
