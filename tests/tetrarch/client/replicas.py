"""Replicas in memory for tests of the client: honest ones on the real ledger, and liars of every kind.

Ordering is trivial (what any replica gets is executed in a block at the end of the loop turn); everything
that the client checks is real: signatures, headers, results, trees, state proofs.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from crypto.attestation import Attestation, Height, attest
from crypto.batch import Millis, batch_digest, transaction_root
from crypto.digest import Digest, digest
from crypto.keys import Signature, verify
from crypto.merkle import Tree
from crypto.roster import MemberId
from crypto.signed import Envelope
from ledger.application import Invalid, load_application
from ledger.block import Block, Header, block_hash, result_leaf
from ledger.errors import TransactionRefused
from ledger.keyvalue import MemoryKeyValue
from ledger.ledger import Executed, Ledger
from ledger.question import QuestionFailed
from ledger.refusals import RefusalCode
from ledger.result import ok_result
from ledger.transaction import ParsedTransaction, parse_transaction
from tests.ledger.chain_maker import CLIENT_KEY, START, genesis_of, key_of
from tetrarch.client.async_client import AsyncClient
from tetrarch.client.tuning import Tuning
from tetrarch.decoding import FrameDecoder
from tetrarch.node.proven import Proven
from tetrarch.trust import TrustRoot
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
    Blocks,
    Expired,
    Frame,
    NoAnswer,
    NotExecuted,
    Pending,
    QueryReply,
    ReadReply,
    Refusal,
    Refusals,
    Refused,
    StatusReply,
    Submit,
    Unknown,
    pack,
    statement_kinds,
)

FAST = Tuning(
    timeout_ms=5_000,
    connect_timeout_ms=1_000,
    silence_ms=20,
    resend_ms=60,
    answer_ms=200,
    poll_ms=100,
    redial_ms=1,
    redial_max_ms=20,
)
"""Times for tests: what is waited for comes in microseconds, so every pause is short."""


class Network:
    """A chain, its replicas, and a wall clock that tests move."""

    def __init__(self, n: int = 4, **genesis: Any) -> None:
        self.genesis = genesis_of(n, **{"horizon_ms": 600_000, **genesis})
        self.trust = TrustRoot.of(self.genesis)
        self.wall = Millis(START)
        application = load_application(self.genesis.application, dict(self.genesis.parameters))
        self.ledger = Ledger.open(self.genesis, application, MemoryKeyValue())
        self.proven: dict[Height, Proven] = {}
        self.replicas = [Replica(self, member) for member in range(n)]
        self.ordering = True
        self._pool: dict[bytes, ParsedTransaction] = {}
        self._scheduled = False

    def clock(self) -> Millis:
        return self.wall

    def client(self, **changes: object) -> AsyncClient:
        values: dict[str, object] = {"tuning": FAST, "wall": self.clock, **changes}
        return AsyncClient(self.trust, CLIENT_KEY, Dialling(self), **values)  # type: ignore[arg-type]

    def replace(self, member: int, replica: "type[Replica]") -> "Replica":
        self.replicas[member] = replica(self, member)
        return self.replicas[member]

    def offer(self, parsed: ParsedTransaction) -> None:
        """Order a transaction soon."""
        if self.ledger.located([parsed.id])[0] is None:
            self._pool.setdefault(parsed.id, parsed)
        self.order_soon()

    def order_soon(self) -> None:
        if self.ordering and self._pool and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._order)

    def _order(self) -> None:
        self._scheduled = False
        batch, self._pool = list(self._pool.values()), {}
        if batch:
            self.execute(batch)

    def execute(self, batch: Sequence[ParsedTransaction], timestamp: int | None = None) -> Executed:
        """Execute a block now, and let every replica tell its clients."""
        height = Height(self.ledger.height + 1)
        at = Millis(self.wall if timestamp is None else timestamp)
        root = transaction_root([parsed.id for parsed in batch])
        agreed = batch_digest(self.genesis.chain_id, height, at, root)
        executed = self.ledger.execute(height, agreed, at, batch, b"certificate")
        self.proven[height] = Proven.of(executed)
        for replica in self.replicas:
            replica.executed(height)
        return executed

    def parse(self, raw: bytes) -> ParsedTransaction:
        return parse_transaction(raw, self.genesis.chain_id, self.genesis.max_transaction_bytes)


class Pipe:
    """The client's end of a connection: frames cross at the next loop turn, as over a network."""

    def __init__(self, replica: "Replica", receive: Callable[[bytes], None]) -> None:
        self.replica = replica
        self._receive = receive
        self._closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.full: set[bytes] = set()
        self.wanted: set[bytes] = set()

    def send(self, frame: bytes) -> bool:
        if self._closed.done():
            return False
        asyncio.get_running_loop().call_soon(self.replica.take, self, frame)
        return True

    def answer(self, frame: Frame | bytes) -> None:
        data = frame if isinstance(frame, bytes) else pack(frame)
        asyncio.get_running_loop().call_soon(self._deliver, data)

    def _deliver(self, data: bytes) -> None:
        if not self._closed.done():
            self._receive(data)

    def close(self, why: str = "closed") -> None:
        if not self._closed.done():
            self._closed.set_result(why)
            self.replica.pipes.discard(self)

    async def wait_closed(self) -> str:
        return await asyncio.shield(self._closed)


class Dialling:
    """The Dialer of a Network."""

    def __init__(self, network: Network) -> None:
        self.network = network

    async def dial(self, member: MemberId, receive: Callable[[bytes], None]) -> Pipe:
        await asyncio.sleep(0)
        return self.network.replicas[member].accept(receive)


class Replica:
    """An honest replica. Liars override what they do otherwise."""

    def __init__(self, network: Network, member: int) -> None:
        self.network = network
        self.member = MemberId(member)
        self.reachable = True
        self.pipes: set[Pipe] = set()
        self.taken: list[Frame] = []
        self.dials = 0
        self._decoder = FrameDecoder(FROM_CLIENTS, MAX_CLIENT_FRAME_BYTES)
        self._held: list[tuple[Pipe, AskBlocks]] = []

    def accept(self, receive: Callable[[bytes], None]) -> Pipe:
        self.dials += 1
        if not self.reachable:
            raise ConnectionRefusedError(f"replica-{self.member} is down")
        pipe = Pipe(self, receive)
        self.pipes.add(pipe)
        return pipe

    def stop(self) -> None:
        self.reachable = False
        for pipe in list(self.pipes):
            pipe.close("stopped")

    def took(self, kind: type[Frame]) -> int:
        return sum(isinstance(frame, kind) for frame in self.taken)

    def take(self, pipe: Pipe, data: bytes) -> None:
        frame = self._decoder.decode(data)
        self.taken.append(frame)
        self.on_frame(pipe, frame)

    def on_frame(self, pipe: Pipe, frame: Frame) -> None:
        match frame:
            case Submit():
                self.on_submit(pipe, frame)
            case AskOutcome():
                self.on_ask_outcome(pipe, frame)
            case AskReceipt():
                self.prove(pipe, frame.request, [frame.tx_id])
            case AskAttestation():
                if 1 <= frame.height <= self.head:
                    pipe.answer(Attested(frame.request, self.attestation(frame.height)))
                else:
                    pipe.answer(Unknown(frame.request, self.head))
            case AskRead():
                self.on_read(pipe, frame)
            case AskQuery():
                self.on_query(pipe, frame)
            case AskBlocks():
                self.on_ask_blocks(pipe, frame)
            case AskStatus():
                pipe.answer(self.status(frame.request))

    # Submitting.

    def on_submit(self, pipe: Pipe, frame: Submit) -> None:
        for raw in frame.transactions:
            try:
                parsed = self.admit(raw)
            except TransactionRefused as refused:
                self.refuse(pipe, 0, raw, refused.code, refused.reason)
                continue
            if self.network.ledger.located([parsed.id])[0] is not None:
                self.prove(pipe, 0, [parsed.id], full=frame.full)
                continue
            (pipe.full if frame.full else pipe.wanted).add(parsed.id)
            self.network.offer(parsed)

    def admit(self, raw: bytes) -> ParsedTransaction:
        parsed = self.network.parse(raw)
        if not verify(*parsed.check):
            raise TransactionRefused(RefusalCode.BAD_SIGNATURE, "it does not verify")
        if self.network.ledger.located([parsed.id])[0] is None:
            self.network.ledger.check(parsed, self.network.wall)
        return parsed

    def refuse(self, pipe: Pipe, request: int, raw: bytes, code: RefusalCode, reason: str = "") -> None:
        refusals = Refusals((Refusal(digest("received", raw), code.value),))
        pipe.answer(Refused(request, self.seal(refusals), (reason,)))

    def seal(self, statement: Refusals | NotExecuted) -> Envelope:
        roster = self.network.trust.roster
        return statement_kinds.seal(roster, self.member, key_of(self.member + 1), statement).envelope

    def executed(self, height: Height) -> None:
        ids = set(self.network.proven[height].ids)
        for pipe in list(self.pipes):
            full, wanted = pipe.full & ids, pipe.wanted & ids
            pipe.full -= ids
            pipe.wanted -= ids
            if full:
                self.push(pipe, height, sorted(full))
            elif wanted:
                pipe.answer(Attested(0, self.attestation(height)))
        held, self._held = self._held, []
        for pipe, question in held:
            self.on_ask_blocks(pipe, question)

    def push(self, pipe: Pipe, height: Height, ids: Sequence[bytes], request: int = 0) -> None:
        proven = self.network.proven[height]
        positions = [place for place, tx_id in enumerate(proven.ids) if tx_id in set(ids)]
        pipe.answer(proven.prove(request, self.attestation(height), positions))

    def prove(self, pipe: Pipe, request: int, ids: Sequence[bytes], full: bool = True) -> None:
        [height] = self.network.ledger.located(ids)  # type: ignore[arg-type]
        if height is None or height > self.head:
            pipe.answer(Unknown(request, self.head))
        elif full:
            self.push(pipe, height, ids, request)
        else:
            pipe.answer(Attested(request, self.attestation(height)))

    def on_ask_outcome(self, pipe: Pipe, frame: AskOutcome) -> None:
        parsed = self.network.parse(frame.transaction)
        if self.network.ledger.located([parsed.id])[0] is not None:
            self.prove(pipe, frame.request, [parsed.id])
        elif self.network.ledger.time > parsed.transaction.valid_until:
            said = NotExecuted(parsed.id, self.network.ledger.height, self.network.ledger.time)
            pipe.answer(Expired(frame.request, self.seal(said)))
        else:
            pipe.answer(Pending(frame.request))

    # What it says of blocks.

    @property
    def head(self) -> Height:
        return self.network.ledger.height

    def header(self, height: Height) -> Header:
        header = self.network.ledger.header(height)
        assert header is not None
        return header

    def attestation(self, height: Height) -> Envelope:
        return self.attest(height, block_hash(self.header(height)))

    def attest(self, height: Height, hashed: Digest) -> Envelope:
        key = key_of(self.member + 1)
        return attest(self.network.trust.roster, self.member, key, Attestation(height, hashed)).envelope

    def on_read(self, pipe: Pipe, frame: AskRead) -> None:
        if not self.head or self.head < frame.min_height:
            pipe.answer(Unknown(frame.request, self.head))
            return
        value, proof = self.network.ledger.read(frame.key)
        attestation = self.attestation(self.head)
        pipe.answer(ReadReply(frame.request, attestation, self.header(self.head), value, proof))

    def on_query(self, pipe: Pipe, frame: AskQuery) -> None:
        if self.head < frame.min_height:
            pipe.answer(Unknown(frame.request, self.head))
            return
        try:
            pipe.answer(QueryReply(frame.request, self.head, self.network.ledger.query(frame.question)))
        except Invalid as invalid:
            pipe.answer(NoAnswer(frame.request, self.head, "invalid", str(invalid)))
        except QuestionFailed:
            pipe.answer(NoAnswer(frame.request, self.head, "error", "the application failed"))

    def on_ask_blocks(self, pipe: Pipe, frame: AskBlocks) -> None:
        if frame.first > self.head:
            self._held.append((pipe, frame))
        elif frame.full:
            pipe.answer(Blocks(frame.request, tuple(self.blocks(frame.first)), ()))
        else:
            heights = range(frame.first, min(self.head, frame.first + 63) + 1)
            pipe.answer(Blocks(frame.request, (), tuple(self.attestation(Height(at)) for at in heights)))

    def blocks(self, first: Height) -> list[Block]:
        found = self.network.ledger.blocks_from(first, self.head, 100_000)
        return [msgspec.structs.replace(block, certificate=b"") for block in found]

    def status(self, request: int) -> StatusReply:
        return StatusReply(
            request=request,
            member=self.member,
            name=f"replica-{self.member}",
            view=0,
            leader=0,
            active=True,
            height=self.head,
            head=self.network.ledger.head_hash,
            state_root=self.network.ledger.state_root,
            block_time=self.network.ledger.time,
            stable=0,
            last_vote=self.head,
            pending=0,
            waiting_for="",
            halted="",
            role="backup",
            peers=(True,) * len(self.network.replicas),
            ignored=(),
            resident_bytes=1,
            uptime_ms=1,
        )


class Silent(Replica):
    """Takes everything and says nothing."""

    def on_frame(self, pipe: Pipe, frame: Frame) -> None:
        pass

    def executed(self, height: Height) -> None:
        pass


class WithoutResults(Replica):
    """Attests everything, and never sends a result."""

    def push(self, pipe: Pipe, height: Height, ids: Sequence[bytes], request: int = 0) -> None:
        pipe.answer(Attested(request, self.attestation(height)))


class WrongResult(Replica):
    """Says another result of everything, under the true header and with the true proof."""

    def push(self, pipe: Pipe, height: Height, ids: Sequence[bytes], request: int = 0) -> None:
        proven = self.network.proven[height]
        positions = [place for place, tx_id in enumerate(proven.ids) if tx_id in set(ids)]
        frame = proven.prove(request, self.attestation(height), positions)
        lie = ok_result(b"false")
        entries = tuple(msgspec.structs.replace(entry, result=lie) for entry in frame.entries)
        pipe.answer(msgspec.structs.replace(frame, entries=entries))


class OtherHeader(Replica):
    """Proves a lie flawlessly under a header of its own, beside its attestation of the true block."""

    def push(self, pipe: Pipe, height: Height, ids: Sequence[bytes], request: int = 0) -> None:
        proven = self.network.proven[height]
        results = [ok_result(b"false")] * len(proven.ids)
        tree = Tree.of_leaves(map(result_leaf, proven.ids, results))
        header = msgspec.structs.replace(proven.header, result_root=tree.root)
        lie = Proven(header, proven.block_hash, proven.ids, results, tree)
        positions = [place for place, tx_id in enumerate(proven.ids) if tx_id in set(ids)]
        pipe.answer(lie.prove(request, self.attestation(height), positions))


class WrongPath(Replica):
    """Sends true results with a proof that leads elsewhere."""

    def push(self, pipe: Pipe, height: Height, ids: Sequence[bytes], request: int = 0) -> None:
        proven = self.network.proven[height]
        positions = [place for place, tx_id in enumerate(proven.ids) if tx_id in set(ids)]
        frame = proven.prove(request, self.attestation(height), positions)
        pipe.answer(msgspec.structs.replace(frame, proof=(*frame.proof, digest("test-wrong"))))


class WrongSignature(Replica):
    """Signs nothing properly."""

    def attest(self, height: Height, hashed: Digest) -> Envelope:
        return msgspec.structs.replace(super().attest(height, hashed), signature=Signature(bytes(64)))

    def seal(self, statement: Refusals | NotExecuted) -> Envelope:
        return msgspec.structs.replace(super().seal(statement), signature=Signature(bytes(64)))


class Impostor(Replica):
    """Attests in the name of member 0."""

    def attest(self, height: Height, hashed: Digest) -> Envelope:
        roster = self.network.trust.roster
        return attest(roster, MemberId(0), key_of(1), Attestation(height, hashed)).envelope


class OtherChain(Replica):
    """Proves everything in a block of its own, which nobody else attests: same height, other state root."""

    mark = digest("test-other-state")

    def header(self, height: Height) -> Header:
        return msgspec.structs.replace(super().header(height), state_root=self.mark)

    def push(self, pipe: Pipe, height: Height, ids: Sequence[bytes], request: int = 0) -> None:
        proven = self.network.proven[height]
        positions = [place for place, tx_id in enumerate(proven.ids) if tx_id in set(ids)]
        frame = proven.prove(request, self.attestation(height), positions)
        pipe.answer(msgspec.structs.replace(frame, header=self.header(height)))


class RefusingAlone(Replica):
    """Refuses every transaction as if it were badly signed."""

    def admit(self, raw: bytes) -> ParsedTransaction:
        raise TransactionRefused(RefusalCode.BAD_SIGNATURE, "so it says")


class Overloaded(Replica):
    """Has no room, until told otherwise."""

    full = True

    def admit(self, raw: bytes) -> ParsedTransaction:
        if self.full:
            raise TransactionRefused(RefusalCode.OVERLOADED, "no room")
        return super().admit(raw)


class Stale(Replica):
    """Answers reads as of its first block, and knows of none later."""

    @property
    def head(self) -> Height:
        return Height(min(1, self.network.ledger.height))


class Garbage(Replica):
    """Answers everything with bytes that mean nothing."""

    def on_frame(self, pipe: Pipe, frame: Frame) -> None:
        pipe.answer(b"\x20garbage")

    def executed(self, height: Height) -> None:
        for pipe in list(self.pipes):
            pipe.answer(b"\xff")
