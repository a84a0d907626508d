"""Random scenarios: one seed, one schedule of mixed faults and lies.

What lives here: chance. What must not be known here: what comes of it. The same seed gives the same scenario
for as long as this module and the list of behaviours stay as they are; a failure is kept as a scenario, not a
seed.

Faults are mixed as they come in practice: phases of work, each hurt in one way, then healed or not; links
that lose, repeat and reorder; clocks that are wrong; and up to f members that lie, or lost their disks.
"""

from random import Random

from byzantine import scenario as plan
from byzantine.liars.catalogue import BEHAVIOURS

LIVE_MS = 60_000
"""Virtual ms until everybody must have converged: several doubled timeouts."""

LIVE_BESIDE_LIARS_MS = 300_000
"""The same where liars lead some of the views."""

TIMEOUT_MS = 1_000

QUIETLY = ("slow-proposals",)
"""Behaviours that only make a random run long."""

TRANSACTIONS = {1: 18, 2: 30, 50: 40}
"""How many are submitted before healing, by how many a block may hold: about 20 blocks."""


def random_scenario(seed: int, n: int = 4, liars: bool = True, signatures: str = "stand-in") -> plan.Scenario:
    """Return the random scenario of a seed among `n` replicas; some have liars, if `liars`."""
    return _Maker(seed, n, liars, signatures).make()


class _Maker:
    def __init__(self, seed: int, n: int, liars: bool, signatures: str) -> None:
        self.seed, self.n, self.signatures = seed, n, signatures
        self.random = Random(f"scenario {seed} {n} {liars}")
        self.f = (n - 1) // 3
        self.steps: list[plan.Step] = []
        self.now = 5
        self.faulty = self.random.randint(0, self.f) if liars else 0
        self.lying = sorted(self.random.sample(range(n), self.faulty))
        self.unreliable = self.f - self.faulty
        """How many further members may lose what they promised."""

    def make(self) -> plan.Scenario:
        """Return the scenario."""
        random = self.random
        largest_batch = random.choice([1, 1, 1, 1, 2, 50])
        phases = random.randint(2, 4)
        share = round(TRANSACTIONS[largest_batch] / (2 * phases))
        for _ in range(phases):
            self._work(share)
            self._hurt()
            self._work(share)
            self._pass(random.choice([10, 100, 300, 1_500]))
            if random.random() < 0.7:
                self._heal()
        return plan.Scenario(
            name="random",
            replicas=self.n,
            seed=self.seed,
            signatures="ed25519" if self.signatures == "ed25519" else "stand-in",
            checkpoint_interval=random.choice([4, 8, 32]),
            largest_batch=largest_batch,
            links=self._links(),
            tuning=plan.Tunes(
                batch_target=random.choice([1, 1, 4]),
                pipeline_depth=random.choice([3, 8]),
                request_timeout_ms=TIMEOUT_MS,
            ),
            steps=tuple(self.steps),
            liars=tuple(plan.Liar(member=member, lies=self._lies()) for member in self.lying),
            heal_at_ms=self.now + 50,
            expect=plan.Expect(
                live_within_ms=LIVE_BESIDE_LIARS_MS if self.lying or self.unreliable < self.f else LIVE_MS,
                fired=(),
            ),
        )

    def _pass(self, milliseconds: int) -> None:
        self.now += milliseconds

    def _add(self, step: plan.Step) -> None:
        self.steps.append(step)

    def _links(self) -> plan.Links:
        random = self.random
        return plan.Links(
            low_us=200,
            high_us=random.choice([1_500, 1_500, 8_000, 40_000]),
            tail=random.choice([0, 0.02, 0.1]),
            loss=random.choice([0, 0, 0.02, 0.1, 0.3]),
            repeat=random.choice([0, 0, 0.1, 0.5]),
            reorder=random.choice([0, 0.3, 1.0]),
        )

    def _work(self, transactions: int) -> None:
        random = self.random
        left = transactions
        while left > 0:
            count = random.randint(1, left)
            left -= count
            one = (random.randrange(self.n),)
            to = random.choice([None, None, None, None, one])
            self._add(plan.Submit(at_ms=self.now, count=count, client=random.randrange(2), to=to))
            if random.random() < 0.2:
                self._add(plan.Read(at_ms=self.now, client=random.randrange(2)))
            self._pass(random.choice([2, 5, 20, 80]))

    def _hurt(self) -> None:
        random, n = self.random, self.n
        match random.choice(
            ["crash", "many", "power", "split", "one-way", "clock", "isolate", "disk", "none"]
        ):
            case "crash":
                for member in random.sample(range(n), self.f):
                    self._add(
                        plan.Crash(at_ms=self.now, member=member, surviving=random.choice([0, 0, 1, 2, 5]))
                    )
            case "many":
                for member in random.sample(range(n), random.randint(1, n)):
                    self._add(
                        plan.Crash(at_ms=self.now, member=member, surviving=random.choice([0, 1, 2, 5]))
                    )
            case "power":
                self._add(plan.PowerCut(at_ms=self.now, surviving=random.choice([0, 0, 1, 3])))
            case "split":
                members = random.sample(range(n), n)
                at = random.randint(1, n - 1)
                self._add(plan.Partition(at_ms=self.now, groups=(tuple(members[:at]), tuple(members[at:]))))
            case "one-way":
                for _ in range(random.randint(1, n)):
                    source, target = random.sample(range(n), 2)
                    self._add(plan.Cut(at_ms=self.now, source=source, target=target))
            case "clock":
                by = random.randint(-5_000, 5_000)
                self._add(plan.Clock(at_ms=self.now, member=random.randrange(n), by_ms=by))
            case "isolate":
                self._add(plan.Isolate(at_ms=self.now, member=random.randrange(n)))
            case "disk":
                self._lose_disk()

    def _lose_disk(self) -> None:
        """An honest member whose disk is old or gone counts as one of the f: it forgot what it promised."""
        honest = [member for member in range(self.n) if member not in self.lying]
        if not self.unreliable or not honest:
            return
        self.unreliable -= 1
        what = self.random.choice(["lose", "flip", "full"])
        member = self.random.choice(honest)
        self._add(plan.Disk(at_ms=self.now, member=member, what=what))  # type: ignore[arg-type]

    def _heal(self) -> None:
        self._add(plan.Mend(at_ms=self.now))
        for member in range(self.n):
            self._add(plan.Restart(at_ms=self.now, member=member))

    def _lies(self) -> tuple[plan.Lie, ...]:
        random = self.random
        names = [
            name
            for name, kind in sorted(BEHAVIOURS.items())
            if name not in QUIETLY and (self.signatures == "ed25519" or not kind.needs_ed25519)
        ]
        chosen = random.sample(names, min(len(names), random.randint(1, 4)))
        return tuple(self._lie(name) for name in chosen)

    def _lie(self, name: str) -> plan.Lie:
        random = self.random
        begin = random.choice([0, 0, random.randint(0, max(1, self.now))])
        peers = tuple(sorted(random.sample(range(self.n), random.randint(1, self.n))))
        return plan.Lie(
            behaviour=name,
            from_ms=begin,
            to_ms=random.choice([None, None, begin + random.randint(50, 2_000)]),
            peers=random.choice([None, None, peers]),
            probability=random.choice([1.0, 1.0, 0.5, 0.2]),
            times=random.choice([None, None, 1, 5]),
        )
