"""A liar's engine: the production engine, which its behaviours keep requests and messages from.

What lives here: the engine contract, passed through. What must not be known here: any one behaviour.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from byzantine.liars.liar import Hand
from consensus.contract import Decision, Engine, Now, Ready, Record, Request, Status
from crypto.attestation import Height
from crypto.batch import Millis, TxId
from crypto.digest import Digest
from crypto.roster import MemberId
from crypto.signed import Signed


class LyingEngine:
    """Stands where the engine stands (`consensus.contract.Engine`), and lets a liar's hand see and choose."""

    def __init__(self, engine: Engine, hand: Hand) -> None:
        self._engine = engine
        self._hand = hand
        self.acceptance = engine.acceptance
        hand.engine = engine

    def restore(self, records: Iterable[Record], executed: Height, block_hash: Digest, now: Now) -> None:
        """Start from durable records."""
        self._hand.executed = executed
        self._engine.restore(records, executed, block_hash, now)

    def submit(self, request: Request, now: Now, relayed_by: MemberId | None = None) -> bool:
        """Offer a request, unless a behaviour hides it from the engine."""
        self._hand.memory.bodies.append(request.body)
        if not all(behaviour.admits(request) for behaviour in self._hand.behaviours):
            return True
        return self._engine.submit(request, now, relayed_by)

    def receive(self, message: Signed[Any], now: Now) -> None:
        """Take a verified message, unless a behaviour keeps it from the engine; the memory keeps it
        anyway."""
        self._hand.memory.note(message.envelope)
        if all(behaviour.hears(message) for behaviour in self._hand.behaviours):
            self._engine.receive(message, now)

    def redundant(self, message: Signed[Any]) -> bool:
        """Never: a liar listens to everything."""
        return False

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
        self._hand.executed = height
        self._hand.hashes[height] = block_hash
        self._engine.executed(height, block_hash, block_time, now)

    def advance(self, past: Millis, now: Now) -> None:
        """Have an empty block ordered."""
        self._engine.advance(past, now)

    def deadline(self) -> Millis | None:
        """Return when `tick` is due."""
        return self._engine.deadline()

    def take_ready(self) -> Ready:
        """Return what is to be done; what it signs itself is remembered too."""
        ready = self._engine.take_ready()
        for send in ready.send:
            self._hand.memory.note(send.message)
        return ready

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
