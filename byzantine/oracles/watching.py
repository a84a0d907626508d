"""Conduct: what a correct member never says, watched as it says it.

What lives here: the promises that a member's own signed messages make, over its whole life, restarts
included. What must not be known here: the engine's state.

- One PRE-PREPARE, PREPARE and COMMIT per view and sequence; one attestation per height; one VIEW-CHANGE per
  view.
- No vote for another batch than the one that it executed at that height, but such as it cast before. Where
  more than f lie, a NEW-VIEW may make it do that.
- After VIEW-CHANGE(w) no vote in a view below w (rule 29).
- A VIEW-CHANGE shows, for every sequence above its checkpoint that its sender committed, a prepared
  certificate of that view or a later one (rules 2 and 16).
"""

from typing import Any

from crypto.attestation import Attestation
from crypto.signed import Envelope
from pbft.messages import Commit, NewView, Prepare, PrePrepare, ViewChange, kinds
from pbft.new_view import decode_pre_prepare


class Conduct:
    """Watches one member. What its process had not sent when it crashed was never said."""

    def __init__(self, member: int, within_budget: bool = True) -> None:
        """`within_budget`: at most f members lie."""
        self.member, self.within_budget = member, within_budget
        self.broken: list[str] = []
        """Promises that were broken, in words."""
        self._said: dict[tuple[str, int, int], bytes] = {}
        self._committed: dict[int, int] = {}
        """The highest view in which each sequence was committed."""
        self._executed: dict[int, bytes] = {}
        """The digest of the batch at each height."""
        self._left = 0
        """The highest view that a VIEW-CHANGE was said for."""

    def note(self, envelope: Envelope) -> None:
        """Take one message that the member sends; others' messages that it passes on are not its own."""
        if envelope.signer != self.member:
            return
        message = kinds.decode(envelope)
        match message:
            case PrePrepare() | Prepare() | Commit():
                self._note_vote(envelope, message)
            case Attestation():
                self.attested(message)
            case ViewChange():
                self._note_view_change(envelope, message)
            case NewView():
                self._once("new-view", message.view, 0, envelope.body)
                for bare in message.pre_prepares:
                    self._note_vote(bare, decode_pre_prepare(bare))

    def attested(self, said: Attestation) -> None:
        """Take an attestation of the member, to members or to clients."""
        self._once("attestation", 0, said.height, said.block_hash)

    def executed(self, height: int, batch: bytes) -> None:
        """Note which batch the member executed."""
        self._executed[height] = batch

    def _note_vote(self, envelope: Envelope, message: Any) -> None:
        kind = envelope.kind.removeprefix("pbft/")
        again = self._once(kind, message.view, message.sequence, message.digest)
        other = self._executed.get(message.sequence, message.digest) != message.digest
        if other and not again and self.within_budget:
            self._broken(f"sent a {kind} for another batch than it executed at height {message.sequence}")
        if message.view < self._left:
            self._broken(f"sent a {kind} in view {message.view} after VIEW-CHANGE({self._left})")
        if isinstance(message, Commit):
            held = self._committed.get(message.sequence, -1)
            self._committed[message.sequence] = max(held, message.view)

    def _note_view_change(self, envelope: Envelope, message: ViewChange) -> None:
        self._once("view-change", message.view, 0, envelope.body)
        self._left = max(self._left, message.view)
        proposals = [decode_pre_prepare(proof.pre_prepare) for proof in message.prepared]
        shown: dict[int, int] = {int(proposal.sequence): int(proposal.view) for proposal in proposals}
        for sequence, view in self._committed.items():
            if sequence > message.stable and view < message.view and shown.get(sequence, -1) < view:
                self._broken(
                    f"hid in VIEW-CHANGE({message.view}) that it committed sequence {sequence} in view {view}"
                )

    def _once(self, kind: str, view: int, place: int, says: bytes) -> bool:
        """Note what is said; returns whether something was said there before."""
        again = (kind, view, place) in self._said
        before = self._said.setdefault((kind, view, place), bytes(says))
        if before != says:
            where = f"view {view}, sequence {place}" if kind != "attestation" else f"height {place}"
            self._broken(f"signed two different {kind}s for {where}")
        return again

    def _broken(self, what: str) -> None:
        self.broken.append(f"member {self.member} {what}")
