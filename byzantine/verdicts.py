"""What a run came to: verdicts of oracles, the result of one run, and the summary of many. Plain data.

What lives here: the shapes that reports print, and that other programs read. What must not be known here: how
a verdict was reached.

A verdict is pass, fail or inconclusive, and inconclusive is never a pass: an oracle that could not look says
so, and a run is only as good as its worst oracle.
"""

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct, structs

FORMAT = 1
"""Of everything that is written to files here."""


class Verdict(StrEnum):
    """How one question about a run was answered."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    """It could not be answered: a process was lost, a limit was reached, nothing to look at was there."""


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return what several verdicts come to together; inconclusive where there are none."""
    found = set(verdicts)
    for verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS):
        if verdict in found:
            return verdict
    return Verdict.INCONCLUSIVE


class Finding(Struct, frozen=True):
    """What one oracle says of one run."""

    oracle: str
    """The name of one of `byzantine.oracles.ORACLES`; `determinism` where an application was executed anew in
    another process, `repeatability` where a replay was another run, `runner` where a run came to no end."""
    verdict: Verdict
    why: str = ""
    """One line; empty for a pass that needs no words."""


BROKEN = "broken, as more than f liars can"
"""How a finding begins of a property that was not promised, and did not hold."""

NOT_EXPECTED = "not expected"
"""What a finding says of a property that was not asked for."""

SAFETY = (
    "agreement",
    "validity",
    "determinism",
    "integrity",
    "durability",
    "linearizability",
    "reads",
    "conduct",
    "robustness",
)
"""The oracles whose failure means that a run was not safe."""


class Result(Struct, frozen=True):
    """One run of one scenario."""

    name: str
    n: int
    seed: int
    runner: str
    """`simulated` or `processes`."""
    fired: dict[str, int]
    """How often each behaviour of a liar, a hostile client or the network really did what it is named for."""
    findings: tuple[Finding, ...]
    blocks: int
    """The height that the longest honest chain reached."""
    views: int
    """The highest view that an honest replica was in."""
    recovered_ms: int | None
    """From the end of all faults to convergence; `None` where it did not converge."""
    blamed: tuple[int, ...]
    """Members against whom honest replicas hold evidence."""
    liars: tuple[int, ...]
    """Members that lied."""
    seconds: float
    """How long the run took on this machine."""
    within_ms: int | None = None
    """How long recovery might have taken, by the same clock; `None`: it was not expected."""
    fired_by: dict[str, dict[str, int]] = {}
    """Who fired which behaviour, and how often, as `byzantine.culprits` names them."""

    def lean(self, same: dict[tuple[Finding, ...], tuple[Finding, ...]]) -> "Result":
        """Return this sharing its findings with all results that have the same: most runs pass alike."""
        return structs.replace(self, findings=same.setdefault(self.findings, self.findings))

    @property
    def verdict(self) -> Verdict:
        """The worst of all findings."""
        return worst(finding.verdict for finding in self.findings)

    @property
    def safe(self) -> Verdict:
        """The worst of the findings about safety; fail also where it broke and was not promised."""
        return worst(
            Verdict.FAIL if finding.why.startswith(BROKEN) else finding.verdict
            for finding in self.findings
            if finding.oracle in SAFETY
        )

    @property
    def live(self) -> Verdict:
        """What the oracle of liveness found; inconclusive where it was not asked."""
        return worst(
            Verdict.INCONCLUSIVE if finding.why == NOT_EXPECTED else finding.verdict
            for finding in self.findings
            if finding.oracle == "liveness"
        )

    @property
    def failed(self) -> tuple[Finding, ...]:
        """The findings that are no pass."""
        return tuple(finding for finding in self.findings if finding.verdict is not Verdict.PASS)


class Summary(Struct, frozen=True):
    """Many runs."""

    version: str
    commit: str
    """Of the code that ran; empty outside a working copy."""
    runner: str
    seconds: float
    results: tuple[Result, ...]

    @property
    def schedules_per_minute(self) -> float:
        """Runs in a minute, over all processes that worked on them."""
        return 60 * len(self.results) / self.seconds if self.seconds else 0.0

    @property
    def failures(self) -> tuple[Result, ...]:
        """The runs that are no pass."""
        return tuple(result for result in self.results if result.verdict is not Verdict.PASS)
