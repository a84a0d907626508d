"""Structure-aware mutation of protocol messages by rounds, as ByzzFuzz does (catalogue 67).

What lives here: for each kind of message the small changes that keep it well-formed, those inside of
VIEW-CHANGEs, NEW-VIEWs and checkpoints included, and the choice of rounds in which they are made. What must
not be known here: what the changes lead to.

A round is one kind of message of one view and sequence. In a chosen round the liar sends some of the others a
mutated message: one field one step off (`small`), or anything that decodes. (Winter et al., "Randomized
Testing of Byzantine Fault Tolerant Algorithms", 2023.)
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, TypeVar

from msgspec import structs

from byzantine.liars.liar import Behaviour, Hand, Outgoing, behaviour
from byzantine.liars.parameters import Parameters, parameter
from byzantine.scenario import Lie
from crypto.attestation import MAX_HEIGHT, Attestation, Height, attested
from crypto.batch import Millis, batch_digest, transaction_root
from crypto.digest import Digest
from crypto.signed import Certificate, Envelope
from pbft.door import split_ids
from pbft.messages import (
    MAX_VIEW,
    Commit,
    FetchProposal,
    NewView,
    Prepare,
    PreparedProof,
    PrePrepare,
    Proposal,
    Stable,
    Status,
    Suspect,
    ViewChange,
)
from pbft.new_view import decode_pre_prepare, decode_view_change, null_request
from tetrarch.wire import EngineMessage

T = TypeVar("T")

SHARE = 0.4
"""Of rounds that are chosen, unless the lie's probability says otherwise."""


@behaviour("mutate")
class Mutate(Behaviour):
    """Mutates what its engine says in some rounds, towards some of the others."""

    parameters: ClassVar[Parameters] = {"small": True}

    def __init__(self, hand: Hand, lie: Lie) -> None:
        super().__init__(hand, lie)
        self._rounds: dict[tuple[str, int, int], frozenset[int]] = {}
        """Towards whom each round is mutated."""
        self.small = bool(parameter(self.parameters, lie, "small"))

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """Replace what is one's own, in a chosen round."""
        if envelope.signer != self.hand.member:
            return None
        view = int(getattr(message, "view", 0))
        place = int(getattr(message, "sequence", getattr(message, "height", 0)))
        if to not in self._chosen(envelope.kind, view, place):
            return None
        mutated = self.mutated(envelope, message)
        if mutated is None:
            return None
        self.fire()
        return [Outgoing(to, EngineMessage(mutated))]

    def _chosen(self, kind: str, view: int, place: int) -> frozenset[int]:
        round_ = (kind, view, place)
        if round_ not in self._rounds:
            others = self.hand.others
            some = self.random.sample(others, self.random.randint(1, len(others)))
            fires = self.random.random() < SHARE and self.may_fire(view, place)
            self._rounds[round_] = frozenset(some) if fires else frozenset()
        return self._rounds[round_]

    def mutated(self, envelope: Envelope, message: Any) -> Envelope | None:
        """Return the message with one thing changed, signed anew; `None` where nothing can be."""
        makers: dict[type, Callable[[Any], Any]] = {
            Prepare: self._vote,
            Commit: self._vote,
            Attestation: self._attestation,
            ViewChange: self._view_change,
            NewView: self._new_view,
            Status: self._status,
            Suspect: lambda said: structs.replace(said, view=self._off(said.view, MAX_VIEW)),
            Stable: lambda said: structs.replace(said, checkpoint=self._certificate(said.checkpoint)),
            FetchProposal: self._vote,
        }
        if isinstance(message, PrePrepare | Proposal):
            return self._proposal(envelope, message)
        make = makers.get(type(message))
        changed = None if make is None else make(message)
        return None if changed is None or changed == message else self.hand.sign(changed)

    # Small pieces.

    def _pick(self, options: Sequence[T]) -> T:
        return options[self.random.randrange(len(options))]

    def _off(self, number: int, most: int, least: int = 0) -> Any:
        near = [number - 1, number + 1]
        far = [least, number + self.hand.genesis.checkpoint_interval, number * 2 + 1, most]
        options = [each for each in (near if self.small else near + far) if least <= each <= most]
        return self._pick(options or [number])

    def _digest(self, sequence: int) -> Digest:
        """Another digest: one that was proposed near, or none that anybody knows."""
        near = [Digest(digest) for _, at, digest in self.hand.memory.proposals if abs(at - sequence) <= 1]
        return self._pick([*near[-8:], Digest(self.random.randbytes(32))])

    # Messages.

    def _vote(self, said: Any) -> Any:
        field = self._pick(
            ["sequence", "digest", "digest", "view"] if hasattr(said, "view") else ["sequence", "digest"]
        )
        if field == "digest":
            return structs.replace(said, digest=self._digest(said.sequence))
        if field == "view":
            return structs.replace(said, view=self._off(said.view, MAX_VIEW))
        return structs.replace(said, sequence=self._off(said.sequence, MAX_HEIGHT, 1))

    def _proposal(self, envelope: Envelope, said: PrePrepare | Proposal) -> Envelope | None:
        """Another batch: with a transaction less or twice, another order, time or place."""
        ids = split_ids(envelope.beside)
        stamp, sequence = said.timestamp, said.sequence
        match self._pick(["fewer", "order", "time", "place", "again"]):
            case "fewer":
                ids = ids[:-1]
            case "order":
                ids = ids[::-1]
            case "time":
                stamp = Millis(max(0, stamp + self._pick([-1, 1, -5_000, 5_000])))
            case "place":
                sequence = self._off(sequence, MAX_HEIGHT, 1)
            case _:
                ids = ids + ids[:1]
        return self._resigned(said, ids, int(stamp), int(sequence))

    def _resigned(
        self, said: PrePrepare | Proposal, ids: list[Any], stamp: int, sequence: int
    ) -> Envelope | None:
        root = transaction_root(ids)
        height, time = Height(sequence), Millis(stamp)
        if isinstance(said, Proposal):
            return self.hand.sign(Proposal(height, time, root), b"".join(ids))
        digest = batch_digest(self.hand.roster.chain_id, height, time, root)
        return self.hand.sign(PrePrepare(said.view, height, digest, time, root), b"".join(ids))

    def _attestation(self, said: Attestation) -> Attestation:
        if self.random.random() < 0.5:
            hashes = [Digest(self.random.randbytes(32)), *list(self.hand.hashes.values())[-4:]]
            return structs.replace(said, block_hash=self._pick(hashes))
        return structs.replace(said, height=self._off(said.height, MAX_HEIGHT))

    def _status(self, said: Status) -> Status:
        field = self._pick(["view", "stable", "executed", "needs", "wants", "at", "active", "awake"])
        value = getattr(said, field)
        if isinstance(value, bool):
            return structs.replace(said, **{field: not value})
        return structs.replace(said, **{field: self._off(int(value), MAX_HEIGHT)})

    def _certificate(self, certificate: Certificate) -> Certificate:
        """A vote less, a vote that belongs to another, the votes in another order, or another statement."""
        votes = list(certificate.votes)
        match self._pick(["fewer", "swapped", "order", "older"]):
            case "fewer":
                votes = votes[:-1]
            case "swapped" if len(votes) > 1:
                votes[0] = structs.replace(votes[0], signature=votes[1].signature)
            case "order":
                votes = votes[::-1]
            case _:
                older = self.hand.memory.checkpoints
                return self._pick(older[:4]) if older else certificate
        return structs.replace(certificate, votes=tuple(votes))

    def _view_change(self, said: ViewChange) -> ViewChange:
        options: list[Callable[[], ViewChange]] = [
            lambda: structs.replace(said, view=self._off(said.view, MAX_VIEW, 1)),
            lambda: structs.replace(said, stable=self._off(said.stable, MAX_HEIGHT)),
            lambda: structs.replace(said, checkpoint=None),
        ]
        if said.checkpoint is not None:
            checkpoint = said.checkpoint
            options.append(lambda: structs.replace(said, checkpoint=self._certificate(checkpoint)))
            options.append(lambda: self._with_older_checkpoint(said))
        if said.prepared:
            options += [lambda: structs.replace(said, prepared=self._proofs(said.prepared))] * 4
        return self._pick(options)()

    def _with_older_checkpoint(self, said: ViewChange) -> ViewChange:
        older = self._pick(self.hand.memory.checkpoints[-6:] or [said.checkpoint])
        if older is None:
            return said
        return structs.replace(said, checkpoint=older, stable=attested(older).height)

    def _proofs(self, proofs: tuple[PreparedProof, ...]) -> tuple[PreparedProof, ...]:
        """One proof is gone, of fewer or other votes, about something else, or stands at another place."""
        at = self.random.randrange(len(proofs))
        proof, changed = proofs[at], list(proofs)
        match self._pick(["gone", "all", "fewer", "repeated", "mixed", "order"]):
            case "gone":
                del changed[at]
            case "all":
                changed = []
            case "fewer":
                changed[at] = structs.replace(proof, prepares=proof.prepares[:-1])
            case "repeated":
                changed[at] = structs.replace(proof, prepares=(*proof.prepares, proof.prepares[-1]))
            case "mixed":
                changed[at] = structs.replace(proof, prepares=proofs[at - 1].prepares)
            case _:
                changed.reverse()
        return tuple(changed)

    def _new_view(self, said: NewView) -> NewView:
        """A VIEW-CHANGE or a proposal is gone, another one, at another place, or altered inside."""
        changes, proposals = list(said.view_changes), list(said.pre_prepares)
        match self._pick(["fewer", "repeated", "own", "altered", "omitted", "nulled", "order"]):
            case "fewer":
                changes = changes[:-1]
            case "repeated":
                changes = [changes[0], *changes[:-1]]
            case "own":
                changes = [self._own_change(each) for each in changes]
            case "altered":
                spoiled = changes[-1].signature[:-1] + bytes([changes[-1].signature[-1] ^ 1])
                changes[-1] = structs.replace(changes[-1], signature=type(changes[-1].signature)(spoiled))
            case "omitted":
                proposals = proposals[:-1]
            case "nulled" if proposals:
                proposals[-1] = self._nulled(proposals[-1])
            case _:
                proposals.reverse()
        return structs.replace(said, view_changes=tuple(changes), pre_prepares=tuple(proposals))

    def _own_change(self, envelope: Envelope) -> Envelope:
        if envelope.signer != self.hand.member:
            return envelope
        return self.hand.sign(self._view_change(decode_view_change(envelope)))

    def _nulled(self, envelope: Envelope) -> Envelope:
        said = decode_pre_prepare(envelope)
        null = null_request(self.hand.roster.chain_id, said.sequence)
        return self.hand.sign(PrePrepare(said.view, null.sequence, null.digest, null.timestamp, null.root))
