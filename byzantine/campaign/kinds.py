"""Schedules that chance makes, by the way in which they are made.

What lives here: the ways, and the mixture of them. What must not be known here: how one is made, and run.
"""

from collections.abc import Iterator, Sequence

from msgspec import structs

from byzantine.campaign.byzzfuzz import byzzfuzz_scenario
from byzantine.campaign.generator import random_scenario
from byzantine.campaign.twins import twins_count, twins_scenario
from byzantine.scenario import Scenario
from byzantine.verdicts import Result

MIXED = "mixed"

KINDS = (MIXED, "random", "byzzfuzz", "twins")

MIXTURE = ("random", "byzzfuzz", "random", "twins", "random")
"""What a mixed campaign takes turns with."""

TWINS_STRIDE = 1_000_003
"""A prime, so that the Twins scenarios of a mixed campaign lie everywhere in their enumeration."""


class Schedules:
    """The schedules of a campaign: each is given again by its way and seed, as a result names them."""

    def __init__(
        self, kind: str, sizes: Sequence[int] = (4,), liars: bool = True, signatures: str = "stand-in"
    ) -> None:
        """`kind`: one of `KINDS`. `sizes`: numbers of replicas, taken in turn."""
        self.kind, self.sizes, self.liars, self.signatures = kind, sizes, liars, signatures

    def take(self, first: int, count: int) -> Iterator[Scenario]:
        """Yield so many schedules, beginning with the one numbered `first`."""
        for number in range(first, first + count):
            n = self.sizes[number % len(self.sizes)]
            if self.kind != MIXED:
                yield self.again(self.kind, n, number)
                continue
            kind = MIXTURE[number // len(self.sizes) % len(MIXTURE)]
            yield self.again(kind, n, number * TWINS_STRIDE % twins_count(n) if kind == "twins" else number)

    def of(self, result: Result) -> Scenario:
        """Return the schedule that a result is of."""
        return self.again(result.name, result.n, result.seed)

    def command(self, result: Result) -> str:
        """Return the command that runs one schedule again."""
        words = [f"tetrarch attack campaign --kind {result.name} --first {result.seed} --schedules 1"]
        words += [f"-n {result.n}"] * (result.n != 4)
        words += ["--no-liars"] * (not self.liars)
        words += ["--signatures ed25519"] * (self.signatures == "ed25519")
        return " ".join(words)

    def again(self, kind: str, n: int, seed: int) -> Scenario:
        """Return one schedule."""
        if kind == "random":
            return random_scenario(seed, n, self.liars, self.signatures)
        scenario = byzzfuzz_scenario(seed, n) if kind == "byzzfuzz" else twins_scenario(seed, n)
        return structs.replace(scenario, signatures="ed25519") if self.signatures == "ed25519" else scenario
