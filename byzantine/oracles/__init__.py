"""Oracles: what must hold of every run, judged apart from the engine.

What lives here: `judge`, all oracles in one order, over an `Observation` that every runner fills. What must
not be known here: runners, and how the engine reached what it did.
"""

from collections.abc import Callable, Sequence

from byzantine.oracles import accountability, history, ledger, outcome
from byzantine.oracles.observation import Observation
from byzantine.verdicts import SAFETY, Finding, Verdict

Oracle = Callable[[Observation], Finding | None]
"""One question about a run; `None` where it does not apply."""

ORACLES: tuple[Oracle, ...] = (
    ledger.agreement,
    ledger.validity,
    ledger.integrity,
    ledger.durability,
    history.linearizability,
    history.reads,
    outcome.conduct,
    outcome.robustness,
    outcome.memory,
    outcome.liveness,
    accountability.accountability,
    outcome.expected,
)

BROKEN = "broken, as more than f liars can"
"""How a finding begins of a property that was not promised, and did not hold."""


def judge(seen: Observation, oracles: Sequence[Oracle] = ORACLES) -> tuple[Finding, ...]:
    """Return what each oracle says, in a fixed order, but for those that do not apply.

    With more than f liars safety is not promised: that it broke is told, and no failure.
    """
    findings = tuple(finding for oracle in oracles if (finding := oracle(seen)) is not None)
    if seen.scenario.expect.safe:
        return findings
    return tuple(_excused(finding) for finding in findings)


def _excused(finding: Finding) -> Finding:
    if finding.oracle not in SAFETY or finding.verdict is not Verdict.FAIL:
        return finding
    return Finding(finding.oracle, Verdict.PASS, f"{BROKEN}: {finding.why}")


__all__ = ["BROKEN", "ORACLES", "Observation", "Oracle", "judge"]
