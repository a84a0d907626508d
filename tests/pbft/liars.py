"""Liars for the cluster of bare engines: they see everything, own their keys, and say what they like.

A liar runs the real engine, so that it is in the middle of everything, and twists, withholds, delays or
repeats what that says; besides, it says things of its own. It never forges: it signs with its own key only,
and shows again what others signed.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from msgspec import structs

from crypto.attestation import Attestation, Height, attested
from crypto.batch import Millis, TxId, batch_digest, transaction_root
from crypto.digest import Digest
from crypto.errors import CryptoError
from crypto.keys import SigningKey
from crypto.roster import MemberId, Roster
from crypto.signed import Certificate, Envelope, Vote
from pbft import Limits
from pbft.messages import (
    Commit,
    FetchProposal,
    NewView,
    Prepare,
    PreparedProof,
    PrePrepare,
    Stable,
    Status,
    Suspect,
    View,
    ViewChange,
    kinds,
)
from pbft.new_view import implied
from tests.pbft.bench import decode

MOODS = ["honest", "honest", "mute", "twist", "twist", "slow", "repeat"]
HUGE = 2**53 - 1


class Memory:
    """What all liars together have seen."""

    def __init__(self) -> None:
        self.said: list[Envelope] = []
        self.proposals: list[PrePrepare] = []
        self.signed_proposals: dict[tuple[int, int, bytes], Envelope] = {}
        self.prepares: dict[tuple[int, int, bytes], dict[int, Vote]] = {}
        self.checkpoints: list[Certificate] = []
        self.changes: dict[int, dict[int, list[Envelope]]] = {}

    def note(self, envelope: Envelope) -> None:
        """Remember one message, and what is nested in it."""
        self.said.append(envelope)
        message = kinds.decode(envelope)
        if isinstance(message, PrePrepare):
            self.proposals.append(message)
            self.signed_proposals[message.view, message.sequence, message.digest] = envelope.bare
        elif isinstance(message, Prepare):
            key = (message.view, message.sequence, message.digest)
            self.prepares.setdefault(key, {})[envelope.signer] = Vote(envelope.signer, envelope.signature)
        elif isinstance(message, Stable):
            self.checkpoints.append(message.checkpoint)
        elif isinstance(message, ViewChange):
            if message.checkpoint is not None:
                self.checkpoints.append(message.checkpoint)
            kept = self.changes.setdefault(message.view, {}).setdefault(envelope.signer, [])
            if envelope not in kept:
                kept.append(envelope)
        elif isinstance(message, NewView):
            for nested in (*message.view_changes, *message.pre_prepares):
                self.note(nested)


class Scene(Protocol):
    """Where liars lie: a cluster of bare engines, or a network of whole replicas."""

    dice: random.Random
    memory: Memory
    roster: Roster
    keys: list[SigningKey]
    limits: Limits
    quorum: int
    submitted: int
    """How many transactions the client sent; their numbers run from 0."""
    pause: int
    """Within how many ms a liar speaks again."""

    @property
    def door(self) -> Any:
        """What every honest member's door lets in, this one does."""

    @property
    def liars(self) -> Mapping[int, "Liar"]:
        """By member."""

    @property
    def honest(self) -> Sequence[Any]:
        """Those who do not lie, each with its `engine`."""

    @property
    def wall(self) -> int:
        """The wall clock."""

    def id_of(self, number: int) -> TxId:
        """Return the id of the client's transaction with this number, or of one that nobody sent."""

    def at(self, delay: int, action: Callable[[], None]) -> None:
        """Do that so many ms later."""

    def say(self, source: int, to: int, envelope: Envelope) -> None:
        """Send that."""


class Liar:
    """One liar: how it treats each other member at present, and what it makes of its engine's messages."""

    def __init__(self, cluster: Scene, member: MemberId) -> None:
        self.cluster, self.member = cluster, member
        self.dice, self.memory = cluster.dice, cluster.memory
        self.moods: dict[int, str] = {}

    def change_moods(self) -> None:
        """Treat everybody in another way for a while."""
        for to in self.cluster.roster.members:
            self.moods[to] = self.dice.choice(MOODS)
        self.cluster.at(self.dice.choice([30, 300, 3000]), self.change_moods)

    def pass_on(self, to: int, envelope: Envelope) -> None:
        mood = self.moods.get(to, "honest")
        if mood == "mute":
            return
        if mood == "twist" and self.dice.random() < 0.7:
            for twisted in self.twist(envelope):
                self.tell(to, twisted)
            return
        times = 3 if mood == "repeat" else 1
        delay = self.dice.randint(0, 800) if mood == "slow" else 0
        for _ in range(times):
            self.cluster.at(delay, partial(self.tell, to, envelope))

    def tell(self, to: int, envelope: Envelope) -> None:
        """Say it to one member, if its door lets it in."""
        try:
            self.cluster.door.open(envelope)
        except CryptoError:
            return
        self.memory.note(envelope)
        self.cluster.say(self.member, to, envelope)

    def sign(self, message: Any, beside: bytes = b"") -> Envelope:
        cluster = self.cluster
        return kinds.seal(cluster.roster, self.member, cluster.keys[self.member], message, beside).envelope

    def twist(self, envelope: Envelope) -> list[Envelope]:
        """What this liar says instead of, or beside, what its engine says."""
        if envelope.signer != self.member:
            return [envelope]
        message, dice = kinds.decode(envelope), self.dice
        match message:
            case PrePrepare():
                both = [self.other_proposal(message.view, message.sequence), envelope]
                return dice.choice([both, both[:1], both[::-1]])
            case Prepare() | Commit():
                other = structs.replace(message, digest=self.some_digest(message.sequence))
                return dice.choice(
                    [[self.sign(other)], [self.sign(other), envelope], [envelope, self.sign(other)]]
                )
            case ViewChange():
                return [self.some_view_change(message.view)]
            case NewView():
                return [self.some_new_view(message.view) or envelope]
            case Status():
                return [self.some_status()]
            case Attestation():
                return [self.sign(structs.replace(message, block_hash=Digest(dice.randbytes(32)))), envelope]
            case Suspect():
                executed = Height(dice.choice([0, message.executed, HUGE]))
                return [self.sign(Suspect(message.view, executed))]
        return [envelope]

    def speak(self) -> None:
        """Say something unasked, to one member or to all, and again after a while."""
        acts = [
            self.some_suspicion,
            self.some_suspicion,
            lambda: self.some_view_change(self.some_view()),
            lambda: self.some_new_view(self.some_view()),
            self.some_vote,
            self.some_vote,
            self.some_proposal,
            self.some_status,
            self.old_message,
            self.old_message,
            self.old_message,
            self.some_attestation,
            self.some_question,
        ]
        envelope = self.dice.choice(acts)()
        if envelope is not None:
            others = [to for to in self.cluster.roster.members if to != self.member]
            for to in self.dice.sample(others, self.dice.choice([1, 1, 2, len(others)])):
                self.tell(to, envelope)
        self.cluster.at(self.dice.randint(1, self.cluster.pause), self.speak)

    def some_view(self) -> View:
        views = [member.engine.status().view for member in self.cluster.honest]
        return View(max(0, self.dice.choice(views) + self.dice.choice([0, 0, 0, 1, 1, 2, -1])))

    def some_sequence(self) -> Height:
        status = self.dice.choice(self.cluster.honest).engine.status()
        near = [status.executed, status.executed + 1, status.executed + 1, status.executed + 2]
        return Height(max(1, self.dice.choice([*near, status.low + self.dice.randint(1, 34)])))

    def some_digest(self, sequence: int) -> Digest:
        known = [p.digest for p in self.memory.proposals[-200:] if p.sequence == sequence]
        return self.dice.choice([*known, Digest(self.dice.randbytes(32))])

    def some_suspicion(self) -> Envelope:
        executed = self.dice.choice([0, self.dice.choice(self.cluster.honest).engine.status().executed, HUGE])
        return self.sign(Suspect(self.some_view(), Height(executed)))

    def some_vote(self) -> Envelope:
        recent = self.memory.proposals[-8:]
        if not recent or self.dice.random() < 0.2:
            sequence = self.some_sequence()
            chosen = (self.some_view(), sequence, self.some_digest(sequence))
        else:
            p = self.dice.choice(recent)
            chosen = (p.view, p.sequence, p.digest)
        return self.sign(self.dice.choice([Prepare, Commit])(*chosen))

    def other_proposal(self, view: View, sequence: Height) -> Envelope:
        """Another batch: of real requests, of invented ones, or of none."""
        known = list(range(self.cluster.submitted))
        numbers = self.dice.sample(known, min(len(known), self.dice.randint(0, 3)))
        if self.dice.random() < 0.2:
            numbers.append(10**6 + self.dice.randrange(10**6))
        stamp = Millis(self.cluster.wall + self.dice.choice([0, 1, -5000, 100_000]))
        ids = [self.cluster.id_of(number) for number in numbers]
        root = transaction_root(ids)
        digest = batch_digest(self.cluster.roster.chain_id, sequence, stamp, root)
        return self.sign(PrePrepare(view, sequence, digest, stamp, root), b"".join(ids))

    def some_proposal(self) -> Envelope | None:
        n = self.cluster.roster.n
        views = [view for view in (self.some_view(), self.some_view()) if view % n == self.member]
        return self.other_proposal(views[0], self.some_sequence()) if views else None

    def old_message(self) -> Envelope | None:
        """What anybody said before, now or long ago."""
        said = self.memory.said
        if not said:
            return None
        return self.dice.choice(said[-50:] if self.dice.random() < 0.6 else said)

    def some_attestation(self) -> Envelope:
        height = self.some_sequence() // 8 * 8 + self.dice.choice([0, 8, 8 * 2**30])
        return self.sign(Attestation(Height(height), Digest(self.dice.randbytes(32))))

    def some_question(self) -> Envelope:
        sequence = self.some_sequence()
        return self.sign(FetchProposal(sequence, self.some_digest(sequence)))

    def some_status(self) -> Envelope:
        status, dice = self.dice.choice(self.cluster.honest).engine.status(), self.dice
        heights = [Height(h) for h in (0, status.executed, status.low, status.executed + 30, HUGE)]
        wall = self.cluster.wall
        return self.sign(
            Status(
                View(dice.choice([self.some_view(), HUGE])),
                active=dice.random() < 0.5,
                stable=dice.choice(heights),
                executed=dice.choice(heights),
                awake=dice.random() < 0.7,
                needs=dice.choice([*heights, Height(status.low + 32)]),
                wants=dice.choice([Millis(0), Millis(wall - 1), Millis(HUGE)]),
                at=dice.choice([Millis(wall), Millis(0), Millis(HUGE)]),
            )
        )

    def some_view_change(self, view: View) -> Envelope:
        """With all prepared certificates that can be shown, with few, with old ones, or with none."""
        dice, memory = self.dice, self.memory
        certificate = dice.choice([None, *memory.checkpoints[-6:]])
        stable = self.height_of(certificate)
        proofs: dict[int, PreparedProof] = {}
        for (v, sequence, digest), votes in dice.sample(
            sorted(memory.prepares.items()), len(memory.prepares)
        ):
            proposal = memory.signed_proposals.get((v, sequence, digest))
            primary = v % self.cluster.roster.n
            usable = [vote for member, vote in sorted(votes.items()) if member != primary]
            window = self.cluster.limits.window
            if proposal is None or v >= view or not stable < sequence <= stable + window:
                continue
            if len(usable) >= self.cluster.quorum - 1 and dice.random() < 0.7:
                proofs[sequence] = PreparedProof(proposal, tuple(usable))
        kept = tuple(proofs[sequence] for sequence in sorted(proofs))
        if dice.random() < 0.3:
            kept = ()
        return self.sign(ViewChange(view, stable, certificate, kept))

    @staticmethod
    def height_of(certificate: Certificate | None) -> Height:
        return attested(certificate).height if certificate is not None else Height(0)

    def some_new_view(self, view: View) -> Envelope | None:
        """Started from any quorum of the VIEW-CHANGEs that were seen, and from any of a liar's own."""
        if view % self.cluster.roster.n != self.member:
            return None
        seen = self.memory.changes.get(view, {})
        for liar in self.cluster.liars:
            if self.dice.random() < 0.5:
                change = self.cluster.liars[liar].some_view_change(view)
                seen.setdefault(liar, []).append(change)
        if len(seen) < self.cluster.quorum or view == 0:
            return None
        signers = sorted(self.dice.sample(sorted(seen), self.cluster.quorum))
        changes = tuple(self.dice.choice(seen[signer]) for signer in signers)
        start = implied(self.cluster.roster.chain_id, [decode(change) for change in changes])
        again = tuple(
            self.sign(PrePrepare(view, p.sequence, p.digest, p.timestamp, p.root)) for p in start.proposals
        )
        return self.sign(NewView(view, changes, again))
