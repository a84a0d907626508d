"""What the heart of a replica costs, sockets and syncs apart: `python -m benchmarks.heart`.

Four hearts with the real engine, ledger and store exchange frames within one process and one thread. What
is printed is the CPU time of each per transaction, for blocks of one transaction and for larger ones: medians
of all blocks, which a neighbour moves less than means; what of it went into signatures, and the rest; and how
often frames came and turns were taken for each. Caches are warm here, which they are not where processes
take turns: see `benchmarks.processes` for that. `--profile` prints one replica's functions instead.
"""

import argparse
import cProfile
import gc
import pstats
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from consensus.contract import Now
from crypto.batch import Millis
from crypto.digest import Digest
from crypto.keys import Check, InlineChecker, Signature, SigningKey
from crypto.roster import MemberId
from ledger.application import load_application
from ledger.genesis import FORMAT, Genesis, GenesisMember
from ledger.keyvalue import RocksKeyValue
from ledger.ledger import Ledger
from ledger.transaction import sign_transaction
from tetrarch.bench.load import payloads
from tetrarch.bench.machine import measure_rates
from tetrarch.client.outcome import payload_bytes
from tetrarch.engines import ordering
from tetrarch.node.effects import ConnectionId
from tetrarch.node.gateway import Identity
from tetrarch.node.heart import Heart
from tetrarch.node.shell import COLLECT_AFTER
from tetrarch.wire import Submit, pack

KEYS = tuple(SigningKey(bytes(31) + bytes([number + 1])) for number in range(16))
SENDER = SigningKey(bytes(31) + b"\xff")
CLIENT = ConnectionId(1)
VALIDITY_MS = 60_000


class TimedChecker(InlineChecker):
    """Counts the seconds that verifying takes."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def check(self, checks: Sequence[Check]) -> list[bool]:
        """Verify."""
        began = time.thread_time()
        results = super().check(checks)
        self.seconds += time.thread_time() - began
        return results


class TimedSigner(SigningKey):
    """Counts the seconds that signing takes."""

    def __init__(self, seed: bytes) -> None:
        super().__init__(seed)
        self.seconds = 0.0

    def sign(self, message: bytes) -> Signature:
        """Sign."""
        began = time.thread_time()
        signature = super().sign(message)
        self.seconds += time.thread_time() - began
        return signature


def now() -> Now:
    """The time by this machine's clocks."""
    return Now(Millis(time.monotonic_ns() // 1_000_000), Millis(time.time_ns() // 1_000_000))


class Replica:
    """One heart, and the CPU time that it took for each block."""

    def __init__(self, genesis: Genesis, member: int, directory: Path) -> None:
        self.checker, self.signer = TimedChecker(), TimedSigner(KEYS[member].seed)
        self.disk = RocksKeyValue.open(directory / str(member))
        roster = genesis.roster()
        parts = ordering(genesis, roster)
        self.heart = Heart(
            genesis,
            Identity(roster, MemberId(member), self.signer),
            parts.make(MemberId(member), self.signer, None, False),
            parts.door,
            parts.verifier,
            Ledger.open(genesis, load_application("kv", {}), self.disk),
            self.checker,
        )
        self.heart.start(now())
        self.profile: AbstractContextManager[object] = nullcontext()
        self.due = True
        self.forget()

    def forget(self) -> None:
        """Count anew."""
        self.total = 0.0
        self.blocks: list[float] = []
        self.signatures: list[float] = []
        """Seconds for each block: in all, and for signatures."""
        self.times: Counter[str] = Counter()
        self._end()

    def end_block(self) -> None:
        """Note what the block took."""
        self.blocks.append(self.total)
        self.signatures.append(self.checker.seconds + self.signer.seconds)
        self._end()

    def _end(self) -> None:
        self.total = self.checker.seconds = self.signer.seconds = 0.0

    def timed(self, what: str, work: Callable[..., Any], *arguments: object) -> Any:
        """Do some of the present block's work."""
        with self.profile:
            began = time.thread_time()
            outcome = work(*arguments)
            self.total += time.thread_time() - began
        self.times[what] += 1
        return outcome

    def turn(self) -> Any:
        """Take a turn, and ask when the next one is due, as the shell does."""
        effects = self.heart.turn(now())
        self.heart.deadline()
        return effects


class Cluster:
    """Hearts that exchange frames. Every sync is taken for done: it costs others than this thread."""

    def __init__(self, directory: Path, replicas: int) -> None:
        members = tuple(
            GenesisMember(f"replica-{number}", KEYS[number].public_key, Digest(bytes([number]) * 32))
            for number in range(replicas)
        )
        self.genesis = Genesis(FORMAT, "benchmark", 1, "pbft", "kv", members)
        self.replicas = [Replica(self.genesis, member, directory) for member in range(replicas)]
        self.frames: deque[tuple[int, int, bytes]] = deque()
        self._payloads = payloads(1)
        self._nonce = 0

    def transactions(self, count: int) -> tuple[bytes, ...]:
        """Return new ones, signed."""
        until = Millis(time.time_ns() // 1_000_000 + VALIDITY_MS)
        raws = []
        for payload in islice(self._payloads, count):
            self._nonce += 1
            nonce = self._nonce.to_bytes(16, "big")
            raws.append(sign_transaction(SENDER, self.genesis.chain_id, nonce, until, payload_bytes(payload)))
        return tuple(raws)

    def execute(self, raws: tuple[bytes, ...]) -> None:
        """Submit to all, and run until all have executed everything and nothing is left to say."""
        for place, replica in enumerate(self.replicas):
            frame = pack(Submit(place == 1, raws))
            replica.timed("client frames", replica.heart.client_frame, CLIENT, frame)
            replica.due = True
        while self.frames or any(replica.heart.engine.status().pending for replica in self.replicas):
            self._turns()
            self._deliver()
        self._turns()
        for replica in self.replicas:
            replica.end_block()

    def _turns(self) -> None:
        for member, replica in enumerate(self.replicas):
            deadline = replica.heart.deadline()
            if replica.due or (deadline is not None and deadline <= now().monotonic):
                effects = replica.timed("turns", replica.turn)
                replica.due = effects.more
                self.frames += [(member, target, frame) for target, frame in effects.to_members]

    def _deliver(self) -> None:
        """Give everyone the first frame that lies there: where there are few, they come one by one."""
        later: deque[tuple[int, int, bytes]] = deque()
        for source, target, frame in self.frames:
            replica = self.replicas[target]
            if replica.due:
                later.append((source, target, frame))
            else:
                replica.timed("member frames", replica.heart.peer_frame, MemberId(source), frame)
                replica.due = True
        self.frames = later


def show(cluster: Cluster, batch: int, blocks: int) -> None:
    """Print one table."""
    print(f"\n{blocks} times {batch} transactions: us of CPU per transaction, and events each time")
    for number, replica in enumerate(cluster.replicas):
        total = median(replica.blocks) / batch * 1e6
        signatures = median(replica.signatures) / batch * 1e6
        events = ", ".join(f"{times / blocks:.1f} {what}" for what, times in replica.times.items())
        print(
            f"  replica {number}  {total:7.1f} = {signatures:6.1f} for signatures"
            f" + {total - signatures:6.1f} for the rest; {events}"
        )


def part(cluster: Cluster, blocks: int, batch: int, profiled: int | None) -> None:
    """Execute and print one part."""
    for _ in range(max(3, blocks // 10)):
        cluster.execute(cluster.transactions(batch))
    load = [cluster.transactions(batch) for _ in range(blocks)]
    for replica in cluster.replicas:
        replica.forget()
    profile = cProfile.Profile(time.thread_time)
    if profiled is not None:
        cluster.replicas[profiled].profile = profile
    for raws in load:
        cluster.execute(raws)
    show(cluster, batch, blocks)
    if profiled is not None:
        pstats.Stats(profile).sort_stats("tottime").print_stats(60)


def main() -> None:
    """Run both parts and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--single", type=int, default=1000, help="blocks of one transaction")
    parser.add_argument("--batches", type=int, default=30, help="larger ones")
    parser.add_argument(
        "--batch", type=int, default=256, help="transactions in these, up to one chunk of checks"
    )
    parser.add_argument("--profile", type=int, metavar="REPLICA", help="profile this one")
    options = parser.parse_args()
    rates = measure_rates()
    print(f"verify {rates.verify_us:.1f} us, sign {rates.sign_us:.1f} us")
    with tempfile.TemporaryDirectory() as scratch:
        cluster = Cluster(Path(scratch), options.replicas)
        # As the node does.
        gc.collect()
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER)
        for blocks, batch in ((options.single, 1), (options.batches, options.batch)):
            if blocks:
                part(cluster, blocks, batch, options.profile)
        for replica in cluster.replicas:
            replica.disk.close()


if __name__ == "__main__":
    main()
