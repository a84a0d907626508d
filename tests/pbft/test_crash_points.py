"""A replica that crashes at any Ready contradicts nothing that it sent, and takes part again."""

import sys
from enum import Enum

import pytest

from consensus.contract import Ready
from crypto.attestation import Attestation
from crypto.batch import Millis
from crypto.signed import Envelope
from pbft import Limits, Tuning
from pbft.messages import Commit, NewView, Prepare, PrePrepare, ViewChange
from tests.pbft.bench import decode
from tests.pbft.cluster import Cluster, Member

HEALING_MS = 120_000


class Cut(Enum):
    """How far the last Ready got before the power went."""

    NOTHING = "nothing of it is durable"
    DURABLE = "its records are durable, nothing was sent"
    EXECUTED = "its records and blocks are durable, nothing was sent"
    SENT = "all of it was done, nothing of what followed from it"


class Fragile(Member):
    """A member whose power goes at its `crash_at`th Ready."""

    def __init__(self, cluster: Cluster, member: int, crash_at: int, cut: Cut, away_ms: int) -> None:
        self.left, self.cut, self.away_ms = crash_at, cut, away_ms
        super().__init__(cluster, member)

    def drain(self) -> None:
        while self.up and (ready := self.engine.take_ready()):
            self.left -= 1
            if self.left == 0:
                self.lose(ready)
                return
            self.treat(ready)
        self.cluster.wake(self)

    def treat(self, ready: Ready) -> None:
        self.keep(ready)
        self.cluster.emit(self, ready)
        for decision in ready.decisions:
            self.execute(decision)

    def keep(self, ready: Ready) -> None:
        for record in ready.persist:
            if record.value is None:
                self.disk.records.pop(record.key, None)
            else:
                self.disk.records[record.key] = record.value
        self.evidence += ready.evidence

    def lose(self, ready: Ready) -> None:
        if self.cut is not Cut.NOTHING:
            self.keep(ready)
        if self.cut is Cut.SENT:
            self.cluster.emit(self, ready)
        if self.cut in (Cut.EXECUTED, Cut.SENT):
            for decision in ready.decisions:
                self.execute(decision)
        self.crash()
        self.cluster.at(self.away_ms, self.come_back)

    def come_back(self) -> None:
        """Restart, and be shown by a liar everything that anyone ever sent, its own votes included."""
        self.start()
        shown = {id(envelope): envelope for _, _, _, envelope in self.cluster.trace}
        for envelope in shown.values():
            self.take(envelope)


def statement(envelope: Envelope) -> tuple | None:
    """What a message is about, where a correct member says only one thing about it."""
    message = decode(envelope)
    match message:
        case PrePrepare() | Prepare() | Commit():
            return envelope.signer, envelope.kind, message.view, message.sequence
        case ViewChange() | NewView():
            return envelope.signer, envelope.kind, message.view
        case Attestation():
            return envelope.signer, envelope.kind, message.height
    return None


class Witness:
    """Reads a whole trace, and objects to the first thing that no correct member may send."""

    def __init__(self) -> None:
        self.said: dict[tuple, bytes] = {}
        self.left: dict[int, int] = {}
        self.committed: dict[int, dict[int, int]] = {}

    def hear(self, envelope: Envelope) -> None:
        about = statement(envelope)
        if about is None:
            return
        assert self.said.setdefault(about, envelope.body) == envelope.body, f"two statements: {about}"
        message, signer = decode(envelope), envelope.signer
        if isinstance(message, ViewChange):
            self.left[signer] = max(self.left.get(signer, 0), message.view)
            shown = {
                proposal.sequence: proposal.view
                for proposal in (decode(proof.pre_prepare) for proof in message.prepared)
            }
            for sequence, view in self.committed.get(signer, {}).items():
                hidden = sequence > message.stable and shown.get(sequence, -1) < view
                assert not hidden or view >= message.view, f"{signer} hides {sequence} of view {view}"
        if isinstance(message, Prepare | Commit):
            assert message.view >= self.left.get(signer, 0), f"{signer} voted in a view it left"
        if isinstance(message, Commit):
            commits = self.committed.setdefault(signer, {})
            commits[message.sequence] = max(commits.get(message.sequence, 0), message.view)


def scenario(
    member: int, crash_at: int, cut: Cut, n: int = 4, seed: int = 0, away_ms: int = 1
) -> tuple[Cluster, Fragile]:
    """Load, a member (the first primary) that dies and comes back, and more load than a window."""
    c = Cluster(
        n,
        seed,
        Limits(checkpoint_interval=4, window=8),
        Tuning(batch_target=2, request_timeout_ms=Millis(300), batch_delay_ms=Millis(5)),
    )
    fragile = c.members[member] = Fragile(c, member, crash_at, cut, away_ms)
    for number in range(12):
        c.submit([number])
        c.run(limit=15)
    killed = c.members[1 if member == 0 else 0]
    killed.crash()
    for number in range(12, 20):
        c.submit([number], to=[m.id for m in c.members if m is not killed])
        c.run(limit=60)
    c.run(limit=1500)
    killed.start()
    c.submit(range(25))
    assert c.run(c.all_executed(range(25)), limit=HEALING_MS), "no convergence"
    return c, fragile


def check(c: Cluster) -> None:
    c.check_agreement()
    witness = Witness()
    for _, source, _, envelope in c.trace:
        if envelope.signer == source:
            witness.hear(envelope)
    for member in c.members:
        assert not member.evidence
        status = member.engine.status()
        assert status.halted is None
        assert "older than its votes" not in status.waiting_for


STEP = 9
"""Every so many crash points are tried; run this module as a program to try them all."""


@pytest.mark.parametrize("cut", Cut, ids=lambda cut: cut.name.lower())
@pytest.mark.parametrize("member", range(4))
def test_a_crash_at_any_ready_contradicts_nothing_that_was_sent_and_ends_in_agreement(
    member: int, cut: Cut
) -> None:
    for crash_at in range(1 + (member + 2 * list(Cut).index(cut)) % STEP, 60, STEP):
        c, fragile = scenario(member, crash_at, cut)
        if fragile.left <= 0:
            check(c)


def test_a_witness_objects_to_a_replica_that_forgets_its_records() -> None:
    c, _ = scenario(1, 20, Cut.NOTHING)
    again = Cluster(4, limits=c.limits, tuning=c.tuning)
    again.time = 500
    again.submit([99])
    again.run(again.all_executed([99]))
    c.trace += again.trace
    with pytest.raises(AssertionError, match="two statements"):
        check(c)


if __name__ == "__main__":
    n, seed, away = (int(x) for x in sys.argv[1:4])
    failed = total = 0
    for member in range(n):
        c, fragile = scenario(member, 10**9, Cut.NOTHING, n, seed)
        check(c)
        count = 10**9 - fragile.left
        print(f"member {member}: {count} Readys")
        for crash_at in range(1, count + 1):
            for cut in Cut:
                total += 1
                try:
                    c, fragile = scenario(member, crash_at, cut, n, seed, away)
                    assert fragile.left <= 0
                    check(c)
                except AssertionError as error:
                    failed += 1
                    print(f"member {member} crash at {crash_at} {cut}: {error}")
    print(total, "runs", failed, "failed")
