"""Building blocks of stages: work that is spread over time, and who plays the liar.

What lives here: small functions that make steps. What must not be known here: attacks.
"""

from random import Random
from typing import Any

from msgspec import structs

from byzantine.scenario import Expect, Liar, Lie, Links, Scenario, Step, Submit, Tunes

QUIET = Links(low_us=200, high_us=1_200)
"""Links that do nothing wrong: what goes wrong is the liar's doing."""

LIVE_MS = 10_000
"""Virtual ms from healing to convergence: several of the timeouts used here, doubled twice."""

ROUNDS = 12
EVERY_MS = 60


def work(seed: int, rounds: int = ROUNDS, every_ms: int = EVERY_MS, start_ms: int = 20) -> tuple[Step, ...]:
    """Return the steps of two clients that submit now and then: about two blocks a round."""
    random = Random(f"work {seed}")
    return tuple(
        Submit(
            at_ms=start_ms + number * every_ms + random.randrange(every_ms // 2),
            count=random.randint(1, 4),
            client=number % 2,
        )
        for number in range(rounds)
    )


def lie(behaviour: str, **more: Any) -> Lie:
    """Return one lie; keywords that are no field of `Lie` are parameters of the behaviour."""
    fields = {name: more.pop(name) for name in list(more) if name in Lie.__struct_fields__}
    return Lie(behaviour=behaviour, parameters=more, **fields)


def liar(member: int, *lies: Lie | str) -> Liar:
    """Return a member that lies."""
    return Liar(
        member=member, lies=tuple(each if isinstance(each, Lie) else Lie(behaviour=each) for each in lies)
    )


def staged(
    name: str,
    n: int,
    seed: int,
    *liars: Liar,
    steps: tuple[Step, ...] = (),
    expect: Expect | None = None,
    **more: Any,
) -> Scenario:
    """Return a scenario on quiet links, with work for as long as it lasts."""
    more.setdefault("heal_at_ms", 1_500)
    more.setdefault("links", QUIET)
    more.setdefault("tuning", Tunes(batch_target=2, request_timeout_ms=400))
    return Scenario(
        name=name,
        replicas=n,
        seed=seed,
        steps=steps or work(seed),
        liars=liars,
        expect=_prompt(expect or Expect()),
        **more,
    )


def _prompt(expect: Expect) -> Expect:
    """On quiet links nobody takes long; whoever states another bound gets it."""
    if expect.live_within_ms != Expect().live_within_ms:
        return expect
    return structs.replace(expect, live_within_ms=LIVE_MS)


def backup(n: int, seed: int) -> int:
    """Return a member that does not lead the first two views."""
    return 2 + Random(f"backup {seed}").randrange(n - 2)


def backups(n: int, seed: int) -> list[int]:
    """Return f members that do not lead the first two views, ascending."""
    return sorted(Random(f"backups {seed}").sample(range(2, n), (n - 1) // 3))


def liars(members: list[int], *lies: Lie | str) -> list[Liar]:
    """Return several members that lie in one way."""
    return [liar(member, *lies) for member in members]
