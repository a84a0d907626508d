"""Hearts with the real engine and the real ledger, joined in memory: no sockets, no threads, virtual time."""

from collections import deque

from consensus.contract import Engine
from crypto.attestation import Height, attested
from crypto.batch import TxId
from crypto.digest import Digest
from crypto.keys import InlineChecker
from crypto.roster import MemberId
from ledger.application import load_application
from ledger.keyvalue import MemoryKeyValue
from ledger.ledger import Ledger
from ledger.result import results
from ledger.transaction import transaction_id
from pbft import Tuning
from tests.tetrarch.node.support import KEYS, make_genesis, now_at, to_client, transaction
from tetrarch.engines import ordering
from tetrarch.node.effects import ConnectionId, Effects, Event
from tetrarch.node.gateway import Identity
from tetrarch.node.heart import Heart
from tetrarch.node.limits import NodeLimits
from tetrarch.node.watched import WatchedEngine
from tetrarch.node.watching import Watch
from tetrarch.wire import Attested, Frame, Results, Submit, pack

CLIENT = ConnectionId(1)
LATENCY_MS = 1


class Replica:
    """One member's disk, and its heart while it runs."""

    def __init__(self) -> None:
        self.disk = MemoryKeyValue()
        self.heart: Heart | None = None
        self.more = False


class Network:
    """`n` replicas and one client, connected to all of them."""

    def __init__(
        self,
        n: int = 4,
        limits: NodeLimits | None = None,
        checkpoint_interval: int = 8,
        deferred: bool = False,
        follow: str | None = None,
    ) -> None:
        """`follow`: watch every replica, and follow these transactions."""
        self.watches = None if follow is None else [Watch(follow) for _ in range(n)]
        self.genesis = make_genesis(n, checkpoint_interval=checkpoint_interval)
        self.limits = limits
        self.deferred = deferred
        self.n = n
        self.at = 0
        self.replicas = [Replica() for _ in range(n)]
        self.frames: deque[tuple[int, int, int, bytes]] = deque()
        """(when, from, to, frame) between members, in order of sending."""
        self.cut: set[tuple[int, int]] = set()
        self.replies: list[tuple[int, Frame]] = []
        self.events: list[tuple[int, Event]] = []
        self.bytes_between: dict[tuple[int, int], int] = {}
        for member in range(n):
            self.start(member)

    def start(self, member: int) -> None:
        """Start a member from what its disk holds."""
        replica = self.replicas[member]
        roster = self.genesis.roster()
        parts = ordering(self.genesis, roster)
        ledger = Ledger.open(self.genesis, load_application("kv", {}), replica.disk)
        engine: Engine = parts.make(MemberId(member), KEYS[member], Tuning(), False)
        watch = None if self.watches is None else self.watches[member]
        if watch is not None:
            engine = WatchedEngine(engine, parts.milestones, watch.times, watch.trace)
        replica.heart = Heart(
            self.genesis,
            Identity(roster, MemberId(member), KEYS[member]),
            engine,
            parts.door,
            parts.verifier,
            ledger,
            InlineChecker(),
            self.limits,
            self.deferred,
            None if watch is None else watch.trace,
        )
        replica.heart.start(now_at(self.at))
        replica.more = True

    def crash(self, member: int) -> None:
        """Lose the process, and what its disk had not synced."""
        self.replicas[member].heart = None
        self.replicas[member].disk.crash()
        self.frames = deque(frame for frame in self.frames if frame[2] != member)

    def heart(self, member: int) -> Heart:
        heart = self.replicas[member].heart
        assert heart is not None
        return heart

    def running(self) -> list[int]:
        return [member for member in range(self.n) if self.replicas[member].heart is not None]

    def isolate(self, member: int) -> None:
        self.cut |= {(member, other) for other in range(self.n)} | {
            (other, member) for other in range(self.n)
        }

    def heal(self) -> None:
        self.cut.clear()

    def submit(self, *raws: bytes, to: list[int] | None = None) -> None:
        """Send transactions to members; the first asked sends results in full."""
        for place, member in enumerate(self.running() if to is None else to):
            self.heart(member).client_frame(CLIENT, pack(Submit(place == 0, raws)))
            self.replicas[member].more = True

    def run(self, ms: int, until: int | None = None) -> None:
        """Run for so long, or until all running members have executed height `until`."""
        end = self.at + ms
        while self.at <= end:
            self._step()
            heights = [self.heart(member).ledger.height for member in self.running()]
            if until is not None and min(heights) >= until:
                return
            self.at = max(self.at + 1, min(self._next(), end + 1))

    def _next(self) -> int:
        times = [frame[0] for frame in self.frames]
        for member in self.running():
            if self.replicas[member].more:
                return self.at
            deadline = self.heart(member).deadline()
            if deadline is not None:
                times.append(deadline - now_at(0).monotonic)
        return min(times, default=self.at + 1000)

    def _step(self) -> None:
        due = set()
        for _ in range(len(self.frames)):
            when, source, target, data = self.frames.popleft()
            replica = self.replicas[target]
            if when > self.at:
                self.frames.append((when, source, target, data))
            elif replica.heart is not None and (source, target) not in self.cut:
                replica.heart.peer_frame(MemberId(source), data)
                due.add(target)
        now = now_at(self.at)
        for member in self.running():
            deadline = self.heart(member).deadline()
            late = deadline is not None and deadline <= now.monotonic
            if member in due or late or self.replicas[member].more:
                self._collect(member, self.heart(member).turn(now))

    def _collect(self, member: int, effects: Effects) -> None:
        if effects.sync:
            self.replicas[member].disk.sync()
        for wanted in effects.checks:
            self.heart(member).checked(wanted.number, InlineChecker().check(wanted.checks))
        self.replicas[member].more = effects.more or bool(effects.checks)
        self.events += [(member, event) for event in effects.events]
        if self.watches is not None:
            self.watches[member].replied(effects.blocks)
        for target, data in effects.to_members:
            self.frames.append((self.at + LATENCY_MS, member, target, data))
            key = (member, int(target))
            self.bytes_between[key] = self.bytes_between.get(key, 0) + len(data)
        self.replies += [(member, frame) for frame in to_client(effects, CLIENT)]

    def transactions(self, first: int, count: int) -> list[bytes]:
        return [transaction(self.genesis, number) for number in range(first, first + count)]

    def accepted(self) -> set[TxId]:
        """The ids that a client believes: proven results under hashes that enough members attested."""
        attested_by: dict[tuple[Height, Digest], set[int]] = {}
        proven: dict[tuple[Height, Digest], set[TxId]] = {}
        for member, frame in self.replies:
            if isinstance(frame, Results | Attested):
                statement = attested(frame.attestation)
                key = (statement.height, statement.block_hash)
                attested_by.setdefault(key, set()).add(member)
                if isinstance(frame, Results):
                    proven.setdefault(key, set()).update(entry.tx_id for entry in frame.entries)
        weak = (self.n - 1) // 3 + 1
        return {
            tx_id for key, ids in proven.items() if len(attested_by[key]) >= weak for tx_id in sorted(ids)
        }

    def heads(self) -> set[tuple[Height, Digest]]:
        return {
            (self.heart(member).ledger.height, self.heart(member).ledger.head_hash)
            for member in self.running()
        }

    def executed(self, member: int) -> list[TxId]:
        """Every id in the member's chain, in order, without markers."""
        ledger = self.heart(member).ledger
        ids: list[TxId] = []
        for number in range(1, ledger.height + 1):
            block = ledger.block(Height(number))
            assert block is not None
            ids += [
                transaction_id(raw)
                for raw, result in zip(block.transactions, block.results, strict=True)
                if results.decode(result).executed
            ]
        return ids
