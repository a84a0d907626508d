"""Bare engines under random loss, delay, partitions and crashes: agreement always, progress after healing.

Every run is named by its seed; `python -m tests.pbft.test_random_faults FIRST LAST [N]` runs more of them.
"""

import random
import sys

import pytest

from crypto.batch import Millis
from pbft import Tuning
from tests.pbft.cluster import Cluster

SEEDS = 40
HEALING_MS = 120_000
"""Several doubled timeouts: how long a network may need once it is timely again."""


class Run:
    """One seeded schedule of submissions and faults, then healing, then what must hold."""

    def __init__(self, seed: int, n: int) -> None:
        self.random = random.Random(seed * 1000 + n)
        tuning = Tuning(batch_target=5, request_timeout_ms=Millis(500), batch_delay_ms=Millis(10))
        self.cut: set[tuple[int, int]] = set()
        self.cluster = Cluster(n, seed, tuning=tuning, drop=lambda a, b, _: (a, b) in self.cut)
        self.cluster.loss = self.random.choice([0, 0.05, 0.2])
        self.cluster.delay = (1, self.random.choice([5, 50, 200]))
        self.submitted = 0

    def work(self) -> None:
        for _ in range(self.random.randint(0, 15)):
            one = [self.random.randrange(self.cluster.roster.n)]
            self.cluster.submit([self.submitted], to=self.random.choice([None, None, one]))
            self.submitted += 1
            self.cluster.run(limit=self.random.choice([0, 5, 100]))

    def hurt(self) -> None:
        members, n = self.cluster.members, self.cluster.roster.n
        match self.random.choice(["crash", "split", "one-way", "power cut", "nothing"]):
            case "crash":
                for member in self.random.sample(members, self.random.randint(1, (n - 1) // 3)):
                    member.crash()
            case "split":
                side = set(self.random.sample(range(n), self.random.randint(1, n - 1)))
                self.cut |= {(a, b) for a in range(n) for b in range(n) if (a in side) != (b in side)}
            case "one-way":
                self.cut |= {(self.random.randrange(n), self.random.randrange(n)) for _ in range(n)}
            case "power cut":
                for member in members:
                    member.crash()
                self.cluster.run(limit=self.random.randint(0, 100))
                self.revive()
        self.cluster.run(limit=self.random.choice([100, 1000, 5000]))

    def revive(self) -> None:
        for member in self.cluster.members:
            if not member.up:
                member.start()

    def play(self) -> None:
        for _ in range(self.random.randint(2, 6)):
            self.work()
            self.hurt()
            if self.random.random() < 0.6:
                self.cut.clear()
                self.revive()
            self.cluster.check_agreement()
        self.heal()

    def heal(self) -> None:
        self.cut.clear()
        self.cluster.loss = 0
        self.revive()
        everything = range(self.submitted + 5)
        self.cluster.submit(everything)
        assert self.cluster.run(self.cluster.all_executed(everything), limit=HEALING_MS), "no convergence"
        self.cluster.check_agreement()
        for member in self.cluster.members:
            status = member.engine.status()
            assert not member.evidence, "an honest member was accused"
            assert status.halted is None
            assert "older than its votes" not in status.waiting_for, "an ordinary restart was marked"


@pytest.mark.parametrize("n", [4, 5, 6, 7])
@pytest.mark.parametrize("seed", range(SEEDS // 4))
def test_engines_agree_under_faults_and_converge_after_healing(seed: int, n: int) -> None:
    Run(seed, n).play()


@pytest.mark.parametrize(("seed", "n"), [(247, 4)])
def test_schedules_that_once_failed(seed: int, n: int) -> None:
    Run(seed, n).play()


if __name__ == "__main__":
    first, last, n = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 4
    failed = 0
    for seed in range(first, last):
        try:
            Run(seed, n).play()
        except AssertionError as error:
            failed += 1
            print(f"seed {seed} n {n}: {error}")
    print(f"{last - first} schedules, {failed} failed")
