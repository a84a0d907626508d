"""Attacks of several together: of a network that helps, of consecutive primaries, and of more than f liars
(catalogue 58, 64 and 66)."""

from byzantine.attacks.attack import attack
from byzantine.attacks.stage import liar, lie, staged, work
from byzantine.attacks.view_change import QUICK, SOON
from byzantine.scenario import Expect, Mend, Partition, Scenario

GROUP = "collusion"


@attack(
    "cut-primary",
    58,
    GROUP,
    does="The network cuts off the primary of every view as soon as somebody is about to enter it.",
    attacks="L",
    rule="Safe always; no view starts while it lasts, and the first one after that goes on, since timeouts double to"
    " a bound only (rule 10).",
    source="Miller et al., HoneyBadgerBFT 2016",
)
def cut_primary(n: int, seed: int) -> Scenario:
    """Nobody lies. Nothing is ordered until it stops."""
    return _cut("cut-primary", n, seed, leading=False)


@attack(
    "cut-leader",
    58,
    GROUP,
    does="The network cuts off every primary as soon as its view has started anywhere.",
    attacks="L, A",
    rule="What it proposed is decided by all or proposed again (rules 2 and 3); progress when it stops.",
    source="Miller et al., HoneyBadgerBFT 2016; Twins 2021",
)
def cut_leader(n: int, seed: int) -> Scenario:
    """Nobody lies. NEW-VIEWs and proposals reach some."""
    return _cut("cut-leader", n, seed, leading=True)


def _cut(name: str, n: int, seed: int, *, leading: bool) -> Scenario:
    expect = Expect(view="changed", no_evidence=True, live_within_ms=5_000)
    lies = (lie("cut-primary", from_ms=150, leading=leading),)
    return staged(
        name,
        n,
        seed,
        steps=work(seed, rounds=40),
        hostile_network=lies,
        expect=expect,
        tuning=QUICK,
        heal_at_ms=4_000,
    )


@attack(
    "consecutive-primaries",
    64,
    GROUP,
    does="f members that lead one after another neither start their views nor propose.",
    attacks="L",
    rule="After f+1 views at most a correct member leads; timeouts double on the way (rule 10).",
    source="Castro and Liskov 1999, 4.5.2",
)
def consecutive_primaries(n: int, seed: int) -> Scenario:
    """Member f leads in view f. At n = 4 it is one member, at n = 7 two."""
    f = (n - 1) // 3
    liars = [liar(member, lie("stall-as-primary", from_ms=150)) for member in range(f)]
    expect = Expect(live_within_ms=SOON, views=(f, f), no_evidence=True)
    return staged(
        "consecutive-primaries",
        n,
        seed,
        *liars,
        steps=work(seed, rounds=30),
        expect=expect,
        tuning=QUICK,
        heal_at_ms=2_000,
    )


@attack(
    "consecutive-splits",
    64,
    GROUP,
    does="f members that lead one after another show different batches to halves of the others, and all of them vote"
    " for both.",
    attacks="A, L",
    rule="Two quorums share a correct member, so f cannot decide twice; both proposals are kept as evidence.",
    source="Twins 2021; Basilic 2022",
)
def consecutive_splits(n: int, seed: int) -> Scenario:
    """What f+1 do in `more-than-f`, f do in vain."""
    f = (n - 1) // 3
    liars = [liar(member, lie("split-decisions", from_ms=150)) for member in range(f)]
    expect = Expect(live_within_ms=SOON, views=(f, f), evidence=(0,))
    return staged(
        "consecutive-splits",
        n,
        seed,
        *liars,
        steps=work(seed, rounds=30),
        expect=expect,
        tuning=QUICK,
        heal_at_ms=2_000,
    )


@attack(
    "more-than-f",
    66,
    GROUP,
    does="f+1 members have the halves of all others, which do not hear each other for a while, decide different"
    " batches.",
    attacks="A, F",
    rule="Agreement breaks. The COMMITs in the blocks of both halves convict all f+1, and nobody else (rule 24).",
    source="Sheng et al., BFT Protocol Forensics 2021; Polygraph 2021",
)
def more_than_f(n: int, seed: int) -> Scenario:
    """Member 0 and the last f lie."""
    f = (n - 1) // 3
    members = (0, *range(n - f, n))
    honest = tuple(member for member in range(n) if member not in members)
    halves = (honest[: len(honest) // 2], honest[len(honest) // 2 :])
    steps = (*work(seed), Partition(at_ms=100, groups=halves), Mend(at_ms=600))
    liars = [liar(member, lie("split-decisions", from_ms=110, to_ms=500)) for member in members]
    expect = Expect(safe=False, live_within_ms=None, convicted=members, evidence=(0,))
    return staged("more-than-f", n, seed, *liars, steps=steps, expect=expect)
