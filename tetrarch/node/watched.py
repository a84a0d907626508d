"""The engine as the node watches it: every call passed on, and what it shows of its progress noted.

What lives here: the engine contract, passed through, with this process' monotonic clock beside it. An engine
reads no clock; when it reached what is seen here, in the records it wants durable and the decisions it hands
over. The simulator runs without this, and the heart is the same with it and without.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from consensus.contract import Decision, Engine, Now, Ready, Record, Request, Status
from consensus.milestones import MilestoneReader, Step
from crypto.attestation import Height
from crypto.batch import Millis, TxId
from crypto.digest import Digest
from crypto.roster import MemberId
from crypto.signed import Signed
from tetrarch.node.timings import PhaseTimes
from tetrarch.node.trace import Trace


class WatchedEngine:
    """Stands where the engine stands (`consensus.contract.Engine`)."""

    def __init__(self, engine: Engine, milestones: MilestoneReader, times: PhaseTimes, trace: Trace) -> None:
        self._engine = engine
        self._milestones = milestones
        self._times = times
        self._trace = trace
        self.acceptance = engine.acceptance

    def restore(self, records: Iterable[Record], executed: Height, block_hash: Digest, now: Now) -> None:
        """Start from durable records."""
        self._engine.restore(records, executed, block_hash, now)

    def submit(self, request: Request, now: Now, relayed_by: MemberId | None = None) -> bool:
        """Offer a verified request."""
        taken = self._engine.submit(request, now, relayed_by)
        if taken and self._trace.on:
            self._trace.admitted(request.id, relayed_by)
        return taken

    def receive(self, message: Signed[Any], now: Now) -> None:
        """Take a verified message; when a proposal came is remembered."""
        digest = self._milestones.offered(message)
        if digest is not None:
            self._times.offered(digest, time.monotonic_ns())
        self._engine.receive(message, now)

    def redundant(self, message: Signed[Any]) -> bool:
        """Whether `message` could change nothing."""
        return self._engine.redundant(message)

    def learn(self, decision: Decision, now: Now) -> None:
        """Take a decision out of another member's store."""
        self._engine.learn(decision, now)

    def tick(self, now: Now) -> None:
        """Let time pass."""
        self._engine.tick(now)

    def settled(self, ids: Iterable[TxId]) -> None:
        """Forget requests."""
        self._engine.settled(ids)

    def executed(self, height: Height, block_hash: Digest, block_time: Millis, now: Now) -> None:
        """A block was stored."""
        self._times.executed(height, time.monotonic_ns())
        self._engine.executed(height, block_hash, block_time, now)

    def advance(self, past: Millis, now: Now) -> None:
        """Have an empty block ordered."""
        self._engine.advance(past, now)

    def deadline(self) -> Millis | None:
        """Return when `tick` is due."""
        return self._engine.deadline()

    def take_ready(self) -> Ready:
        """Return what is to be done; which steps of which batches that shows is noted."""
        ready = self._engine.take_ready()
        if ready.persist or ready.decisions:
            self._note(ready, time.monotonic_ns())
        return ready

    def _note(self, ready: Ready, ns: int) -> None:
        reached, times, trace = self._milestones.reached, self._times, self._trace
        for record in ready.persist:
            milestone = reached(record)
            if milestone is None:
                continue
            if milestone.step is Step.ACCEPTED:
                times.accepted(milestone.height, milestone.digest, ns)
                if trace.on:
                    self._follow(record)
            else:
                times.prepared(milestone.height, ns)
                if trace.on:
                    trace.prepared(milestone.height)
        for decision in ready.decisions:
            times.decided(decision.height, ns)
            if trace.on:
                trace.committed(decision.height, [request.id for request in decision.requests])

    def _follow(self, record: Record) -> None:
        """Tell the trace which transactions an accepted batch holds, and who proposed it."""
        listing = self._milestones.listed(record)
        if listing is not None:
            self._trace.listed(listing)
        proposal = self._milestones.proposed(record)
        if proposal is not None:
            self._trace.proposed(proposal)

    def body(self, tx_id: TxId) -> bytes | None:
        """Return a body in memory."""
        return self._engine.body(tx_id)

    def halt(self, reason: str) -> None:
        """Stop voting."""
        self._engine.halt(reason)

    def status(self) -> Status:
        """Return what the engine is doing."""
        return self._engine.status()

    def sizes(self) -> Mapping[str, tuple[int, int]]:
        """Return how much is held."""
        return self._engine.sizes()
