"""Hunting mutants: does the campaign notice a broken rule?

What lives here: the order in which scenarios are tried on a mutant, and the hunt for one. What must not be
known here: mutants, and what they break.

A mutant is killed by the first run that fails where the right code passes; what is inconclusive kills
nothing. Which scenarios are tried, and in which order, is the same for all: nothing here is made to fit one
mutant.
"""

import time
from collections.abc import Callable, Iterator
from itertools import count, zip_longest
from typing import NamedTuple

from msgspec import Struct, structs

from byzantine.attacks.attack import Attack
from byzantine.attacks.catalogue import ATTACKS
from byzantine.campaign.byzzfuzz import byzzfuzz_scenario
from byzantine.campaign.drills import DRILLS
from byzantine.campaign.driven import driven
from byzantine.campaign.generator import random_scenario
from byzantine.campaign.runs import judged, recorded
from byzantine.campaign.twins import twins_count, twins_scenario
from byzantine.mutants import applied, mutant_named
from byzantine.scenario import Scenario
from byzantine.trace import fingerprint
from byzantine.verdicts import Finding, Result, Verdict

PATIENCE_S = 60.0
"""What one mutant is hunted for of a core's time, unless told otherwise."""

LONGEST_LIVE_MS = 30_000
"""No run that goes well takes longer to converge than a third of this; those that hang should not cost
much."""

FIRST_REPEATED = 4
REPEATED_EVERY = 60
"""Runs between two that are repeated, to see that they give the same trace."""

TWINS_STRIDE = 1_009
"""A prime, so that the numbers of Twins scenarios that are tried lie everywhere."""


class Hunted(Struct, frozen=True):
    """How the hunt for one mutant ended."""

    mutant: str
    rules: tuple[int, ...]
    killed: bool
    runs: int
    seconds: float
    scenario: str = ""
    """What killed it, with the number of replicas and the seed."""
    oracle: str = ""
    why: str = ""


def lost(mutant: str) -> Hunted:
    """Return how the hunt for a mutant ended that took its process with it: nobody would overlook that."""
    return Hunted(mutant, mutant_named(mutant).rules, True, 0, 0.0, "", "runner", "its process was lost")


class Trial(NamedTuple):
    """One run that may show a rule to be broken."""

    run: Callable[[Scenario], Result]
    scenario: Scenario


def hunting_order(n: int = 4) -> Iterator[Trial]:
    """Yield trials without end: drills and the catalogue first, then chance in several forms beside them."""
    for seed in count():
        for drill in DRILLS:
            yield Trial(judged, drill(seed))
        for attack in ATTACKS.values():
            if attack.group == "replies":
                yield Trial(driven, attack.scenario(n, seed))
        for attack in _in_turn():
            yield Trial(judged, attack.scenario(7 if seed % 5 == 4 else n, seed))
        for number in range(40):
            liars = number % 2 == 0
            sized = (4, 4, 5, 6, 4, 7)[number % 6]
            yield Trial(judged, random_scenario(40 * seed + number, sized, liars))
            yield Trial(judged, byzzfuzz_scenario(40 * seed + number, n))
            yield Trial(judged, twins_scenario((40 * seed + number) * TWINS_STRIDE % twins_count(n), n))


def _in_turn() -> Iterator[Attack]:
    """Yield the catalogue with its groups in turn: what one group does not see, another soon may."""
    groups: dict[str, list[Attack]] = {}
    for attack in ATTACKS.values():
        groups.setdefault(attack.group, []).append(attack)
    for several in zip_longest(*groups.values()):
        yield from (attack for attack in several if attack is not None)


def hunt(mutant: str, patience_s: float = PATIENCE_S) -> Hunted:
    """Run trials on a mutant until one fails or patience is at its end. Raises `MutantError`."""
    began = time.process_time()
    with applied(mutant) as broken:
        runs = 0
        for trial in hunting_order():
            runs += 1
            scenario = _impatient(trial.scenario)
            result = trial.run(scenario)
            if runs % REPEATED_EVERY == FIRST_REPEATED and _differs(scenario):
                finding = Finding("repeatability", Verdict.FAIL, "the same scenario gave another trace")
                result = structs.replace(result, findings=(finding,))
            seconds = time.process_time() - began
            if result.verdict is Verdict.FAIL:
                return _killed(mutant, broken.rules, result, runs, seconds)
            if seconds > patience_s:
                break
    return Hunted(mutant, broken.rules, False, runs, seconds)


def _differs(scenario: Scenario) -> bool:
    """Whether a scenario gives two traces: chance or the order of a set reached the wire (rule 28)."""
    return len({fingerprint(recorded(scenario)[1]) for _ in range(2)}) > 1


def _killed(mutant: str, rules: tuple[int, ...], result: Result, runs: int, seconds: float) -> Hunted:
    finding = next(each for each in result.failed if each.verdict is Verdict.FAIL)
    scenario = f"{result.name} n={result.n} seed={result.seed}"
    return Hunted(mutant, rules, True, runs, seconds, scenario, finding.oracle, finding.why)


def _impatient(scenario: Scenario) -> Scenario:
    expect = scenario.expect
    if expect.live_within_ms is None or expect.live_within_ms <= LONGEST_LIVE_MS:
        return scenario
    return structs.replace(scenario, expect=structs.replace(expect, live_within_ms=LONGEST_LIVE_MS))
