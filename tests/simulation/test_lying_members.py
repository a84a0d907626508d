"""Production replicas beside up to f whole members that lie in all that they send, under loss, partitions and
crashes, by seed: nothing is lost or contradicted, and a network that is healed converges though they go on.

`python -m tests.simulation.test_lying_members FIRST LAST [N]` runs any seeds, or thousands.
"""

import sys

import pytest

from network.simulated import LinkPolicy
from tests.simulation.checking_client import CheckingClient
from tests.simulation.lying_world import LyingWorld
from tests.simulation.test_mixed_faults import Schedule, campaign

SEEDS = 24


class LyingSchedule(Schedule):
    """A schedule of mixed faults, with liars."""

    healing_s = 300
    """Virtual seconds: several doubled timeouts, some of them under liars that lead."""

    world: LyingWorld

    def make_world(self, seed: int, n: int, policy: LinkPolicy, checkpoint_interval: int) -> LyingWorld:
        liars = self.random.sample(range(n), self.random.randint(1, (n - 1) // 3))
        return LyingWorld(seed, n, liars, policy, checkpoint_interval)

    def judge(self) -> None:
        """Whether any replica blamed an honest one, the world has seen to all the time."""
        wrongly = set(self.world.convicted()) - self.world.chosen
        assert not wrongly, f"the stores convict honest members: {wrongly}"


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_honest_agree_lose_nothing_and_converge_beside_liars(seed: int) -> None:
    LyingSchedule(seed, n=(4, 4, 4, 5, 4, 6, 4, 7)[seed % 8]).play()


def test_the_liars_of_these_runs_are_seen_to_lie() -> None:
    blamed, refused = set(), 0
    for seed in (0, 1, 2):
        schedule = LyingSchedule(seed, 4)
        schedule.play()
        blamed |= {what for what, _ in schedule.world.blamed}
        client = schedule.world.client
        assert isinstance(client, CheckingClient)
        refused += client.refused
    assert "evidence" in blamed
    assert refused


if __name__ == "__main__":
    campaign(LyingSchedule, sys.argv[1:])
