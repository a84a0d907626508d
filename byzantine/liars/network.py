"""What a lying member does to form, signatures and resources (catalogue 60 to 63).

What lives here: behaviours that send bytes which a careless decoder, verifier or queue would take. What must
not be known here: networks in which they are staged (`byzantine.attacks`).
"""

from collections.abc import Iterable
from typing import Any, ClassVar

from msgspec import structs

from byzantine.liars.encodings import bombs, odd_forms
from byzantine.liars.liar import Behaviour, Hand, Outgoing, behaviour
from byzantine.liars.parameters import Parameters
from byzantine.liars.signing import malleated, real
from byzantine.scenario import Lie
from consensus.contract import Request
from crypto.attestation import Height
from crypto.codec import encode
from crypto.digest import digest
from crypto.keys import Signature
from crypto.roster import MemberId
from crypto.signed import Envelope
from pbft.messages import COMMIT, PREPARE, Commit, Prepare, View
from tetrarch.wire import Bodies, EngineMessage, Frame, pack


@behaviour("relabel-votes")
class RelabelVotes(Behaviour):
    """Passes every PREPARE on as a COMMIT, and every COMMIT as a PREPARE: the same bytes under the same
    signature, its own and others'."""

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """Its own, beside the true ones."""
        if not isinstance(message, Prepare | Commit) or not self.may_fire(message.view, message.sequence, to):
            return None
        self.fire()
        return (Outgoing(to, EngineMessage(relabelled(envelope))), Outgoing(to, EngineMessage(envelope)))

    def heard(self, member: MemberId, frame: Frame) -> None:
        """Others', as they come."""
        if isinstance(frame, EngineMessage) and frame.envelope.kind in (PREPARE, COMMIT) and self.may_fire():
            self.fire()
            self.hand.tell(self.hand.others, relabelled(frame.envelope))


def relabelled(envelope: Envelope) -> Envelope:
    """Return a vote's bytes as the other kind of vote."""
    return structs.replace(envelope, kind=COMMIT if envelope.kind == PREPARE else PREPARE)


@behaviour("malleate")
class Malleate(Behaviour):
    """Passes on whatever others signed, votes and transactions, under the same signature with the group's
    order added to S, before the good one where it can."""

    needs_ed25519 = True

    def __init__(self, hand: Hand, lie: Lie) -> None:
        super().__init__(hand, lie)
        real(hand.signer)

    def admits(self, request: Request) -> bool:
        """A client's transaction."""
        if self.may_fire():
            self.fire()
            body = malleated(request.body[:64]) + request.body[64:]
            self.hand.tell(self.hand.others, Bodies(True, (body,)))
        return True

    def heard(self, member: MemberId, frame: Frame) -> None:
        """A member's vote."""
        if isinstance(frame, EngineMessage) and self.may_fire():
            self.fire()
            envelope = frame.envelope
            changed = structs.replace(envelope, signature=malleated(envelope.signature))
            self.hand.tell(self.hand.others, changed)


@behaviour("odd-encodings")
class OddEncodings(Behaviour):
    """Sends each vote in other encodings too, signed as they are: trailing bytes, unknown fields, lengths
    longer than they must be; first within the envelope, then of the frame."""

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """The honest one comes last."""
        if not isinstance(message, Prepare | Commit) or not self.may_fire(message.view, message.sequence, to):
            return None
        self.fire()
        # Where it is the same message to whoever decodes laxly, it says something else.
        other = encode(structs.replace(message, digest=digest("odd", message.digest)))
        honest = pack(EngineMessage(envelope))
        odd = [pack(EngineMessage(self._signed(envelope, form))) for form in odd_forms(other)]
        odd += [honest[:1] + form for form in odd_forms(honest[1:])]
        return [Outgoing(to, form) for form in (*odd, honest)]

    def _signed(self, envelope: Envelope, body: bytes) -> Envelope:
        signature = self.hand.signer.sign(self.hand.roster.signing_bytes(envelope.kind, body))
        return structs.replace(envelope, body=body, signature=signature)


@behaviour("bombs")
class Bombs(Behaviour):
    """Sends members frames that claim lengths they do not have, that nest without end, and envelopes within
    envelopes."""

    speaks_every_ms = 100

    def speak(self) -> None:
        """As every type of frame, and as the body of every kind of message."""
        if not self.may_fire():
            return
        self.fire()
        to = self.random.choice(self.hand.others)
        for kind in range(64, 69):
            for bomb in bombs():
                self.hand.tell(to, bytes((kind,)) + bomb)
        for name in KINDS:
            for bomb in bombs():
                self.hand.tell(to, self._envelope(name, bomb[:MAX_BOMB]))
            self.hand.tell(to, self._nested(name))

    def _envelope(self, kind: str, body: bytes) -> Envelope:
        signature = self.hand.signer.sign(self.hand.roster.signing_bytes(kind, body))
        return Envelope(kind, self.hand.roster.epoch, self.hand.member, body, signature)

    def _nested(self, kind: str) -> Envelope:
        inner = self._envelope(kind, b"\x90")
        for _ in range(NESTED):
            inner = self._envelope(kind, encode(inner))
        return inner


KINDS = ("pbft/new-view", "pbft/view-change", "pbft/stable", "pbft/prepare")
NESTED = 20
MAX_BOMB = 20_000


@behaviour("bad-signature-flood")
class BadSignatureFlood(Behaviour):
    """Sends more votes than may wait of one member, in its own name and in others', under signatures that are
    none."""

    parameters: ClassVar[Parameters] = {"count": 5_000}
    speaks_every_ms = 150

    def speak(self) -> None:
        """`count` at once, to one member."""
        status = self.hand.status
        if status is None or not self.may_fire():
            return
        self.fire()
        to = self.random.choice(self.lie.peers or self.hand.others)
        roster = self.hand.roster
        vote = Prepare(View(status.view), Height(status.executed + 1), digest("flood"))
        body = encode(vote)
        for number in range(self.number("count")):
            signer = MemberId(number % roster.n)
            signature = Signature(self.random.randbytes(64))
            self.hand.tell(to, Envelope(PREPARE, roster.epoch, signer, body, signature))
