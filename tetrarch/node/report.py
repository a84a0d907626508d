"""What a replica says of itself: the answer to AskStatus, and the events that belong in a log."""

from collections.abc import Callable, Mapping

from consensus.contract import Engine, Now, Status
from crypto.batch import Millis
from crypto.roster import MemberId
from ledger.genesis import Genesis
from ledger.ledger import Ledger
from tetrarch.node.catch_up import CatchUp
from tetrarch.node.effects import Counters, Effects, Level
from tetrarch.wire import MAX_COUNTERS, StatusReply

WATCH_MS = 100
"""How often to look for changes: what a log needs, and no cost per block."""


class Reporter:
    """Reads engine, ledger and catch-up; changes none of them."""

    def __init__(
        self,
        genesis: Genesis,
        member: MemberId,
        engine: Engine,
        ledger: Ledger,
        catch_up: CatchUp,
        counters: Counters,
    ) -> None:
        self._genesis = genesis
        self._member = member
        self._engine = engine
        self._ledger = ledger
        self._catch_up = catch_up
        self._counters = counters
        self.look_at = Millis(0)
        """When to `watch` again (monotonic ms)."""
        self._seen: Status | None = None
        self.started_at = Millis(0)
        self.peers = [number == member for number in range(len(genesis.members))]
        self.transactions = 0
        """How many were executed since the start, markers included."""
        self.resident_bytes = 0
        """Set by the shell, which may ask the operating system."""
        self.connections: Callable[[], Mapping[str, int]] = dict
        """How often something was wrong with connections, by reason: set by the shell, which has them."""

    @property
    def halted(self) -> str | None:
        """Why the engine was found halted at the last look, if it was."""
        return None if self._seen is None else self._seen.halted

    def role(self, status: Status) -> str:
        """Return this replica's part at present, in one or two words."""
        if status.halted is not None:
            return "halted"
        if status.marked:
            return "marked"
        if self._catch_up.active:
            return "catching up"
        if not status.active:
            return "view change"
        return "primary" if status.leader == self._member else "backup"

    def reply(self, request: int, now: Now) -> StatusReply:
        """Return the answer to AskStatus."""
        status = self._engine.status()
        return StatusReply(
            request=request,
            member=self._member,
            name=self._genesis.members[self._member].name,
            view=status.view,
            leader=-1 if status.leader is None else status.leader,
            active=status.active,
            height=self._ledger.height,
            head=self._ledger.head_hash,
            state_root=self._ledger.state_root,
            block_time=self._ledger.time,
            stable=status.low,
            last_vote=status.last_vote,
            pending=status.pending,
            waiting_for=status.waiting_for,
            halted=status.halted or "",
            role=self.role(status),
            peers=tuple(self.peers),
            ignored=self.ignored(status),
            resident_bytes=self.resident_bytes,
            uptime_ms=max(0, now.monotonic - self.started_at),
            transactions=self.transactions,
        )

    def ignored(self, status: Status) -> tuple[tuple[str, int], ...]:
        """Return how often anything was dropped or refused, by reason: messages, frames, connections."""
        counted = (*status.ignored, *self._counters.all(), *self.connections().items())
        return tuple(sorted(counted)[:MAX_COUNTERS])

    def watch(self, monotonic: Millis, effects: Effects) -> None:
        """Note in `effects` what changed since the last look: view, leader, checkpoint, halt."""
        if monotonic < self.look_at:
            return
        self.look_at = Millis(monotonic + WATCH_MS)
        status, before = self._engine.status(), self._seen
        self._seen = status
        if before is None:
            effects.tell("started", view=status.view, height=self._ledger.height, stable=status.low)
            return
        if (status.view, status.active, status.leader) != (before.view, before.active, before.leader):
            if status.active:
                effects.tell("view_active", view=status.view, primary=status.leader)
            else:
                effects.tell("view_change", Level.WARNING, view=status.view, left=before.view)
        if status.low != before.low:
            effects.tell("checkpoint_stable", height=status.low, executed=status.executed)
        if status.halted is not None and before.halted is None:
            effects.tell("engine_halted", Level.ERROR, reason=status.halted)
