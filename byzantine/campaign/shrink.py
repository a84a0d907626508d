"""Shrinking: the smallest scenario that still fails in the same way.

What lives here: taking away steps, lies and noise, as long as the same oracle goes on failing for the same
reason. What must not be known here: what the reasons mean. (Zeller and Hildebrandt, "Simplifying and
Isolating Failure-Inducing Input", 2002, for the order in which parts are tried.)
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from msgspec import Struct, structs

from byzantine.scenario import Contradiction, Liar, Lie, Links, Scenario, Submit, Tunes
from byzantine.verdicts import SAFETY, Finding, Result, Verdict

T = TypeVar("T")

Fails = Callable[[Scenario], bool]
"""Whether a scenario still fails in the way that is looked for."""

DETAILED = ("liveness", "linearizability")
"""Oracles whose reason goes on, behind a colon, with all that was seen: another tale of every run."""

_NUMBERED = re.compile(r"\b(?=\w*\d)\w+\b")
"""Words with a digit in them: numbers, and the beginnings of digests."""
_SEVERAL = re.compile(r"#(?:(?:, | and )#)+")

MAX_RUNS = 600
"""Of one shrinking: it ends with what it has by then."""


class Shrunk(Struct, frozen=True):
    """What shrinking came to."""

    scenario: Scenario
    runs: int
    """How often a smaller scenario was tried."""


def same_failure(run: Callable[[Scenario], Result], first: Result) -> Fails:
    """Return a test for failing as `first` did: the gravest of its findings is found again, for the same
    reason."""
    wanted = gravest(first)

    def fails(scenario: Scenario) -> bool:
        try:
            return found_again(wanted, run(scenario)) is not None
        except Contradiction:
            return False

    return fails


def gravest(result: Result) -> Finding:
    """Return the gravest of what failed in a result: what shrinking keeps. Something must have failed."""
    return min(result.failed, key=_gravity)


def found_again(wanted: Finding, result: Result) -> Finding | None:
    """Return what failed in a result as `wanted` did, for the same reason; `None` where nothing did."""
    return next((each for each in result.failed if _kind(each) == _kind(wanted)), None)


def _kind(finding: Finding) -> tuple[str, Verdict, str]:
    """Who found it, what, and why: without what differs from one run to the next, such as numbers."""
    why = finding.why.partition(":")[0] if finding.oracle in DETAILED else finding.why
    return finding.oracle, finding.verdict, _SEVERAL.sub("#", _NUMBERED.sub("#", why))


def _gravity(finding: Finding) -> tuple[bool, bool]:
    """Sorts first what breaks safety, and what failed before what could not be seen."""
    return finding.verdict is not Verdict.FAIL, finding.oracle not in SAFETY


def shrink(scenario: Scenario, fails: Fails, max_runs: int = MAX_RUNS) -> Shrunk:
    """Return a smaller scenario for which `fails` holds, as it does for `scenario`."""
    return _Shrinking(scenario, fails, max_runs).run()


class _Shrinking:
    def __init__(self, scenario: Scenario, fails: Fails, max_runs: int) -> None:
        self.best, self.fails, self.left = scenario, fails, max_runs
        self.runs = 0

    def run(self) -> Shrunk:
        """Go round until nothing can be taken away any more."""
        before = None
        while before != self.best and self.left > 0:
            before = self.best
            self._fewer("steps")
            self._fewer("liars")
            for place in range(len(self.best.liars)):
                self._fewer_lies(place)
            self._fewer("hostile_clients")
            self._fewer("hostile_network")
            for simpler in self._simpler():
                self._try(simpler)
        return Shrunk(self.best, self.runs)

    def _try(self, candidate: Scenario) -> bool:
        if candidate == self.best or self.left <= 0:
            return False
        self.left -= 1
        self.runs += 1
        if not self.fails(candidate):
            return False
        self.best = candidate
        return True

    def _fewer(self, field: str) -> None:
        """Take away ever smaller parts of one list."""
        size = len(getattr(self.best, field))
        while size >= 1 and self.left > 0:
            at = 0
            while at < len(getattr(self.best, field)) and self.left > 0:
                items = getattr(self.best, field)
                if not self._try(structs.replace(self.best, **{field: items[:at] + items[at + size :]})):
                    at += size
            size //= 2

    def _fewer_lies(self, place: int) -> None:
        for number in reversed(range(len(self.best.liars[place].lies))):
            lies = self.best.liars[place].lies
            if len(lies) > 1:
                self._with_liar(place, lies[:number] + lies[number + 1 :])

    def _with_liar(self, place: int, lies: tuple[Lie, ...]) -> bool:
        liars = list(self.best.liars)
        liars[place] = Liar(member=liars[place].member, lies=lies)
        return self._try(structs.replace(self.best, liars=tuple(liars)))

    def _simpler(self) -> Iterator[Scenario]:
        """Yield the same scenario with less noise, one thing at a time."""
        best = self.best
        yield structs.replace(best, links=Links(low_us=200, high_us=1_200))
        for field in ("loss", "repeat", "reorder", "tail"):
            yield structs.replace(self.best, links=structs.replace(self.best.links, **{field: 0.0}))
        yield structs.replace(self.best, tuning=Tunes(request_timeout_ms=best.tuning.request_timeout_ms))
        yield structs.replace(self.best, clients=1, steps=_of_one_client(self.best))
        for place, step in enumerate(best.steps):
            if isinstance(step, Submit) and step.count > 1:
                yield structs.replace(
                    self.best, steps=_replaced(self.best.steps, place, structs.replace(step, count=1))
                )
        last = max((step.at_ms for step in self.best.steps), default=0)
        yield structs.replace(self.best, heal_at_ms=last)


def _of_one_client(scenario: Scenario) -> tuple[object, ...]:
    return tuple(
        structs.replace(step, client=0) if hasattr(step, "client") else step for step in scenario.steps
    )


def _replaced(items: Sequence[T], place: int, item: T) -> tuple[T, ...]:
    return (*items[:place], item, *items[place + 1 :])
