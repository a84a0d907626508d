"""ByzzFuzz scenarios: mutated messages of a liar, and partitions, in rounds that chance picks.

What lives here: chance. What must not be known here: mutations (`byzantine.liars.mutation`). (Winter et al.,
"Randomized Testing of Byzantine Fault Tolerant Algorithms", 2023: few rounds with faults find most bugs.)
"""

from random import Random

from byzantine.scenario import (
    Expect,
    Isolate,
    Liar,
    Lie,
    Links,
    Mend,
    Partition,
    Scenario,
    Step,
    Submit,
    Tunes,
)

ROUNDS = 6
ROUND_MS = 300
TIMEOUT_MS = 250


def byzzfuzz_scenario(seed: int, n: int = 4) -> Scenario:
    """Return the scenario of a seed: f liars that mutate, and partitions in some rounds."""
    random = Random(f"byzzfuzz {seed} {n}")
    liars = random.sample(range(n), random.randint(1, (n - 1) // 3))
    lies = [
        Lie(
            behaviour="mutate",
            probability=random.choice([0.2, 0.5, 1.0]),
            parameters={"small": random.random() < 0.5},
        )
        for _ in liars
    ]
    steps: list[Step] = []
    for number in range(ROUNDS):
        at = 20 + number * ROUND_MS
        steps += [
            Submit(at_ms=at + 70 * wave, count=random.randint(1, 3), client=wave % 2) for wave in range(3)
        ]
        match random.choice(["nothing", "nothing", "split", "isolate", "primary"]):
            case "split":
                members = random.sample(range(n), n)
                cut = random.randint(1, n - 1)
                steps.append(Partition(at_ms=at, groups=(tuple(members[:cut]), tuple(members[cut:]))))
            case "isolate":
                steps.append(Isolate(at_ms=at, member=random.randrange(n)))
            case "primary":
                steps.append(Isolate(at_ms=at, member=number % n))
        steps.append(Mend(at_ms=at + ROUND_MS - 20))
    return Scenario(
        name="byzzfuzz",
        replicas=n,
        seed=seed,
        checkpoint_interval=random.choice([4, 8]),
        steps=tuple(steps),
        liars=tuple(Liar(member=member, lies=(lie,)) for member, lie in zip(liars, lies, strict=True)),
        links=Links(low_us=200, high_us=1_200),
        tuning=Tunes(batch_target=1, request_timeout_ms=TIMEOUT_MS),
        heal_at_ms=20 + ROUNDS * ROUND_MS,
        expect=Expect(live_within_ms=120_000, fired=()),
    )
