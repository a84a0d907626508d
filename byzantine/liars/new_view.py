"""What the primary of a new view makes of the VIEW-CHANGEs (catalogue 33 to 36, and 38).

What lives here: behaviours of a member that comes to lead. What must not be known here: networks in which
they are staged (`byzantine.attacks`).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import structs

from byzantine.liars.liar import Behaviour, Hand, Outgoing, behaviour
from byzantine.scenario import Lie
from crypto.attestation import Height
from crypto.batch import Millis, batch_digest
from crypto.codec import encode
from crypto.keys import SIGNATURE_BYTES, Signature
from crypto.roster import MemberId
from crypto.signed import Envelope
from pbft.messages import NewView, PrePrepare, View, ViewChange, kinds
from pbft.new_view import NULL_ROOT, Proposed, decode_pre_prepare, decode_view_change, implied, null_request
from tetrarch.wire import EngineMessage


class Starting(Behaviour):
    """The base of those that say another NEW-VIEW than their engine: the same to everybody, and again when it
    is resent."""

    def __init__(self, hand: Hand, lie: Lie) -> None:
        super().__init__(hand, lie)
        self._made: dict[int, Envelope | None] = {}
        self._proposals: dict[tuple[int, int], Envelope] = {}

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """Change what is one's own NEW-VIEW."""
        if not isinstance(message, NewView) or envelope.signer != self.hand.member:
            return None
        if message.view not in self._made:
            self._made[message.view] = self.started(message) if self.may_fire(message.view) else None
        made = self._made[message.view]
        if made is None or (self.lie.peers is not None and to not in self.lie.peers):
            return None
        self.fire()
        return [Outgoing(to, EngineMessage(made))]

    def started(self, message: NewView) -> Envelope | None:
        """Return what is said instead; `None` where there is nothing to lie about."""
        raise NotImplementedError

    # Parts.

    def with_last(self, message: NewView, other: PrePrepare) -> Envelope:
        """Return the NEW-VIEW with another last proposal."""
        proposals = (*message.pre_prepares[:-1], self.hand.sign(other))
        return self.hand.sign(structs.replace(message, pre_prepares=proposals))

    def begun_from(self, view: View, changes: Sequence[Envelope]) -> Envelope:
        """Return the NEW-VIEW that these VIEW-CHANGEs imply, be they a quorum or not."""
        start = implied(self.hand.roster.chain_id, [decode_view_change(change) for change in changes])
        return self.hand.sign(NewView(view, tuple(changes), self._again(view, start.proposals)))

    def _again(self, view: View, proposals: Iterable[Proposed]) -> tuple[Envelope, ...]:
        return tuple(
            self.hand.sign(PrePrepare(view, each.sequence, each.digest, each.timestamp, each.root))
            for each in proposals
        )


@behaviour("new-view-omits")
class NewViewOmits(Starting):
    """Leaves the last prepared sequence out of its NEW-VIEW."""

    def started(self, message: NewView) -> Envelope | None:
        """One proposal fewer."""
        if not message.pre_prepares:
            return None
        return self.hand.sign(structs.replace(message, pre_prepares=message.pre_prepares[:-1]))


@behaviour("new-view-nulls")
class NewViewNulls(Starting):
    """Proposes in its NEW-VIEW a null request for the last prepared sequence."""

    def started(self, message: NewView) -> Envelope | None:
        """The last one is a real batch: nothing prepared lies above it."""
        if not message.pre_prepares:
            return None
        true = decode_pre_prepare(message.pre_prepares[-1])
        null = null_request(self.hand.roster.chain_id, true.sequence)
        if null.digest == true.digest:
            return None
        other = PrePrepare(message.view, null.sequence, null.digest, null.timestamp, null.root)
        return self.with_last(message, other)


@behaviour("new-view-changes")
class NewViewChanges(Starting):
    """Proposes in its NEW-VIEW another batch for the last prepared sequence."""

    def started(self, message: NewView) -> Envelope | None:
        """The same transactions, a little later."""
        if not message.pre_prepares:
            return None
        true = decode_pre_prepare(message.pre_prepares[-1])
        stamp = Millis(true.timestamp + 1)
        digest = batch_digest(self.hand.roster.chain_id, true.sequence, stamp, true.root)
        return self.with_last(message, structs.replace(true, timestamp=stamp, digest=digest))


@behaviour("few-changes")
class FewChanges(Starting):
    """Begins its view with one VIEW-CHANGE fewer than a quorum."""

    def started(self, message: NewView) -> Envelope | None:
        """What these imply is right."""
        return self.begun_from(message.view, message.view_changes[:-1])


@behaviour("repeated-change")
class RepeatedChange(Starting):
    """Begins its view with a VIEW-CHANGE that is counted twice."""

    def started(self, message: NewView) -> Envelope | None:
        """As many as are needed, of one member fewer."""
        kept = message.view_changes[:-1]
        return self.begun_from(message.view, (*kept, kept[-1]))


@behaviour("outdated-change")
class OutdatedChange(Starting):
    """Begins its view with a VIEW-CHANGE that another member said for an earlier one."""

    def started(self, message: NewView) -> Envelope | None:
        """Shown again as it was signed."""
        changes = list(message.view_changes)
        for place, change in enumerate(changes):
            for view in range(message.view):
                said = self.hand.memory.changes.get(view, {}).get(change.signer)
                if said is not None and change.signer != self.hand.member:
                    changes[place] = said
                    return self.begun_from(message.view, changes)
        return None


@behaviour("stranger-change")
class StrangerChange(Starting):
    """Begins its view with a VIEW-CHANGE of a member that does not exist."""

    def started(self, message: NewView) -> Envelope | None:
        """Signed with its own key."""
        own = self.hand.sign(ViewChange(message.view, Height(0), None, ()))
        strange = structs.replace(own, signer=MemberId(self.hand.roster.n))
        return self.begun_from(message.view, (*message.view_changes[:-1], strange))


@behaviour("altered-change")
class AlteredChange(Starting):
    """Alters a VIEW-CHANGE of another member in its NEW-VIEW, so that it hides what was prepared."""

    def started(self, message: NewView) -> Envelope | None:
        """The signature stays that of the true one."""
        changes = list(message.view_changes)
        for place, change in enumerate(changes):
            said = decode_view_change(change)
            if change.signer != self.hand.member and said.prepared:
                body = encode(structs.replace(said, prepared=said.prepared[:-1]))
                changes[place] = structs.replace(change, body=body)
                return self.begun_from(message.view, changes)
        return None


@behaviour("unsigned-proposals")
class UnsignedProposals(Starting):
    """Signs its NEW-VIEW, but none of the proposals in it."""

    def started(self, message: NewView) -> Envelope | None:
        """Zeros where signatures belong."""
        if not message.pre_prepares:
            return None
        nothing = Signature(bytes(SIGNATURE_BYTES))
        bare = tuple(structs.replace(each, signature=nothing) for each in message.pre_prepares)
        return self.hand.sign(structs.replace(message, pre_prepares=bare))


@behaviour("withhold-new-view")
class WithholdNewView(Behaviour):
    """Sends its NEW-VIEW to nobody, or not to some."""

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """Nothing."""
        if not isinstance(message, NewView) or envelope.signer != self.hand.member:
            return None
        if not self.may_fire(message.view, to=to):
            return None
        self.fire()
        return ()


@behaviour("two-new-views")
class TwoNewViews(Starting):
    """Begins its view in two ways: for the second half of the others from VIEW-CHANGEs of which its own hides
    what it alone knows to be prepared. There it proposes empty batches in the places of these."""

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """The first half gets the engine's."""
        others = self.hand.others
        if not isinstance(message, NewView) or others.index(to) < len(others) // 2:
            return None
        changed = super().on_message(to, envelope, message)
        return None if changed is None else [*changed, *self._other_proposals(to, message)]

    def started(self, message: NewView) -> Envelope | None:
        """Its own VIEW-CHANGE differs."""
        changes = []
        for change in message.view_changes:
            hidden = structs.replace(decode_view_change(change), prepared=())
            changes.append(self.hand.sign(hidden) if change.signer == self.hand.member else change)
        other = self.begun_from(message.view, changes)
        return other if _proposed(other) < len(message.pre_prepares) else None

    def _other_proposals(self, to: int, message: NewView) -> Iterable[Outgoing]:
        other = self._made[message.view]
        shown = 0 if other is None else _proposed(other)
        for left_out in message.pre_prepares[shown:]:
            sequence = decode_pre_prepare(left_out).sequence
            place = (message.view, sequence)
            if place not in self._proposals:
                self._proposals[place] = self._empty(message.view, sequence)
            yield Outgoing(to, EngineMessage(self._proposals[place]))

    def _empty(self, view: View, sequence: Height) -> Envelope:
        stamp = Millis(self.hand.world.wall_ms())
        digest = batch_digest(self.hand.roster.chain_id, sequence, stamp, NULL_ROOT)
        return self.hand.sign(PrePrepare(view, sequence, digest, stamp, NULL_ROOT))


def _proposed(new_view: Envelope) -> int:
    message = kinds.decode(new_view)
    return len(message.pre_prepares) if isinstance(message, NewView) else 0
