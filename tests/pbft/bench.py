"""One engine under test, and the power to say anything in the name of the other members."""

from typing import Any

import pytest
from msgspec import structs

from consensus.contract import Decision, Now, Ready, Record, Relay
from crypto.attestation import Attestation, Height
from crypto.batch import Millis, batch_digest, transaction_root
from crypto.codec import encode
from crypto.digest import Digest
from crypto.errors import CryptoError
from crypto.keys import InlineChecker
from crypto.roster import MemberId
from crypto.signed import Certificate, Envelope, Vote, make_certificate
from pbft import Door, Limits, Pbft, Tuning
from pbft.messages import (
    Commit,
    NewView,
    Prepare,
    PreparedProof,
    PrePrepare,
    Status,
    Suspect,
    View,
    ViewChange,
    kinds,
)
from pbft.new_view import implied
from tests.pbft.cluster import CHAIN, WALL, keys, request, roster

BLOCK = Digest(b"B" * 32)


def decode(envelope: Envelope) -> Any:
    """Return the message in an envelope."""
    return kinds.decode(envelope)


class Bench:
    """`me` is the member under test; time stands still unless it is moved."""

    def __init__(
        self,
        me: int = 1,
        n: int = 4,
        records: dict[bytes, bytes] | None = None,
        height: int = 0,
        limits: Limits | None = None,
        **tuning,
    ):
        self.me, self.n = MemberId(me), n
        self.keys, self.roster = keys(n), roster(n)
        self.limits = limits or Limits(checkpoint_interval=4, window=8)
        self.tuning = Tuning(**tuning) if tuning else Tuning()
        self.door = Door(self.roster, self.limits.window, self.limits.max_batch_transactions)
        self.time, self.wall = 1000, WALL
        self.records = dict(records or {})
        self.archive: dict[bytes, bytes] = {}
        self.sent: list[tuple[tuple[int, ...] | None, Any, Envelope]] = []
        self.decisions: list[Decision] = []
        self.relays: list[Relay] = []
        self.evidence: list = []
        self.fetches: list = []
        self.height = height
        self.block_hash = BLOCK
        self.engine = Pbft(self.me, self.roster, self.keys[me], self.limits, self.tuning)
        head = Digest(BLOCK) if height else Digest(CHAIN)
        self.engine.restore([Record(k, v) for k, v in self.records.items()], Height(height), head, self.now)
        self.drain()
        self.sent.clear()

    @property
    def now(self) -> Now:
        return Now(Millis(self.time), Millis(self.wall))

    def drain(self, execute: bool = True) -> None:
        while ready := self.engine.take_ready():
            self.keep(ready)
            for decision in ready.decisions:
                self.decisions.append(decision)
                if execute:
                    self.height = decision.height
                    stamp = Millis(max(decision.timestamp, 1))
                    self.engine.executed(decision.height, self.block_hash, stamp, self.now)
                    self.engine.settled(item.id for item in decision.requests)

    def keep(self, ready: Ready) -> None:
        for record in ready.persist:
            if record.value is None:
                self.records.pop(record.key, None)
            else:
                self.records[record.key] = record.value
        self.archive |= {record.key: record.value for record in ready.archive if record.value is not None}
        self.sent += [(send.to, decode(send.message), send.message) for send in ready.send]
        self.relays += ready.relay
        self.evidence += ready.evidence
        self.fetches += ready.fetch

    def wait(self, milliseconds: int, step: int = 50) -> None:
        for _ in range(0, milliseconds, step):
            self.time += step
            self.wall += step
            self.engine.tick(self.now)
            self.drain()

    def submit(self, *numbers: int) -> None:
        for number in numbers:
            self.engine.submit(request(number), self.now)
        self.engine.tick(self.now)
        self.drain()

    def sign(self, member: int, message: object, beside: bytes = b"") -> Envelope:
        return kinds.seal(self.roster, MemberId(member), self.keys[member], message, beside).envelope

    def hear(self, envelope: Envelope) -> None:
        """Let the envelope in by the door, which must accept it, and deliver it."""
        signed, checks = self.door.open(envelope)
        assert all(InlineChecker().check(checks))
        self.engine.receive(signed, self.now)
        self.engine.tick(self.now)
        self.drain()

    def refuses(self, envelope: Envelope, why: str) -> None:
        """The door must not let it in, by its form or by a signature."""
        with pytest.raises(CryptoError, match=why):
            self.open(envelope)

    def open(self, envelope: Envelope) -> None:
        """Take the envelope through the door and verify its signatures. Raises `CryptoError`."""
        _, checks = self.door.open(envelope)
        if not all(InlineChecker().check(checks)):
            raise CryptoError("a signature does not verify")

    def proposal(self, sequence: int, *numbers: int, view: int = 0, at: int | None = None) -> PrePrepare:
        stamp = Millis(self.wall if at is None else at)
        root = transaction_root([request(number).id for number in numbers])
        digest = batch_digest(CHAIN, Height(sequence), stamp, root)
        return PrePrepare(View(view), Height(sequence), digest, stamp, root)

    def propose(self, sequence: int, *numbers: int, view: int = 0, at: int | None = None) -> PrePrepare:
        """The view's primary proposes, with the ids beside; returns the proposal."""
        message = self.proposal(sequence, *numbers, view=view, at=at)
        self.hear(self.sign(view % self.n, message, b"".join(request(number).id for number in numbers)))
        return message

    def prepare(self, member: int, p: PrePrepare) -> Envelope:
        return self.sign(member, Prepare(p.view, p.sequence, p.digest))

    def commit(self, member: int, p: PrePrepare) -> Envelope:
        return self.sign(member, Commit(p.view, p.sequence, p.digest))

    def decide(self, p: PrePrepare, *members: int) -> None:
        """A quorum of others commits `p`."""
        for member in members or [m for m in range(self.n) if m != self.me][:3]:
            self.hear(self.commit(member, p))

    def proof(self, p: PrePrepare, *backups: int) -> PreparedProof:
        """A prepared certificate: the primary's proposal and the backups' PREPAREs."""
        body = encode(Prepare(p.view, p.sequence, p.digest))
        signed = self.roster.signing_bytes("pbft/prepare", body)
        votes = tuple(Vote(MemberId(m), self.keys[m].sign(signed)) for m in backups)
        return PreparedProof(self.sign(p.view % self.n, p), votes)

    def checkpoint(self, height: int, *members: int, block: Digest = BLOCK) -> Certificate:
        statements = [self.sign(m, Attestation(Height(height), block)) for m in members or (0, 2, 3)]
        return make_certificate(statements[0], [Vote(s.signer, s.signature) for s in statements])

    def view_change(self, member: int, view: int, *proofs: PreparedProof, stable: int = 0) -> Envelope:
        certificate = self.checkpoint(stable) if stable else None
        return self.sign(member, ViewChange(View(view), Height(stable), certificate, tuple(proofs)))

    def new_view(self, view: int, *changes: Envelope) -> Envelope:
        """What an honest primary of `view` sends for these VIEW-CHANGEs."""
        start = implied(CHAIN, [decode(change) for change in changes])
        again = [
            self.sign(view % self.n, PrePrepare(View(view), p.sequence, p.digest, p.timestamp, p.root))
            for p in start.proposals
        ]
        return self.sign(view % self.n, NewView(View(view), changes, tuple(again)))

    def suspect(self, member: int, view: int = 0) -> None:
        self.hear(self.sign(member, Suspect(View(view), Height(self.height))))

    def status(self, member: int, **changes) -> None:
        idle = Status(
            View(0),
            active=True,
            stable=Height(0),
            executed=Height(0),
            awake=True,
            needs=Height(0),
            wants=Millis(0),
            at=Millis(self.wall),
        )
        self.hear(self.sign(member, structs.replace(idle, **changes)))

    def said(self, kind: type) -> list:
        """What the engine sent of one kind, in order."""
        return [message for _, message, _ in self.sent if isinstance(message, kind)]

    def own_suspicions(self, view: int) -> list[Suspect]:
        """The suspicions of `view` that are the engine's own, not passed on."""
        said = [(message, envelope) for _, message, envelope in self.sent if isinstance(message, Suspect)]
        return [message for message, envelope in said if envelope.signer == self.me and message.view == view]

    def restarted(self) -> "Bench":
        """The same member after a restart from what it made durable."""
        again = Bench(self.me, self.n, self.records, self.height)
        again.time, again.wall = self.time, self.wall
        return again
