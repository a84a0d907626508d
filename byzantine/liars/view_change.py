"""What liars do when views change: VIEW-CHANGEs and SUSPECTs (catalogue 27 to 32 and 37; of 38 what is nested
in a VIEW-CHANGE).

What lives here: behaviours of any member. What must not be known here: what the primary of the view that
follows makes of it (`new_view`), and networks in which they are staged (`byzantine.attacks`).
"""

from collections.abc import Iterable
from typing import Any, ClassVar

from msgspec import structs

from byzantine.liars.liar import Behaviour, Hand, Outgoing, behaviour
from byzantine.liars.parameters import Parameters
from byzantine.scenario import Lie
from consensus.contract import Status
from crypto.attestation import Height
from crypto.batch import Millis, batch_digest
from crypto.roster import MemberId
from crypto.signed import Envelope
from pbft.messages import (
    MAX_VIEW,
    NEW_VIEW,
    SUSPECT,
    VIEW_CHANGE,
    Commit,
    NewView,
    Prepare,
    PreparedProof,
    PrePrepare,
    Suspect,
    View,
    ViewChange,
    kinds,
    primary_of,
)
from pbft.new_view import decode_pre_prepare
from tetrarch.wire import EngineMessage, Frame

BEYOND_ALL_VIEWS = View(2**63 - 1)
"""A number that no view may have."""

REPLAYED = 12
"""Old messages that are shown again at a time."""


class Changing(Behaviour):
    """The base of those that say another VIEW-CHANGE than their engine: the same to everybody, and again when
    it is resent."""

    def __init__(self, hand: Hand, lie: Lie) -> None:
        super().__init__(hand, lie)
        self._made: dict[int, Envelope | None] = {}

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """Change what is one's own VIEW-CHANGE."""
        if not isinstance(message, ViewChange) or envelope.signer != self.hand.member:
            return None
        if message.view not in self._made:
            self._made[message.view] = self.changed(message) if self.may_fire(message.view) else None
        made = self._made[message.view]
        if made is None or (self.lie.peers is not None and to not in self.lie.peers):
            return None
        self.fire()
        return [Outgoing(to, EngineMessage(made), self.delay_ms(to, message))]

    def changed(self, message: ViewChange) -> Envelope | None:
        """Return what is said instead; `None` where there is nothing to lie about."""
        raise NotImplementedError

    def delay_ms(self, to: int, message: ViewChange) -> int:
        """How long it is kept back."""
        return 0

    # Parts.

    @property
    def need(self) -> int:
        """How many PREPAREs a prepared certificate needs."""
        return self.hand.quorums.quorum - 1

    def with_last(self, message: ViewChange, proof: PreparedProof) -> Envelope:
        """Return the VIEW-CHANGE with another last certificate."""
        return self.hand.sign(structs.replace(message, prepared=(*message.prepared[:-1], proof)))

    def rival(self, proof: PreparedProof) -> Envelope | None:
        """Return another proposal of one's own for the place of a certificate, which would win over it if
        both were prepared; `None` if another member led that view."""
        message = decode_pre_prepare(proof.pre_prepare)
        if primary_of(message.view, self.hand.roster.n) != self.hand.member:
            return None
        return self.hand.sign(_winning(self.hand, message))


def _winning(hand: Hand, message: PrePrepare) -> PrePrepare:
    """The same batch, a little later: of two digests the higher one wins."""
    stamp, digest = message.timestamp, message.digest
    while digest <= message.digest:
        stamp = Millis(stamp + 1)
        digest = batch_digest(hand.roster.chain_id, message.sequence, stamp, message.root)
    return structs.replace(message, timestamp=stamp, digest=digest)


@behaviour("short-proof")
class ShortProof(Changing):
    """Says in its VIEW-CHANGE that its last sequence is prepared, with one PREPARE too few."""

    def changed(self, message: ViewChange) -> Envelope | None:
        """A true certificate, cut."""
        if not message.prepared:
            return None
        last = message.prepared[-1]
        return self.with_last(message, structs.replace(last, prepares=last.prepares[: self.need - 1]))


@behaviour("unvoted-proof")
class UnvotedProof(Changing):
    """Says in its VIEW-CHANGE that another batch of its own was prepared in place of the last one, and shows
    no PREPARE for it."""

    def changed(self, message: ViewChange) -> Envelope | None:
        """If it were believed, it would win over the true certificate."""
        other = self.rival(message.prepared[-1]) if message.prepared else None
        return None if other is None else self.with_last(message, PreparedProof(other, ()))


@behaviour("repeated-signer")
class RepeatedSigner(Changing):
    """Counts one member's PREPARE twice in a certificate of its VIEW-CHANGE."""

    def changed(self, message: ViewChange) -> Envelope | None:
        """As many PREPAREs as are needed, of one member fewer."""
        last = message.prepared[-1] if message.prepared else None
        if last is None or len(last.prepares) < self.need:
            return None
        votes = last.prepares[: self.need - 1]
        return self.with_last(message, structs.replace(last, prepares=(*votes, votes[-1])))


@behaviour("mixed-proof")
class MixedProof(Changing):
    """Shows in its VIEW-CHANGE another proposal of its own with the PREPAREs that the true one was given."""

    def changed(self, message: ViewChange) -> Envelope | None:
        """If it were believed, it would win over the true certificate."""
        other = self.rival(message.prepared[-1]) if message.prepared else None
        if other is None:
            return None
        return self.with_last(message, PreparedProof(other, message.prepared[-1].prepares))


@behaviour("reencoded-proof")
class ReencodedProof(Changing):
    """Nests in its VIEW-CHANGE a proposal of its own in another encoding than the canonical one, signed as it
    is."""

    def changed(self, message: ViewChange) -> Envelope | None:
        """The view takes two bytes instead of one; a lax decoder reads the same."""
        if not message.prepared or self.rival(message.prepared[-1]) is None:
            return None
        last = message.prepared[-1]
        true = last.pre_prepare
        body = true.body[:1] + b"\xcc" + true.body[1:]
        signature = self.hand.signer.sign(self.hand.roster.signing_bytes(true.kind, body))
        nested = structs.replace(true, body=body, signature=signature)
        return self.with_last(message, PreparedProof(nested, last.prepares))


@behaviour("another-checkpoint")
class AnotherCheckpoint(Changing):
    """Says in its VIEW-CHANGE that a later checkpoint is stable, under the certificate of the one that is."""

    def changed(self, message: ViewChange) -> Envelope | None:
        """One checkpoint further, and nothing prepared below it."""
        if message.checkpoint is None:
            return None
        later = Height(message.stable + self.hand.genesis.checkpoint_interval)
        above = tuple(
            proof for proof in message.prepared if decode_pre_prepare(proof.pre_prepare).sequence > later
        )
        return self.hand.sign(structs.replace(message, stable=later, prepared=above))


@behaviour("hide-prepared")
class HidePrepared(Changing):
    """Says in its VIEW-CHANGE that it holds nothing: no checkpoint, and nothing prepared."""

    def changed(self, message: ViewChange) -> Envelope | None:
        """What a member says that has just begun."""
        if not message.prepared and message.checkpoint is None:
            return None
        return self.hand.sign(ViewChange(message.view, Height(0), None, ()))


@behaviour("outdated-proof")
class OutdatedProof(Changing):
    """Shows in its VIEW-CHANGE, of all certificates that it knows for a sequence, the one of the lowest view;
    one that is the only one it hides."""

    def changed(self, message: ViewChange) -> Envelope | None:
        """Each is a true certificate; a later view prepared another batch."""
        lower = filter(None, (self._lower(decode_pre_prepare(each.pre_prepare)) for each in message.prepared))
        return self.hand.sign(structs.replace(message, prepared=tuple(lower)))

    def _lower(self, true: PrePrepare) -> PreparedProof | None:
        found = (self._prepared_in(view, true.sequence, true.digest) for view in range(true.view))
        return next(filter(None, found), None)

    def _prepared_in(self, view: int, sequence: int, other_than: bytes) -> PreparedProof | None:
        memory, primary = self.hand.memory, self.hand.primary(view)
        for place, proposal in memory.proposals.items():
            if place[:2] != (view, sequence) or place[2] == other_than:
                continue
            votes = memory.prepares.get(place, {})
            usable = tuple(votes[member] for member in sorted(votes) if member != primary)
            if len(usable) >= self.need:
                return PreparedProof(proposal, usable)
        return None

    def fire(self, times: int = 1) -> None:
        """To hide is no more than `hide-prepared` does: counted is what is shown of lower views."""
        made = [kinds.decode(each) for each in self._made.values() if each is not None]
        if any(isinstance(each, ViewChange) and each.prepared for each in made):
            super().fire(times)


@behaviour("pass-on-suspicions")
class PassOnSuspicions(Behaviour):
    """Passes on every SUSPECT that it hears, so that the others leave a view even where they do not hear each
    other."""

    def heard(self, member: MemberId, frame: Frame) -> None:
        """As its sender signed it."""
        if not isinstance(frame, EngineMessage) or frame.envelope.kind != SUSPECT or not self.may_fire():
            return
        if frame.envelope.signer == member:
            self.fire()
            self.hand.tell([other for other in self.hand.others if other != member], frame.envelope)


@behaviour("withhold-votes")
class WithholdVotes(Behaviour):
    """Says everything but PREPAREs and COMMITs, while it hears those of the others."""

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """Nothing."""
        if not isinstance(message, Prepare | Commit):
            return None
        if not self.may_fire(message.view, message.sequence, to):
            return None
        self.fire()
        return ()


@behaviour("equivocate-view-change")
class EquivocateViewChange(Changing):
    """Sends the primary of the view that comes another VIEW-CHANGE than all others: one that hides what it
    prepared. That one comes `delay_ms` later."""

    parameters: ClassVar[Parameters] = {"delay_ms": 20}

    def changed(self, message: ViewChange) -> Envelope | None:
        """Both are valid."""
        if not message.prepared:
            return None
        return self.hand.sign(structs.replace(message, prepared=()))

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """Only the next primary gets the other one."""
        if isinstance(message, ViewChange) and to != self.hand.primary(message.view):
            return None
        return super().on_message(to, envelope, message)

    def delay_ms(self, to: int, message: ViewChange) -> int:
        """The others hold theirs by then."""
        return self.number("delay_ms")


@behaviour("commits-to-primary")
class CommitsToPrimary(Behaviour):
    """Sends its COMMITs to the primary alone, which then decides what nobody else knows to be decided."""

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """Nothing for the others."""
        if not isinstance(message, Commit) or to == self.hand.primary(message.view):
            return None
        if not self.may_fire(message.view, message.sequence, to):
            return None
        self.fire()
        return ()


@behaviour("huge-view")
class HugeView(Behaviour):
    """Changes on and on to views ever further away, up to the last one that there is, and to one beyond it;
    suspects these too."""

    speaks_every_ms = 40

    def speak(self) -> None:
        """Each time twice as far."""
        if not self.may_fire():
            return
        self.fire()
        far = View(min(MAX_VIEW, self.hand.view + 2 ** min(self.fired, 53)))
        for view in (far, BEYOND_ALL_VIEWS):
            self.hand.tell(self.hand.others, self.hand.sign(ViewChange(view, Height(0), None, ())))
            self.hand.tell(self.hand.others, self.hand.sign(Suspect(view, self.hand.executed)))


@behaviour("spam-changes")
class SpamChanges(Behaviour):
    """Suspects the present view and the next ones, and changes to the next ones, fifty times a second."""

    speaks_every_ms = 20

    def speak(self) -> None:
        """All of it to everybody."""
        if not self.may_fire():
            return
        self.fire()
        for ahead in range(3):
            suspicion = Suspect(View(self.hand.view + ahead), self.hand.executed)
            change = ViewChange(View(self.hand.view + ahead + 1), Height(0), None, ())
            self.hand.tell(self.hand.others, self.hand.sign(suspicion))
            self.hand.tell(self.hand.others, self.hand.sign(change))


@behaviour("revive-suspicions")
class ReviveSuspicions(Behaviour):
    """Suspects the present view for ever, and shows again and again that others suspected it too, once."""

    speaks_every_ms = 60

    def speak(self) -> None:
        """Its own, and all that it heard of this view."""
        others = [envelope for envelope in self.hand.memory.said if self._is_of_this_view(envelope)]
        if not others or not self.may_fire():
            return
        self.fire()
        own = self.hand.sign(Suspect(View(self.hand.view), self.hand.executed))
        for to in self.hand.others:
            self.hand.tell(to, own)
            for envelope in others:
                if envelope.signer != to:
                    self.hand.tell(to, envelope)

    def _is_of_this_view(self, envelope: Envelope) -> bool:
        if envelope.kind != SUSPECT or envelope.signer == self.hand.member:
            return False
        suspicion = kinds.decode(envelope)
        return isinstance(suspicion, Suspect) and suspicion.view == self.hand.view


@behaviour("replay-changes")
class ReplayChanges(Behaviour):
    """Shows again and again, and to everybody, what all members said when views were left that are long gone:
    SUSPECTs, VIEW-CHANGEs and NEW-VIEWs. At most `REPLAYED` of them at a time, drawn by chance."""

    speaks_every_ms = 60

    def speak(self) -> None:
        """Everything about views up to the present one, once that is active."""
        status: Status | None = self.hand.status
        if status is None or status.view == 0 or not status.active or not self.may_fire():
            return
        old = [envelope for envelope in self.hand.memory.said if _is_over(envelope, status.view)]
        for envelope in self.random.sample(old, min(len(old), REPLAYED)):
            self.fire()
            self.hand.tell([to for to in self.hand.others if to != envelope.signer], envelope)


def _is_over(envelope: Envelope, view: int) -> bool:
    """Whether this was said to leave or to start a view that was reached long ago."""
    if envelope.kind not in (SUSPECT, VIEW_CHANGE, NEW_VIEW):
        return False
    message = kinds.decode(envelope)
    if isinstance(message, Suspect):
        return message.view < view
    return isinstance(message, ViewChange | NewView) and message.view <= view
