"""Oracles: what must hold of every run, judged apart from the engine.

What lives here: `judge`, all oracles in one order, over an `Observation` that every runner fills. What must
not be known here: runners, and how the engine reached what it did.
"""

from collections.abc import Callable, Sequence

from byzantine.oracles import accountability, history, ledger, outcome
from byzantine.oracles.observation import Observation
from byzantine.verdicts import BROKEN, Finding, Verdict
from ledger.errors import CorruptStore

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

NOT_PROMISED = ("agreement", "durability", "linearizability", "reads")
"""What may break with more than f liars. Honest members never lie or stop, whoever else does."""


def judge(seen: Observation, oracles: Sequence[Oracle] = ORACLES) -> tuple[Finding, ...]:
    """Return what each oracle says, in a fixed order, but for those that do not apply.

    With more than f liars not all of safety is promised: that it broke is told, and no failure. An oracle
    that could not look says so, and keeps none of the others from what they found.
    """
    findings = tuple(finding for oracle in oracles if (finding := _asked(oracle, seen)) is not None)
    if seen.scenario.expect.safe:
        return findings
    return tuple(_excused(finding) for finding in findings)


def _asked(oracle: Oracle, seen: Observation) -> Finding | None:
    name = getattr(oracle, "__name__", "oracle")
    try:
        return oracle(seen)
    except CorruptStore as error:
        return Finding(name, Verdict.FAIL, f"an honest store cannot be read: {error}")
    except Exception as error:  # noqa: BLE001  # whatever it is, this oracle could not look
        return Finding(name, Verdict.INCONCLUSIVE, f"could not look: {type(error).__name__}: {error}")


def _excused(finding: Finding) -> Finding:
    if finding.oracle not in NOT_PROMISED or finding.verdict is not Verdict.FAIL:
        return finding
    return Finding(finding.oracle, Verdict.PASS, f"{BROKEN}: {finding.why}")


__all__ = ["BROKEN", "ORACLES", "Observation", "Oracle", "judge"]
