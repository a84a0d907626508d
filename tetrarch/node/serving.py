"""What this replica gives to other members: bodies by id, and stored blocks to laggards.

Every answer is cut by bytes, each member's questions wait in a short queue of its own, one of each kind is
answered per turn, and blocks are metered, read or sent, so that a member that asks without end costs a known
share.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from consensus.contract import Engine
from crypto.attestation import Height
from crypto.batch import Millis, TxId
from crypto.roster import MemberId
from ledger.block import Block
from ledger.ledger import Ledger
from ledger.transaction import transaction_id
from tetrarch.node.effects import Counters, Effects
from tetrarch.node.limits import NodeLimits
from tetrarch.node.pooled import Pooled
from tetrarch.wire import MAX_FETCH_IDS, MAX_RANGE, AskBodies, AskRange, Bodies, Range, pack


class Meter:
    """A token bucket: `burst` at once, `per_second` in the long run, by the monotonic clock."""

    def __init__(self, burst: int, per_second: int) -> None:
        self._burst = burst
        self._per_second = per_second
        self._tokens = burst
        self._at: Millis | None = None

    def refill(self, monotonic: Millis) -> bool:
        """Let time pass; returns whether anything may be spent."""
        if self._at is None:
            self._at = monotonic
        gained = (monotonic - self._at) * self._per_second // 1000
        self._tokens = min(self._burst, self._tokens + gained)
        self._at = Millis(self._at + gained * 1000 // self._per_second)
        return self._tokens > 0

    def spend(self, amount: int) -> None:
        """Take `amount`; the balance may fall below zero and is then waited for."""
        self._tokens -= amount

    def affords(self, monotonic: Millis, most: int) -> int:
        """Return how much may be spent now without owing anything, up to `most`."""
        return min(self._tokens, most) if self.refill(monotonic) else 0

    def ready_at(self) -> Millis | None:
        """Return when something may be spent again (monotonic ms); `None`: now."""
        if self._at is None or self._tokens > 0:
            return None
        return Millis(self._at + (1 - self._tokens) * 1000 // self._per_second + 1)


class _Questions:
    def __init__(self, limits: NodeLimits) -> None:
        self.bodies: deque[AskBodies] = deque()
        self.ranges: deque[AskRange] = deque()
        self.meter = Meter(limits.range_burst_bytes, limits.range_bytes_per_second)
        self.blocks = Meter(limits.body_blocks, limits.body_blocks_per_second)
        """How many stored blocks may be read for its questions about bodies."""


class Serving:
    """Answers members' AskBodies and AskRange from the pool, the engine and the store."""

    def __init__(
        self,
        ledger: Ledger,
        engine: Engine,
        pooled: Pooled,
        members: int,
        limits: NodeLimits,
        counters: Counters,
    ) -> None:
        self._ledger = ledger
        self._engine = engine
        self._pooled = pooled
        self._limits = limits
        self._counters = counters
        self._questions = tuple(_Questions(limits) for _ in range(members))
        self.asked = False
        """Whether questions wait, be it for the meter."""

    def ask(self, member: MemberId, question: AskBodies | AskRange) -> None:
        """Take up a question; beyond the limit it is dropped, and the member asks again."""
        questions = self._questions[member]
        queue: deque[AskBodies] | deque[AskRange]
        queue = questions.bodies if isinstance(question, AskBodies) else questions.ranges
        if len(queue) >= self._limits.asks_per_member:
            self._counters.count("member: too many questions")
            return
        queue.append(question)  # type: ignore[arg-type]  # each queue gets its own kind, by the line above
        self.asked = True

    def answer(self, effects: Effects, monotonic: Millis) -> None:
        """Answer at most one question of each kind of every member."""
        if not self.asked:
            return
        for number, questions in enumerate(self._questions):
            member = MemberId(number)
            if questions.bodies:
                self._send_bodies(member, questions, effects, monotonic)
            if questions.ranges and questions.meter.refill(monotonic):
                self._send_range(member, questions.ranges.popleft(), questions.meter, effects)
        self.asked = any(questions.bodies or questions.ranges for questions in self._questions)

    @property
    def waiting(self) -> bool:
        """Whether a question could be answered at once."""
        return self.asked and any(
            questions.bodies or (questions.ranges and questions.meter.ready_at() is None)
            for questions in self._questions
        )

    def deadline(self) -> Millis | None:
        """Return when a member may be sent blocks again, if one waits for that (monotonic ms)."""
        if not self.asked:
            return None
        times = [questions.meter.ready_at() for questions in self._questions if questions.ranges]
        return min((time for time in times if time is not None), default=None)

    def sizes(self) -> Mapping[str, tuple[int, int]]:
        """Return how many questions of one member wait at most, and how many may."""
        waiting = max(max(len(each.bodies), len(each.ranges)) for each in self._questions)
        return {"questions of one member": (waiting, self._limits.asks_per_member)}

    def _send_bodies(
        self, member: MemberId, questions: _Questions, effects: Effects, monotonic: Millis
    ) -> None:
        question, limits = questions.bodies.popleft(), self._limits
        found: dict[TxId, bytes] = {}
        for tx_id in question.ids:
            held = self._pooled.get(tx_id)
            if held is not None:
                found[tx_id] = held.raw
        missing = [tx_id for tx_id in question.ids if tx_id not in found]
        blocks = questions.blocks.affords(monotonic, limits.body_blocks_per_turn)
        places = stored_places(self._ledger, missing, blocks)
        questions.blocks.spend(len(places))
        found.update(bodies_in(self._ledger, places))
        for tx_id in [tx_id for tx_id in missing if tx_id not in found][: limits.body_lookups]:
            body = self._engine.body(tx_id)
            if body is not None:
                found[tx_id] = body
        for transactions in slices(found.values(), limits.bodies_bytes)[: limits.bodies_frames]:
            effects.to_members.append((member, pack(Bodies(False, transactions))))

    def _send_range(self, member: MemberId, question: AskRange, meter: Meter, effects: Effects) -> None:
        last = Height(min(question.last, self._ledger.height, question.first + MAX_RANGE - 1))
        blocks: tuple[Block, ...] = ()
        if 1 <= question.first <= last:
            blocks = tuple(self._ledger.blocks_from(question.first, last, self._limits.blocks_bytes))
        frame = pack(Range(question.first, blocks))
        meter.spend(len(frame))
        effects.to_members.append((member, frame))


def stored_bodies(ledger: Ledger, ids: Sequence[TxId], max_blocks: int) -> dict[TxId, bytes]:
    """Return the bodies of those of `ids` that lie in the first `max_blocks` blocks named by the index."""
    return bodies_in(ledger, stored_places(ledger, ids, max_blocks))


def stored_places(ledger: Ledger, ids: Sequence[TxId], max_blocks: int) -> dict[Height, list[TxId]]:
    """Return which of `ids` lie in which of the first `max_blocks` blocks that the index names."""
    by_height: dict[Height, list[TxId]] = {}
    if not ids or not max_blocks:
        return by_height
    for tx_id, height in zip(ids, ledger.located(ids), strict=True):
        if height is not None and (height in by_height or len(by_height) < max_blocks):
            by_height.setdefault(height, []).append(tx_id)
    return by_height


def bodies_in(ledger: Ledger, places: Mapping[Height, Sequence[TxId]]) -> dict[TxId, bytes]:
    """Read these blocks, and return the bodies of the ids that lie in them."""
    found: dict[TxId, bytes] = {}
    for height, ids in places.items():
        block = ledger.block(height)
        if block is not None:
            stored = {transaction_id(raw): raw for raw in block.transactions}
            found.update((tx_id, stored[tx_id]) for tx_id in ids if tx_id in stored)
    return found


def slices(bodies: Iterable[bytes], max_bytes: int) -> list[tuple[bytes, ...]]:
    """Return `bodies` in order, cut into parts of at most `max_bytes` (or one) and MAX_FETCH_IDS bodies."""
    parts: list[tuple[bytes, ...]] = []
    part: list[bytes] = []
    size = 0
    for body in bodies:
        if part and (size + len(body) > max_bytes or len(part) >= MAX_FETCH_IDS):
            parts.append(tuple(part))
            part, size = [], 0
        part.append(body)
        size += len(body)
    if part:
        parts.append(tuple(part))
    return parts
