"""Lies in serving blocks to laggards, and in asking for them (catalogue 43 to 48).

What lives here: behaviours that change, mix, delay and withhold what a member serves of its chain. What must
not be known here: networks in which they are staged (`byzantine.attacks`).
"""

from collections.abc import Callable, Iterable
from itertools import cycle
from typing import Any, ClassVar

from msgspec import structs

from byzantine.liars.liar import Behaviour, Hand, Outgoing, behaviour
from byzantine.liars.parameters import Parameters
from byzantine.scenario import Lie
from crypto.attestation import Attestation, Height
from crypto.batch import Millis, TxId, batch_digest, transaction_root
from crypto.codec import encode
from crypto.digest import Digest
from crypto.merkle import root
from crypto.roster import Epoch
from crypto.signed import Certificate, Envelope, Vote, certificates
from ledger.block import Block, block_hash, result_leaf
from ledger.transaction import transaction_id
from pbft.certificates import deciding_view
from pbft.messages import Commit
from tetrarch.node.effects import ConnectionId
from tetrarch.wire import AskBodies, AskRange, Frame, Range


class Serving(Behaviour):
    """The base of those that change the blocks that they serve."""

    def on_other(self, to: int, frame: Frame) -> Iterable[Outgoing] | None:
        """Change what is a Range with something in it."""
        if not isinstance(frame, Range) or not frame.blocks or not self.may_fire(to=to):
            return None
        changed = self.on_range(to, frame)
        if changed is not None:
            self.fire()
        return changed

    def on_range(self, to: int, served: Range) -> Iterable[Outgoing] | None:
        """Return what is sent instead of a Range; `None`: unchanged."""
        raise NotImplementedError


@behaviour("bad-blocks")
class BadBlocks(Serving):
    """Serves blocks with something wrong in each answer: no transactions, another one, the signature of one,
    a signature in the certificate, too few of these, or heights that were not asked for."""

    def __init__(self, hand: Hand, lie: Lie) -> None:
        super().__init__(hand, lie)
        # Other heights last: they are found out before the block is looked at.
        ways: list[Callable[[Block], Block | None]] = [
            self._no_transactions,
            self._other_transaction,
            self._other_signature,
            self._bad_vote,
            self._few_votes,
        ]
        self.random.shuffle(ways)
        self._ways = cycle([*ways, self._other_height])

    def on_range(self, to: int, served: Range) -> Iterable[Outgoing] | None:
        """One block of it, by chance, is spoilt; what cannot be spoilt there loses its certificate."""
        place = self.random.randrange(len(served.blocks))
        block = served.blocks[place]
        spoilt = next(self._ways)(block) or structs.replace(block, certificate=b"")
        blocks = (*served.blocks[:place], spoilt, *served.blocks[place + 1 :])
        return [Outgoing(to, structs.replace(served, blocks=blocks))]

    def _no_transactions(self, block: Block) -> Block | None:
        # All that is left is well formed, and fits together; the certificate is for what was there.
        if not block.transactions:
            return None
        return structs.replace(block, transactions=(), results=())

    def _other_transaction(self, block: Block) -> Block | None:
        # A bit of the last byte: within the payload, so that all of it may still decode.
        return self._turned(block, -1)

    def _other_signature(self, block: Block) -> Block | None:
        # The id does not depend on it.
        return self._turned(block, 0)

    def _turned(self, block: Block, place: int) -> Block | None:
        if not block.transactions:
            return None
        raw = bytearray(block.transactions[0])
        raw[place] ^= 1
        return structs.replace(block, transactions=(bytes(raw), *block.transactions[1:]))

    def _bad_vote(self, block: Block) -> Block:
        certificate = certificates.decode(block.certificate)
        first, *rest = certificate.votes
        spoilt = structs.replace(first, signature=rest[0].signature)
        return _certified(block, structs.replace(certificate, votes=(spoilt, *rest)))

    def _few_votes(self, block: Block) -> Block:
        certificate = certificates.decode(block.certificate)
        return _certified(
            block, structs.replace(certificate, votes=certificate.votes[: self.hand.quorums.quorum - 1])
        )

    def _other_height(self, block: Block) -> Block:
        header = structs.replace(block.header, height=Height(block.header.height + 1))
        return structs.replace(block, header=header)


def _certified(block: Block, certificate: Certificate) -> Block:
    return structs.replace(block, certificate=encode(certificate))


@behaviour("mixed-commits")
class MixedCommits(Serving):
    """Serves blocks under certificates that mix decisions: votes of another sequence, a statement of another
    view, sequence or epoch."""

    def on_range(self, to: int, served: Range) -> Iterable[Outgoing] | None:
        """Every block but the first lends its votes to the next."""
        blocks = list(served.blocks)
        for place, block in enumerate(served.blocks):
            other = certificates.decode(served.blocks[place - 1].certificate)
            blocks[place] = _certified(block, self._mixed(block, other))
        return [Outgoing(to, structs.replace(served, blocks=tuple(blocks)))]

    def _mixed(self, block: Block, other: Certificate) -> Certificate:
        certificate, height = certificates.decode(block.certificate), block.header.height
        view = deciding_view(block.certificate)
        match self.random.randrange(4):
            case 0:
                said = Commit(view, Height(height + 1), block.header.batch)
                return structs.replace(certificate, body=encode(said))
            case 1:
                said = Commit(type(view)(view + 1), height, block.header.batch)
                return structs.replace(certificate, body=encode(said))
            case 2:
                return structs.replace(certificate, epoch=Epoch(certificate.epoch + 1))
            case _:
                # A single block would lend its votes to itself.
                lent = other if other != certificate else structs.replace(other, votes=other.votes[1:])
                return structs.replace(certificate, votes=lent.votes)


@behaviour("rewritten-chain")
class RewrittenChain(Serving):
    """Serves a chain of its own: each block lost its last transaction, or was proposed at another time;
    digests, roots and parents are right again, and it votes for all of it."""

    def __init__(self, hand: Hand, lie: Lie) -> None:
        super().__init__(hand, lie)
        self._hashes: dict[int, Digest] = {}

    def on_range(self, to: int, served: Range) -> Iterable[Outgoing] | None:
        """Linked to what it served below, if it did."""
        return [Outgoing(to, structs.replace(served, blocks=tuple(map(self._rewritten, served.blocks))))]

    def _rewritten(self, block: Block) -> Block:
        header, transactions, results = block.header, block.transactions[:-1], block.results[:-1]
        ids = [transaction_id(raw) for raw in transactions]
        proposed = header.proposed if block.transactions else Millis(header.proposed + 1)
        transactions_root = transaction_root(ids)
        batch = batch_digest(header.chain_id, header.height, proposed, transactions_root)
        leaves = [result_leaf(tx_id, result) for tx_id, result in zip(ids, results, strict=True)]
        header = structs.replace(
            header,
            parent=self._hashes.get(header.height - 1, header.parent),
            batch=batch,
            proposed=proposed,
            transaction_root=transactions_root,
            result_root=root(leaves),
        )
        self._hashes[header.height] = block_hash(header)
        return Block(header, transactions, results, self._certificate(block, batch))

    def _certificate(self, block: Block, batch: Digest) -> bytes:
        """Its own vote is true to the lie; those of the others were for the real block."""
        own = self.hand.sign(Commit(deciding_view(block.certificate), block.header.height, batch))
        certificate = certificates.decode(block.certificate)
        votes = {vote.signer: vote for vote in certificate.votes}
        votes[own.signer] = Vote(own.signer, own.signature)
        ordered = tuple(votes[signer] for signer in sorted(votes))
        return encode(structs.replace(certificate, body=own.body, votes=ordered))


@behaviour("slow-serving")
class SlowServing(Serving):
    """Serves one block at a time, `delay_ms` after it was asked."""

    parameters: ClassVar[Parameters] = {"delay_ms": 2_500}

    def on_range(self, to: int, served: Range) -> Iterable[Outgoing] | None:
        """The first of those that were asked for."""
        answer = structs.replace(served, blocks=served.blocks[:1])
        return [Outgoing(to, answer, self.number("delay_ms"))]


@behaviour("endless-questions")
class EndlessQuestions(Behaviour):
    """Asks everybody for the whole chain and for bodies that do not exist, over and over again."""

    speaks_every_ms = 200

    def speak(self) -> None:
        """Many times at once."""
        if not self.may_fire():
            return
        self.fire()
        phantoms = AskBodies(tuple(TxId(Digest(self.random.randbytes(32))) for _ in range(5)))
        for _ in range(20):
            self.hand.tell(self.hand.others, AskRange(Height(1), Height(max(1, self.hand.executed))))
            self.hand.tell(self.hand.others, phantoms)


@behaviour("hold-certificate")
class HoldCertificate(Behaviour):
    """Keeps its COMMITs and attestations to itself, so that it alone holds the certificates which they
    complete; serves these to nobody, or to the member `confides` alone; and at `vanish_ms` falls silent for
    good."""

    parameters: ClassVar[Parameters] = {"vanish_ms": -1, "confides": -1}

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """Its votes and attestations stay here."""
        if self._vanished() or (isinstance(message, Commit | Attestation) and self.may_fire(to=to)):
            self.fire()
            return ()
        return None

    def on_other(self, to: int, frame: Frame) -> Iterable[Outgoing] | None:
        """Whoever asks for blocks is told that there are none."""
        if self._vanished():
            return ()
        if not isinstance(frame, Range) or to == self.number("confides") or not self.may_fire(to=to):
            return None
        return [Outgoing(to, Range(frame.first, ()))]

    def on_reply(self, connection: ConnectionId, frame: Frame) -> Iterable[Frame | bytes] | None:
        """Clients hear nothing from it any more."""
        return () if self._vanished() else None

    def _vanished(self) -> bool:
        vanishes = self.number("vanish_ms")
        return 0 <= vanishes <= self.hand.world.now_ms()
