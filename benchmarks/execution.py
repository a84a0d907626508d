"""What executing blocks costs per transaction: `python -m benchmarks.execution`.

Executes batches of puts on a state of many keys with the production ledger, on RocksDB and in memory, and prints
microseconds of the executing thread's CPU per transaction: the whole, and the parts. Syncs, signatures and the
parsing of transactions are not in it. Nothing here is imported by what ships.
"""

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from crypto import merkle
from crypto.attestation import Height
from crypto.batch import Millis, batch_digest, transaction_root
from crypto.codec import encode
from crypto.digest import Digest
from crypto.keys import SIGNATURE_BYTES, SigningKey
from ledger.application import Application, ApplicationContext, StateReader, StateView, load_application
from ledger.block import result_leaf
from ledger.genesis import FORMAT, Genesis, GenesisMember
from ledger.keyvalue import Change, Family, KeyValue, MemoryKeyValue, RocksKeyValue
from ledger.ledger import Executed, Ledger
from ledger.transaction import ParsedTransaction, Transaction, parse_transaction

KEY = SigningKey(bytes(31) + b"\x01")
START = 1_700_000_000_000
T = TypeVar("T")


class Stopwatch:
    """Seconds by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def __call__(self, name: str, work: Callable[[], T]) -> T:
        """Run `work` and count its time under `name`."""
        begin = time.thread_time()
        done = work()
        self.seconds[name] += time.thread_time() - begin
        return done


class TimedDisk:
    """A store whose calls are timed."""

    def __init__(self, disk: KeyValue, watch: Stopwatch) -> None:
        self._disk = disk
        self._watch = watch

    def get(self, family: Family, key: bytes) -> bytes | None:
        """Return the value under `key`."""
        return self._watch(f"  read {family.column}", lambda: self._disk.get(family, key))

    def get_many(self, family: Family, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values under `keys`."""
        return self._watch(f"  look ids up in {family.column}", lambda: self._disk.get_many(family, keys))

    def write(self, changes: Sequence[Change]) -> None:
        """Apply `changes`."""
        self._watch("  the atomic write", lambda: self._disk.write(changes))

    def sync(self) -> None:
        """Sync."""
        self._disk.sync()

    def scan(
        self, family: Family, start: bytes = b"", end: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield rows."""
        return self._disk.scan(family, start, end, reverse)

    def close(self) -> None:
        """Close."""
        self._disk.close()


class TimedApplication:
    """An application whose execution is timed, the clock's own cost of 0.1 us included."""

    def __init__(self, application: Application, watch: Stopwatch) -> None:
        self._application = application
        self._watch = watch
        self.check = application.check

    def execute(self, context: ApplicationContext, payload: bytes, state: StateView) -> bytes:
        """Execute one transaction."""
        begin = time.thread_time()
        value = self._application.execute(context, payload, state)
        self._watch.seconds["  the application"] += time.thread_time() - begin
        return value

    def query(self, question: bytes, state: StateReader) -> bytes:
        """Answer a question."""
        return self._application.query(question, state)


def genesis_for(application: str) -> Genesis:
    """Return a genesis of one member."""
    member = GenesisMember("replica-0", KEY.public_key, Digest(bytes(32)))
    return Genesis(FORMAT, "benchmark", 1, "pbft", application, (member,), max_batch_transactions=10_000)


def puts(genesis: Genesis, height: int, count: int, keys: int) -> list[ParsedTransaction]:
    """Return a batch of puts of about 180 bytes each; keys repeat after `keys`. They are not signed."""
    batch = []
    for position in range(count):
        number = height * count + position
        payload = b'{"key":"account-%08d","op":"put","value":"value-%d"}' % (number * 7919 % keys, number)
        nonce = number.to_bytes(16, "big")
        body = encode(Transaction(genesis.chain_id, KEY.public_key, nonce, Millis(START + 10**9), payload))
        batch.append(parse_transaction(bytes(SIGNATURE_BYTES) + body, genesis.chain_id, 10_000))
    return batch


def execute(ledger: Ledger, genesis: Genesis, batch: list[ParsedTransaction]) -> Executed:
    """Execute the next block."""
    height = Height(ledger.height + 1)
    timestamp = Millis(START + height)
    digest = batch_digest(
        genesis.chain_id, height, timestamp, transaction_root([parsed.id for parsed in batch])
    )
    return ledger.execute(height, digest, timestamp, batch, bytes(400))


def measure(disk: KeyValue, options: argparse.Namespace, parts: bool) -> dict[str, float]:
    """Return microseconds per transaction, by part, after the state was filled."""
    genesis = genesis_for("kv")
    watch = Stopwatch()
    application = load_application("kv", {})
    plain = Ledger.open(genesis, application, disk)
    while plain.height * options.batch < options.keys:
        execute(plain, genesis, puts(genesis, plain.height, options.batch, options.keys))
        disk.sync()
    ledger = plain
    if parts:
        ledger = Ledger.open(genesis, TimedApplication(application, watch), TimedDisk(disk, watch))
        watch.seconds.clear()
    for _ in range(options.blocks):
        batch = puts(genesis, ledger.height, options.batch, options.keys)
        done = watch("the whole", lambda batch=batch: execute(ledger, genesis, batch))  # type: ignore[misc]
        disk.sync()
        watch("  transaction root (twice in the whole)", lambda done=done: transaction_root(done.ids))  # type: ignore[misc]
        watch(
            "  result tree", lambda done=done: merkle.Tree.of_leaves(map(result_leaf, done.ids, done.results))
        )  # type: ignore[misc]
    return {name: seconds / options.blocks / options.batch * 1e6 for name, seconds in watch.seconds.items()}


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--keys", type=int, default=100_000, help="keys in the state")
    arguments.add_argument("--batch", type=int, default=500, help="transactions in a block")
    arguments.add_argument("--blocks", type=int, default=100, help="blocks measured")
    options = arguments.parse_args()
    for name in ("memory", "RocksDB"):
        for parts in (False, True):
            with tempfile.TemporaryDirectory() as directory:
                disk = MemoryKeyValue() if name == "memory" else RocksKeyValue.open(Path(directory) / "store")
                figures = measure(disk, options, parts)
                disk.close()
            print(f"{name}, {'parts (timing them costs too)' if parts else 'as it runs'}")
            for part, microseconds in figures.items():
                print(f"  {part:<45}{microseconds:8.2f} us per transaction")


if __name__ == "__main__":
    main()
