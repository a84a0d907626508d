"""What the tests of the node share: a genesis, transactions, and one heart on a scripted engine."""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.json import Encoder

from consensus.contract import (
    Decision,
    FetchBlocks,
    FetchBodies,
    Now,
    Ready,
    Record,
    Relay,
    Request,
    Send,
    Status,
)
from crypto.attestation import Height
from crypto.batch import Millis, TxId, batch_digest, transaction_root
from crypto.digest import Digest
from crypto.errors import CertificateError
from crypto.keys import Check, InlineChecker, SigningKey
from crypto.roster import MemberId
from crypto.signed import Envelope, Signed
from ledger.application import Application, load_application
from ledger.block import Block
from ledger.genesis import Genesis, GenesisMember
from ledger.keyvalue import KeyValue, MemoryKeyValue
from ledger.ledger import Ledger
from ledger.transaction import sign_transaction, transaction_id
from tetrarch.decoding import FrameDecoder
from tetrarch.node.effects import ConnectionId, Effects
from tetrarch.node.gateway import Identity
from tetrarch.node.heart import Heart
from tetrarch.node.limits import NodeLimits
from tetrarch.wire import BETWEEN_MEMBERS, MAX_FRAME_BYTES, TO_CLIENTS, Frame, pack

WALL = 1_800_000_000_000
CLIENT = SigningKey(b"\x63" * 32)
KEYS = [SigningKey(bytes([number + 1]) * 32) for number in range(7)]

_json = Encoder(order="sorted")
_to_clients = FrameDecoder(TO_CLIENTS, MAX_FRAME_BYTES)
_between = FrameDecoder(BETWEEN_MEMBERS, MAX_FRAME_BYTES)


def make_genesis(n: int = 1, **changes: Any) -> Genesis:
    members = tuple(
        GenesisMember(f"replica-{number}", KEYS[number].public_key, Digest(bytes([number]) * 32))
        for number in range(n)
    )
    return Genesis(1, "test", 0, "pbft", "kv", members, **changes)


def put(key: str, value: str = "1") -> bytes:
    return _json.encode({"op": "put", "key": key, "value": value})


def transaction(
    genesis: Genesis,
    number: int,
    payload: bytes | None = None,
    valid_until: int = WALL + 60_000,
    signer: SigningKey = CLIENT,
) -> bytes:
    body = put(f"key-{number}") if payload is None else payload
    nonce = number.to_bytes(16, "big")
    return sign_transaction(signer, genesis.chain_id, nonce, Millis(valid_until), body)


def spoiled(raw: bytes) -> bytes:
    """The same transaction with another signature, which does not verify."""
    return bytes([raw[0] ^ 1]) + raw[1:]


def now_at(ms: int) -> Now:
    return Now(Millis(1_000 + ms), Millis(WALL + ms))


class CountingChecker:
    """Verifies as the inline checker does, and remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[Check] = []

    def check(self, checks: Sequence[Check]) -> list[bool]:
        self.asked += checks
        return InlineChecker().check(checks)


class ScriptedEngine:
    """Implements `consensus.contract.Engine` as a test says: proposes nothing unless told to."""

    acceptance = 1

    def __init__(self, genesis: Genesis, automatic: bool = True, capacity: int = 10_000) -> None:
        self._chain_id = genesis.chain_id
        self.automatic = automatic
        self.capacity = capacity
        self.pool: dict[TxId, Request] = {}
        self.submitted: list[tuple[TxId, MemberId | None]] = []
        self.received: list[Signed[Any]] = []
        self.learnt: list[Height] = []
        self.advanced: list[Millis] = []
        self.settled_ids: list[TxId] = []
        self.halted: str | None = None
        self.height = Height(0)
        self.delivered = Height(0)
        self.persist: list[Record] = []
        self.send: list[Send] = []
        self.relay: list[Relay] = []
        self.fetch: list[FetchBodies | FetchBlocks] = []
        self.decisions: list[Decision] = []

    def restore(self, records: Iterable[Record], executed: Height, block_hash: Digest, now: Now) -> None:
        self.restored = list(records)
        self.height = self.delivered = executed

    def submit(self, request: Request, now: Now, relayed_by: MemberId | None = None) -> bool:
        self.submitted.append((request.id, relayed_by))
        if request.id not in self.pool and len(self.pool) >= self.capacity:
            return False
        self.pool[request.id] = request
        return True

    def redundant(self, message: Signed[Any]) -> bool:
        return False

    def receive(self, message: Signed[Any], now: Now) -> None:
        self.received.append(message)

    def learn(self, decision: Decision, now: Now) -> None:
        if decision.height == self.delivered + 1:
            self.learnt.append(decision.height)
            self.delivered = decision.height
            self.decisions.append(decision)

    def tick(self, now: Now) -> None:
        if self.automatic and self.pool and self.delivered == self.height and self.halted is None:
            self.decide(list(self.pool.values()), now.wall)

    def decide(self, requests: Sequence[Request], timestamp: int) -> None:
        height = Height(self.delivered + 1)
        root = transaction_root([request.id for request in requests])
        digest = batch_digest(self._chain_id, height, Millis(timestamp), root)
        self.persist.append(Record(b"decided", height.to_bytes(8, "big")))
        self.delivered = height
        self.decisions.append(
            Decision(height, digest, Millis(timestamp), tuple(requests), b"agreed" + digest)
        )

    def settled(self, ids: Iterable[TxId]) -> None:
        for tx_id in ids:
            self.settled_ids.append(tx_id)
            self.pool.pop(tx_id, None)

    def executed(self, height: Height, block_hash: Digest, block_time: Millis, now: Now) -> None:
        self.height = height

    def advance(self, past: Millis, now: Now) -> None:
        self.advanced.append(past)

    def deadline(self) -> Millis | None:
        return None

    def take_ready(self) -> Ready:
        ready = Ready(
            persist=tuple(self.persist),
            send=tuple(self.send),
            relay=tuple(self.relay),
            decisions=tuple(self.decisions),
            fetch=tuple(self.fetch),
        )
        self.persist, self.send, self.relay, self.fetch, self.decisions = [], [], [], [], []
        return ready

    def body(self, tx_id: TxId) -> bytes | None:
        request = self.pool.get(tx_id)
        return None if request is None else request.body

    def halt(self, reason: str) -> None:
        self.halted = reason

    def sizes(self) -> dict[str, tuple[int, int]]:
        return {}

    def status(self) -> Status:
        return Status(
            view=0,
            leader=MemberId(0),
            active=True,
            low=Height(0),
            high=Height(128),
            executed=self.height,
            waiting_for="nothing",
            pending=len(self.pool),
            last_vote=self.delivered,
            halted=self.halted,
        )


class ScriptedVerifier:
    """Takes `b"agreed" + digest` for a certificate; no signatures."""

    def checks(self, height: Height, batch: Digest, certificate: bytes) -> Sequence[Check]:
        if certificate != b"agreed" + batch:
            raise CertificateError("not the certificate of this batch")
        return []

    def signers(self, certificate: bytes) -> tuple[MemberId, ...]:
        return (MemberId(0),)


class ScriptedDoor:
    def open(self, envelope: Envelope) -> tuple[Signed[Any], list[Check]]:
        raise CertificateError("a scripted engine has no messages")


class Solo:
    """One heart on a scripted engine, and what it sent."""

    def __init__(
        self,
        n: int = 1,
        automatic: bool = True,
        capacity: int = 10_000,
        disk: KeyValue | None = None,
        limits: NodeLimits | None = None,
        deferred: bool = False,
        genesis: Genesis | None = None,
        application: Application | None = None,
    ) -> None:
        self.genesis = genesis or make_genesis(n)
        self.disk = disk or MemoryKeyValue()
        self.engine = ScriptedEngine(self.genesis, automatic, capacity)
        self.checker = CountingChecker()
        self.ledger = Ledger.open(self.genesis, application or load_application("kv", {}), self.disk)
        self.heart = Heart(
            self.genesis,
            Identity(self.genesis.roster(), MemberId(0), KEYS[0]),
            self.engine,
            ScriptedDoor(),
            ScriptedVerifier(),
            self.ledger,
            self.checker,
            limits,
            deferred,
        )
        self.at = 0
        self.heart.start(now_at(0))

    def turn(self, after_ms: int = 1) -> Effects:
        self.at += after_ms
        return self.heart.turn(now_at(self.at))

    def turns(self, after_ms: int = 1) -> list[Effects]:
        """Turn until there is no work left."""
        done = [self.turn(after_ms)]
        while done[-1].more:
            done.append(self.turn(0))
        return done

    def frames(self, connection: int, after_ms: int = 1) -> list[Frame]:
        """What a connection is sent until there is no work left."""
        return [frame for effects in self.turns(after_ms) for frame in to_client(effects, connection)]


def to_client(effects: Effects, connection: int) -> list[Frame]:
    return [
        _to_clients.decode(data) for target, data in effects.to_clients if target == ConnectionId(connection)
    ]


def to_member(effects: Effects, member: int) -> list[Frame]:
    return [_between.decode(data) for target, data in effects.to_members if target == MemberId(member)]


def tell(solo: Solo, member: MemberId, frame: Frame) -> None:
    solo.heart.peer_frame(member, pack(frame))


def request(solo: Solo, number: int, valid_until: int = WALL + 60_000) -> Request:
    raw = transaction(solo.genesis, number, valid_until=valid_until)
    return Request(TxId(transaction_id(raw)), Millis(valid_until), raw)


def chain(blocks: int) -> tuple[Solo, list[Block]]:
    """A source, and its blocks with certificates."""
    solo = Solo(n=4, automatic=False)
    for number in range(blocks):
        solo.engine.decide([request(solo, number)], WALL + number)
        solo.turns()
    return solo, solo.ledger.blocks_from(Height(1), Height(blocks), 10**9)
