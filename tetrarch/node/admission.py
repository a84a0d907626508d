"""Admission: from a transaction's bytes to a request that the engine holds.

Rules kept here:

- the bytes received are parsed once and their signature is checked once, however often they come;
- an id whose bytes wait for their check counts as coming, yet never keeps other bytes of that id out: whoever
  attaches a bad signature to somebody's transaction must not be able to hold it up;
- invalidity is never remembered, by id or otherwise;
- what is executed already is not ordered again, except bodies that the engine asked for by id;
- each client and each member has a bounded share of what waits.

Nothing is sent from here: a `Submission` is filled in and handed over when it is complete.
"""

from collections import deque
from collections.abc import Mapping, Sequence

from consensus.contract import Engine, FetchBodies, Now, Request
from crypto.attestation import Height
from crypto.batch import Millis, TxId
from crypto.digest import digest
from crypto.roster import MemberId
from ledger.errors import TransactionRefused
from ledger.genesis import Genesis
from ledger.ledger import Ledger
from ledger.refusals import RefusalCode
from ledger.transaction import ParsedTransaction, parse_transaction
from tetrarch.node.effects import Counters
from tetrarch.node.limits import NodeLimits
from tetrarch.node.origins import Coming, Origin, Passed, Share, Submission
from tetrarch.node.pooled import Pooled
from tetrarch.node.trace import Trace
from tetrarch.node.waits import Waits
from tetrarch.wire import MAX_REASON_CHARACTERS, Refusal

MAX_ORIGINS = 16
"""Of how many senders of the same waiting bytes each gets an answer: every member and a few clients."""

_TIMELY = frozenset({RefusalCode.EXPIRED, RefusalCode.TOO_FAR})
_TOO_MANY = TransactionRefused(RefusalCode.OVERLOADED, "too many transactions wait for their check")
_POOL_FULL = TransactionRefused(RefusalCode.OVERLOADED, "the pool is full")
_BAD_SIGNATURE = TransactionRefused(RefusalCode.BAD_SIGNATURE, "its signature does not verify")


class Admission:
    """Transactions that wait for their check, and those that the engine holds."""

    def __init__(
        self,
        genesis: Genesis,
        ledger: Ledger,
        engine: Engine,
        waits: Waits,
        limits: NodeLimits,
        counters: Counters,
        trace: Trace,
    ) -> None:
        self._trace = trace
        self._chain_id = genesis.chain_id
        self._max_bytes = genesis.max_transaction_bytes
        self._clock_bound = genesis.clock_bound_ms
        self._ledger = ledger
        self._engine = engine
        self._waits = waits
        self._most, self._most_bytes = limits.coming, limits.coming_bytes
        self._per_connection, self._per_member = limits.coming_per_connection, limits.coming_per_member
        self._bytes_per_member = limits.coming_bytes_per_member
        self._most_wanted = limits.wanted
        self._most_coming = limits.coming + len(genesis.members) * limits.coming_per_member
        self._counters = counters
        self.pooled = Pooled(self._chain_id, self._max_bytes)
        self._coming: dict[bytes, Coming] = {}
        self._coming_ids: dict[TxId, Coming] = {}
        """The last that came with each id: bad bytes may displace good ones here, but not above."""
        self._doubles: dict[TxId, int] = {}
        """How many more wait with an id than the last: of few ids, and bad ones or signed twice."""
        self._clients = Share()
        """What all clients together sent that waits."""
        self._overtaken: dict[TxId, Height] = {}
        """Where those ids were executed that wait still."""
        self._urgent: deque[Coming] = deque()
        """What the engine waits for, and what members relayed: also in the queue if it stood there before."""
        self._queue: deque[Coming] = deque()
        self._wanted: dict[TxId, int] = {}
        self.completed: list[Submission] = []
        """Submissions of which nothing is open any more, until `complete` takes them."""

    @property
    def noted(self) -> int:
        """How many of those that wait are known to be executed."""
        return len(self._overtaken)

    @property
    def waiting(self) -> bool:
        """Whether transactions wait to be handed out for their check."""
        return bool(self._queue or self._urgent)

    def sizes(self) -> Mapping[str, tuple[int, int]]:
        """Return how many transactions wait for their check and how many are asked for, and how many may."""
        return {
            "transactions coming": (len(self._coming), self._most_coming),
            "transactions wanted": (len(self._wanted), self._most_wanted),
        }

    def offer(self, raws: Sequence[bytes], origin: Origin, now: Now) -> None:
        """Take up transactions as received."""
        if self._trace.on:
            self._trace.received(raws, origin)
        coming, held, chain_id, limit = self._coming, self.pooled, self._chain_id, self._max_bytes
        fresh: list[ParsedTransaction] = []
        for raw in raws:
            entry = coming.get(raw)
            if entry is not None:
                self._join(entry, origin)
                continue
            try:
                parsed = parse_transaction(raw, chain_id, limit)
            except TransactionRefused as refusal:
                self._refuse(origin, raw, refusal)
                continue
            known = held.get(parsed.id)
            if known is None:
                fresh.append(parsed)
            elif isinstance(origin, Submission):
                self._known(origin, parsed.id)
            elif origin.relayed:
                # Known, yet to be counted as this member's: what members relay is proposed first.
                self._engine.submit(_request(known), now, origin.member)
        if fresh:
            self._consider(fresh, origin, now.wall)
        if isinstance(origin, Submission) and not origin.open:
            self.completed.append(origin)

    def refuse_all(self, raws: Sequence[bytes], submission: Submission, refusal: TransactionRefused) -> None:
        """Refuse a client's transactions without a look at them."""
        for raw in raws:
            self._refuse(submission, raw, refusal)
        self.completed.append(submission)

    def _consider(self, fresh: Sequence[ParsedTransaction], origin: Origin, wall: Millis) -> None:
        """Queue for their check those that are neither executed nor refused for other reasons."""
        check, wanted = self._ledger.check, self._wanted
        asked = isinstance(origin, Passed) and not origin.relayed
        located = self._ledger.located([parsed.id for parsed in fresh])
        for parsed, height in zip(fresh, located, strict=True):
            urgent = bool(wanted) and parsed.id in wanted and isinstance(origin, Passed)
            if asked and not urgent:
                self._counters.count("bodies: not asked for")
                continue
            if height is not None and not urgent:
                self._executed(origin, parsed.id, height)
                continue
            try:
                check(parsed, wall)
            except TransactionRefused as refusal:
                # Proposed already: an expired one becomes a marker in the block, so its body is needed.
                if not (urgent and refusal.code in _TIMELY):
                    self._refuse(origin, parsed.raw, refusal)
                    continue
            self._enqueue(parsed, origin, urgent)
            if height is not None and parsed.id in self._coming_ids:
                self._overtaken[parsed.id] = height

    def _enqueue(self, parsed: ParsedTransaction, origin: Origin, urgent: bool) -> None:
        coming, raw = self._coming, parsed.raw
        entry = coming.get(raw)
        if entry is not None:
            self._join(entry, origin)
            return
        passed, size = isinstance(origin, Passed), len(raw)
        has_room = self._has_member_room if passed else self._has_client_room
        if not has_room(origin.share, size):
            self._refuse(origin, raw, _TOO_MANY)
            return
        shares = (origin.share,) if passed else (origin.share, self._clients)
        entry = Coming(parsed, origin, shares, urgent or passed)
        if parsed.id in self._coming_ids:
            self._doubles[parsed.id] = self._doubles.get(parsed.id, 0) + 1
        coming[raw] = self._coming_ids[parsed.id] = entry
        for share in shares:
            share.coming += 1
            share.size += size
        if isinstance(origin, Submission):
            origin.open += 1
        (self._urgent if entry.urgent else self._queue).append(entry)

    def _has_client_room(self, share: Share, size: int) -> bool:
        """Whether `size` bytes more of a client may wait: all clients share one bound.

        Members have bounds of their own: what clients sent may not keep out what members relay, who would
        take this replica for a censor.
        """
        clients = self._clients
        full = clients.coming >= self._most or clients.size + size > self._most_bytes
        return share.coming < self._per_connection and not full

    def _has_member_room(self, share: Share, size: int) -> bool:
        """Whether `size` bytes more of a member may wait."""
        return share.coming < self._per_member and share.size + size <= self._bytes_per_member

    def _join(self, entry: Coming, origin: Origin) -> None:
        """The same bytes wait already: this sender shares their fate."""
        if isinstance(origin, Passed):
            self._promote(entry)
            if origin.relayed and not any(
                isinstance(other, Passed) and other.relayed and other.member == origin.member
                for other in entry.origins
            ):
                entry.origins.append(origin)
        elif len(entry.origins) >= MAX_ORIGINS:
            self._refuse(origin, entry.parsed.raw, _TOO_MANY)
        else:
            entry.origins.append(origin)
            origin.open += 1

    def _promote(self, entry: Coming) -> None:
        """Have it checked before what clients alone sent."""
        if not entry.urgent:
            entry.urgent = True
            self._urgent.append(entry)

    def take(self, budget: int) -> list[Coming]:
        """Return up to `budget` transactions to be checked now.

        What the engine waits for and what members relayed comes first: under load, proposals would otherwise
        wait for the whole queue. A quarter is left to clients, so that members who relay junk do not starve
        them. What was executed meanwhile is answered without a check.
        """
        chunk: list[Coming] = []
        self._take_from(self._urgent, budget - budget // 4 if self._queue else budget, chunk)
        self._take_from(self._queue, budget, chunk)
        return chunk

    def _take_from(self, queue: deque[Coming], budget: int, chunk: list[Coming]) -> None:
        overtaken = self._overtaken
        while queue and len(chunk) < budget:
            entry = queue.popleft()
            if entry.taken:
                continue
            entry.taken = True
            height = overtaken.get(entry.parsed.id) if overtaken else None
            if height is not None and entry.parsed.id not in self._wanted:
                self._leave(entry)
                self._answer_executed(entry, height)
            else:
                chunk.append(entry)

    def settle(self, chunk: Sequence[Coming], valid: Sequence[bool], now: Now) -> None:
        """Hand those of `chunk` whose signatures hold to the engine, and answer for the others."""
        overtaken = self._overtaken
        for entry, holds in zip(chunk, valid, strict=True):
            height = overtaken.get(entry.parsed.id) if overtaken else None
            self._leave(entry)
            if not holds:
                self._answer_refused(entry, _BAD_SIGNATURE)
            elif height is not None:
                if entry.parsed.id in self._wanted:
                    self.supply(entry.parsed, now)
                self._answer_executed(entry, height)
            elif self._submit(entry, now):
                self._answer_known(entry)
            else:
                self._answer_refused(entry, _POOL_FULL)

    def _leave(self, entry: Coming) -> None:
        """It no longer waits."""
        parsed, doubles = entry.parsed, self._doubles
        del self._coming[parsed.raw]
        size = len(parsed.raw)
        for share in entry.shares:
            share.coming -= 1
            share.size -= size
        if doubles and parsed.id in doubles:
            doubles[parsed.id] -= 1
            if not doubles[parsed.id]:
                del doubles[parsed.id]
        else:
            del self._coming_ids[parsed.id]
            self._overtaken.pop(parsed.id, None)

    def _close(self, entry: Coming) -> None:
        """Everybody who sent it was answered; submissions of which nothing else is open are complete."""
        for origin in entry.origins:
            if isinstance(origin, Submission):
                origin.open -= 1
                if not origin.open:
                    self.completed.append(origin)

    def _answer_known(self, entry: Coming) -> None:
        """The engine holds it: whoever sent it waits for its outcome from now on."""
        tx_id = entry.parsed.id
        for origin in entry.origins:
            if isinstance(origin, Submission):
                origin.taken += 1
                self._waits.add(origin.connection, tx_id, origin.full)
                origin.open -= 1
                if not origin.open:
                    self.completed.append(origin)

    def _answer_executed(self, entry: Coming, height: Height) -> None:
        for origin in entry.origins:
            self._executed(origin, entry.parsed.id, height)
        self._close(entry)

    def _answer_refused(self, entry: Coming, refusal: TransactionRefused) -> None:
        for origin in entry.origins:
            self._refuse(origin, entry.parsed.raw, refusal)
        self._close(entry)

    def _submit(self, entry: Coming, now: Now) -> bool:
        """Submit for every sender whose quota counts; returns whether the engine holds it."""
        parsed = entry.parsed
        request = _request(parsed)
        if entry.urgent:
            taken = False
            for origin in entry.origins:
                relayed_by = origin.member if isinstance(origin, Passed) and origin.relayed else None
                if not taken or relayed_by is not None:
                    taken = self._engine.submit(request, now, relayed_by) or taken
        else:
            # Clients alone sent it: whoever they are makes no difference.
            taken = self._engine.submit(request, now)
        if taken:
            self.pooled.add(parsed)
            if self._wanted:
                self._wanted.pop(parsed.id, None)
        return taken

    def want(self, fetch: FetchBodies, now: Now) -> tuple[list[TxId], MemberId | None]:
        """Note what the engine misses; return what is not here at all, and the member to ask for it.

        What waits for its check is checked next, and asked for only if the engine still misses it then (the
        bytes that wait may be bad). Sources take turns when the engine asks for the same ids again.
        """
        missing: list[TxId] = []
        for tx_id in fetch.ids:
            held = self.pooled.get(tx_id)
            if held is not None:
                self._engine.submit(_request(held), now)
                continue
            entry = self._coming_ids.get(tx_id)
            if entry is not None and entry.parsed.raw in self._coming and tx_id not in self._wanted:
                self._wanted[tx_id] = 0
                self._promote(entry)
            else:
                missing.append(tx_id)
        attempt = self._wanted.get(missing[0], 0) if missing else 0
        for tx_id in missing:
            self._wanted[tx_id] = self._wanted.pop(tx_id, 0) + 1
        while len(self._wanted) > self._most_wanted:
            del self._wanted[next(iter(self._wanted))]
        return missing, fetch.sources[attempt % len(fetch.sources)] if fetch.sources else None

    def supply(self, parsed: ParsedTransaction, now: Now) -> None:
        """Give the engine a body that it asked for, and whose transaction is executed already.

        A proposal holds it again, but it must not wait to be ordered: it would be held against primaries that
        rightly ignore it.
        """
        self._wanted.pop(parsed.id, None)
        self._engine.submit(_request(parsed), now)
        self._engine.settled((parsed.id,))

    def executed(self, ids: Sequence[TxId], height: Height) -> None:
        """The block at `height` holds these: nobody has to order them any more."""
        self.pooled.discard(ids)
        if self._coming_ids:
            for tx_id in ids:
                if tx_id in self._coming_ids:
                    self._overtaken.setdefault(tx_id, height)
        if self._wanted:
            for tx_id in ids:
                self._wanted.pop(tx_id, None)

    def expire(self, wall: Millis) -> list[TxId]:
        """Forget and return those that no proposal may hold any more without making them markers.

        A proposal's timestamp lies within the clock bound, so what ended before `wall` less the bound,
        or before the ledger's time, can only be executed as expired.
        """
        time = Millis(max(self._ledger.time, wall - self._clock_bound))
        dead = self.pooled.expired(time)
        self.pooled.discard(dead)
        if self._trace.on:
            self._trace.expired(dead)
        return dead

    def complete(self) -> list[Submission]:
        """Return, once, the submissions of which nothing is open any more."""
        completed, self.completed = self.completed, []
        return completed

    def _known(self, origin: Origin, tx_id: TxId) -> None:
        if isinstance(origin, Submission):
            origin.taken += 1
            self._waits.add(origin.connection, tx_id, origin.full)

    def _executed(self, origin: Origin, tx_id: TxId, height: Height) -> None:
        if isinstance(origin, Submission):
            origin.executed.append((tx_id, height))

    def _refuse(self, origin: Origin, raw: bytes, refusal: TransactionRefused) -> None:
        if self._trace.on:
            self._trace.refused(raw, refusal, origin)
        if isinstance(origin, Submission):
            self._counters.count(f"refused: {refusal.code.value}")
            origin.refusals.append(Refusal(digest("received", raw), refusal.code.value))
            origin.reasons.append(refusal.reason[:MAX_REASON_CHARACTERS])
        else:
            self._counters.count(f"bodies: {refusal.code.value}")


def _request(parsed: ParsedTransaction) -> Request:
    return Request(parsed.id, parsed.transaction.valid_until, parsed.raw)
