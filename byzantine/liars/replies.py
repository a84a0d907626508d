"""What a lying member tells clients (catalogue 49 to 51).

What lives here: behaviours that change or invent replies. What must not be known here: networks in which they
are staged (`byzantine.attacks`), and what clients believe.
"""

from collections.abc import Iterable, Sequence

from msgspec import structs

from byzantine.liars.liar import Behaviour, Hand, behaviour
from byzantine.scenario import Lie
from crypto import merkle
from crypto.attestation import Attestation, Height, attest, attested
from crypto.batch import MAX_MILLIS, Millis, TxId, transaction_root
from crypto.codec import encode
from crypto.digest import Digest, digest
from crypto.signed import Envelope
from ledger.block import Header, block_hash, result_leaf
from ledger.refusals import RefusalCode
from ledger.result import Result, ResultCode
from ledger.state import EMPTY_ROOT
from ledger.state.proof import StateProof, encode_proof
from ledger.transaction import transaction_id
from tetrarch.node.effects import ConnectionId
from tetrarch.wire import (
    AskRead,
    Attested,
    Entry,
    Expired,
    Frame,
    NoAnswer,
    NotExecuted,
    QueryReply,
    ReadReply,
    Refusal,
    Refusals,
    Refused,
    Results,
    Submit,
    Unknown,
    statement_kinds,
)

WRONG = encode(Result(ResultCode.OK, b'"a result that nobody computed"'))

ABSENT = encode_proof(StateProof((), None, b"", b""))
"""Proves of an empty state that it holds no key."""


class Replying(Behaviour):
    """The base of those that answer clients wrongly."""

    def attestation(self, height: int, hashed: Digest) -> Envelope:
        """Return its own attestation of whatever block."""
        said = Attestation(Height(height), hashed)
        return attest(self.hand.roster, self.hand.member, self.hand.signer, said).envelope

    def statement(self, statement: Refusals | NotExecuted) -> Envelope:
        """Return a statement to clients, signed with its own key."""
        return statement_kinds.seal(self.hand.roster, self.hand.member, self.hand.signer, statement).envelope


@behaviour("wrong-result")
class WrongResult(Replying):
    """Puts another result beside the true block's header and proof."""

    def on_reply(self, connection: ConnectionId, frame: Frame) -> Iterable[Frame | bytes] | None:
        """The entry's place in the tree stays."""
        if not isinstance(frame, Results) or not frame.entries or not self.may_fire():
            return None
        self.fire()
        entries = tuple(structs.replace(entry, result=WRONG) for entry in frame.entries)
        return (structs.replace(frame, entries=entries),)


@behaviour("invented-result")
class InventedResult(Replying):
    """Answers at once with a block of its own in which everything fits together: results, tree, header,
    attestation. All liars say the same, and none of them the truth."""

    def asked(self, connection: ConnectionId, frame: Frame) -> None:
        """The same transactions come to every member, so that liars need not talk about more than the
        height."""
        if not isinstance(frame, Submit) or not self.may_fire():
            return
        ids = [transaction_id(raw) for raw in frame.transactions]
        height = self.hand.memory.heights.setdefault(ids[0], self.hand.executed + 1)
        lie = self._invented(height, ids)
        self.fire()
        self.hand.reply(connection, lie if frame.full else Attested(0, lie.attestation))

    def _invented(self, height: int, ids: Sequence[TxId]) -> Results:
        entries = tuple(Entry(place, tx_id, WRONG) for place, tx_id in enumerate(ids))
        root = Digest(merkle.root([result_leaf(entry.tx_id, entry.result) for entry in entries]))
        some, stamp = digest("lie", ids[0]), Millis(height)
        genesis, epoch = self.hand.genesis, self.hand.roster.epoch
        header = Header(
            genesis.chain_id,
            epoch,
            Height(height),
            some,
            some,
            stamp,
            stamp,
            transaction_root(ids),
            root,
            some,
        )
        return Results(0, self.attestation(height, block_hash(header)), header, len(ids), entries, ())

    def on_reply(self, connection: ConnectionId, frame: Frame) -> Iterable[Frame | bytes] | None:
        """The truth is kept back."""
        return () if isinstance(frame, Results | Attested) and self.may_fire() else None


@behaviour("deny-execution")
class DenyExecution(Replying):
    """Says at once of every transaction that its bytes are refused for good, and that it expired; and nothing
    more."""

    def asked(self, connection: ConnectionId, frame: Frame) -> None:
        """Long before it could be executed."""
        if not isinstance(frame, Submit) or not self.may_fire():
            return
        self.fire()
        code = RefusalCode.MALFORMED.value
        refusals = tuple(Refusal(digest("received", raw), code) for raw in frame.transactions)
        reasons = ("no such luck",) * len(refusals)
        self.hand.reply(connection, Refused(0, self.statement(Refusals(refusals)), reasons))
        for raw in frame.transactions:
            said = NotExecuted(transaction_id(raw), self.hand.executed, Millis(MAX_MILLIS))
            self.hand.reply(connection, Expired(0, self.statement(said)))

    def on_reply(self, connection: ConnectionId, frame: Frame) -> Iterable[Frame | bytes] | None:
        """The truth is kept back."""
        return () if isinstance(frame, Results | Attested) and self.may_fire() else None


@behaviour("stale-read")
class StaleRead(Replying):
    """Answers reads of a key with what it answered first: true then, proven, attested, and old by now."""

    def __init__(self, hand: Hand, lie: Lie) -> None:
        super().__init__(hand, lie)
        self._asked: dict[tuple[ConnectionId, int], AskRead] = {}
        self._first: dict[bytes, ReadReply] = {}

    def asked(self, connection: ConnectionId, frame: Frame) -> None:
        """An answer does not name its key."""
        if isinstance(frame, AskRead):
            self._asked[connection, frame.request] = frame

    def on_reply(self, connection: ConnectionId, frame: Frame) -> Iterable[Frame | bytes] | None:
        """Only what lies below the height that the client asked for is stale."""
        if not isinstance(frame, ReadReply):
            return None
        question = self._asked.pop((connection, frame.request), None)
        if question is None:
            return None
        first = self._first.setdefault(question.key, frame)
        if first.header.height >= question.min_height or not self.may_fire():
            return None
        self.fire()
        return (structs.replace(first, request=frame.request),)


@behaviour("invented-read")
class InventedRead(Replying):
    """Says that a key is absent, proven under a header of its own that names an empty state. Liars attest
    each other's."""

    def on_reply(self, connection: ConnectionId, frame: Frame) -> Iterable[Frame | bytes] | None:
        """One lie per height."""
        if not isinstance(frame, ReadReply | Attested) or not self.may_fire():
            return None
        height, agreed = attested(frame.attestation).height, self.hand.memory.invented
        if isinstance(frame, Attested):
            hashed = agreed.get(height)
            if hashed is None:
                return None
            self.fire()
            return (Attested(frame.request, self.attestation(height, hashed)),)
        if frame.value is None:
            return None
        header: Header = structs.replace(frame.header, state_root=EMPTY_ROOT)
        hashed = agreed[height] = block_hash(header)
        self.fire()
        return (ReadReply(frame.request, self.attestation(height, hashed), header, None, ABSENT),)


@behaviour("wrong-read")
class WrongRead(Replying):
    """Answers reads with another value, or with one where there is none, under the true header and proof."""

    def on_reply(self, connection: ConnectionId, frame: Frame) -> Iterable[Frame | bytes] | None:
        """Everything else stays."""
        if not isinstance(frame, ReadReply) or not self.may_fire():
            return None
        self.fire()
        return (structs.replace(frame, value=b'"a value that nobody put"'),)


@behaviour("wrong-answer")
class WrongAnswer(Replying):
    """Answers the application's questions with an answer of its own, which all liars give alike."""

    def on_reply(self, connection: ConnectionId, frame: Frame) -> Iterable[Frame | bytes] | None:
        """Whatever was asked."""
        if not isinstance(frame, QueryReply | NoAnswer) or not self.may_fire():
            return None
        self.fire()
        return (QueryReply(frame.request, frame.height, b'"an answer that nobody computed"'),)


@behaviour("silent-to-readers")
class SilentToReaders(Replying):
    """Answers no read, and no question."""

    def on_reply(self, connection: ConnectionId, frame: Frame) -> Iterable[Frame | bytes] | None:
        """Whatever the answer would be."""
        if not isinstance(frame, ReadReply | QueryReply | Unknown) or not self.may_fire():
            return None
        self.fire()
        return ()


@behaviour("reply-for-another")
class ReplyForAnother(Replying):
    """Gives the result of one transaction as that of another of the same client's, under the true proof."""

    def __init__(self, hand: Hand, lie: Lie) -> None:
        super().__init__(hand, lie)
        self._sent: dict[ConnectionId, list[TxId]] = {}

    def asked(self, connection: ConnectionId, frame: Frame) -> None:
        """Note what each client waits for."""
        if isinstance(frame, Submit):
            self._sent.setdefault(connection, []).extend(map(transaction_id, frame.transactions))

    def on_reply(self, connection: ConnectionId, frame: Frame) -> Iterable[Frame | bytes] | None:
        """Ids change places where the results differ; else one that is not in the block stands for one that
        is."""
        if not isinstance(frame, Results) or not frame.entries or not self.may_fire():
            return None
        ids = [entry.tx_id for entry in frame.entries]
        if len({entry.result for entry in frame.entries}) > 1:
            ids = [*ids[1:], ids[0]]
        else:
            others = [tx_id for tx_id in self._sent.get(connection, ()) if tx_id not in ids]
            if not others:
                return None
            ids[0] = others[-1]
        self.fire()
        entries = tuple(
            structs.replace(entry, tx_id=tx_id) for entry, tx_id in zip(frame.entries, ids, strict=True)
        )
        return (structs.replace(frame, entries=entries),)
