"""What executing blocks costs per transaction: `python -m benchmarks.execution`.

Executes batches of puts, or of transfers between accounts, on a state of many keys, and prints microseconds
of the executing thread's CPU per transaction: the whole, as the ledger does it, and the steps, done one by
one with the same parts. Beside it what RocksDB's own threads took, for flushing and compacting. Syncs,
signatures and the parsing of transactions are not in it. Nothing here is imported by what ships.
"""

import argparse
import resource
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from crypto.attestation import Height
from crypto.batch import Millis, batch_digest, transaction_root
from crypto.codec import encode
from crypto.digest import Digest
from crypto.keys import SIGNATURE_BYTES, SigningKey
from crypto.merkle import Tree
from crypto.roster import Epoch
from ledger.application import load_application
from ledger.block import Block, Header, result_leaf
from ledger.executor import execute_batch
from ledger.genesis import FORMAT, Genesis, GenesisMember
from ledger.keyvalue import Family, KeyValue, MemoryKeyValue, RocksKeyValue
from ledger.ledger import Ledger
from ledger.opening import StateRows
from ledger.state.tree import StateTree
from ledger.store import ChainStore, block_changes, index_changes
from ledger.transaction import ParsedTransaction, Transaction, parse_transaction
from ledger.values import RecentValues

KEY = SigningKey(bytes(31) + b"\x01")
START = 1_700_000_000_000
CERTIFICATE = bytes(400)
STRIDE = 7919
"""Coprime to the number of keys: so every key is met, and no two of one batch are neighbours."""


class Workload:
    """Batches for one application. The nonce counts, the keys repeat after `options.keys`."""

    def __init__(self, options: argparse.Namespace) -> None:
        member = GenesisMember("replica-0", KEY.public_key, Digest(bytes(32)))
        name = options.application
        self.genesis = Genesis(FORMAT, "benchmark", 1, "pbft", name, (member,), max_batch_transactions=4000)
        self.application = load_application(name, {})
        self.options = options
        self._number = 0

    def batch(self, filling: bool) -> list[ParsedTransaction]:
        """Return the next batch, unsigned; `filling` puts all keys, or opens all accounts and funds them."""
        return [self._transaction(filling) for _ in range(self.options.batch)]

    def _transaction(self, filling: bool) -> ParsedTransaction:
        self._number += 1
        first = self._number * STRIDE % self.options.keys
        if self.options.application == "kv":
            payload = b'{"key":"account-%08d","op":"put","value":"value-%d"}' % (first, self._number)
        elif filling and self._number <= self.options.keys:
            payload = b'{"account":"account-%08d","op":"open"}' % first
        elif filling:
            payload = b'{"account":"account-%08d","amount":1000,"op":"issue"}' % first
        else:
            payload = b'{"amount":1,"from":"account-%08d","op":"transfer","to":"account-%08d"}' % (
                first,
                (first + STRIDE) % self.options.keys,
            )
        chain, nonce = self.genesis.chain_id, self._number.to_bytes(16, "big")
        body = encode(Transaction(chain, KEY.public_key, nonce, Millis(START + 10**9), payload))
        return parse_transaction(bytes(SIGNATURE_BYTES) + body, chain, 16 * 1024)


def whole(workload: Workload, disk: KeyValue) -> dict[str, float]:
    """Fill the state, execute the blocks to be measured, and return seconds."""
    ledger = Ledger.open(workload.genesis, workload.application, disk)
    filling = -(-2 * workload.options.keys // workload.options.batch)
    seconds = {"the whole": 0.0, "RocksDB's threads": 0.0}
    for number in range(filling + workload.options.blocks):
        batch = workload.batch(number < filling)
        height = Height(ledger.height + 1)
        timestamp = Millis(START + height)
        root = transaction_root([parsed.id for parsed in batch])
        agreed = batch_digest(workload.genesis.chain_id, height, timestamp, root)
        process, begin = time.process_time(), time.thread_time()
        ledger.execute(height, agreed, timestamp, batch, CERTIFICATE)
        took = time.thread_time() - begin
        disk.sync()
        if number >= filling:
            seconds["the whole"] += took
            seconds["RocksDB's threads"] += max(0.0, time.process_time() - process - took)
    return seconds


class Steps:
    """The seconds between one `lap` and the next, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._last = time.thread_time()

    def lap(self, name: str = "") -> None:
        """Count the time since the last lap under `name`; without one, start anew."""
        now = time.thread_time()
        if name:
            self.seconds[name] += now - self._last
        self._last = now


def steps(workload: Workload, disk: KeyValue) -> dict[str, float]:
    """Execute more blocks on a filled store, as `Ledger.execute` does but step by step; return seconds."""
    store = ChainStore.open(disk, workload.genesis.chain_id)
    state = StateTree.open(StateRows(disk))
    values = RecentValues(state.get)
    header, watch = store.header(store.head.height), Steps()
    for _ in range(workload.options.blocks):
        batch, height = workload.batch(False), Height(store.head.height + 1)
        ids = [parsed.id for parsed in batch]
        watch.lap()
        root = transaction_root(ids)
        watch.lap("transaction root")
        places = store.places(ids)
        watch.lap("look the ids up")
        heights = [None if place is None else place.height for place in places]
        outcome = execute_batch(workload.application, values.get, height, Millis(START), batch, heights)
        watch.lap("the application, with reads")
        pending = state.update(outcome.changes)
        watch.lap("state tree")
        tree = Tree.of_leaves(map(result_leaf, ids, outcome.results))
        watch.lap("result tree")
        header = _header(workload, height, root, tree, pending.root)
        block = Block(header, tuple([parsed.raw for parsed in batch]), tuple(outcome.results), CERTIFICATE)
        changes = block_changes(block, Digest(bytes(32)))
        changes += index_changes(height, ids, outcome.executed)
        changes += [(Family.STATE, key, row) for key, row in sorted(pending.writes.items())]
        watch.lap("block and index records")
        disk.write(changes)
        watch.lap("the atomic write")
        pending.commit()
        values.commit(outcome.changes)
        store.advance(header, Digest(bytes(32)))
        watch.lap("state tree")
        disk.sync()
    return watch.seconds


def _header(workload: Workload, height: Height, root: Digest, tree: Tree, state_root: Digest) -> Header:
    chain, zero = workload.genesis.chain_id, Digest(bytes(32))
    times = Millis(START), Millis(START)
    return Header(chain, Epoch(0), height, zero, zero, *times, root, tree.root, state_root)


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--application", choices=["kv", "assets"], default="kv")
    arguments.add_argument("--keys", type=int, default=100_000, help="keys in the state")
    arguments.add_argument("--batch", type=int, default=500, help="transactions in a block")
    arguments.add_argument("--blocks", type=int, default=200, help="blocks measured")
    options = arguments.parse_args()
    for name in ("memory", "RocksDB"):
        workload = Workload(options)
        with tempfile.TemporaryDirectory() as directory:
            disk = MemoryKeyValue() if name == "memory" else RocksKeyValue.open(Path(directory) / "store")
            figures = {**whole(workload, disk), **steps(workload, disk)}
            disk.close()
        print(f"{name}, {options.application}: us of CPU per transaction")
        for part, seconds in figures.items():
            print(f"  {part:<30}{seconds / options.blocks / options.batch * 1e6:8.2f}")
    print(f"largest resident size {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
