"""The checker of linearizability: whether one order explains everything that the clients of `kv` were told.

What lives here: the witness, the search, and the explanation of a failure. What must not be known here: how a
history was recorded, and what the chain holds; a chain's order is a hint that is checked like any other.

A history is linearizable if every operation can be given one moment between its invocation and its return, so
that carrying them out in that order gives the results told (Herlihy and Wing, "Linearizability: A Correctness
Condition for Concurrent Objects", 1990). It is so exactly if it is so for each key by itself (the same, on
locality), so keys are checked apart. The search places one operation after another and goes back where none
fits (Wing and Gong, "Testing and Verifying Concurrent Objects", 1993), and visits a set of placed operations
with one value only once (Lowe, "Testing for linearizability", 2017). The problem is NP-complete (Gibbons and
Korach, "Testing Shared Memories", 1997), hence the limit.
"""

import math
from collections.abc import Iterable, Sequence
from operator import attrgetter, itemgetter
from typing import NamedTuple, TypeAlias

from msgspec import Struct

from byzantine.history import Demand, Mark, Operation, Outcome, Value, demand, effective, shown
from byzantine.verdicts import Finding, Verdict

LIMIT = 50_000
"""Configurations looked at for one key before giving up, which takes one or two seconds. A history of a
hundred operations with ten at a time seldom needs more than a few hundred."""


class Explanation(Struct, frozen=True):
    """Why no order explains what was told of one key."""

    key: str
    prefix: tuple[Operation, ...]
    """The order that explains the most answers."""
    value: Value
    """What the key holds after it."""
    stuck: tuple[Operation, ...]
    """The answered operations of which one would have to come next, and none can; the most urgent first."""
    reasons: tuple[str, ...]
    """For each of these, why it cannot."""

    @property
    def line(self) -> str:
        """The most urgent of it, in one line."""
        more = f" ({len(self.stuck) - 1} more cannot either)" if len(self.stuck) > 1 else ""
        return (
            f"key {shown(self.key)}: after {len(self.prefix)} operations it holds {shown(self.value)}, and "
            f"{self.stuck[0]} cannot come next: it {self.reasons[0]}{more}"
        )

    @property
    def text(self) -> str:
        """All of it, for people, in several lines."""
        told = [f"No order explains what clients were told of key {shown(self.key)}."]
        if self.prefix:
            told.append("The order that explains the most:")
            told += [f"  {place}. {operation}" for place, operation in enumerate(self.prefix, 1)]
        told.append(f"The key then holds {shown(self.value)}. One of these must come next, and none can:")
        told += [f"  {stuck}: it {why}" for stuck, why in zip(self.stuck, self.reasons, strict=True)]
        return "\n".join(told)


class Answer(Struct, frozen=True):
    """What the checker says of a history."""

    verdict: Verdict
    """Inconclusive where a limit was reached, or where the history has no answer that could be wrong."""
    explanations: tuple[Explanation, ...] = ()
    """One for each key that failed."""
    undecided: tuple[str, ...] = ()
    """The keys for which the limit was reached."""
    explored: int = 0
    """Configurations looked at in the search; 0 where the hints were a witness for every key."""

    def finding(self) -> Finding:
        """Return the answer as an oracle's."""
        if self.explanations:
            why = "; ".join(explanation.line for explanation in self.explanations)
        elif self.undecided:
            why = f"the limit was reached for {', '.join(shown(key) for key in self.undecided)}"
        else:
            why = "" if self.verdict is Verdict.PASS else "no operation was answered"
        return Finding("linearizability", self.verdict, why)


def check(history: Iterable[Operation], limit: int = LIMIT) -> Answer:
    """Say whether a history is linearizable, from absent keys on.

    `limit` bounds the configurations looked at for each key. Operations without effect are left out. A key
    whose hints, `Operation.order`, are an order that explains it takes hardly longer than sorting them.
    """
    keys: dict[str, list[Operation]] = {}
    answered = False
    for operation in effective(history):
        keys.setdefault(operation.key, []).append(operation)
        answered = answered or operation.outcome is Outcome.ANSWERED
    explanations, undecided, explored = [], [], 0
    for key, operations in keys.items():
        if _witnessed(operations):
            continue
        search = _Search(operations, limit)
        verdict = search.run()
        explored += search.explored
        if verdict is Verdict.FAIL:
            explanations.append(search.explanation(key))
        elif verdict is Verdict.INCONCLUSIVE:
            undecided.append(key)
    if explanations:
        verdict = Verdict.FAIL
    else:
        verdict = Verdict.PASS if answered and not undecided else Verdict.INCONCLUSIVE
    return Answer(verdict, tuple(explanations), tuple(undecided), explored)


def _witnessed(operations: Sequence[Operation]) -> bool:
    """Whether the hints are an order that explains one key. What is unknown and not hinted never happened."""
    placed: list[tuple[int, Operation]] = []
    for operation in operations:
        if operation.order is not None:
            placed.append((operation.order, operation))
        elif operation.outcome is Outcome.ANSWERED:
            return False
    placed.sort(key=itemgetter(0))
    value: Value | Mark = None
    latest: float = -math.inf
    for _, operation in placed:
        needs = demand(operation)
        returned = operation.returned_us
        if not needs.met(value):
            if returned is not None:
                return False
            continue
        if returned is not None and returned < latest:
            return False
        latest = max(latest, operation.invoked_us)
        if needs.becomes is not Mark.SAME:
            value = needs.becomes
    return True


_Held: TypeAlias = Value | Mark
"""What a key holds in the search: `Mark.OTHER` stands for all values that make no difference."""


class _Step(NamedTuple):
    """How the search came to a configuration: by a write, then all answers that fit and change nothing."""

    before: int
    write: int
    observed: int
    """A set of operations, as bits."""


class _Search:
    """The search for an order of the operations on one key.

    A configuration is the set of the operations placed, as bits, with what the key holds. Of those that may
    come next (all whose invocation is not after the return of one not yet placed), these rules pick, and none
    loses an order that exists:

    - An answer that fits and changes nothing is placed at once: where a later place does, this one does too.
    - Of several writes with one and the same demand only the one that returns first is tried: two such may
      change places.
    - An operation of unknown outcome is tried only if another one fits after it that does not fit now: what
      else follows could follow without it.
    - Values that no demand speaks of are one value.
    """

    def __init__(self, operations: Iterable[Operation], limit: int) -> None:
        ordered = sorted(operations, key=attrgetter("invoked_us"))
        known = [operation for operation in ordered if operation.outcome is Outcome.ANSWERED]
        others = [operation for operation in ordered if operation.outcome is not Outcome.ANSWERED]
        unknown = [operation for operation in others if demand(operation).becomes is not Mark.SAME]
        self._limit = limit
        self._operations = known + unknown
        self._known = len(known)
        self._all_known = (1 << len(known)) - 1
        self._invoked = [operation.invoked_us for operation in self._operations]
        self._returned = [
            math.inf if operation.returned_us is None else operation.returned_us
            for operation in self._operations
        ]
        self._demands = _simplified([demand(operation) for operation in self._operations])
        self._alike = _numbered(self._demands)
        self._steps: list[_Step] = []
        self._deepest = (-1, 0)
        """How many answers the longest order explains, and its last step."""
        self._stuck: list[int] = []
        self.explored = 0

    def run(self) -> Verdict:
        """Look for an order. Called once."""
        if not self._known:
            return Verdict.PASS
        seen: set[tuple[int, _Held]] = set()
        todo: list[tuple[int, _Held, int, int]] = [(0, None, -1, -1)]
        while todo:
            placed, held, before, write = todo.pop()
            done, may_follow = self._observe(placed, held)
            if (done, held) in seen:
                continue
            if done & self._all_known == self._all_known:
                return Verdict.PASS
            if self.explored >= self._limit:
                return Verdict.INCONCLUSIVE
            seen.add((done, held))
            self.explored += 1
            step = len(self._steps)
            self._steps.append(_Step(before, write, done & ~placed))
            explained = (done & self._all_known).bit_count()
            if explained > self._deepest[0]:
                self._deepest, self._stuck = (explained, step), may_follow
            for place in self._writes(held, may_follow):
                todo.append((done | 1 << place, self._after(place), step, place))
        return Verdict.FAIL

    def _after(self, place: int) -> _Held:
        return self._demands[place].becomes

    def _observe(self, done: int, held: _Held) -> tuple[int, list[int]]:
        """Place all answers that fit and change nothing; return what is placed then, and what may follow."""
        while True:
            may_follow = self._may_follow(done)
            before = done
            for place in may_follow:
                needs = self._demands[place]
                if needs.becomes is Mark.SAME and needs.met(held):
                    done |= 1 << place
            if done == before:
                return done, may_follow

    def _may_follow(self, done: int) -> list[int]:
        """Return the operations not yet placed that were invoked before any of the others had returned."""
        found: list[int] = []
        deadline = math.inf
        invoked, returned = self._invoked, self._returned
        for place in range(((done + 1) & ~done).bit_length() - 1, self._known):
            if invoked[place] > deadline:
                break
            if not done >> place & 1:
                found.append(place)
                deadline = min(deadline, returned[place])
        for place in range(self._known, len(invoked)):
            if invoked[place] > deadline:
                break
            if not done >> place & 1:
                found.append(place)
        return found

    def _writes(self, held: _Held, may_follow: list[int]) -> list[int]:
        """Return the writes worth trying; the most urgent, which is to be tried first, is the last."""
        first: dict[int, int] = {}
        for place in may_follow:
            needs = self._demands[place]
            if needs.becomes is Mark.SAME or not needs.met(held):
                continue
            if place >= self._known and not self._unlocks(place, held, may_follow):
                continue
            alike = self._alike[place]
            if alike not in first or self._returned[place] < self._returned[first[alike]]:
                first[alike] = place
        return sorted(first.values(), key=self._returned.__getitem__, reverse=True)

    def _unlocks(self, place: int, held: _Held, may_follow: list[int]) -> bool:
        after = self._after(place)
        needed = (self._demands[other] for other in may_follow if other != place)
        return any(needs.met(after) and not needs.met(held) for needs in needed)

    def explanation(self, key: str) -> Explanation:
        """Return why there is no order. Only after a search that failed."""
        prefix = self._prefix()
        value: _Held = None
        for operation in prefix:
            becomes = demand(operation).becomes
            value = value if becomes is Mark.SAME else becomes
        present = None if isinstance(value, Mark) else value
        places = sorted(
            (place for place in self._stuck if place < self._known), key=self._returned.__getitem__
        )
        stuck = tuple(self._operations[place] for place in places)
        reasons = tuple(_reason(operation, self._operations) for operation in stuck)
        return Explanation(key, prefix, present, stuck, reasons)

    def _prefix(self) -> tuple[Operation, ...]:
        places: list[int] = []
        at = self._deepest[1]
        while at >= 0:
            step = self._steps[at]
            places += [place for place in reversed(range(self._known)) if step.observed >> place & 1]
            if step.write >= 0:
                places.append(step.write)
            at = step.before
        return tuple(self._operations[place] for place in reversed(places))


def _simplified(demands: list[Demand]) -> list[Demand]:
    """Let all writes of values that no demand speaks of write the same one."""
    spoken: set[_Held] = {Mark.SAME}
    for needs in demands:
        spoken.add(needs.equal)
        spoken.add(needs.unequal)
    return [needs if needs.becomes in spoken else needs._replace(becomes=Mark.OTHER) for needs in demands]


def _numbered(demands: list[Demand]) -> list[int]:
    """Give equal demands equal numbers."""
    numbers: dict[Demand, int] = {}
    return [numbers.setdefault(needs, len(numbers)) for needs in demands]


def _reason(stuck: Operation, operations: Iterable[Operation]) -> str:
    """Say in words what an operation needs that it does not find."""
    wanted, unwanted, _ = demand(stuck)
    if wanted is Mark.NONE:
        return f"has an answer that a {stuck.kind} never gets"
    if isinstance(wanted, Mark):
        return (
            "needs the key to be there" if unwanted is None else f"needs anything but {shown(stuck.expected)}"
        )
    needs = f"needs {shown(wanted)}"
    if wanted is None:
        return needs
    writers = [operation for operation in operations if demand(operation).becomes == wanted]
    if not writers:
        return f"{needs}, which nothing wrote"
    if stuck.returned_us is not None and all(writer.invoked_us > stuck.returned_us for writer in writers):
        return f"{needs}, which was written only after it had returned"
    return needs
