"""The clients' side of the heart: questions in, signed or proven answers out.

Every map is bounded per connection and in all, and a connection that goes is forgotten wholly. Questions are
answered from a queue with a budget of work per turn, so that clients who ask for old blocks cannot hold up
votes. Whether a transaction is admitted is decided in `admission`; what it came to is proven in `proven`; the
application is asked in `queries`.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from consensus.contract import Engine, Now
from crypto.attestation import Height
from crypto.batch import Millis, TxId
from crypto.errors import CryptoError
from crypto.keys import Signer
from crypto.roster import MemberId, Roster
from crypto.signed import Envelope
from ledger.block import Header, block_hash
from ledger.errors import TransactionRefused
from ledger.genesis import Genesis
from ledger.ledger import Executed, Ledger
from ledger.refusals import RefusalCode
from ledger.transaction import ParsedTransaction, parse_transaction
from tetrarch.decoding import FrameDecoder
from tetrarch.node.admission import Admission
from tetrarch.node.attester import Attester
from tetrarch.node.blockstream import Blockstream
from tetrarch.node.effects import ConnectionId, Counters, Effects
from tetrarch.node.limits import NodeLimits
from tetrarch.node.origins import Share, Submission
from tetrarch.node.proven import Proven, ProvenBlocks
from tetrarch.node.queries import Queries
from tetrarch.node.waits import Waits
from tetrarch.wire import (
    FROM_CLIENTS,
    MAX_CLIENT_FRAME_BYTES,
    AskAttestation,
    AskBlocks,
    AskOutcome,
    AskQuery,
    AskRead,
    AskReceipt,
    AskStatus,
    Attested,
    Expired,
    Frame,
    NotExecuted,
    Pending,
    ReadReply,
    Refusals,
    Refused,
    StatusReply,
    Submit,
    Unknown,
    pack,
    statement_kinds,
)

MAX_OWED_HEIGHTS = 64
"""Blocks proven in answer to one Submit of old transactions: who has more of them asks one by one."""

UNASKED = 0
"""The request number in what is pushed."""


@dataclass(slots=True)
class _Client:
    share: Share
    asks: int = 0


class _Owed(NamedTuple):
    """Results of one block that a client is to get with proof."""

    request: int
    height: Height
    ids: Sequence[TxId]


class Identity(NamedTuple):
    """As whom this replica signs."""

    roster: Roster
    member: MemberId
    signer: Signer


class Gateway:
    """Connections, their questions, and the answers."""

    def __init__(
        self,
        genesis: Genesis,
        identity: Identity,
        ledger: Ledger,
        engine: Engine,
        admission: Admission,
        waits: Waits,
        report: Callable[[int, Now], StatusReply],
        limits: NodeLimits,
        counters: Counters,
    ) -> None:
        self._genesis = genesis
        self._chain_id = genesis.chain_id
        self._identity = identity
        self._ledger = ledger
        self._engine = engine
        self._admission = admission
        self._waits = waits
        self._report = report
        self._limits = limits
        self._counters = counters
        self._attester = Attester(*identity, limits.attestations)
        self._proven = ProvenBlocks(ledger, limits.proven_bytes)
        self._stream = Blockstream(ledger, self._attester, limits, counters)
        self._queries = Queries(ledger, limits, counters)
        self._decoder = FrameDecoder(FROM_CLIENTS, MAX_CLIENT_FRAME_BYTES)
        self._clients: dict[ConnectionId, _Client] = {}
        self.submitted: list[tuple[ConnectionId, Submit]] = []
        """What clients submitted since the last `offer`."""
        self._asks: deque[tuple[ConnectionId, Frame | _Owed]] = deque()
        self._advanced_at: Millis | None = None
        self.closed: str | None = None
        """Why nothing is admitted at present, if so."""

    def receive(self, connection: ConnectionId, data: bytes) -> bool:
        """Decode one frame and queue it. Returns whether it made sense."""
        try:
            frame = self._decoder.decode(data)
        except CryptoError:
            self._counters.count("client frame: not decodable")
            return False
        client = self._clients.get(connection)
        if client is None:
            client = self._clients[connection] = _Client(Share())
        if isinstance(frame, Submit):
            self.submitted.append((connection, frame))
        else:
            self._queue(connection, client, frame)
        return True

    def _queue(self, connection: ConnectionId, client: _Client, item: Frame | _Owed) -> None:
        if client.asks >= self._limits.asks_per_connection or len(self._asks) >= self._limits.asks:
            self._counters.count("client: too many questions")
            return
        client.asks += 1
        self._asks.append((connection, item))

    def gone(self, connection: ConnectionId) -> None:
        """Forget all about a connection. What it asked is skipped, and its submissions go unanswered."""
        if self._clients.pop(connection, None) is not None:
            self._waits.gone(connection)
            self._stream.gone(connection)

    @property
    def waiting(self) -> bool:
        """Whether there is work left for the next turn."""
        return bool(self._asks or self.submitted)

    @property
    def asked(self) -> bool:
        """Whether questions wait for an answer, be it for a block that is still to come."""
        return bool(self._asks or self._stream.polls)

    def deadline(self) -> Millis | None:
        """Return when a held question expires (monotonic ms)."""
        return self._stream.deadline()

    def offer(self, now: Now) -> None:
        """Offer for admission what clients submitted since the last turn."""
        submitted, self.submitted = self.submitted, []
        for connection, frame in submitted:
            client = self._clients.get(connection)
            if client is not None:
                submission = Submission(connection, client.share, frame.full)
                self._offer(submission, frame.transactions, now)

    def _offer(self, submission: Submission, transactions: Sequence[bytes], now: Now) -> None:
        if self.closed is None:
            self._admission.offer(transactions, submission, now)
        else:
            refusal = TransactionRefused(RefusalCode.NOT_VOTING, self.closed)
            self._admission.refuse_all(transactions, submission, refusal)

    def finish(self, effects: Effects) -> None:
        """Answer the submissions of which every transaction's admission is decided."""
        for submission in self._admission.complete():
            client = self._clients.get(submission.connection)
            if client is None:
                continue
            request = UNASKED if submission.request is None else submission.request
            if submission.refusals:
                self._refuse(submission.connection, request, submission, effects)
            if submission.executed:
                self._owe(client, submission, request, effects)
            if submission.request is not None and submission.taken:
                self._send(submission.connection, Pending(request), effects)

    def _refuse(
        self, connection: ConnectionId, request: int, submission: Submission, effects: Effects
    ) -> None:
        statement = self._seal(Refusals(tuple(submission.refusals)))
        self._send(connection, Refused(request, statement, tuple(submission.reasons)), effects)

    def _owe(self, client: _Client, submission: Submission, request: int, effects: Effects) -> None:
        """Prove, or attest, the blocks in which these transactions were executed before."""
        by_height: dict[Height, list[TxId]] = {}
        for tx_id, height in submission.executed:
            by_height.setdefault(height, []).append(tx_id)
        for height in sorted(by_height)[:MAX_OWED_HEIGHTS]:
            if submission.full or submission.request is not None:
                self._queue(submission.connection, client, _Owed(request, height, by_height[height]))
            else:
                attestation = self._attestation(height)
                if attestation is not None:
                    self._send(submission.connection, Attested(request, attestation), effects)

    def executed(self, executed: Executed, effects: Effects) -> None:
        """Tell everybody who waits for a transaction of this block: one frame per connection."""
        proven = Proven.of(executed)
        self._proven.add(proven)
        told = self._waits.executed(executed.ids)
        if not told:
            return
        attestation = self._attester.attest(executed.header.height, executed.block_hash)
        attested = pack(Attested(UNASKED, attestation))
        for connection, positions in told.items():
            frame = pack(proven.prove(UNASKED, attestation, positions)) if positions else attested
            effects.to_clients.append((connection, frame))

    def answer(self, now: Now, effects: Effects) -> None:
        """Answer waiting questions, as many as one turn's budget allows."""
        if self._stream.polls:
            for connection, question in self._stream.due():
                client = self._clients.get(connection)
                if client is not None:
                    self._queue(connection, client, question)
            self._stream.expire(now.monotonic, effects)
        rebuilds = self._limits.rebuilds_per_turn
        self._queries.begin()
        for _ in range(min(self._limits.asks_per_turn, len(self._asks))):
            if rebuilds <= 0 or not self._queries.room:
                return
            connection, item = self._asks.popleft()
            client = self._clients.get(connection)
            if client is not None:
                client.asks -= 1
                rebuilds -= self._answer(connection, client, item, now, effects)

    def _answer(
        self, connection: ConnectionId, client: _Client, item: Frame | _Owed, now: Now, effects: Effects
    ) -> int:
        """Answer one question; returns 1 where a block had to be read, else 0."""
        match item:
            case _Owed():
                return self._prove(connection, item, effects)
            case AskOutcome():
                return self._outcome(connection, client, item, now, effects)
            case AskReceipt():
                height = self._ledger.located([item.tx_id])[0]
                if height is not None:
                    return self._prove(connection, _Owed(item.request, height, (item.tx_id,)), effects)
                self._unknown(connection, item.request, effects)
            case AskAttestation():
                attestation = self._attestation(item.height)
                if attestation is None:
                    self._unknown(connection, item.request, effects)
                else:
                    self._send(connection, Attested(item.request, attestation), effects)
            case AskRead():
                self._read(connection, item, effects)
            case AskQuery():
                self._send(connection, self._queries.answer(item, now.monotonic, effects), effects)
            case AskBlocks():
                return self._stream.ask(connection, item, now.monotonic, effects)
            case AskStatus():
                self._send(connection, self._report(item.request, now), effects)
            case _:
                self._counters.count("client frame: out of place")
        return 0

    def _prove(self, connection: ConnectionId, owed: _Owed, effects: Effects) -> int:
        rebuilt = 0 if self._proven.kept(owed.height) else 1
        proven = self._proven.get(owed.height)
        if proven is None:
            self._unknown(connection, owed.request, effects)
            return rebuilt
        wanted = frozenset(owed.ids)
        first: dict[TxId, int] = {}
        for position, tx_id in enumerate(proven.ids):
            if tx_id in wanted:
                first.setdefault(tx_id, position)
        if not first:
            self._unknown(connection, owed.request, effects)
            return rebuilt
        attestation = self._attester.attest(owed.height, proven.block_hash)
        self._send(connection, proven.prove(owed.request, attestation, list(first.values())), effects)
        return rebuilt

    def _outcome(
        self, connection: ConnectionId, client: _Client, item: AskOutcome, now: Now, effects: Effects
    ) -> int:
        """Executed: prove it. Past its time on the ledger: say so, signed. Otherwise: try to get it in."""
        submission = Submission(connection, client.share, full=True, request=item.request)
        try:
            parsed = parse_transaction(item.transaction, self._chain_id, self._genesis.max_transaction_bytes)
        except TransactionRefused as refusal:
            self._admission.refuse_all((item.transaction,), submission, refusal)
            return 0
        height = self._ledger.located([parsed.id])[0]
        if height is not None:
            return self._prove(connection, _Owed(item.request, height, (parsed.id,)), effects)
        if self._ledger.time > parsed.transaction.valid_until:
            statement = self._seal(NotExecuted(parsed.id, self._ledger.height, self._ledger.time))
            self._send(connection, Expired(item.request, statement), effects)
        elif now.wall > parsed.transaction.valid_until:
            self._advance(parsed, now)
            self._send(connection, Pending(item.request), effects)
        else:
            self._offer(submission, (item.transaction,), now)
        return 0

    def _advance(self, parsed: ParsedTransaction, now: Now) -> None:
        """Move the ledger's time where it stands still, so that what expired on every clock is final."""
        past = parsed.transaction.valid_until
        if now.wall <= past + self._genesis.clock_bound_ms or self.closed is not None:
            return
        if self._advanced_at is None or now.monotonic >= self._advanced_at + self._limits.advance_ms:
            self._advanced_at = now.monotonic
            self._engine.advance(past, now)

    def _read(self, connection: ConnectionId, item: AskRead, effects: Effects) -> None:
        head = self._ledger.head
        if head is None or self._ledger.height < item.min_height:
            self._unknown(connection, item.request, effects)
            return
        value, proof = self._ledger.read(item.key)
        attestation = self._attester.attest(head.height, self._ledger.head_hash)
        self._send(connection, ReadReply(item.request, attestation, head, value, proof), effects)

    def _attestation(self, height: Height) -> Envelope | None:
        """Return this replica's attestation of an executed height."""
        if not 1 <= height <= self._ledger.height:
            return None
        proven = self._proven.kept(height)
        if proven is not None:
            return self._attester.attest(height, proven.block_hash)
        header: Header | None = self._ledger.header(height)
        return None if header is None else self._attester.attest(height, block_hash(header))

    def _unknown(self, connection: ConnectionId, request: int, effects: Effects) -> None:
        self._send(connection, Unknown(request, self._ledger.height), effects)

    def _send(self, connection: ConnectionId, frame: Frame, effects: Effects) -> None:
        effects.to_clients.append((connection, pack(frame)))

    def _seal(self, statement: Refusals | NotExecuted) -> Envelope:
        return statement_kinds.seal(*self._identity, statement).envelope
