"""Lies about checkpoints, and about where one stands (catalogue 39 to 46).

What lives here: behaviours of a member that attests, says where it stands, and passes certificates on; and
one that is honest, and computes wrongly. What must not be known here: serving blocks
(`byzantine.liars.serving`), and networks in which all this is staged (`byzantine.attacks`).
"""

from collections.abc import Iterable
from typing import Any, ClassVar

from msgspec import structs

from byzantine.liars.liar import Behaviour, Hand, Outgoing, behaviour
from byzantine.liars.parameters import Parameters
from byzantine.scenario import Lie
from crypto.attestation import MAX_HEIGHT, Attestation, Height, attested
from crypto.codec import encode
from crypto.digest import digest
from crypto.roster import Epoch
from crypto.signed import Certificate, Envelope, Signed, Vote, make_certificate
from ledger.application import Application, ApplicationContext, StateReader, StateView
from pbft.messages import Commit, Prepare, Stable, Status
from tetrarch.wire import EngineMessage


class CheckpointLie(Behaviour):
    """The base of those that lie about checkpoints."""

    def multiple(self, height: int) -> Height:
        """Return the first checkpoint height above `height`."""
        interval = self.hand.genesis.checkpoint_interval
        return Height(min((height // interval + 1) * interval, MAX_HEIGHT // interval * interval))

    def sent(self, to: int, *envelopes: Envelope) -> list[Outgoing]:
        """Return envelopes as frames for one member."""
        return [Outgoing(to, EngineMessage(envelope)) for envelope in envelopes]


@behaviour("wrong-hash")
class WrongHash(CheckpointLie):
    """Attests another block hash at each checkpoint: all who lie so name the same one."""

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """In place of its engine's."""
        if not isinstance(message, Attestation) or not self.may_fire(sequence=message.height, to=to):
            return None
        self.fire()
        wrong = Attestation(message.height, digest("invented", message.block_hash))
        return self.sent(to, self.hand.sign(wrong))


@behaviour("two-attestations")
class TwoAttestations(CheckpointLie):
    """With its first vote below each checkpoint attests two different blocks there, neither of which is known
    yet."""

    def __init__(self, hand: Hand, lie: Lie) -> None:
        super().__init__(hand, lie)
        self._told: set[tuple[int, int]] = set()

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """Beside the vote."""
        if not isinstance(message, Prepare | Commit) or envelope.signer != self.hand.member:
            return None
        height = self.multiple(message.sequence)
        if (height, to) in self._told or not self.may_fire(message.view, message.sequence, to):
            return None
        self._told.add((height, to))
        self.fire()
        hashes = [digest("invented", bytes([number]), encode(height)) for number in range(2)]
        return self.sent(to, envelope, *(self.hand.sign(Attestation(height, each)) for each in hashes))


@behaviour("flood-attestations")
class FloodAttestations(CheckpointLie):
    """Attests heights far in the future without end: ever higher ones, lower ones again, and some at which
    there are no checkpoints."""

    speaks_every_ms = 100

    def __init__(self, hand: Hand, lie: Lie) -> None:
        super().__init__(hand, lie)
        self._reached = 1_000 * hand.genesis.window

    def speak(self) -> None:
        """Some of each, to all."""
        if not self.may_fire():
            return
        self.fire()
        first = self._reached
        for _ in range(10):
            self._reached = self.multiple(self._reached)
            self._attest(self._reached)
        self._attest(self.multiple(first))
        self._attest(self._reached + 1)

    def _attest(self, height: int) -> None:
        said = Attestation(Height(height), digest("invented", encode(height)))
        self.hand.tell(self.hand.others, self.hand.sign(said))


@behaviour("attest-early")
class AttestEarly(CheckpointLie):
    """Repeats as its own what others attest at a checkpoint, before it executed so far: it hides from its
    engine the COMMITs for that block."""

    def __init__(self, hand: Hand, lie: Lie) -> None:
        super().__init__(hand, lie)
        self._attested: set[int] = set()

    def hears(self, message: Signed[Any]) -> bool:
        """The engine executes the block when it fetched it."""
        said = message.message
        if isinstance(said, Commit):
            return said.sequence % self.hand.genesis.checkpoint_interval != 0 or not self.may_fire()
        early = isinstance(said, Attestation) and said.height > self.hand.executed
        if early and said.height not in self._attested and self.may_fire(sequence=said.height):
            self.fire()
            self._attested.add(said.height)
            self.hand.tell(self.hand.others, self.hand.sign(said))
        return True


@behaviour("phantom-height")
class PhantomHeight(Behaviour):
    """Claims to have executed thousands of blocks more than there are, and has nothing to give of them."""

    parameters: ClassVar[Parameters] = {"by": 5_000}

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """In its STATUS."""
        if not isinstance(message, Status) or envelope.signer != self.hand.member or not self.may_fire(to=to):
            return None
        self.fire()
        executed = Height(min(message.executed + self.number("by"), MAX_HEIGHT))
        return [Outgoing(to, EngineMessage(self.hand.sign(structs.replace(message, executed=executed))))]


@behaviour("claims-need")
class ClaimsNeed(Behaviour):
    """Claims in every STATUS that its disk is old, and that it needs blocks up to a height far ahead."""

    parameters: ClassVar[Parameters] = {"windows": 3}

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """As far as a primary lets itself be asked, and farther with each checkpoint."""
        if not isinstance(message, Status) or envelope.signer != self.hand.member or not self.may_fire(to=to):
            return None
        self.fire()
        needs = Height(message.stable + self.number("windows") * self.hand.genesis.window)
        return [Outgoing(to, EngineMessage(self.hand.sign(structs.replace(message, needs=needs))))]


@behaviour("phantom-target")
class PhantomTarget(CheckpointLie):
    """Passes on certificates of a checkpoint that does not exist: with its own signature alone, or with votes
    of the others that they cast for something else."""

    parameters: ClassVar[Parameters] = {"by": 1_000}
    speaks_every_ms = 50

    def speak(self) -> None:
        """One of each kind, to all."""
        said = [each for each in self.hand.memory.said if each.signer != self.hand.member]
        votes = {each.signer: Vote(each.signer, each.signature) for each in said}
        if len(votes) + 1 < self.hand.quorums.quorum or not self.may_fire():
            return
        self.fire()
        height = self.multiple(self.hand.executed + self.number("by"))
        own = self.hand.sign(Attestation(height, digest("invented", encode(height))))
        vote = Vote(own.signer, own.signature)
        for signers in ([vote], [vote, *votes.values()]):
            self.hand.tell(self.hand.others, self.hand.sign(Stable(make_certificate(own, signers))))


@behaviour("mixed-checkpoint")
class MixedCheckpoint(CheckpointLie):
    """Passes on certificates that mix checkpoints: the statement of one, the votes of another, or another
    epoch."""

    speaks_every_ms = 50

    def __init__(self, hand: Hand, lie: Lie) -> None:
        super().__init__(hand, lie)
        self._said: dict[int, dict[int, Envelope]] = {}

    def hears(self, message: Signed[Any]) -> bool:
        """Attestations are kept, whoever made them."""
        if isinstance(message.message, Attestation):
            self._said.setdefault(message.message.height, {})[message.signer] = message.envelope
        return True

    def speak(self) -> None:
        """The newest statement with older votes, and right votes under another epoch."""
        full = [
            height for height, by in sorted(self._said.items()) if len(by) >= self.hand.quorums.quorum - 1
        ]
        if len(full) < 2 or not self.may_fire():
            return
        self.fire()
        older, newer = (list(self._said[height].values()) for height in full[-2:])
        mixed = self._certificate(newer, [*older[1:], newer[0]])
        other = structs.replace(self._certificate(newer, newer), epoch=Epoch(newer[0].epoch + 1))
        for certificate in (mixed, other):
            self.hand.tell(self.hand.others, self.hand.sign(Stable(certificate)))

    def _certificate(self, statements: list[Envelope], votes: list[Envelope]) -> Certificate:
        """Its own vote, for what the certificate says, makes it a quorum."""
        own = self.hand.sign(attested(statements[0]))
        signers = {each.signer: Vote(each.signer, each.signature) for each in (*votes, own)}
        return make_certificate(statements[0], signers.values())


@behaviour("diverge")
class Diverge(Behaviour):
    """Says nothing that it does not believe: its application computes something else than the others', as on
    broken hardware or with another version of it."""

    def application(self, application: Application) -> Application:
        """The genesis' application, with a fault."""
        return _Faulty(application, self)


class _Faulty:
    """An application that leaves one write too many (`ledger.application.Application`)."""

    def __init__(self, application: Application, lie: Diverge) -> None:
        self._application, self._lie = application, lie

    def check(self, payload: bytes) -> None:
        """As it should."""
        self._application.check(payload)

    def execute(self, context: ApplicationContext, payload: bytes, state: StateView) -> bytes:
        """The right result over a wrong state."""
        value = self._application.execute(context, payload, state)
        if self._lie.may_fire(sequence=context.height):
            self._lie.fire()
            state.put(b"fault", b"true")
        return value

    def query(self, question: bytes, state: StateReader) -> bytes:
        """As it should."""
        return self._application.query(question, state)
