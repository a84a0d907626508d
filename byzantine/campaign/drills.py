"""Drills: stages on which a rule of the protocol is needed, whoever lies or nobody.

What lives here: schedules made for rules, beside the catalogue, which is made for liars. What must not be
known here: mutants.

A drill states narrow bounds: which view is reached, and how soon all is well again. Right code keeps them
under every seed.
"""

from collections.abc import Callable
from random import Random

from msgspec import structs

from byzantine import raising
from byzantine.attacks.stage import liar, lie, staged, work
from byzantine.scenario import (
    Clock,
    Crash,
    Expect,
    Isolate,
    Links,
    Mend,
    Partition,
    PowerCut,
    Restart,
    Scenario,
    Step,
    Submit,
    Tunes,
)

Drill = Callable[[int], Scenario]
"""From a seed to a schedule."""


def _stream(until_ms: int, every_ms: int, count: int = 1, start_ms: int = 20) -> tuple[Step, ...]:
    """Return work without a pause."""
    moments = range(start_ms, until_ms, every_ms)
    return tuple(Submit(at_ms=at, count=count, client=at // every_ms % 2) for at in moments)


def tight_window(seed: int) -> Scenario:
    """Checkpoints at every block, and links on which proposals overtake attestations (rule 7): whatever comes
    too early is kept, so that nobody waits for what is said again only later."""
    return staged(
        "tight-window",
        4,
        seed,
        steps=_stream(600, 20, count=2),
        checkpoint_interval=1,
        largest_batch=1,
        links=Links(low_us=200, high_us=8_000),
        tuning=Tunes(batch_target=1, pipeline_depth=8, request_timeout_ms=60),
        heal_at_ms=620,
        expect=Expect(view="kept", no_evidence=True, live_within_ms=100),
    )


def second_primary(seed: int) -> Scenario:
    """The first primary is down; the second one gets the whole of a timeout to begin (rule 12)."""
    down = Crash(at_ms=100, member=0)
    return staged(
        "second-primary",
        4,
        seed,
        steps=(*work(seed, rounds=8, every_ms=100), down),
        heal_at_ms=1_500,
        expect=Expect(views=(1, 1), no_evidence=True, live_within_ms=3_000),
    )


def far_apart(seed: int) -> Scenario:
    """Links that are slower than the first timeouts: only doubled ones let anything happen (rule 10)."""
    return staged(
        "far-apart",
        4,
        seed,
        steps=_stream(4_000, 400, count=2),
        links=Links(low_us=100_000, high_us=160_000),
        tuning=Tunes(batch_target=2, request_timeout_ms=60),
        heal_at_ms=12_000,
        expect=Expect(views=(0, 16), no_evidence=True, live_within_ms=10_000),
    )


def long_wait(seed: int) -> Scenario:
    """The primary is down, and for ten seconds every NEW-VIEW is lost. However long views fail, no timeout
    grows beyond 640 ms here, so that many are tried (rule 10)."""
    return staged(
        "long-wait",
        4,
        seed,
        steps=(*_stream(3_000, 300), Crash(at_ms=60, member=0)),
        hostile_network=(lie("lose-new-views"),),
        tuning=Tunes(batch_target=2, request_timeout_ms=20),
        heal_at_ms=10_000,
        expect=Expect(live_within_ms=4_000, views=(14, 40), no_evidence=True),
    )


def lost_changes(seed: int) -> Scenario:
    """Whatever is said of views is lost again and again, until the links are whole (rule 11)."""
    random = Random(f"lost changes {seed}")
    steps: list[Step] = [*_stream(300, 30), Crash(at_ms=200, member=0)]
    at = 250
    while at < 1_600:
        steps.append(Partition(at_ms=at, groups=((0,), (1,), (2,), (3,))))
        at += random.randint(20, 200)
        steps.append(Mend(at_ms=at))
        at += random.randint(2, 30)
    steps.append(Partition(at_ms=1_600, groups=((0,), (1,), (2,), (3,))))
    return staged(
        "lost-changes",
        4,
        seed,
        steps=tuple(sorted(steps, key=lambda step: step.at_ms)),
        tuning=Tunes(batch_target=2, request_timeout_ms=150),
        heal_at_ms=2_400,
        expect=Expect(no_evidence=True, live_within_ms=4_000),
    )


def power_cuts(seed: int) -> Scenario:
    """The power fails again and again, in the middle of votes and of view changes (rule 16)."""
    random = Random(f"power cuts {seed}")
    steps: list[Step] = [*_stream(1_500, 24)]
    for _ in range(14):
        steps.append(PowerCut(at_ms=random.randrange(40, 1_500), surviving=random.choice([0, 0, 1, 2])))
    for at in range(200, 1_200, 300):
        steps += [Isolate(at_ms=at, member=random.randrange(4)), Mend(at_ms=at + 200)]
    return staged(
        "power-cuts",
        4,
        seed,
        steps=tuple(sorted(steps, key=lambda step: step.at_ms)),
        largest_batch=2,
        tuning=Tunes(batch_target=1, pipeline_depth=8, request_timeout_ms=120),
        expect=Expect(no_evidence=True, live_within_ms=6_000),
    )


def overtaken(seed: int) -> Scenario:
    """One replica after the other is away until the others have passed checkpoints (rules 9, 14 and 15)."""
    random = Random(f"overtaken {seed}")
    steps: list[Step] = [*_stream(2_400, 50, count=2)]
    for number in range(4):
        member, at = random.randrange(4), 100 + 600 * number
        if random.random() < 0.5:
            steps += [Crash(at_ms=at, member=member), Restart(at_ms=at + 400, member=member)]
        else:
            steps += [Isolate(at_ms=at, member=member), Mend(at_ms=at + 400)]
    return staged(
        "overtaken",
        4,
        seed,
        steps=tuple(sorted(steps, key=lambda step: step.at_ms)),
        checkpoint_interval=2,
        largest_batch=2,
        tuning=Tunes(batch_target=1, pipeline_depth=8, request_timeout_ms=250),
        heal_at_ms=2_450,
        expect=Expect(no_evidence=True, live_within_ms=4_000),
    )


def wrong_clocks(ahead: bool) -> Drill:
    """Return a drill in which the primary's clock and the others' differ by nearly the clock bound, and
    transactions lie at both edges of their validity (rules 27 and 33)."""

    def drill(seed: int) -> Scenario:
        by = 6_500 if ahead else -6_500
        jumps = tuple(Clock(at_ms=10, member=member, by_ms=-by if member else by) for member in range(4))
        return staged(
            "wrong-clocks",
            4,
            seed,
            steps=(*jumps, *work(seed)),
            hostile_clients=(lie("edge-of-validity"),) * 2,
            expect=Expect(view="kept", no_evidence=True, live_within_ms=4_000),
        )

    return drill


def time_ahead(seed: int) -> Scenario:
    """A primary whose clock is ahead is followed by one whose clock is behind: the ledger's time goes on, and
    what it has passed is not executed (rule 20)."""
    jumps = tuple(Clock(at_ms=10, member=member, by_ms=-6_500 if member else 6_500) for member in range(4))
    return staged(
        "time-ahead",
        4,
        seed,
        steps=(*jumps, *work(seed, rounds=20), Crash(at_ms=400, member=0)),
        hostile_clients=(lie("edge-of-validity"),) * 2,
        expect=Expect(view="changed", no_evidence=True, live_within_ms=4_000),
    )


def crowded_primary(seed: int) -> Scenario:
    """The primary's pool is full of what others send it; what backups relay has its own room (rule 33)."""
    return staged(
        "crowded-primary",
        4,
        seed,
        steps=tuple(
            Submit(at_ms=at, count=1, client=at // 60 % 2, to=(1, 2, 3)) for at in range(30, 1_500, 60)
        ),
        hostile_clients=(lie("fill-pool", peers=(0,), count=120),) * 2,
        largest_batch=2,
        tuning=Tunes(batch_target=2, request_timeout_ms=300, pool=24, client_share=400),
        expect=Expect(live_within_ms=20_000, view="kept", no_evidence=True),
    )


def others_raise(seed: int) -> Scenario:
    """An application that writes, and then raises what it should not (rule 31)."""
    return staged(
        "others-raise",
        4,
        seed,
        application=raising.NAME,
        expect=Expect(view="kept", no_evidence=True, live_within_ms=2_000),
    )


def idle_laggard(seed: int) -> Scenario:
    """A replica misses the last blocks before the ledger falls idle, and learns of them all the same
    (rule 15)."""
    member = 1 + Random(f"idle laggard {seed}").randrange(3)
    others = tuple(other for other in range(4) if other != member)
    return staged(
        "idle-laggard",
        4,
        seed,
        steps=(
            *work(seed, rounds=4),
            Isolate(at_ms=300, member=member),
            *(structs.replace(step, to=others) for step in work(seed + 1, rounds=3, start_ms=320)),
            Mend(at_ms=600),
        ),
        heal_at_ms=5_000,
        expect=Expect(view="kept", no_evidence=True, live_within_ms=1_000, level=True),
    )


def long_pause(seed: int) -> Scenario:
    """Everybody is alone for longer than the clock bound, in the middle of votes: what was prepared before is
    decided afterwards, with the time that it had (rule 27)."""
    random = Random(f"long pause {seed}")
    return staged(
        "long-pause",
        4,
        seed,
        steps=(*_stream(60, 2), Partition(at_ms=random.randint(40, 60), groups=((0,), (1,), (2,), (3,)))),
        largest_batch=1,
        links=Links(low_us=200, high_us=8_000),
        tuning=Tunes(batch_target=1, pipeline_depth=8, request_timeout_ms=400),
        heal_at_ms=20_000,
        expect=Expect(no_evidence=True, live_within_ms=4_000),
    )


def lured_away(seed: int) -> Scenario:
    """While the primary is away a member claims blocks that there are not: who fetches blocks changes the
    view all the same (rule 26)."""
    return staged(
        "lured-away",
        4,
        seed,
        liar(3, "phantom-height"),
        steps=(*work(seed, rounds=20), Isolate(at_ms=300, member=0)),
        tuning=Tunes(batch_target=2, request_timeout_ms=200),
        heal_at_ms=2_400,
        expect=Expect(view="changed", no_evidence=True, live_within_ms=4_000),
    )


def far_view(seed: int) -> Scenario:
    """The primary comes back, hears who left the view, and of a liar's view far away (rule 10)."""
    return staged(
        "far-view",
        4,
        seed,
        liar(3, lie("huge-view", to_ms=1_400)),
        steps=(*work(seed, rounds=20), Isolate(at_ms=150, member=0), Mend(at_ms=800)),
        links=Links(low_us=200, high_us=8_000, reorder=1.0),
        tuning=Tunes(batch_target=2, request_timeout_ms=200),
        expect=Expect(views=(1, 3), live_within_ms=4_000),
    )


def torn_moments(seed: int) -> Scenario:
    """The power fails just after each proposal has left, or would have (rule 16)."""
    random = Random(f"torn moments {seed}")
    steps: list[Step] = []
    for at in range(40, 1_640, 40):
        steps.append(Submit(at_ms=at, client=at // 40 % 2))
        steps.append(PowerCut(at_ms=at + random.randint(1, 9)))
    return staged(
        "torn-moments",
        4,
        seed,
        steps=tuple(steps),
        largest_batch=2,
        tuning=Tunes(batch_target=1, request_timeout_ms=400),
        heal_at_ms=1_700,
        expect=Expect(no_evidence=True, live_within_ms=6_000),
    )


def time_leaps(seed: int) -> Scenario:
    """One proposal is dated far ahead, within the clock bound: what expires by it in those after it, though
    they were proposed in time, is not executed (rule 20)."""
    return staged(
        "time-leaps",
        4,
        seed,
        liar(0, lie("wrong-time", by_ms=9_000, sequences=(6, 6))),
        steps=_stream(300, 4),
        largest_batch=1,
        hostile_clients=(lie("edge-of-validity", near_ms=3_000, to_ms=400),) * 4,
        tuning=Tunes(batch_target=1, pipeline_depth=8, request_timeout_ms=400),
        heal_at_ms=900,
        expect=Expect(live_within_ms=4_000),
    )


def first_requests(seed: int) -> Scenario:
    """All that is asked for has expired by the clock of the primary, which is ahead, and no block says so
    yet: nobody is suspected for it (rule 33)."""
    jumps = tuple(Clock(at_ms=1, member=member, by_ms=-6_500 if member else 6_500) for member in range(4))
    return staged(
        "first-requests",
        4,
        seed,
        steps=jumps,
        hostile_clients=(lie("edge-of-validity", near_ms=5_000),) * 2,
        expect=Expect(view="kept", no_evidence=True, live_within_ms=4_000),
    )


def several(drill: Drill, times: int) -> tuple[Drill, ...]:
    """Return a drill as several, each with seeds of its own: for what chance has to bring about."""

    def one(number: int) -> Drill:
        return lambda seed: drill(times * seed + number)

    return tuple(map(one, range(times)))


def twins_of_six(seed: int) -> Scenario:
    """The first primary runs twice among six, where n is not 3f + 1, and the copies divide the others twice,
    otherwise each time: what one side prepared the other may not have decided differently (rule 1)."""
    random = Random(f"twins of six {seed}")
    steps: list[Step] = []
    for number in range(2):
        at, others = 50 + 500 * number, random.sample(range(1, 6), 5)
        sides = ((0, *others[:2]), (6, *others[2:]))
        steps += [Mend(at_ms=at), Partition(at_ms=at, groups=sides)]
        steps += [Submit(at_ms=at + 10 + 100 * wave, count=2, client=wave % 2) for wave in range(3)]
    return staged(
        "twins-of-six",
        6,
        seed,
        liar(0, "twin"),
        steps=tuple(steps),
        tuning=Tunes(batch_target=1, request_timeout_ms=250),
        heal_at_ms=1_050,
        expect=Expect(live_within_ms=10_000),
    )


DRILLS: tuple[Drill, ...] = (
    tight_window,
    second_primary,
    far_apart,
    lost_changes,
    power_cuts,
    torn_moments,
    overtaken,
    wrong_clocks(ahead=True),
    wrong_clocks(ahead=False),
    time_ahead,
    time_leaps,
    first_requests,
    crowded_primary,
    others_raise,
    idle_laggard,
    long_pause,
    lured_away,
    *several(far_view, 3),
    long_wait,
    twins_of_six,
)
