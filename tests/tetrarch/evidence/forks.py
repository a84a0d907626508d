"""Real forks in memory: hearts, engines and ledgers of two networks of one chain, with the liars in both.

Members 0 and 1 lie, by running twice; 2 and 3 are honest, one in each network. So f+1 of four lie, each side
has a quorum, and the two honest stores hold different chains.
"""

from collections.abc import Mapping
from pathlib import Path

from ledger.genesis import Genesis
from ledger.keyvalue import Family, KeyValue, MemoryKeyValue, RocksKeyValue
from tests.tetrarch.node.network import Network

LIARS = (0, 1)


class Fork:
    """Two networks of one chain, and what their honest members stored."""

    def __init__(self, checkpoint_interval: int = 4) -> None:
        self.one = Network(checkpoint_interval=checkpoint_interval)
        self.other = Network(checkpoint_interval=checkpoint_interval)
        self.one.crash(3)
        self.other.crash(2)

    @property
    def genesis(self) -> Genesis:
        return self.one.genesis

    @property
    def honest(self) -> Mapping[str, MemoryKeyValue]:
        return {"replica-2": self.one.replicas[2].disk, "replica-3": self.other.replicas[3].disk}


def work(network: Network, first: int, blocks: int) -> None:
    for number in range(blocks):
        network.submit(*network.transactions(first + 10 * number, 2))
        network.run(500)


def in_one_view(blocks: int = 6) -> Fork:
    """The primary proposes something else to each side."""
    fork = Fork()
    work(fork.one, 0, blocks)
    work(fork.other, 1000, blocks)
    return fork


def across_views() -> Fork:
    """One side commits in view 0; on the other, the liars say in view 1 that nothing was prepared."""
    fork = Fork()
    work(fork.one, 0, 2)
    fork.other.crash(0)
    fork.other.submit(*fork.other.transactions(1000, 2))
    fork.other.run(3_000)
    fork.other.start(0)
    fork.other.run(20_000)
    return fork


def on_disk(disk: KeyValue, path: Path) -> Path:
    """Copy a store into a RocksDB directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    store = RocksKeyValue.open(path)
    store.write([(family, key, value) for family in Family for key, value in disk.scan(family)])
    store.sync()
    store.close()
    return path
