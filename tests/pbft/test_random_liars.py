"""Up to f liars in a cluster of bare engines, beside lost messages, partitions and crashes: agreement always,
and progress once the network is timely, though the liars go on.

Every run is named by its seed; `python -m tests.pbft.test_random_liars FIRST LAST [N]` runs more of them.
"""

import random
import sys
import traceback
from collections.abc import Sequence

import pytest

from crypto.batch import Millis
from crypto.roster import MemberId
from pbft import Limits, Tuning
from tests.pbft.cluster import Member
from tests.pbft.holdings import Stored
from tests.pbft.lying_cluster import LyingCluster

SEEDS = 6
HEALING_MS = 240_000
"""Several doubled timeouts, some of them under liars that lead."""


class Run:
    """One seeded schedule of work, faults and lies, then a timely network in which the liars go on."""

    beyond = 0
    """How many more than f lie."""

    def __init__(self, seed: int, n: int) -> None:
        self.random = random.Random(f"run {seed} {n}")
        tuning = Tuning(batch_target=5, request_timeout_ms=Millis(500), batch_delay_ms=Millis(10))
        self.cut: set[tuple[int, int]] = set()
        liars = self.random.sample(range(n), (n - 1) // 3 + self.beyond)
        self.cluster = LyingCluster(
            n,
            seed,
            liars,
            self.random.choice([0, 0, 0.002, 0.01]),
            limits=self.random.choice(
                [Limits(checkpoint_interval=8, window=16), Limits(checkpoint_interval=2, window=4)]
            ),
            tuning=tuning,
            drop=lambda a, b, _: (a, b) in self.cut,
        )
        self.cluster.pause = self.random.choice([20, 100, 400])
        self.cluster.loss = self.random.choice([0, 0.05, 0.2])
        self.cluster.delay = (1, self.random.choice([5, 50, 200]))

    def work(self) -> None:
        cluster = self.cluster
        for _ in range(self.random.randint(0, 12)):
            one = [self.random.randrange(cluster.roster.n)]
            cluster.submit([cluster.submitted], to=self.random.choice([None, None, one]))
            cluster.submitted += 1
            cluster.run(limit=self.random.choice([0, 5, 100]))

    def hurt(self) -> None:
        cluster, n = self.cluster, self.cluster.roster.n
        match self.random.choice(["crash", "split", "one-way", "power cut", "nothing", "nothing"]):
            case "crash":
                self.random.choice(cluster.honest).crash()
            case "split":
                side = set(self.random.sample(range(n), self.random.randint(1, n - 1))) - set(cluster.liars)
                free = set(cluster.liars)
                self.cut |= {
                    (a, b)
                    for a in range(n)
                    for b in range(n)
                    if (a in side) != (b in side) and a not in free and b not in free
                }
            case "one-way":
                self.cut |= {(self.random.randrange(n), self.random.randrange(n)) for _ in range(n)}
            case "power cut":
                for member in cluster.members:
                    member.crash()
                cluster.run(limit=self.random.randint(0, 100))
                self.revive()
        cluster.run(limit=self.random.choice([100, 1000, 5000]))

    def revive(self) -> None:
        for member in self.cluster.members:
            if not member.up:
                member.start()

    def check(self) -> None:
        cluster = self.cluster
        cluster.check_agreement()
        for member in cluster.honest:
            status = member.engine.status()
            assert status.halted is None, status.halted
            assert not status.marked, f"{member.id} was marked"
            accused = {evidence.member for evidence in member.evidence}
            assert accused <= set(cluster.liars), f"{member.id} accuses {accused}: {member.evidence}"

    def play(self) -> None:
        for _ in range(self.random.randint(1, 5)):
            self.work()
            self.hurt()
            if self.random.random() < 0.6:
                self.cut.clear()
                self.revive()
            self.check()
        self.heal()

    def heal(self) -> None:
        cluster = self.cluster
        self.cut.clear()
        cluster.loss, cluster.crashing, cluster.delay = 0, 0.0, (1, 5)
        self.revive()
        everything = range(cluster.submitted + 5)
        cluster.submit(everything)
        cluster.submitted += 5
        honest = [member.id for member in cluster.honest]
        begun = cluster.time
        done = cluster.run(cluster.all_executed(everything, honest), limit=HEALING_MS)
        self.took = cluster.time - begun
        assert done, "no convergence\n" + self.in_words()
        assert cluster.run(self.together, limit=HEALING_MS), "somebody stays apart\n" + self.in_words()
        self.check()
        wrongly = self.convicted_by(cluster.members) - set(cluster.liars)
        assert not wrongly, f"what was stored convicts honest members: {wrongly}"

    def convicted_by(self, members: Sequence[Member]) -> set[MemberId]:
        """Whom the stores of these members convict together."""
        return Stored.of(members).convicted(self.cluster.roster)

    def together(self) -> bool:
        statuses = [member.engine.status() for member in self.cluster.honest]
        return all(status.active for status in statuses) and len({status.view for status in statuses}) == 1

    def in_words(self) -> str:
        lines = [f"liars {list(self.cluster.liars)}"]
        lines += [f"{m.id}: {len(m.disk.chain)} {m.engine.status()}" for m in self.cluster.honest]
        return "\n".join(lines)


def test_the_liars_of_these_runs_are_seen_to_lie() -> None:
    seen = set()
    for seed in range(4):
        run = Run(seed, 4)
        run.play()
        seen |= {evidence.what for member in run.cluster.honest for evidence in member.evidence}
    assert {"two proposals for one sequence", "two VIEW-CHANGEs for one view"} <= seen


class OverBudget(Run):
    """One liar too many: nothing is promised, but that nobody honest is convicted."""

    beyond = 1

    def check(self) -> None:
        """Agreement and progress may be lost."""

    def heal(self) -> None:
        self.cut.clear()
        self.revive()
        self.cluster.run(limit=5_000)


@pytest.mark.parametrize("seed", range(3))
def test_with_more_than_f_liars_their_lies_convict_them_and_nobody_honest(seed: int) -> None:
    run = OverBudget(seed, 4)
    run.play()
    assert run.convicted_by(run.cluster.honest) == set(run.cluster.liars)
    assert run.convicted_by(run.cluster.members) == set(run.cluster.liars)


@pytest.mark.parametrize("n", [4, 5, 6, 7])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_engines_agree_and_progress_beside_liars(seed: int, n: int) -> None:
    Run(seed, n).play()


if __name__ == "__main__":
    first, last, n = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 4
    failed, longest = 0, []
    for seed in range(first, last):
        run = Run(seed, n)
        try:
            run.play()
            longest.append((run.took, seed))
        except Exception:  # noqa: BLE001 - whatever a run raises is a finding, and the next one goes on
            failed += 1
            print(f"seed {seed} n {n}\n{traceback.format_exc(limit=-4)}", flush=True)
    print(f"{last - first} schedules of n {n}, {failed} failed; slowest healing {sorted(longest)[-5:]}")
