"""Oracles: what must hold of every run, judged apart from the engine.

What lives here: `judge`, all oracles in one order, over an `Observation` that every runner fills. What must
not be known here: runners, and how the engine reached what it did.
"""

from byzantine.oracles import accountability, history, ledger, outcome
from byzantine.oracles.observation import Observation
from byzantine.verdicts import Finding

ORACLES = (
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


def judge(seen: Observation) -> tuple[Finding, ...]:
    """Return what each oracle says, in a fixed order."""
    return tuple(oracle(seen) for oracle in ORACLES)


__all__ = ["ORACLES", "Observation", "judge"]
