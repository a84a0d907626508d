"""What a key costs in the authenticated state: `python -m benchmarks.state_tree [--keys N] [--changed M]`.

Prints CPU times, the best of many rounds, in microseconds per key, and how many SHA-256 digests of 64 bytes
this machine makes through hashlib in that time, measured in turn with the rounds: times on another machine
follow from its own digest. An update is measured with its commit and with everything that must be written to
the store; the store here is a dict, and its work is not measured. Nothing here is imported by what ships.
"""

import argparse
import gc
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from hashlib import sha256
from statistics import mean, median

from ledger.state import StateTree, encode_proof, state_root, verify_absence, verify_presence

LIMIT_US = 5.0
"""What an updated key may cost, when 500 change in a state of 100,000."""

DIGESTS = 500
"""SHA-256 digests timed per round."""

PROOFS = 500
"""Keys that are proved present, and as many that are proved absent."""


class DictSource:
    """A source that is as fast to write as can be, and sorted when it is scanned after a change."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.in_order: list[tuple[bytes, bytes]] = []

    def get(self, key: bytes) -> bytes | None:
        """Return the row under a key, or None."""
        return self.rows.get(key)

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield rows in order: those of the last `sort`, or of now."""
        return (row for row in self.in_order or sorted(self.rows.items()) if start <= row[0] < end)

    def apply(self, writes: Mapping[bytes, bytes | None]) -> None:
        """Put every row, or delete it where its bytes are None."""
        for key, row in writes.items():
            if row is None:
                del self.rows[key]
            else:
                self.rows[key] = row

    def sort(self) -> None:
        """Have all rows in order, for a scan that is measured; nothing is written after it."""
        self.in_order = sorted(self.rows.items())


class Rounds:
    """The times of several things over all rounds, in microseconds per key."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    def measure(self, name: str, per: int, work: Callable[[], object]) -> None:
        """Do some work once and note its time."""
        started = time.thread_time()
        work()
        self.times.setdefault(name, []).append((time.thread_time() - started) / per * 1e6)

    def report(self, digest: float) -> None:
        """Print one line per thing."""
        for name, times in self.times.items():
            best = min(times)
            print(f"{name:<46}{best:8.2f} us{best / digest:8.1f} digests   (median {median(times):.2f} us)")


def key_of(number: int) -> bytes:
    """Return the key of an account."""
    return b"account/%010d" % number


def grown(keys: int, value_bytes: int) -> tuple[StateTree, DictSource]:
    """Return a state of so many keys."""
    source = DictSource()
    tree = StateTree.open(source)
    for start in range(0, keys, 20_000):
        numbers = range(start, min(keys, start + 20_000))
        commit(tree, source, {key_of(number): random.randbytes(value_bytes) for number in numbers})
    return tree, source


def commit(tree: StateTree, source: DictSource, changes: Mapping[bytes, bytes | None]) -> None:
    """Make changes, as the ledger does."""
    pending = tree.update(changes)
    source.apply(pending.writes)
    pending.commit()


def get_all(tree: StateTree, keys: list[bytes]) -> None:
    """Read the values of keys."""
    for key in keys:
        tree.get(key)


def bare_digests() -> None:
    """Hash 64 bytes again and again."""
    data = bytes(64)
    for _ in range(DIGESTS):
        sha256(data).digest()


def measure_update(
    rounds: Rounds, name: str, tree: StateTree, source: DictSource, changes: Mapping[bytes, bytes | None]
) -> None:
    """Measure computing and committing one update; what it writes follows unmeasured."""
    writes: list[Mapping[bytes, bytes | None]] = []

    def work() -> None:
        pending = tree.update(changes)
        pending.commit()
        writes.append(pending.writes)

    rounds.measure(name, len(changes), work)
    source.apply(writes[0])


def measure_updates(tree: StateTree, source: DictSource, options: argparse.Namespace) -> float:
    """Print what changing, reading, adding and deleting cost, and return what changing does."""
    rounds, digests = Rounds(), Rounds()
    keys, size = range(options.keys), options.value_bytes
    gc.disable()  # a collection would fall into one round and not into the next
    for _ in range(options.rounds):
        digests.measure("digest", DIGESTS, bare_digests)
        chosen = [key_of(number) for number in random.sample(keys, options.changed)]
        measure_update(rounds, "change", tree, source, {key: random.randbytes(size) for key in chosen})
        chosen = [key_of(number) for number in random.sample(keys, options.changed)]
        rounds.measure("get", len(chosen), partial(get_all, tree, chosen))
        measure_update(
            rounds, "change what was read", tree, source, {key: random.randbytes(size) for key in chosen}
        )
        fresh = [key_of(options.keys + number) for number in random.sample(range(10**9), options.changed)]
        measure_update(rounds, "add", tree, source, {key: random.randbytes(size) for key in fresh})
        measure_update(rounds, "delete", tree, source, dict.fromkeys(fresh))
    gc.enable()
    digest = min(digests.times["digest"])
    print(f"SHA-256 of 64 bytes{digest:35.3f} us")
    rounds.report(digest)
    return min(rounds.times["change"])


def measure_proofs(tree: StateTree, keys: int) -> None:
    """Print what proofs cost and how large they are."""
    for kind, first in (("presence", 0), ("absence", 10**9)):
        times, sizes = Rounds(), []
        for number in random.sample(range(first, first + keys), PROOFS):
            key = key_of(number)
            value, proof = tree.get(key), tree.prove(key)
            times.measure("prove", 1, partial(tree.prove, key))
            if value is None:
                times.measure("verify", 1, partial(verify_absence, tree.root, key, proof))
            else:
                times.measure("verify", 1, partial(verify_presence, tree.root, key, value, proof))
            sizes.append(len(encode_proof(proof)))
        prove, verify = (median(times.times[name]) for name in ("prove", "verify"))
        print(
            f"proof of {kind}: {mean(sizes):.0f} bytes, {max(sizes)} at most; "
            f"made in {prove:.1f} us, verified in {verify:.1f} us"
        )


def measure_opening(tree: StateTree, source: DictSource, keys: int) -> None:
    """Print what opening and recomputing a state cost per key, and the memory of an opened one."""
    source.sort()
    times = Rounds()
    items = [(key_of(number), tree.get(key_of(number)) or b"") for number in range(keys)]
    for _ in range(3):
        times.measure("open and check", keys, lambda: StateTree.open(source, tree.root))
        times.measure("recompute the root from pairs in any order", keys, lambda: state_root(items))
    for name, found in times.times.items():
        print(f"{name:<46}{min(found):8.2f} us")
    tracemalloc.start()
    opened = StateTree.open(source, tree.root)
    megabytes = tracemalloc.get_traced_memory()[0] / 1e6
    print(f"memory of the tree: {megabytes:.1f} MB, root {opened.root.hex()[:16]}")
    tracemalloc.stop()


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keys", type=int, default=100_000, help="keys in the state")
    parser.add_argument("--changed", type=int, default=500, help="keys that change per update")
    parser.add_argument("--value-bytes", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=300)
    options = parser.parse_args()
    random.seed(1)
    tree, source = grown(options.keys, options.value_bytes)
    print(f"{options.changed} of {options.keys} keys, values of {options.value_bytes} bytes; per key:")
    cost = measure_updates(tree, source, options)
    if (options.keys, options.changed) == (100_000, 500):
        kept = "kept" if cost <= LIMIT_US else "not kept"
        print(f"limit for a changed key: {LIMIT_US} us, {kept} on this machine")
    measure_proofs(tree, options.keys)
    measure_opening(tree, source, options.keys)


if __name__ == "__main__":
    main()
