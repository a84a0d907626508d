"""Whole networks of production hearts, engines, ledgers and stores on the simulated network.

A world is a seed: links with delay, loss, repetition and reordering, disks that lose what was not synced,
wall clocks that are wrong, replicas that crash, and one client that sends, hears, believes at f+1, and asks
again. `check` holds the whole history to agreement, validity, integrity and durability.
"""

import random
from collections.abc import Sequence

from consensus.contract import Now
from crypto.attestation import Height, attested
from crypto.batch import Millis, TxId
from crypto.digest import Digest
from crypto.keys import Check, verify
from crypto.roster import MemberId
from ledger.application import load_application
from ledger.keyvalue import MemoryKeyValue
from ledger.ledger import Ledger
from ledger.result import results
from ledger.transaction import transaction_id
from network.simulated import MILLISECOND, SECOND, LinkPolicy, SimulatedNetwork, Tailed, Timer, VirtualClock
from pbft import Tuning
from tests.tetrarch.node.support import KEYS, WALL, make_genesis, transaction
from tetrarch.decoding import FrameDecoder
from tetrarch.engines import ordering
from tetrarch.evidence import convicted
from tetrarch.node.durability import GroupSync
from tetrarch.node.effects import ConnectionId, Effects
from tetrarch.node.gateway import Identity
from tetrarch.node.heart import Heart
from tetrarch.wire import MAX_FRAME_BYTES, TO_CLIENTS, Attested, Results, Submit, pack

CLIENT = "client"
CONNECTION = ConnectionId(1)
RESEND_US = 800 * MILLISECOND
TURN_US = 50
VALID_FOR_MS = 400_000
"""Longer than any run: what the client wants must execute, not expire."""

CLEAN = LinkPolicy(Tailed(200, 2_000, 0.02, 20_000))


class SharedChecker:
    """Verifies each signature once for all members: the same answers, at a quarter of the cost."""

    def __init__(self) -> None:
        self._known: dict[Check, bool] = {}

    def check(self, checks: Sequence[Check]) -> list[bool]:
        answers = []
        for check in checks:
            known = self._known.get(check)
            if known is None:
                known = self._known[check] = verify(*check)
            answers.append(known)
        return answers


class Replica:
    """One member: its disk and clock always, its heart while it runs."""

    def __init__(self, world: "World", member: int) -> None:
        self.world, self.member = world, MemberId(member)
        skew = world.random.randint(-200, 200) * MILLISECOND
        self.clock = VirtualClock(
            world.scheduler, skew, world.random.randint(-100, 100), WALL + world.scheduler.now_us // 1000
        )
        self.disk = MemoryKeyValue()
        self.heart: Heart | None = None
        self.order = GroupSync()
        self.alarm: Timer | None = None
        self.scheduled = False
        world.network.attach(member, self.deliver)
        self.start()

    @property
    def now(self) -> Now:
        return Now(Millis(1000 + self.clock.monotonic_ms), Millis(self.clock.wall_ms))

    @property
    def running_heart(self) -> Heart:
        assert self.heart is not None
        return self.heart

    def start(self) -> None:
        world = self.world
        parts = ordering(world.genesis, world.roster)
        ledger = Ledger.open(world.genesis, load_application("kv", {}), self.disk)
        self.heart = Heart(
            world.genesis,
            Identity(world.roster, self.member, KEYS[self.member]),
            parts.make(self.member, KEYS[self.member], world.tuning, False),
            parts.door,
            parts.verifier,
            ledger,
            world.checker,
        )
        self.order, self.scheduled = GroupSync(), False
        self.heart.start(self.now)
        for other in world.genesis.roster().members:
            if other != self.member:
                self.heart.peer_up(MemberId(other))
        self.schedule()

    def crash(self) -> None:
        """Lose the process, and a suffix of what was not synced."""
        self.world.network.crash(self.member)
        self.heart = None
        self.disk.crash(self.world.random.choice([0, 0, 1, 2, 5]))

    def restart(self) -> None:
        self.world.network.restart(self.member)
        self.start()

    def deliver(self, source, frame: bytes) -> None:
        assert self.heart is not None
        if source == CLIENT:
            self.heart.client_frame(CONNECTION, frame)
        else:
            self.heart.peer_frame(MemberId(source), frame)
        self.schedule()

    def schedule(self, delay_us: int = TURN_US) -> None:
        if not self.scheduled:
            self.scheduled = True
            self.world.network.timer(self.member, delay_us, self.turn)

    def turn(self) -> None:
        self.scheduled = False
        assert self.heart is not None
        effects = self.heart.turn(self.now)
        assert not effects.closes, "an honest client's frame was refused"
        self.send(self.order.add(effects))
        self.sync()
        if effects.more:
            self.schedule()
        else:
            self.arm()

    def arm(self) -> None:
        assert self.heart is not None
        deadline = self.heart.deadline()
        if self.alarm is not None:
            self.alarm.cancel()
        if deadline is not None:
            delay = max(TURN_US, self.clock.delay_us(deadline - 1000))
            self.alarm = self.world.network.timer(self.member, delay, self.ring)

    def ring(self) -> None:
        self.schedule(0)

    def sync(self) -> None:
        """A disk takes its time; what it is asked to sync is durable early or late within it."""
        if self.order.wanted:
            self.order.begin()
            if self.world.random.random() < 0.5:
                self.disk.sync()
            self.world.network.timer(self.member, self.world.random.randint(100, 3000), self.synced)

    def synced(self) -> None:
        self.disk.sync()
        self.send(self.order.finished())
        self.sync()

    def send(self, released: list[Effects]) -> None:
        for effects in released:
            self.world.note(self, effects)
            for member, frame in effects.to_members:
                self.world.network.send(self.member, int(member), frame)
            for _, frame in effects.to_clients:
                self.world.network.send(self.member, CLIENT, frame)

    def chain(self) -> list[Digest]:
        assert self.heart is not None
        ledger = self.heart.ledger
        return [self.hash(ledger, height) for height in range(1, ledger.height + 1)]

    @staticmethod
    def hash(ledger: Ledger, height: int) -> Digest:
        if height == ledger.height:
            return ledger.head_hash
        header = ledger.header(Height(height + 1))
        assert header is not None
        return header.parent

    def executed(self) -> list[TxId]:
        """Every id that was executed, in order, markers left out."""
        assert self.heart is not None
        ids: list[TxId] = []
        for height in range(1, self.heart.ledger.height + 1):
            block = self.heart.ledger.block(Height(height))
            assert block is not None
            pairs = zip(block.transactions, block.results, strict=True)
            ids += [transaction_id(raw) for raw, result in pairs if results.decode(result).executed]
        return ids


class Client:
    """Sends to all, believes at f+1 attestations of the hash that proves the result, and asks again."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.frames = FrameDecoder(TO_CLIENTS, MAX_FRAME_BYTES)
        self.open: dict[TxId, bytes] = {}
        self.sent: set[TxId] = set()
        self.believed: set[TxId] = set()
        self.attested: dict[tuple[int, bytes], set[int]] = {}
        self.proven: dict[tuple[int, bytes], set[TxId]] = {}
        self.turn = 0
        world.network.attach(CLIENT, self.deliver)
        world.network.timer(CLIENT, RESEND_US, self.resend)

    def submit(self, raws: list[bytes], to: Sequence[int] | None = None) -> None:
        for raw in raws:
            self.open[transaction_id(raw)] = raw
            self.sent.add(transaction_id(raw))
        self.send(raws, to)

    def send(self, raws: list[bytes], to: Sequence[int] | None = None) -> None:
        for member in range(self.world.n) if to is None else to:
            full = member == self.turn % self.world.n or to is not None
            self.world.network.send(CLIENT, member, pack(Submit(full, tuple(raws))))

    def resend(self) -> None:
        """Another member is asked for the results each time: the one before may be down."""
        self.turn += 1
        if self.open:
            self.send(list(self.open.values())[:500])
        self.world.network.timer(CLIENT, RESEND_US, self.resend)

    def deliver(self, member, frame: bytes) -> None:
        message = self.frames.decode(frame)
        if not isinstance(message, Results | Attested):
            return
        said = attested(message.attestation)
        key = (int(said.height), bytes(said.block_hash))
        self.attested.setdefault(key, set()).add(int(member))
        if isinstance(message, Results):
            self.proven.setdefault(key, set()).update(entry.tx_id for entry in message.entries)
        if len(self.attested[key]) >= self.world.weak:
            for tx_id in self.proven.pop(key, ()):
                self.believed.add(tx_id)
                self.open.pop(tx_id, None)


class World:
    """`n` replicas and a client under one seed."""

    def __init__(
        self, seed: int, n: int = 4, policy: LinkPolicy = CLEAN, checkpoint_interval: int = 8
    ) -> None:
        self.seed, self.n, self.weak = seed, n, (n - 1) // 3 + 1
        self.random = random.Random(f"world {seed} {n}")
        self.tuning = Tuning(batch_target=8, request_timeout_ms=Millis(1000), batch_delay_ms=Millis(5))
        self.genesis = make_genesis(n, checkpoint_interval=checkpoint_interval)
        self.roster = self.genesis.roster()
        self.checker = SharedChecker()
        self.network = SimulatedNetwork(seed, policy)
        self.scheduler = self.network.scheduler
        self.replicas = [self.make_replica(member) for member in range(n)]
        self.client = self.make_client()
        self.submitted = 0

    def make_replica(self, member: int) -> Replica:
        return Replica(self, member)

    def make_client(self) -> Client:
        return Client(self)

    def note(self, replica: Replica, effects: Effects) -> None:
        """Look at what a turn came to, when it is durable and leaves."""

    def submit(self, count: int, to: Sequence[int] | None = None) -> list[bytes]:
        until = WALL + self.scheduler.now_us // 1000 + VALID_FOR_MS
        numbers = range(self.submitted, self.submitted + count)
        self.submitted += count
        raws = [transaction(self.genesis, number, valid_until=until) for number in numbers]
        self.client.submit(raws, to)
        return raws

    def run(self, milliseconds: int) -> None:
        self.scheduler.run_for(milliseconds * MILLISECOND)

    @property
    def running(self) -> list[Replica]:
        """Those who run, and of whom all is expected that is asked below."""
        return [replica for replica in self.replicas if replica.heart is not None]

    def heal(self) -> None:
        """Faults end: all links are whole and clean, all replicas run."""
        self.network.heal()
        self.network.set_policy(CLEAN)
        for replica in self.replicas:
            if replica.heart is None:
                replica.restart()

    def converged(self) -> bool:
        ledgers = [replica.running_heart.ledger for replica in self.running]
        heads = {(ledger.height, ledger.head_hash) for ledger in ledgers}
        return not self.client.open and len(heads) == 1

    def converge(self, seconds: int) -> bool:
        """Run until the client believes everything and all heads are equal, within virtual seconds."""
        return self.scheduler.run_while(lambda: not self.converged(), seconds * SECOND)

    def check(self) -> None:
        """Agreement, validity, integrity and durability of all that happened so far."""
        chains = [replica.chain() for replica in self.running]
        longest = max(chains, key=len, default=[])
        for chain in chains:
            assert chain == longest[: len(chain)], "two replicas hold different blocks at one height"
        for replica in self.running:
            ids = replica.executed()
            assert len(ids) == len(set(ids)), "a transaction was executed twice"
            assert set(ids) <= self.client.sent, "a transaction was executed that nobody sent"

    def convicted(self) -> tuple[MemberId, ...]:
        """Whom all members' stores convict together."""
        stores = {str(replica.member): replica.disk for replica in self.replicas}
        return convicted(stores, self.genesis, self.checker)

    def check_durability(self) -> None:
        """To be asked once all have caught up: whatever the client believed is in every chain."""
        for replica in self.running:
            lost = self.client.believed - set(replica.executed())
            assert not lost, f"replica {replica.member} lost {len(lost)} acknowledged transactions"
