"""Production replicas under mixed loss, delay, repetition, partitions and crashes, by seed.

A failing run names its seed; `python -m tests.simulation.test_mixed_faults FIRST LAST [N]` runs any of them,
or thousands.
"""

import random
import sys
import traceback

import pytest

from network.simulated import LinkPolicy, Tailed
from tests.simulation.world import World

SEEDS = 200
HEALING_S = 60
"""Virtual seconds until everybody must have converged: several doubled timeouts of one second each."""


class Schedule:
    """What happens to one world: phases of work and of one fault each, then healing."""

    healing_s = HEALING_S

    def __init__(self, seed: int, n: int) -> None:
        self.random = random.Random(f"schedule {seed} {n}")
        high = self.random.choice([2_000, 10_000, 60_000])
        policy = LinkPolicy(
            Tailed(200, high, self.random.choice([0.02, 0.2]), 40 * high),
            loss=self.random.choice([0, 0.02, 0.1, 0.3]),
            repeat=self.random.choice([0, 0.1, 0.5]),
            reorder=self.random.choice([0, 0.3, 1.0]),
        )
        self.world = self.make_world(seed, n, policy, self.random.choice([4, 8, 32]))

    def make_world(self, seed: int, n: int, policy: LinkPolicy, checkpoint_interval: int) -> World:
        return World(seed, n, policy, checkpoint_interval)

    def work(self) -> None:
        for _ in range(self.random.randint(1, 8)):
            one = [self.random.randrange(self.world.n)]
            self.world.submit(self.random.randint(1, 6), self.random.choice([None, None, None, one]))
            self.world.run(self.random.choice([1, 5, 30, 200]))

    def hurt(self) -> None:
        world, n = self.world, self.world.n
        match self.random.choice(
            ["crash", "crash many", "power cut", "split", "one-way", "clock", "nothing"]
        ):
            case "crash":
                for replica in self.random.sample(world.replicas, (n - 1) // 3):
                    self.crash(replica)
            case "crash many":
                for replica in self.random.sample(world.replicas, self.random.randint(1, n)):
                    self.crash(replica)
            case "power cut":
                for replica in world.replicas:
                    self.crash(replica)
                self.revive()
            case "split":
                members = self.random.sample(range(n), n)
                at = self.random.randint(1, n - 1)
                world.network.partition(members[:at], members[at:])
            case "one-way":
                for _ in range(self.random.randint(1, n)):
                    source, target = self.random.sample(range(n), 2)
                    world.network.cut(source, target)
            case "clock":
                self.random.choice(world.replicas).clock.jump(self.random.randint(-5_000_000, 5_000_000))

    def crash(self, replica) -> None:
        if replica.heart is not None:
            replica.crash()

    def revive(self) -> None:
        for replica in self.world.replicas:
            if replica.heart is None:
                replica.restart()

    def play(self) -> None:
        for _ in range(self.random.randint(2, 6)):
            self.work()
            self.hurt()
            self.work()
            self.world.run(self.random.choice([10, 300, 2500]))
            self.world.check()
            if self.random.random() < 0.7:
                self.world.network.heal()
                self.revive()
        self.world.heal()
        self.world.submit(3)
        assert self.world.converge(self.healing_s), self.world_in_words()
        self.world.check()
        self.world.check_durability()
        self.judge()

    def judge(self) -> None:
        """Nobody lied, so nobody may seem to have."""
        for replica in self.world.running:
            status = replica.running_heart.engine.status()
            assert status.halted is None, status.halted
            assert "older than its votes" not in status.waiting_for, "an ordinary restart was marked"
            evidence = [name for name, _ in replica.running_heart.counters.all() if "evidence" in name]
            assert not evidence, "an honest member was accused"
        assert not self.world.convicted(), "the stores convict an honest member"

    def world_in_words(self) -> str:
        said = [
            f"no convergence within {self.healing_s} s; the client waits for {len(self.world.client.open)}"
        ]
        for replica in self.world.running:
            status = replica.running_heart.engine.status()
            said.append(f"{replica.member}: height {replica.running_heart.ledger.height} {status}")
        return "\n".join(said)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_replicas_agree_lose_nothing_and_converge_after_healing(seed: int) -> None:
    Schedule(seed, n=(4, 4, 4, 4, 5, 6, 7, 4)[seed % 8]).play()


def campaign(schedule: type[Schedule], arguments: list[str]) -> None:
    """Play many seeds, and say which fail."""
    first, last, n = int(arguments[0]), int(arguments[1]), int(arguments[2]) if len(arguments) > 2 else 4
    failed = 0
    for seed in range(first, last):
        try:
            schedule(seed, n).play()
        except Exception:  # noqa: BLE001 - whatever a run raises is a finding, and the next one goes on
            failed += 1
            print(f"seed {seed} n {n}\n{traceback.format_exc(limit=-3)}", flush=True)
    print(f"{last - first} schedules, {failed} failed")


if __name__ == "__main__":
    campaign(Schedule, sys.argv[1:])
