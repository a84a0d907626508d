"""A cluster of bare engines on a virtual clock: no sockets, no disks, real signatures, real door.

The node's part is played by the smallest thing that keeps the contract: records in a dict that
survives a crash only once "synced", a chain of hashes, and a heap of deliveries.
"""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256

from consensus.contract import Decision, FetchBlocks, Now, Record, Request
from crypto.attestation import Height
from crypto.batch import Millis, TxId
from crypto.digest import ChainId, Digest
from crypto.keys import InlineChecker, SigningKey
from crypto.roster import Epoch, MemberId, Roster
from crypto.signed import Envelope
from pbft import CommitVerifier, Door, Limits, Pbft, Tuning

CHAIN = ChainId(sha256(b"test chain").digest())
WALL = 1_700_000_000_000


def keys(n: int) -> list[SigningKey]:
    return [SigningKey(bytes([member + 1]) * 32) for member in range(n)]


def roster(n: int) -> Roster:
    return Roster.register(CHAIN, Epoch(0), [key.public_key for key in keys(n)])


def request(number: int, valid_for: int = 120_000) -> Request:
    body = b"transaction %d" % number
    return Request(TxId(sha256(body).digest()), Millis(WALL + valid_for), body)


@dataclass
class Disk:
    records: dict[bytes, bytes] = field(default_factory=dict)
    archive: dict[bytes, bytes] = field(default_factory=dict)
    chain: list[tuple[Decision, Digest]] = field(default_factory=list)


class Member:
    """One engine, its disk, and the node's part of the contract."""

    def __init__(self, cluster: "Cluster", member: int) -> None:
        self.cluster, self.id, self.disk = cluster, MemberId(member), Disk()
        self.checked: set[bytes] = set()
        self.evidence: list = []
        self.up = False
        self.start()

    def start(self, marked: bool = False) -> None:
        c = self.cluster
        self.engine = Pbft(self.id, c.roster, c.keys[self.id], c.limits, c.tuning, marked)
        records = [Record(key, value) for key, value in sorted(self.disk.records.items())]
        head = self.disk.chain[-1][1] if self.disk.chain else Digest(CHAIN)
        self.up = True
        self.engine.restore(records, Height(len(self.disk.chain)), head, c.now(self.id))
        self.drain()

    def crash(self) -> None:
        self.up = False

    def take(self, envelope: Envelope) -> None:
        if not self.up:
            return
        signed, checks = self.cluster.door.open(envelope)
        for check in checks:
            key = sha256(check.key + check.signature + check.signed).digest()
            if key not in self.cluster.checked:
                assert InlineChecker().check([check]) == [True]
                self.cluster.checked.add(key)
        self.engine.receive(signed, self.cluster.now(self.id))
        self.turn()

    def submit(self, item: Request, relayed_by: MemberId | None = None) -> None:
        if self.up and item.id not in self.cluster.executed_by(self):
            self.engine.submit(item, self.cluster.now(self.id), relayed_by)
            self.turn()

    def turn(self) -> None:
        self.engine.tick(self.cluster.now(self.id))
        self.drain()

    def drain(self) -> None:
        while ready := self.engine.take_ready():
            for record in ready.persist:
                if record.value is None:
                    self.disk.records.pop(record.key, None)
                else:
                    self.disk.records[record.key] = record.value
            for record in ready.archive:
                self.disk.archive[record.key] = record.value or b""
            self.evidence += ready.evidence
            self.cluster.emit(self, ready)
            for decision in ready.decisions:
                self.execute(decision)
        self.cluster.wake(self)

    def execute(self, decision: Decision) -> None:
        assert decision.height == len(self.disk.chain) + 1, "delivered out of order or twice"
        parent = self.disk.chain[-1][1] if self.disk.chain else CHAIN
        block_hash = Digest(sha256(parent + decision.digest).digest())
        self.disk.chain.append((decision, block_hash))
        now = self.cluster.now(self.id)
        self.engine.executed(decision.height, block_hash, Millis(max(decision.timestamp, 1)), now)
        self.engine.settled(item.id for item in decision.requests)

    def give_blocks(self, fetch: FetchBlocks) -> None:
        if not self.up:
            return
        for source in fetch.sources:
            chain = self.cluster.members[source].disk.chain
            if self.cluster.members[source].up and len(chain) >= fetch.first:
                for decision, _ in chain[fetch.first - 1 : fetch.first + 19]:
                    verifier = CommitVerifier(self.cluster.roster)
                    verifier.checks(decision.height, decision.digest, decision.certificate)
                    self.engine.learn(decision, self.cluster.now(self.id))
                self.turn()
                return


class Cluster:
    """Members, links and the clock."""

    def __init__(
        self,
        n: int = 4,
        seed: int = 0,
        limits: Limits | None = None,
        tuning: Tuning | None = None,
        drop: Callable[[int, int, Envelope | None], bool] | None = None,
    ) -> None:
        self.random = random.Random(seed)
        self.time = 0
        self.keys, self.roster = keys(n), roster(n)
        self.limits = limits or Limits(checkpoint_interval=8, window=16)
        self.tuning = tuning or Tuning()
        self.door = Door(self.roster, self.limits.window, self.limits.max_batch_transactions)
        self.drop = drop or (lambda source, to, envelope: False)
        self.loss = 0.0
        self.delay = (1, 5)
        self.checked: set[bytes] = set()
        self.heap: list = []
        self.count = 0
        self.alarms: dict[int, tuple[int, Pbft]] = {}
        self.trace: list[tuple[int, int, int, Envelope]] = []
        self.members: list[Member] = []
        for member in range(n):
            self.members.append(Member(self, member))

    def now(self, member: int) -> Now:
        return Now(Millis(self.time), Millis(WALL + self.time))

    def at(self, delay: int, action: Callable[[], None]) -> None:
        self.count += 1
        heapq.heappush(self.heap, (self.time + delay, self.count, action))

    def wake(self, member: Member) -> None:
        """Ring once at the engine's deadline; an alarm that is set already and rings no later will do."""
        deadline = member.engine.deadline()
        if deadline is None:
            return
        alarm = (max(self.time + 1, deadline), member.engine)
        pending = self.alarms.get(member.id)
        if pending is None or pending[1] is not member.engine or pending[0] > alarm[0]:
            self.alarms[member.id] = alarm
            self.at(alarm[0] - self.time, partial(self.ring, member, alarm))

    def ring(self, member: Member, alarm: tuple[int, Pbft]) -> None:
        if self.alarms.get(member.id) is alarm:
            del self.alarms[member.id]
            if member.up and member.engine is alarm[1]:
                member.turn()

    def emit(self, source: Member, ready) -> None:
        n = self.roster.n
        for send in ready.send:
            for to in send.to if send.to is not None else [m for m in range(n) if m != source.id]:
                self.trace.append((self.time, source.id, to, send.message))
                self.pass_on(source.id, to, send.message, partial(Member.take, envelope=send.message))
        for relay in ready.relay:
            for body in relay.bodies:
                item = request(int(body.split()[1]))
                self.pass_on(
                    source.id, relay.to, None, partial(Member.submit, item=item, relayed_by=source.id)
                )
        for fetch in ready.fetch:
            if isinstance(fetch, FetchBlocks):
                if not self.drop(fetch.sources[0], source.id, None):
                    self.at(2, partial(source.give_blocks, fetch))
            else:
                for tx_id in fetch.ids:
                    self.at(2, partial(self.give_body, source, tx_id, fetch.sources))

    def give_body(self, to: Member, tx_id: TxId, sources) -> None:
        for source in sources:
            if not self.members[source].up or self.drop(source, to.id, None):
                continue
            body = self.members[source].engine.body(tx_id)
            stored = [
                item
                for decision, _ in self.members[source].disk.chain
                for item in decision.requests
                if item.id == tx_id
            ]
            if body is not None or stored:
                item = request(int(body.split()[1])) if body is not None else stored[0]
                if to.up:
                    to.engine.submit(item, self.now(to.id))
                    to.turn()
                return

    def pass_on(self, source: int, to: int, envelope: Envelope | None, deliver) -> None:
        if self.drop(source, to, envelope) or self.random.random() < self.loss:
            return
        self.at(self.random.randint(*self.delay), lambda: deliver(self.members[to]))

    def submit(self, numbers, to=None) -> None:
        for number in numbers:
            for member in self.members if to is None else [self.members[m] for m in to]:
                self.at(self.random.randint(*self.delay), partial(member.submit, request(number)))

    def executed_by(self, member: Member) -> set[TxId]:
        return {item.id for decision, _ in member.disk.chain for item in decision.requests}

    def run(self, until: Callable[[], bool] | None = None, limit: int = 60_000) -> bool:
        """Run until the condition holds (True) or `limit` virtual ms have passed (False)."""
        end = self.time + limit
        while self.heap and self.heap[0][0] <= end:
            if until is not None and until():
                return True
            self.time, _, action = heapq.heappop(self.heap)
            action()
        self.time = end
        return until() if until is not None else True

    def all_executed(self, numbers, members=None) -> Callable[[], bool]:
        ids = {request(number).id for number in numbers}
        chosen = [self.members[m] for m in members] if members is not None else self.members
        return lambda: all(ids <= self.executed_by(member) for member in chosen)

    def check_agreement(self) -> None:
        longest = max((member.disk.chain for member in self.members), key=len)
        for member in self.members:
            for mine, theirs in zip(member.disk.chain, longest, strict=False):
                assert mine[1] == theirs[1], f"member {member.id} disagrees at {mine[0].height}"
