"""Lies of a backup about votes (catalogue 17 to 26).

What lives here: behaviours of a member that follows. They change, add to or withhold the PREPAREs and COMMITs
that the honest engine makes, and forget them. What must not be known here: networks in which they are staged
(`byzantine.attacks`).
"""

from collections.abc import Iterable
from typing import Any, ClassVar

from msgspec import structs

from byzantine.liars.liar import Behaviour, Hand, Outgoing, behaviour
from byzantine.liars.parameters import Parameters
from byzantine.scenario import Lie
from crypto.attestation import MAX_HEIGHT, Height
from crypto.digest import digest
from crypto.keys import Signature
from crypto.roster import Epoch, MemberId
from crypto.signed import Envelope, Signed
from ledger.engine_records import TALLY_KEY
from pbft.messages import COMMIT, MAX_VIEW, PREPARE, Commit, Prepare, PrePrepare, Suspect, View, kinds
from tetrarch.node.effects import ConnectionId
from tetrarch.wire import EngineMessage, Frame

Voted = Prepare | Commit


def invented(vote: Voted) -> Voted:
    """Return the vote for a batch that nobody proposed: always the same one for the same vote."""
    other = digest("invented", vote.digest, vote.sequence.to_bytes(8, "big"))
    return structs.replace(vote, digest=other)


class Voting(Behaviour):
    """The base of those that change their own votes, resent ones too."""

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """Change what is one's own PREPARE or COMMIT."""
        if not isinstance(message, Prepare | Commit) or envelope.signer != self.hand.member:
            return None
        if not self.may_fire(message.view, message.sequence, to):
            return None
        envelopes = self.on_vote(to, envelope, message)
        if envelopes is None:
            return None
        self.fire()
        return [Outgoing(to, EngineMessage(each)) for each in envelopes]

    def on_vote(self, to: int, envelope: Envelope, vote: Voted) -> list[Envelope] | None:
        """Return what is sent to one member instead of a vote; `None`: unchanged."""
        raise NotImplementedError


@behaviour("two-prepares")
class TwoPrepares(Voting):
    """Sends beside each PREPARE one for another batch."""

    kind: ClassVar[type] = Prepare

    def on_vote(self, to: int, envelope: Envelope, vote: Voted) -> list[Envelope] | None:
        """Both, in either order."""
        if not isinstance(vote, self.kind):
            return None
        both = [envelope, self.hand.sign(invented(vote))]
        return both if self.random.random() < 0.5 else both[::-1]


@behaviour("two-commits")
class TwoCommits(TwoPrepares):
    """Sends beside each COMMIT one for another batch."""

    kind = Commit


@behaviour("split-votes")
class SplitVotes(Voting):
    """Votes for the proposal towards one half of the others, and for another batch towards the other half."""

    def on_vote(self, to: int, envelope: Envelope, vote: Voted) -> list[Envelope] | None:
        """The second half gets the other one, and nothing else."""
        others = self.hand.others
        return None if others.index(to) < len(others) // 2 else [self.hand.sign(invented(vote))]


@behaviour("repeat-votes")
class RepeatVotes(Voting):
    """Sends each vote many times: at once, a little later, and long after it was settled."""

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """The same bytes after various delays."""
        changed = super().on_message(to, envelope, message)
        if changed is None:
            return None
        return [out._replace(delay_ms=delay) for out in changed for delay in (0, 0, 0, 0, 0, 2, 40, 400)]

    def on_vote(self, to: int, envelope: Envelope, vote: Voted) -> list[Envelope] | None:
        """The vote as it is."""
        return [envelope]


@behaviour("bad-signature")
class BadSignature(Voting):
    """Sends beside each vote, before or after it, one whose signature is wrong: for the same batch or for
    another."""

    def on_vote(self, to: int, envelope: Envelope, vote: Voted) -> list[Envelope] | None:
        """One bit of a right signature is turned over."""
        wrong = envelope if self.random.random() < 0.5 else self.hand.sign(invented(vote))
        signature = bytearray(wrong.signature)
        signature[self.random.randrange(len(signature))] ^= 1 << self.random.randrange(8)
        both = [structs.replace(wrong, signature=Signature(bytes(signature))), envelope]
        return both if self.random.random() < 0.5 else both[::-1]


@behaviour("another-id")
class AnotherId(Voting):
    """Says beside each vote, in the name of every other member and of whoever reads it, that this member
    votes for another batch and suspects the view; signed with its own key."""

    def on_vote(self, to: int, envelope: Envelope, vote: Voted) -> list[Envelope] | None:
        """Two false statements for each victim, ahead of the vote."""
        said: list[Envelope] = []
        for victim in self.hand.others:
            for message in (invented(vote), Suspect(vote.view, self.hand.executed)):
                said.append(self._forged(victim, message))
        return [*said, envelope]

    def _forged(self, victim: int, message: Any) -> Envelope:
        return kinds.seal(self.hand.roster, MemberId(victim), self.hand.signer, message).envelope


@behaviour("sequence-off-by-one")
class SequenceOffByOne(Voting):
    """Votes for each batch under the next sequence instead of its own."""

    def on_vote(self, to: int, envelope: Envelope, vote: Voted) -> list[Envelope] | None:
        """Nothing is said under the right one."""
        following = Height(min(vote.sequence + 1, MAX_HEIGHT))
        return [self.hand.sign(structs.replace(vote, sequence=following))]


@behaviour("view-off-by-one")
class ViewOffByOne(Voting):
    """Sends beside each vote the same one of a neighbouring view: the next, or with `by` -1 the last."""

    parameters: ClassVar[Parameters] = {"by": 1}

    def on_vote(self, to: int, envelope: Envelope, vote: Voted) -> list[Envelope] | None:
        """Ahead of the vote."""
        view = vote.view + self.number("by")
        if not 0 <= view <= MAX_VIEW:
            return None
        return [self.hand.sign(structs.replace(vote, view=View(view))), envelope]


@behaviour("other-epoch-votes")
class OtherEpochVotes(Voting):
    """Sends beside each vote the same one of another epoch, and one that merely says so."""

    def on_vote(self, to: int, envelope: Envelope, vote: Voted) -> list[Envelope] | None:
        """The first is rightly signed, for the epoch that it names."""
        hand = self.hand
        epoch = Epoch(hand.roster.epoch + 1)
        roster = structs.replace(hand.roster, epoch=epoch)
        other = kinds.seal(roster, hand.member, hand.signer, vote).envelope
        return [other, structs.replace(envelope, epoch=epoch), envelope]


@behaviour("replay-old-votes")
class ReplayOldVotes(Behaviour):
    """Shows everybody again the votes of earlier views that it heard, whoever cast them."""

    speaks_every_ms = 60
    AT_ONCE: ClassVar[int] = 8

    def speak(self) -> None:
        """A few of them, to all."""
        if not self.may_fire():
            return
        view = self.hand.view
        votes = (said for said in self.hand.memory.said if said.kind in (PREPARE, COMMIT))
        old = [said for said in votes if _view(said) < view]
        for envelope in self.random.sample(old, min(len(old), self.AT_ONCE)):
            self.fire()
            self.hand.tell(self.hand.others, envelope)


def _view(envelope: Envelope) -> int:
    message = kinds.decode(envelope)
    return message.view if isinstance(message, Prepare | Commit) else MAX_VIEW


@behaviour("early-votes")
class EarlyVotes(Behaviour):
    """Answers each proposal with PREPARE and COMMIT at once, `copies` of each: without the bodies, nothing
    durable, nobody prepared."""

    parameters: ClassVar[Parameters] = {"copies": 1}

    def hears(self, message: Signed[Any]) -> bool:
        """A proposal is voted for before the engine sees it."""
        said = message.message
        proposed = isinstance(said, PrePrepare) and message.signer != self.hand.member
        if proposed and self.may_fire(said.view, said.sequence):
            self.fire()
            for kind in (Prepare, Commit):
                vote = self.hand.sign(kind(said.view, said.sequence, said.digest))
                for _ in range(self.number("copies")):
                    self.hand.tell(self.hand.others, vote)
        return True


@behaviour("forget-votes")
class ForgetVotes(Behaviour):
    """Crashes right after a proposal or a COMMIT of its own, comes back `down_ms` later without its votes,
    and hides from its engine those that others show it: as if it had never cast them."""

    parameters: ClassVar[Parameters] = {"down_ms": 10}

    def __init__(self, hand: Hand, lie: Lie) -> None:
        super().__init__(hand, lie)
        self._crashing = self._forgot = False

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """Everybody is still sent what it then forgets."""
        if not isinstance(message, PrePrepare | Commit) or envelope.signer != self.hand.member:
            return None
        if not self._crashing and self.may_fire(message.view, message.sequence, to):
            self._crashing = True
            self.hand.world.crash_for(self.number("down_ms"))
        return None

    def on_restart(self, disk: Any) -> None:
        """The records of its votes are gone, and what would have told of them."""
        if self._crashing:
            disk.forget_votes(TALLY_KEY)
            self._crashing, self._forgot = False, True
            self.fire()

    def hears(self, message: Signed[Any]) -> bool:
        """What it signed itself would make its engine cautious."""
        return not (self._forgot and message.signer == self.hand.member)


@behaviour("mute")
class Mute(Behaviour):
    """Says nothing at all: to the `peers` that are given, or to nobody, clients included."""

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """Silence."""
        return self._silence(to)

    def on_other(self, to: int, frame: Frame) -> Iterable[Outgoing] | None:
        """Silence."""
        return self._silence(to)

    def _silence(self, to: int) -> Iterable[Outgoing] | None:
        if not self.may_fire(to=to):
            return None
        self.fire()
        return ()

    def on_reply(self, connection: ConnectionId, frame: Frame) -> Iterable[Frame | bytes] | None:
        """Silence, if it is towards everybody."""
        if self.lie.peers is not None or not self.may_fire():
            return None
        self.fire()
        return ()


@behaviour("flap")
class Flap(Behaviour):
    """Crashes again and again, and is back some `down_ms` later each time, with all that it had stored."""

    parameters: ClassVar[Parameters] = {"down_ms": 100}
    speaks_every_ms = 150

    def __init__(self, hand: Hand, lie: Lie) -> None:
        super().__init__(hand, lie)
        self._down = False

    def speak(self) -> None:
        """Down, for half of `down_ms` at least."""
        if self._down or not self.may_fire():
            return
        most = self.number("down_ms")
        self._down = True
        self.fire()
        self.hand.world.crash_for(self.random.randint(most // 2, most))

    def on_restart(self, disk: Any) -> None:
        """Up again."""
        self._down = False
