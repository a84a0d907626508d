"""Random valid messages of everyone else, in any order, to one honest engine: no exception, no contradiction.

The other members say anything that the door lets in, all of them, more than f: an engine may then agree on
nonsense with them, and stop, but never contradict itself, raise, or grow. Messages are drawn around what the
engine is doing, so that most get past the first guard. It is restarted from its records at any time.
"""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from consensus.contract import Decision
from crypto.attestation import Attestation, Height
from crypto.batch import Millis
from crypto.digest import Digest
from crypto.errors import CryptoError
from crypto.signed import Envelope
from pbft import Pbft
from pbft.batches import MAX_AWAITED
from pbft.certificates import commit_certificate
from pbft.messages import (
    FetchProposal,
    PreparedProof,
    PrePrepare,
    Proposal,
    Stable,
    Status,
    Suspect,
    View,
)
from pbft.state import MAX_STASH
from tests.pbft.bench import BLOCK, Bench
from tests.pbft.cluster import WALL, request
from tests.pbft.test_crash_points import Witness

HUGE = 2**53 - 1
NUMBERS = 12
"""Requests that exist."""


class Others(Bench):
    """Everyone but the engine under test; `dice` decides what they say."""

    dice: random.Random

    def __init__(self, me: int, n: int) -> None:
        super().__init__(me, n)
        self.witness = Witness()
        self.proposals: list[PrePrepare] = [self.proposal(1, 1)]
        self.ids: dict[bytes, bytes] = {}
        self.replays: list[Envelope] = []
        self.told = 0

    def step(self, name: str, salt: int) -> None:
        self.dice = random.Random(salt)
        getattr(self, f"do_{name}")()
        self.check()

    def tell(self, envelope: Envelope) -> None:
        """Say it, if the door lets it in."""
        try:
            self.open(envelope)
        except CryptoError:
            return
        self.replays.append(envelope)
        self.hear(envelope)

    def check(self) -> None:
        for _, _, envelope in self.sent[self.told :]:
            if envelope.signer == self.me:
                self.witness.hear(envelope)
        self.told = len(self.sent)
        state = self.engine._state
        assert [decision.height for decision in self.decisions] == list(range(1, len(self.decisions) + 1))
        assert len(state.slots) <= 3 * self.limits.window
        assert len(state.awaited) <= MAX_AWAITED
        assert all(len(kept) <= MAX_STASH for kept in state.stash.values())
        assert (
            max(len(state.view_changes), len(state.suspects), len(state.ahead), len(state.standings))
            <= self.n
        )
        assert len(state.attestations) <= 2 * self.limits.window // self.limits.checkpoint_interval + 1

    @property
    def other(self) -> int:
        return self.dice.choice([member for member in range(self.n) if member != self.me])

    @property
    def view(self) -> int:
        now = self.engine.status().view
        return max(0, now + self.dice.choice([-1, 0, 0, 0, 0, 1, 2]))

    @property
    def sequence(self) -> Height:
        status = self.engine.status()
        near = [status.executed + 1, status.executed, status.executed + 2, status.low + 1, status.high + 1]
        return Height(max(1, self.dice.choice([*near, status.low + self.dice.randint(1, 18)])))

    def known(self) -> PrePrepare:
        """A proposal that was made, or the same for another view."""
        p = self.dice.choice(self.proposals[-6:])
        view = self.dice.choice([p.view, p.view, View(self.view)])
        return PrePrepare(view, p.sequence, p.digest, p.timestamp, p.root)

    def proofs(self) -> list[PreparedProof]:
        by_sequence = {p.sequence: p for p in self.dice.sample(self.proposals, min(4, len(self.proposals)))}
        return [self.proof_of(p) for _, p in sorted(by_sequence.items())]

    def proof_of(self, p: PrePrepare) -> PreparedProof:
        backups = [m for m in range(self.n) if m != p.view % self.n]
        return self.proof(p, *backups)

    def do_submit(self) -> None:
        self.submit(self.dice.randrange(NUMBERS))

    def do_propose(self) -> None:
        numbers = self.dice.sample(range(NUMBERS), self.dice.randint(0, 2))
        at = self.wall + self.dice.choice([0, 0, 0, 1, -20_000])
        view = self.view
        p = self.proposal(self.sequence, *numbers, view=view, at=at)
        if view % self.n != self.me:
            ids = b"".join(request(number).id for number in numbers)
            self.proposals.append(p)
            self.ids[p.digest] = ids
            self.tell(self.sign(view % self.n, p, ids))

    def do_prepare(self) -> None:
        self.tell(self.prepare(self.other, self.known()))

    def do_commit(self) -> None:
        self.tell(self.commit(self.other, self.known()))

    def do_all_prepare(self) -> None:
        p = self.known()
        for member in range(self.n):
            if member != self.me:
                self.tell(self.prepare(member, p))

    def do_all_commit(self) -> None:
        p = self.known()
        for member in range(self.n):
            if member != self.me:
                self.tell(self.commit(member, p))

    def do_round(self) -> None:
        """What an honest network does: the next batch is proposed, prepared and committed."""
        view, number = self.engine.status().view, self.dice.randrange(NUMBERS)
        self.submit(number)
        if view % self.n != self.me:
            p = self.proposal(self.height + 1, number, view=view)
            self.proposals.append(p)
            self.ids[p.digest] = request(number).id
            self.tell(self.sign(view % self.n, p, request(number).id))
        else:
            self.proposals += self.said(PrePrepare)[-1:]
        p = self.proposals[-1]
        for vote in (self.prepare, self.commit):
            for member in range(self.n):
                if member != self.me:
                    self.tell(vote(member, p))

    def do_checkpoint(self) -> None:
        for member in range(self.n):
            if member != self.me and self.height >= 4:
                self.tell(self.sign(member, Attestation(Height(self.height // 4 * 4), BLOCK)))

    def do_suspect(self) -> None:
        executed = self.dice.choice([0, self.height, HUGE])
        self.tell(self.sign(self.other, Suspect(View(self.view), Height(executed))))

    def do_leave(self) -> None:
        for member in range(self.n):
            if member != self.me:
                self.tell(self.sign(member, Suspect(self.engine._state.view, Height(self.height))))

    def stable(self) -> int:
        last = self.height // 4 * 4
        return self.dice.choice([0, last, last, last + 4, self.height + 1])

    def do_view_change(self) -> None:
        self.tell(self.view_change(self.other, max(1, self.view), *self.proofs(), stable=self.stable()))

    def do_new_view(self) -> None:
        view = max(1, self.view)
        if view % self.n == self.me:
            return
        signers = sorted(self.dice.sample([m for m in range(self.n) if m != self.me], self.n - 1))
        changes = [self.view_change(m, view, *self.proofs(), stable=self.stable()) for m in signers]
        self.tell(self.new_view(view, *changes))

    def do_status(self) -> None:
        some = (Height(0), Height(self.height), Height(self.height + 3), Height(HUGE))
        moments = (Millis(0), Millis(self.wall), Millis(WALL - 1), Millis(HUGE))
        self.tell(
            self.sign(
                self.other,
                Status(
                    View(self.dice.choice([self.view, HUGE])),
                    active=self.dice.random() < 0.5,
                    stable=self.dice.choice(some),
                    executed=self.dice.choice(some),
                    awake=self.dice.random() < 0.5,
                    needs=self.dice.choice(some),
                    wants=self.dice.choice(moments),
                    at=self.dice.choice(moments),
                ),
            )
        )

    def do_attest(self) -> None:
        height = self.dice.choice([self.height, self.stable(), 4, HUGE, HUGE // 4 * 4])
        block = self.dice.choice([BLOCK, BLOCK, Digest(b"X" * 32)])
        self.tell(self.sign(self.other, Attestation(Height(height), block)))

    def do_stable(self) -> None:
        height = self.stable() or 4
        others = [m for m in range(self.n) if m != self.me]
        self.tell(self.sign(self.other, Stable(self.checkpoint(height, *others))))

    def do_fetch(self) -> None:
        p = self.known()
        self.tell(self.sign(self.other, FetchProposal(p.sequence, p.digest)))

    def do_give(self) -> None:
        p = self.known()
        self.tell(
            self.sign(self.other, Proposal(p.sequence, p.timestamp, p.root), self.ids.get(p.digest, b""))
        )

    def do_replay(self) -> None:
        """Anything said before, what the engine itself said included."""
        said = [envelope for _, _, envelope in self.sent] + self.replays
        if said:
            self.tell(self.dice.choice(said))

    def do_wait(self) -> None:
        self.wait(self.dice.choice([50, 300, 3000]), step=50)

    def do_advance(self) -> None:
        self.engine.advance(Millis(self.wall - 1), self.now)

    def do_learn(self) -> None:
        """A block out of a store, with a certificate by all others."""
        candidates = [p for p in self.proposals if p.sequence == self.height + 1 and p.digest in self.ids]
        if not candidates:
            return
        p = self.dice.choice(candidates)
        state = self.engine._state
        slot = state.slots.get(p.sequence)
        if slot is not None and slot.committed not in (None, p.digest):
            return
        commits = [self.door.open(self.commit(m, p))[0] for m in range(self.n) if m != self.me]
        ids = self.ids[p.digest]
        chosen = [ids[at : at + 32] for at in range(0, len(ids), 32)]
        requests = tuple(request(k) for i in chosen for k in range(NUMBERS) if request(k).id == i)
        decision = Decision(p.sequence, p.digest, p.timestamp, requests, commit_certificate(commits))
        self.engine.learn(decision, self.now)
        self.engine.tick(self.now)
        self.drain()

    def do_restart(self) -> None:
        again = self.restarted()
        self.engine: Pbft = again.engine
        self.records = again.records
        self.sent += again.sent


STEPS = [name[3:] for name in dir(Others) if name.startswith("do_")]
USUAL = ["round", "round", "round", "checkpoint", "propose", "submit", "all_prepare", "all_commit"]

step: st.SearchStrategy[tuple[str, int]] = st.tuples(
    st.sampled_from(STEPS + 2 * USUAL), st.integers(0, 2**16)
)
Steps = list[tuple[str, int]]


def play(me: int, n: int, steps: Steps) -> None:
    others = Others(me, n)
    for name, salt in steps:
        if others.engine.status().halted is None:
            others.step(name, salt)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3), st.lists(step, min_size=10, max_size=80))
def test_whatever_three_others_say_an_engine_neither_raises_nor_contradicts_itself_nor_grows(
    me: int, steps: Steps
) -> None:
    play(me, 4, steps)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 5), st.lists(step, min_size=10, max_size=80))
def test_whatever_five_others_say_an_engine_neither_raises_nor_contradicts_itself_nor_grows(
    me: int, steps: Steps
) -> None:
    play(me, 6, steps)
