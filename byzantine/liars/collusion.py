"""What liars do together (catalogue 64 and 66).

What lives here: behaviours of members that know of each other; each signs with its own key all the same. What
they do follows from who they are and from what the one of them that leads proposes to the others: they need
not talk, and may as well be processes apart. What must not be known here: how many of them there are.
"""

from collections.abc import Iterable
from typing import Any

from byzantine.liars.liar import Behaviour, Hand, Outgoing, behaviour
from byzantine.liars.primary import Proposing
from byzantine.scenario import Lie
from crypto.attestation import Height
from crypto.batch import transaction_root
from crypto.digest import Digest
from crypto.roster import MemberId
from crypto.signed import Envelope
from pbft.door import split_ids
from pbft.messages import Commit, NewView, Prepare, PrePrepare, Proposal, View, kinds
from tetrarch.wire import EngineMessage, Frame


@behaviour("stall-as-primary")
class StallAsPrimary(Behaviour):
    """Where it leads, it neither starts the view nor proposes anything; all else it does as it should."""

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """Nothing; answers that name a batch are kept back too."""
        leading = isinstance(message, PrePrepare | NewView) and envelope.signer == self.hand.member
        if not (leading or isinstance(message, Proposal)) or not self.may_fire(to=to):
            return None
        if leading:
            self.fire()
        return ()


@behaviour("split-decisions")
class SplitDecisions(Proposing):
    """Whoever of the colluders leads shows one half of all others another batch than the other half, and each
    colluder sends each half PREPARE and COMMIT for what that half was shown. The first batch is proposed to
    colluders too; the other one follows from it."""

    plots = True

    def __init__(self, hand: Hand, lie: Lie) -> None:
        super().__init__(hand, lie)
        self._voted: set[tuple[int, int]] = set()

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """Its engine's own votes in a plot are kept back."""
        if isinstance(message, Prepare | Commit) and (message.view, message.sequence) in self._voted:
            return ()
        return super().on_message(to, envelope, message)

    def on_proposal(self, to: int, envelope: Envelope, message: PrePrepare) -> Iterable[Outgoing] | None:
        """The second half gets the other one; its own COMMITs follow at once."""
        if not self.may_change(message, to):
            return None
        if to in self.hand.memory.colluders:
            return None
        said, beside = self._other(envelope, message)
        other = self.once_for_all(message, lambda: self.hand.sign(said, beside))
        self._voted.add((message.view, message.sequence))
        self.fire()
        second = to in self._halves()[1]
        vote = Commit(message.view, message.sequence, said.digest if second else message.digest)
        return self.sent(to, other if second else envelope, self.hand.sign(vote))

    def _other(self, envelope: Envelope, message: PrePrepare) -> tuple[PrePrepare, bytes]:
        ids = split_ids(envelope.beside)
        return self.unsigned(message, ids[:-1], None if ids else message.timestamp + 1)

    def heard(self, member: MemberId, frame: Frame) -> None:
        """A fellow's proposal: now is the time to vote, for each half as was agreed."""
        if not isinstance(frame, EngineMessage) or member not in self.hand.memory.colluders:
            return
        message = kinds.decode(frame.envelope)
        if not isinstance(message, PrePrepare):
            return
        place = (message.view, message.sequence)
        whole = transaction_root(split_ids(frame.envelope.beside)) == message.root
        if place in self._voted or not whole or not self.may_fire(message.view, message.sequence):
            return
        self._voted.add(place)
        self.fire()
        other, _ = self._other(frame.envelope, message)
        for half, digest in zip(self._halves(), (message.digest, other.digest), strict=True):
            self._vote(half, message.view, message.sequence, digest)

    def _vote(self, half: list[int], view: View, sequence: Height, digest: Digest) -> None:
        for vote in (Prepare, Commit):
            self.hand.tell(half, self.hand.sign(vote(view, sequence, digest)))

    def _halves(self) -> tuple[list[int], list[int]]:
        honest = [member for member in self.hand.roster.members if member not in self.hand.memory.colluders]
        return honest[: len(honest) // 2], honest[len(honest) // 2 :]
