"""What a lying primary does with proposals (catalogue 1 to 16).

What lives here: behaviours of a member that leads. They change PRE-PREPAREs that the honest engine makes, and
what goes with them. What must not be known here: networks in which they are staged (`byzantine.attacks`).
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from byzantine.liars.liar import Behaviour, Hand, Outgoing, behaviour
from byzantine.liars.parameters import Parameters
from byzantine.scenario import Lie
from consensus.contract import Request
from crypto.batch import Millis, TxId, batch_digest, transaction_root
from crypto.digest import Digest
from crypto.signed import Envelope
from ledger.transaction import transaction_id
from pbft.door import split_ids
from pbft.messages import Commit, Prepare, PrePrepare, Proposal
from tetrarch.wire import Bodies, EngineMessage, Frame


class Proposing(Behaviour):
    """The base of those that change first proposals: re-proposals and resendings are left as they were
    changed."""

    def __init__(self, hand: Hand, lie: Lie) -> None:
        super().__init__(hand, lie)
        self._made: dict[tuple[int, int], Envelope] = {}
        self._chosen: dict[tuple[int, int], bool] = {}

    def may_change(self, message: PrePrepare, to: int) -> bool:
        """Whether the trigger allows it; what chance decided for one member holds for all."""
        place = (message.view, message.sequence)
        if place not in self._chosen:
            self._chosen[place] = self.may_fire(message.view, message.sequence)
        return self._chosen[place] and (self.lie.peers is None or to in self.lie.peers)

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """Change what is one's own proposal."""
        if isinstance(message, PrePrepare) and envelope.signer == self.hand.member:
            return self.on_proposal(to, envelope, message)
        return None

    def on_proposal(self, to: int, envelope: Envelope, message: PrePrepare) -> Iterable[Outgoing] | None:
        """Return what is sent to one member instead of a proposal; `None`: unchanged."""
        raise NotImplementedError

    def once_for_all(self, message: PrePrepare, make: Callable[[], Envelope]) -> Envelope:
        """Return what is proposed instead, the same for everybody."""
        place = (message.view, message.sequence)
        if place not in self._made:
            self._made[place] = make()
        return self._made[place]

    def proposal(
        self, message: PrePrepare, ids: list[TxId], timestamp: int | None = None, sequence: int | None = None
    ) -> Envelope:
        """Return another proposal for the same view: signed, its digest right for what it says."""
        return self.hand.sign(*self.unsigned(message, ids, timestamp, sequence))

    def unsigned(
        self, message: PrePrepare, ids: list[TxId], timestamp: int | None = None, sequence: int | None = None
    ) -> tuple[PrePrepare, bytes]:
        """Return what is signed and what travels beside it."""
        stamp = Millis(message.timestamp if timestamp is None else timestamp)
        height = type(message.sequence)(message.sequence if sequence is None else sequence)
        root = transaction_root(ids)
        digest = batch_digest(self.hand.roster.chain_id, height, stamp, root)
        return PrePrepare(message.view, height, digest, stamp, root), b"".join(ids)

    def sent(self, to: int, *envelopes: Envelope, delay_ms: int = 0) -> list[Outgoing]:
        """Return envelopes as frames for one member."""
        return [Outgoing(to, EngineMessage(envelope), delay_ms) for envelope in envelopes]


@behaviour("equivocate")
class Equivocate(Proposing):
    """Shows one half of the others its proposal, and the other half one without the last transaction, or with
    another timestamp where there is none."""

    def on_proposal(self, to: int, envelope: Envelope, message: PrePrepare) -> Iterable[Outgoing] | None:
        """The second half gets the other one."""
        others = self.hand.others
        if others.index(to) < len(others) // 2 or not self.may_change(message, to):
            return None
        ids = split_ids(envelope.beside)
        other = self.proposal(message, ids[:-1], None if ids else message.timestamp + 1)
        self.fire()
        return self.sent(to, other)


@behaviour("equivocate-with-votes")
class EquivocateWithVotes(Equivocate):
    """The same, and sends each half its own PREPARE and COMMIT for what it was shown."""

    def on_proposal(self, to: int, envelope: Envelope, message: PrePrepare) -> Iterable[Outgoing] | None:
        """Votes follow the proposal."""
        changed = super().on_proposal(to, envelope, message)
        shown = envelope if changed is None else next(iter(changed)).frame
        said = shown.envelope if isinstance(shown, EngineMessage) else shown
        if not isinstance(said, Envelope):
            return changed
        digest = message.digest if changed is None else _proposed(said).digest
        votes = [vote(message.view, message.sequence, digest) for vote in (Prepare, Commit)]
        return self.sent(to, said, *map(self.hand.sign, votes))

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """Its engine's own COMMITs would give it away."""
        if isinstance(message, Commit) and self.fired and self.may_fire(message.view, message.sequence, to):
            return ()
        return super().on_message(to, envelope, message)


def _proposed(envelope: Envelope) -> PrePrepare:
    from pbft.new_view import decode_pre_prepare

    return decode_pre_prepare(envelope)


@behaviour("primary-prepares")
class PrimaryPrepares(Proposing):
    """Sends a PREPARE for its own proposal, so as to be counted twice."""

    def on_proposal(self, to: int, envelope: Envelope, message: PrePrepare) -> Iterable[Outgoing] | None:
        """The vote follows the proposal."""
        if not self.may_change(message, to):
            return None
        self.fire()
        vote = self.hand.sign(Prepare(message.view, message.sequence, message.digest))
        return self.sent(to, envelope, vote)


@behaviour("wrong-digest")
class WrongDigest(Proposing):
    """Proposes a digest that is not that of the batch."""

    def on_proposal(self, to: int, envelope: Envelope, message: PrePrepare) -> Iterable[Outgoing] | None:
        """Signed, and wrong."""
        if not self.may_change(message, to):
            return None
        self.fire()
        digest = Digest(self.random.randbytes(32))
        wrong = PrePrepare(message.view, message.sequence, digest, message.timestamp, message.root)
        return self.sent(to, self.once_for_all(message, lambda: self.hand.sign(wrong, envelope.beside)))


@behaviour("forged-transaction")
class ForgedTransaction(Proposing):
    """Adds to each batch a transaction of a client's that the client never signed, and offers its body."""

    def on_proposal(self, to: int, envelope: Envelope, message: PrePrepare) -> Iterable[Outgoing] | None:
        """The forged body is a real one with another payload under the old signature."""
        if not self.hand.memory.bodies or not self.may_change(message, to):
            return None
        forged = self._forged()
        self.fire()
        other = self.proposal(message, [*split_ids(envelope.beside), transaction_id(forged)])
        return [Outgoing(to, Bodies(False, (forged,))), *self.sent(to, other)]

    def _forged(self) -> bytes:
        raw = bytearray(self.hand.memory.bodies[0])
        # The last character of the payload's last text, so that all of it still decodes.
        place = raw.rindex(b'"') - 1
        raw[place] = ord("x") if raw[place] != ord("x") else ord("y")
        return bytes(raw)


@behaviour("swapped-signatures")
class SwappedSignatures(Proposing):
    """Offers bodies whose signatures are swapped between transactions, before it proposes them."""

    def on_proposal(self, to: int, envelope: Envelope, message: PrePrepare) -> Iterable[Outgoing] | None:
        """The ids stay right, since signatures are no part of them."""
        bodies = list(self.hand.memory.bodies)[-4:]
        if len(bodies) < 2 or not self.may_change(message, to):
            return None
        self.fire()
        swapped = [bodies[-1 - place][:64] + body[64:] for place, body in enumerate(bodies)]
        return [Outgoing(to, Bodies(True, tuple(swapped))), *self.sent(to, envelope)]


@behaviour("withhold-body")
class WithholdBody(Proposing):
    """Proposes an id whose body nobody has, and answers no question for it."""

    def on_proposal(self, to: int, envelope: Envelope, message: PrePrepare) -> Iterable[Outgoing] | None:
        """An id of nothing."""
        if not self.may_change(message, to):
            return None
        self.fire()
        phantom = TxId(Digest(self.random.randbytes(32)))
        ids = [*split_ids(envelope.beside), phantom]
        return self.sent(to, self.once_for_all(message, lambda: self.proposal(message, ids)))


@behaviour("exclude")
class Exclude(Behaviour):
    """Says nothing at all to f of the others, so that a quorum goes on without them."""

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """Silence towards the last f."""
        return self._silence(to)

    def on_other(self, to: int, frame: Frame) -> Iterable[Outgoing] | None:
        """The same."""
        return self._silence(to)

    def _silence(self, to: int) -> Iterable[Outgoing] | None:
        if to not in self.hand.others[-self.hand.quorums.f :] or not self.may_fire(to=to):
            return None
        self.fire()
        return ()


@behaviour("censor")
class Censor(Behaviour):
    """While it leads, hides one client's requests from its engine, and never passes them on."""

    def __init__(self, hand: Hand, lie: Lie) -> None:
        super().__init__(hand, lie)
        self._victim: bytes | None = None

    def admits(self, request: Request) -> bool:
        """The first client that is seen is the victim."""
        sender = _sender(request.body)
        self._victim = self._victim or sender
        if sender != self._victim or not self.hand.leads or not self.may_fire():
            return True
        self.fire()
        return False


def _sender(raw: bytes) -> bytes:
    # Signature, the array's head, the chain id, then the sender (32 bytes each, 2 bytes of head each).
    return raw[64 + 1 + 34 + 2 : 64 + 1 + 34 + 2 + 32]


@behaviour("skip-sequence")
class SkipSequence(Proposing):
    """Leaves one sequence out: proposes everything one higher from there on."""

    def on_proposal(self, to: int, envelope: Envelope, message: PrePrepare) -> Iterable[Outgoing] | None:
        """Renumbered and signed anew."""
        if not self.may_change(message, to):
            return None
        self.fire()
        ids = split_ids(envelope.beside)
        return self.sent(to, self.proposal(message, ids, sequence=message.sequence + 1))


@behaviour("beyond-watermarks")
class BeyondWatermarks(Proposing):
    """Proposes beside each batch one just above the high watermark, and one far above."""

    def on_proposal(self, to: int, envelope: Envelope, message: PrePrepare) -> Iterable[Outgoing] | None:
        """Two more for each."""
        status = self.hand.status
        if status is None or not self.may_change(message, to):
            return None
        self.fire()
        above = [status.high + 1, status.high + 100 * self.hand.genesis.window]
        more = [self.proposal(message, [], sequence=sequence) for sequence in above]
        return self.sent(to, envelope, *more)


@behaviour("order-again")
class OrderAgain(Proposing):
    """Puts a transaction that was executed already into each batch."""

    def __init__(self, hand: Hand, lie: Lie) -> None:
        super().__init__(hand, lie)
        self._ordered: dict[TxId, int] = {}

    def on_proposal(self, to: int, envelope: Envelope, message: PrePrepare) -> Iterable[Outgoing] | None:
        """The first that is old enough."""
        ids = split_ids(envelope.beside)
        for tx_id in ids:
            self._ordered.setdefault(tx_id, message.sequence)
        executed = [
            tx_id for tx_id, at in self._ordered.items() if at <= self.hand.executed and tx_id not in ids
        ]
        if not executed or not self.may_change(message, to):
            return None
        self.fire()
        return self.sent(to, self.once_for_all(message, lambda: self.proposal(message, [executed[0], *ids])))


@behaviour("order-too-long-valid")
class OrderTooLongValid(Proposing):
    """Orders a batch as if it were proposed long before: some of it is then valid for too long, or the time
    goes back."""

    parameters: ClassVar[Parameters] = {"back_ms": 10_000}

    def on_proposal(self, to: int, envelope: Envelope, message: PrePrepare) -> Iterable[Outgoing] | None:
        """Its timestamp moves back by `back_ms`, within the clock bound."""
        if not self.may_change(message, to):
            return None
        self.fire()
        back = self.number("back_ms")
        ids = split_ids(envelope.beside)
        return self.sent(to, self.proposal(message, ids, timestamp=max(1, message.timestamp - back)))


@behaviour("wrong-time")
class WrongTime(Proposing):
    """Proposes timestamps far in the future, or, with a negative `by_ms`, in the past."""

    parameters: ClassVar[Parameters] = {"by_ms": 3_600_000}

    def on_proposal(self, to: int, envelope: Envelope, message: PrePrepare) -> Iterable[Outgoing] | None:
        """Moved by `by_ms`."""
        if not self.may_change(message, to):
            return None
        self.fire()
        stamp = max(1, message.timestamp + self.number("by_ms"))
        return self.sent(to, self.proposal(message, split_ids(envelope.beside), timestamp=stamp))


@behaviour("slow-proposals")
class SlowProposals(Proposing):
    """Keeps each proposal back for `delay_ms`: just below the others' timeout."""

    parameters: ClassVar[Parameters] = {"delay_ms": 600}

    def on_proposal(self, to: int, envelope: Envelope, message: PrePrepare) -> Iterable[Outgoing] | None:
        """Later."""
        if not self.may_change(message, to):
            return None
        self.fire()
        return self.sent(to, envelope, delay_ms=self.number("delay_ms"))


@behaviour("no-proposals")
class NoProposals(Proposing):
    """Says everything but proposals, by whatever name."""

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """Answers that name a batch are kept back too."""
        if isinstance(message, Proposal) and self.may_fire(to=to):
            return ()
        return super().on_message(to, envelope, message)

    def on_proposal(self, to: int, envelope: Envelope, message: PrePrepare) -> Iterable[Outgoing] | None:
        """Nothing."""
        if not self.may_change(message, to):
            return None
        self.fire()
        return ()


@behaviour("empty-batches")
class EmptyBatches(Proposing):
    """Proposes empty batches in place of what its engine proposes."""

    def on_proposal(self, to: int, envelope: Envelope, message: PrePrepare) -> Iterable[Outgoing] | None:
        """The same sequence and time, without transactions."""
        if not self.may_change(message, to):
            return None
        self.fire()
        return self.sent(to, self.proposal(message, []))
