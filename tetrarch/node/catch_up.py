"""Fetches the blocks that the engine lacks: who is asked for what, and what came of it.

Several requests travel at once, so that the next blocks arrive while one is verified. Sources take turns;
a silent one, one that has nothing, and one that served a wrong block are asked last for some time: never
not at all, since they may be the only ones left. A request is waited for no longer than others show to be
needed: the lowest blocks hold up all that came above them. Nothing is verified or executed here.

What is served is not to be trusted, and waits while a block below it is missing: so it is bounded in bytes.
The lowest blocks stay, those above them are asked for again, when there is room.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from consensus.contract import FetchBlocks
from crypto.attestation import Height
from crypto.batch import Millis
from crypto.roster import MemberId
from ledger.block import Block
from tetrarch.node.effects import Counters, Effects, Level
from tetrarch.node.limits import NodeLimits
from tetrarch.wire import AskRange, Range, pack

MAX_CHUNK = 1024
"""Blocks in one AskRange: an idle ledger's blocks are small."""

OVERTAKEN_TIMES, OVERTAKEN_MS = 4, 100
"""How long a request may take that others overtook: so many times as long as the quickest of them, and so
much more for what a busy machine does."""

MAX_DOUBLINGS = 4
"""Of the time for which a silent source is asked last."""

ITEM_BYTES = 64
"""About what Python takes for each transaction and each result beside its bytes."""


def held_bytes(block: Block) -> int:
    """Return about how much memory `block` takes."""
    items = (*block.transactions, *block.results)
    return len(block.certificate) + sum(map(len, items)) + ITEM_BYTES * (len(items) + 1)


@dataclass(slots=True)
class _Source:
    last_until: Millis = Millis(0)
    """Asked after all others until then (monotonic ms)."""
    not_before: Millis = Millis(0)
    """Not asked at all before then: it just had nothing, or served nonsense."""
    empty: bool = False
    """Its last answer held nothing."""
    turn: int = 0
    """When it was asked last, as a count of requests."""
    silences: int = 0
    """How often in a row it was silent."""


@dataclass(slots=True)
class _Ask:
    member: MemberId
    first: Height
    last: Height
    asked: Millis
    expires: Millis

    def overtaken(self, other: "_Ask", monotonic: Millis) -> None:
        """Another source was asked later, and has answered in full: wait some times as long as that took."""
        if other.member != self.member and other.asked >= self.asked:
            patience = OVERTAKEN_TIMES * (monotonic - other.asked) + OVERTAKEN_MS
            self.expires = Millis(min(self.expires, self.asked + patience))


class CatchUp:
    """One catch-up at a time: up to the highest block that the engine asked for."""

    def __init__(self, limits: NodeLimits, counters: Counters) -> None:
        self._limits = limits
        self._counters = counters
        self._target = Height(0)
        self._taken = Height(0)
        self._next = Height(1)
        self._gaps: list[tuple[Height, Height]] = []
        self._asks: dict[Height, _Ask] = {}
        self._arrived: dict[Height, tuple[Block, MemberId]] = {}
        self.held = 0
        """About how many bytes these take."""
        self._sources: dict[MemberId, _Source] = {}
        self._turn = 0
        self._chunk = limits.range_blocks

    @property
    def active(self) -> bool:
        """Whether blocks are being fetched."""
        return self._target > 0

    @property
    def target(self) -> Height:
        """The highest block wanted; 0 where none is."""
        return self._target

    @property
    def waiting(self) -> bool:
        """Whether the next block to be verified is here."""
        return Height(self._taken + 1) in self._arrived

    def want(self, fetch: FetchBlocks, height: Height, effects: Effects) -> None:
        """Fetch up to `fetch.last`; this replica has stored everything up to `height`."""
        for member in fetch.sources:
            self._sources.setdefault(member, _Source())
        if fetch.last <= max(height, self._target):
            return
        if not self.active:
            effects.tell("catch_up_started", height=height, target=fetch.last)
            self._begin(height)
        self._target = fetch.last

    def _begin(self, height: Height) -> None:
        for source in self._sources.values():
            source.empty = False
        self._taken = height
        self._next = Height(height + 1)
        self._gaps.clear()
        self._asks.clear()
        self._arrived.clear()
        self.held = 0

    def reached(self, height: Height, effects: Effects) -> None:
        """The chain ends at `height` now, by whatever way."""
        if not self.active:
            return
        if height >= self._target:
            effects.tell("catch_up_finished", height=height)
            self._begin(height)
            self._target = Height(0)
            return
        while self._taken < height:
            self._taken = Height(self._taken + 1)
            self._remove(self._taken)
        self._next = Height(max(self._next, height + 1))

    def restart(self, height: Height) -> None:
        """Ask again for all above `height`: something that was taken could not be used."""
        self._begin(height)

    def ask(self, monotonic: Millis, effects: Effects) -> None:
        """Give up silent requests, and send as many as may be under way.

        Where every source says that it has nothing, whoever claimed to have blocks lied, or has lost them:
        the fetching ends, and the engine starts it again when it sees reason to.
        """
        if not self.active:
            return
        if all(source.empty for source in self._sources.values()) and not self._arrived:
            effects.tell("catch_up_without_sources", Level.WARNING, height=self._taken, target=self._target)
            self.stop(self._taken)
            return
        for ask in [ask for ask in self._asks.values() if ask.expires <= monotonic]:
            del self._asks[ask.first]
            self._counters.count("catch-up: silent source")
            source = self._sources.setdefault(ask.member, _Source())
            for_ms = self._limits.silent_source_ms << min(source.silences, MAX_DOUBLINGS)
            self._ask_last(ask.member, Millis(monotonic + for_ms))
            # Who was overtaken may only be far away, and the others quick to have it passed over.
            source.silences += ask.expires - ask.asked >= self._limits.range_timeout_ms
            self._gap(ask.first, ask.last)
        while len(self._asks) < self._limits.ranges_in_flight:
            wanted = self._next_range()
            if wanted is None:
                return
            member = self._source(monotonic)
            if member is None:
                self._gap(*wanted)
                return
            expires = Millis(monotonic + self._limits.range_timeout_ms)
            self._asks[wanted[0]] = _Ask(member, *wanted, monotonic, expires)
            effects.to_members.append((member, pack(AskRange(*wanted))))

    def _next_range(self) -> tuple[Height, Height] | None:
        """Return what to ask for next."""
        while self._gaps and self._has_room(self._gaps[0][0]):
            first, last = self._gaps.pop(0)
            first = Height(max(first, self._taken + 1))
            if first <= last:
                return first, last
        if self._gaps or not self._has_room(self._next):
            return None
        ahead = self._next - self._taken - 1
        if self._next > self._target or ahead >= self._limits.ranges_in_flight * self._chunk:
            return None
        first, last = self._next, Height(min(self._next + self._chunk - 1, self._target))
        self._next = Height(last + 1)
        return first, last

    def _source(self, monotonic: Millis) -> MemberId | None:
        """Return whom to ask next: those without fault first, then whoever was not asked for longest."""
        ready = [m for m, source in self._sources.items() if source.not_before <= monotonic]
        if not ready:
            return None
        self._turn += 1
        sources = self._sources
        member = min(ready, key=lambda m: (max(sources[m].last_until - monotonic, 0), sources[m].turn, m))
        sources[member].turn = self._turn
        return member

    def _ask_last(self, member: MemberId, until: Millis) -> None:
        source = self._sources.setdefault(member, _Source())
        source.last_until = Millis(max(source.last_until, until))

    def _distrust(self, member: MemberId, monotonic: Millis) -> None:
        self._ask_last(member, Millis(monotonic + self._limits.bad_source_ms))
        self._sources[member].not_before = Millis(monotonic + self._limits.empty_source_ms)

    def _gap(self, first: Height, last: Height) -> None:
        """These are to be asked for again, together with what lies beside them."""
        merged: list[tuple[Height, Height]] = []
        for begin, end in sorted([*self._gaps, (first, last)]):
            if merged and begin <= merged[-1][1] + 1 and end - merged[-1][0] < self._chunk:
                merged[-1] = merged[-1][0], max(end, merged[-1][1])
            else:
                merged.append((begin, end))
        self._gaps = merged

    def _remove(self, height: Height) -> tuple[Block, MemberId] | None:
        arrived = self._arrived.pop(height, None)
        if arrived is not None:
            self.held -= held_bytes(arrived[0])
        return arrived

    def _has_room(self, height: Height) -> bool:
        """Whether `height` may be asked for: only the next block of all where half the room is taken."""
        return height <= self._taken + 1 or 2 * self.held <= self._limits.range_bytes

    def _make_room(self) -> None:
        """Drop the highest blocks beyond the bound. The next one to be verified stays, however large."""
        while self.held > self._limits.range_bytes:
            highest = max(self._arrived)
            if highest == self._taken + 1:
                return
            self._counters.count("catch-up: no room")
            self._remove(highest)
            self._gap(highest, highest)

    def receive(self, member: MemberId, answer: Range, monotonic: Millis) -> None:
        """Take what `member` served, if it was asked for it."""
        ask = self._asks.get(answer.first)
        if ask is None or ask.member != member:
            self._counters.count("catch-up: not asked for")
            return
        del self._asks[ask.first]
        heights = [block.header.height for block in answer.blocks]
        count = len(heights)
        if heights != list(range(ask.first, ask.first + count)) or ask.first + count - 1 > ask.last:
            self._counters.count("catch-up: other blocks than asked for")
            self._distrust(member, monotonic)
            self._gap(ask.first, ask.last)
            return
        for block in answer.blocks:
            if block.header.height > self._taken and block.header.height not in self._arrived:
                self._arrived[block.header.height] = (block, member)
                self.held += held_bytes(block)
        self._note_answer(ask, count, monotonic)
        if ask.first + count <= ask.last:
            self._chunk = max(1, count, self._chunk // 2)
            self._gap(Height(ask.first + count), ask.last)
        elif count >= self._chunk:
            self._chunk = min(2 * self._chunk, MAX_CHUNK)
        self._make_room()

    def _note_answer(self, ask: _Ask, count: int, monotonic: Millis) -> None:
        source = self._sources[ask.member]
        source.empty, source.silences = count == 0, 0
        if source.empty:
            source.not_before = Millis(monotonic + self._limits.empty_source_ms)
        elif ask.first + count > ask.last:
            for other in self._asks.values():
                other.overtaken(ask, monotonic)

    def take(self, budget: int) -> list[tuple[Block, MemberId]]:
        """Return the next blocks in order, with their sources: about `budget` transactions in all."""
        taken: list[tuple[Block, MemberId]] = []
        while budget > 0:
            arrived = self._remove(Height(self._taken + 1))
            if arrived is None:
                break
            self._taken = Height(self._taken + 1)
            taken.append(arrived)
            budget -= len(arrived[0].transactions) + 1
        return taken

    def rejected(self, member: MemberId, why: str, height: Height, now: Millis, effects: Effects) -> None:
        """`member` served a wrong block above `height`: it is asked last, and others are asked again."""
        self._counters.count("catch-up: wrong block")
        effects.tell("catch_up_wrong_block", Level.WARNING, member=member, why=why)
        self._distrust(member, now)
        self.restart(height)

    def stop(self, height: Height) -> None:
        """The engine takes no more blocks."""
        self._begin(height)
        self._target = Height(0)

    def sizes(self) -> Mapping[str, tuple[int, int]]:
        """Return how many bytes of served blocks wait, and how many may."""
        return {"served blocks' bytes": (self.held, self._limits.range_bytes)}

    def deadline(self) -> Millis | None:
        """Return when a request under way is given up, or a source may be asked again (monotonic ms)."""
        if not self.active:
            return None
        times = [ask.expires for ask in self._asks.values()]
        room = len(self._asks) < self._limits.ranges_in_flight
        if self._gaps and room and self._has_room(self._gaps[0][0]):
            times += [source.not_before for source in self._sources.values()]
        return min(times, default=None)
