"""A simulated client: sends, believes what a real one would, asks again, and keeps the history of all it did.

What lives here: one client's operations from their first sending to the outcome. What must not be known here:
what the outcome should have been.

It believes a result that is proven under a header attested by f+1 members; expiry and refusal likewise from
f+1. What members said against what f+1 proved is counted, as is what no correct replica sends. A read goes
from one member to the next until one answers it.
"""

from random import Random
from typing import TYPE_CHECKING

from msgspec.json import Encoder

from byzantine.oracles.observation import AnswerDone, Denial, Operation, ReadDone
from byzantine.workload import VALID_FOR_MS
from crypto.attestation import Height, attested
from crypto.batch import Millis, TxId
from crypto.codec import StrictDecoder
from crypto.digest import digest
from crypto.errors import CryptoError
from crypto.keys import SIGNATURE_BYTES
from crypto.roster import MemberId
from crypto.signed import Envelope, envelope_check
from ledger.refusals import RefusalCode
from ledger.result import ResultCode, results
from ledger.transaction import MAX_TRANSACTION_BYTES, Transaction, sign_transaction, transaction_id
from network.simulated import MILLISECOND, Endpoint
from tetrarch.client.proof import ReplicaFault, check_read, check_results
from tetrarch.decoding import FrameDecoder
from tetrarch.wire import (
    MAX_FRAME_BYTES,
    TO_CLIENTS,
    AskAttestation,
    AskOutcome,
    AskQuery,
    AskRead,
    Attested,
    Expired,
    NotExecuted,
    QueryReply,
    ReadReply,
    Refusals,
    Refused,
    Results,
    Submit,
    pack,
    statement_kinds,
)

if TYPE_CHECKING:
    from byzantine.simulation.world import World

RESEND_US = 800 * MILLISECOND
RESEND_AT_ONCE = 200
"""Open transactions that are sent again at a time."""

_json = Encoder(order="sorted")
_frames = FrameDecoder(TO_CLIENTS, MAX_FRAME_BYTES)
_transactions = StrictDecoder(Transaction, MAX_TRANSACTION_BYTES)


class SimulatedClient:
    """One client; connected to every replica."""

    def __init__(self, world: "World", number: int) -> None:
        self.world, self.number = world, number
        self.endpoint: Endpoint = f"client-{number}"
        self.signer = world.signatures.client(number)
        self.random = Random(f"client {number} {world.scenario.seed}")
        self.operations: dict[TxId, Operation] = {}
        self.open: dict[TxId, Operation] = {}
        self.reads: list[ReadDone] = []
        self.refused_frames: dict[str, int] = {}
        """What no correct replica sends, by the check that failed."""
        self.seen_height = 0
        self._turn = 0
        self._attested: dict[tuple[int, bytes], set[int]] = {}
        self._proven: dict[tuple[int, bytes], dict[TxId, tuple[int, bytes]]] = {}
        self._expired: dict[TxId, set[int]] = {}
        self._refusals: dict[bytes, set[int]] = {}
        self._believed: dict[int, bytes] = {}
        """Which block f+1 attested, by height."""
        self._reading: tuple[str, int] | None = None
        """The key that is being read, and the least height of an answer."""
        self._read: tuple[tuple[int, bytes], ReadDone] | None = None
        """An answer whose header is not attested by f+1 yet."""
        self.answers: list[AnswerDone] = []
        self._asking: tuple[str, int] | None = None
        """The key that the application is asked for, and the least height of an answer."""
        self._questions = 0
        """Asked so far: the number of the last one."""
        self._said: dict[bytes, set[int]] = {}
        """Who answered what."""
        world.network.attach(self.endpoint, self.deliver)
        world.network.timer(self.endpoint, RESEND_US, self._resend)

    # Work.

    def submit(self, count: int, to: tuple[int, ...] | None = None) -> None:
        """Send `count` new operations to all members, or to some."""
        self.submit_raws([self._new_operation() for _ in range(count)], to)

    def submit_raws(self, operations: list[Operation], to: tuple[int, ...] | None = None) -> None:
        """Send operations for the first time."""
        for operation in operations:
            self.operations[operation.tx_id] = self.open[operation.tx_id] = operation
            self.world.on_submitted(self, operation)
        self._send([operation.raw for operation in operations], to)

    def _new_operation(self) -> Operation:
        return self.operation(
            self.world.workload.payload(self.random, f"{self.number}.{len(self.operations)}")
        )

    def operation(self, payload: dict[str, str | None], valid_for_ms: int = VALID_FOR_MS) -> Operation:
        """Return a new signed operation, not sent yet."""
        world, number = self.world, len(self.operations) + self.random.getrandbits(40) * 2**20
        until = Millis(world.wall_ms() + valid_for_ms)
        body = _json.encode(payload)
        raw = sign_transaction(self.signer, world.genesis.chain_id, number.to_bytes(16, "big"), until, body)
        return Operation(self.number, number, transaction_id(raw), raw, payload, world.scheduler.now_us)

    def read(self) -> None:
        """Read a key, at the height this client has seen or above, and ask the application for it too; one of
        each at a time."""
        key = self.world.workload.key(self.random)
        if self._reading is None:
            self._reading = (key, self.seen_height)
            self._ask_next()
        if self._asking is None:
            self._asking = (key, self.seen_height)
            self._ask_all()

    def _ask_all(self) -> None:
        """Ask the application at every member."""
        if self._asking is not None:
            key, least = self._asking
            self._said.clear()
            self._questions += 1
            question = _json.encode({"op": "get", "key": key})
            for member in range(self.world.n):
                self._to(member, pack(AskQuery(self._questions, question, Height(least))))

    def _ask_next(self) -> None:
        """Ask the next member for what is being read."""
        if self._reading is not None:
            key, least = self._reading
            self._turn += 1
            self._read = None
            self._to(self._turn % self.world.n, pack(AskRead(self._turn, key.encode(), Height(least))))

    @property
    def waits(self) -> bool:
        """Whether an outcome or a read is awaited."""
        return bool(self.open) or self._reading is not None or self._asking is not None

    def _send(self, raws: list[bytes], to: tuple[int, ...] | None) -> None:
        full, attest = pack(Submit(True, tuple(raws))), None
        chosen = self._turn % self.world.n
        for member in range(self.world.n) if to is None else to:
            if to is not None or member == chosen:
                self._to(member, full)
            else:
                attest = attest or pack(Submit(False, tuple(raws)))
                self._to(member, attest)

    def _to(self, member: int, frame: bytes) -> None:
        self.world.send_from_client(self.endpoint, member, frame)

    def _resend(self) -> None:
        """Another member is asked for the results each time: the one before may be down."""
        self._turn += 1
        if self.open:
            operations = list(self.open.values())[:RESEND_AT_ONCE]
            self._send([operation.raw for operation in operations], None)
            if self._turn % 3 == 0:
                ask = pack(AskOutcome(self._turn, operations[0].raw))
                for member in range(self.world.n):
                    self._to(member, ask)
        self._ask_next()
        self._ask_all()
        self.world.network.timer(self.endpoint, RESEND_US, self._resend)

    # Answers.

    def deliver(self, source: Endpoint, frame: bytes) -> None:
        """Take an answer."""
        member = self.world.member_at[source]
        try:
            message = _frames.decode(frame)
            if isinstance(message, Results):
                self._check(member, message.attestation)
                check_results(self.world.trust, message)
                self._on_results(member, message)
            elif isinstance(message, Attested):
                self._check(member, message.attestation)
                self._on_attested(member, message.attestation)
            elif isinstance(message, Expired):
                self._check(member, message.statement)
                self._on_expired(member, message.statement)
            elif isinstance(message, Refused):
                self._check(member, message.refusals)
                self._on_refused(member, message.refusals)
            elif isinstance(message, ReadReply):
                self._on_read(member, message)
            elif isinstance(message, QueryReply):
                self._on_answer(member, message)
        except ReplicaFault as fault:
            self._count(fault.check)
            if isinstance(message, ReadReply):
                self._ask_next()
        except CryptoError:
            self._count("malformed")

    def _count(self, what: str, times: int = 1) -> None:
        what = f"client: {what}"
        self.refused_frames[what] = self.refused_frames.get(what, 0) + times

    def _check(self, member: MemberId, envelope: Envelope) -> None:
        if envelope.signer != member:
            raise ReplicaFault("signer", "another member's statement")
        if self.world.signatures.check([envelope_check(self.world.roster, envelope)]) != [True]:
            raise ReplicaFault("signature", "does not verify")

    def _on_results(self, member: MemberId, message: Results) -> None:
        said = attested(message.attestation)
        entries = {entry.tx_id: (entry.position, entry.result) for entry in message.entries}
        self._proven.setdefault((int(said.height), bytes(said.block_hash)), {}).update(entries)
        self._on_attested(member, message.attestation)

    def _on_attested(self, member: MemberId, envelope: Envelope) -> None:
        said = attested(envelope)
        self.world.on_attested(member, said)
        key = (int(said.height), bytes(said.block_hash))
        signers = self._attested.setdefault(key, set())
        signers.add(int(member))
        if self._believed.get(key[0], key[1]) != key[1]:
            self._proven.pop(key, None)
            self._contradicted(key, 1)
            if len(signers) >= self.world.trust.acceptance:
                self.world.on_believed_block(*key)
            return
        if len(signers) < self.world.trust.acceptance:
            return
        if key[0] not in self._believed:
            self._believed[key[0]] = key[1]
            for other in [other for other in self._attested if other[0] == key[0] and other != key]:
                self._proven.pop(other, None)
                self._contradicted(other, len(self._attested.pop(other)))
        self.world.on_believed_block(*key)
        for tx_id, (position, result) in self._proven.pop(key, {}).items():
            self._believe(tx_id, "committed", result, key[0], position)
        if self._read is not None and self._read[0] == key:
            self.reads.append(self._read[1])
            self._read = self._reading = None
            self.seen_height = max(self.seen_height, key[0])

    def _contradicted(self, key: tuple[int, bytes], members: int) -> None:
        """Members attested another block than f+1 others: what rests on it is not believed."""
        self._count("another block than f+1 attest", members)
        if self._read is not None and self._read[0] == key:
            self._ask_next()

    def _on_expired(self, member: MemberId, envelope: Envelope) -> None:
        said = statement_kinds.decode(envelope)
        tx_id = getattr(said, "tx_id", None)
        operation = self.operations.get(tx_id) if tx_id is not None else None
        if operation is None or tx_id is None or not isinstance(said, NotExecuted):
            return
        final = said.time > valid_until(operation.raw)
        self.world.on_denied(Denial(member, tx_id, None if final else int(said.height)))
        if final and tx_id in self.open:
            signers = self._expired.setdefault(tx_id, set())
            signers.add(int(member))
            if len(signers) >= self.world.trust.acceptance:
                self._believe(tx_id, "expired", None, int(said.height))

    def _on_refused(self, member: MemberId, envelope: Envelope) -> None:
        said = statement_kinds.decode(envelope)
        for refusal in said.refusals if isinstance(said, Refusals) else ():
            if RefusalCode(refusal.code).final:
                signers = self._refusals.setdefault(refusal.digest, set())
                signers.add(int(member))
                for operation in self.operations.values():
                    if digest("received", operation.raw) == refusal.digest:
                        self.world.on_denied(Denial(member, operation.tx_id))
                        if len(signers) >= self.world.trust.acceptance:
                            self._believe(operation.tx_id, "refused", None, 0)

    def _on_read(self, member: MemberId, message: ReadReply) -> None:
        if self._reading is None or message.request != self._turn:
            return
        key, least = self._reading
        self._check(member, message.attestation)
        hashed = check_read(self.world.trust, message, key.encode(), least)
        height = int(message.header.height)
        done = ReadDone(self.number, key, least, height, message.value, bytes(hashed))
        self._read = ((height, bytes(hashed)), done)
        self._on_attested(member, message.attestation)
        for other in range(self.world.n):
            if other != member and self._read is not None:
                self._to(other, pack(AskAttestation(self._turn, message.header.height)))

    def _on_answer(self, member: MemberId, message: QueryReply) -> None:
        if self._asking is None or message.request != self._questions:
            return
        key, least = self._asking
        if message.height < least:
            raise ReplicaFault("answer", "of an older height than was asked for")
        said = self._said.setdefault(message.answer, set())
        said.add(int(member))
        if len(said) >= self.world.trust.acceptance:
            self.answers.append(AnswerDone(self.number, key, least, message.answer))
            alone = sum(len(others) for answer, others in self._said.items() if answer != message.answer)
            if alone:
                self._count("another answer than f+1 give", alone)
            self._asking = None

    def _believe(
        self, tx_id: TxId, outcome: str, result: bytes | None, height: int, position: int = 0
    ) -> None:
        operation = self.open.get(tx_id)
        if operation is None:
            return
        if outcome == "committed" and result is not None:
            decoded = results.decode(result)
            if decoded.code is ResultCode.REPEATED:
                return  # the first execution's own result is asked for
            if decoded.code is ResultCode.EXPIRED:
                outcome = "expired"
        if outcome == "committed":
            self._note_denials(tx_id)
        del self.open[tx_id]
        operation.outcome, operation.result = outcome, result
        operation.height, operation.position = height, position
        operation.returned_us = self.world.scheduler.now_us
        self.seen_height = max(self.seen_height, height)
        self.world.on_believed(self, operation)

    def _note_denials(self, tx_id: TxId) -> None:
        """Count who said of an executed transaction that it was not, and never would be."""
        received = digest("received", self.open[tx_id].raw)
        denied = self._expired.pop(tx_id, set()) | self._refusals.pop(received, set())
        if denied:
            self._count("denies what f+1 prove", len(denied))


def valid_until(raw: bytes) -> int:
    """Return until when a client's own transaction is valid, in ms since the epoch."""
    return int(_transactions.decode(raw[SIGNATURE_BYTES:]).valid_until)
