"""Twins scenarios, enumerated: who has a twin, and how the copies are divided in each of several rounds.

What lives here: the enumeration. What must not be known here: what comes of it. (Bano et al., "Twins: BFT
Systems Made Robust", 2021: a Byzantine member is a second honest copy with the same key, scheduled against
the first.)

Leaders follow from views here, so that who leads while a division lasts is chosen by whose twin is made and
by which divisions come before: the member with the twin leads the first view, the second, and so on.
"""

from functools import cache

from byzantine.scenario import Expect, Liar, Lie, Links, Mend, Partition, Scenario, Step, Submit, Tunes

ROUNDS = 3
ROUND_MS = 700
TIMEOUT_MS = 250


@cache
def divisions(seats: int) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """Return all ways to divide so many seats into one or two groups, that with seat 0 first."""
    found: list[tuple[tuple[int, ...], ...]] = []
    for mask in range(2 ** (seats - 1)):
        first = (0, *(seat for seat in range(1, seats) if mask >> (seat - 1) & 1))
        second = tuple(seat for seat in range(seats) if seat not in first)
        found.append((first, second) if second else (first,))
    return tuple(found)


def twins_count(n: int, rounds: int = ROUNDS) -> int:
    """Return how many scenarios there are."""
    return int(n * len(divisions(n + 1)) ** rounds)


def twins_scenario(index: int, n: int = 4, rounds: int = ROUNDS) -> Scenario:
    """Return one of the scenarios, by its number; beyond their count they begin again."""
    ways = divisions(n + 1)
    rest, member = divmod(index % twins_count(n, rounds), n)
    steps: list[Step] = []
    for number in range(rounds):
        rest, way = divmod(rest, len(ways))
        at = 50 + number * ROUND_MS
        steps.append(Mend(at_ms=at))
        if len(ways[way]) > 1:
            steps.append(Partition(at_ms=at, groups=ways[way]))
        steps += [Submit(at_ms=at + 10 + 150 * wave, count=2, client=wave % 2) for wave in range(3)]
    return Scenario(
        name="twins",
        replicas=n,
        seed=index,
        steps=tuple(steps),
        liars=(Liar(member=member, lies=(Lie(behaviour="twin"),)),),
        links=Links(low_us=200, high_us=1_200),
        tuning=Tunes(batch_target=1, request_timeout_ms=TIMEOUT_MS),
        heal_at_ms=50 + rounds * ROUND_MS,
        expect=Expect(live_within_ms=60_000),
    )
