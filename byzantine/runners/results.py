"""Results of runs that came to no end, for every runner."""

from byzantine.scenario import Scenario
from byzantine.verdicts import Finding, Result, Verdict


def unfinished(scenario: Scenario, runner: str, why: str, seconds: float = 0.0) -> Result:
    """Return the result of a run that came to no end: inconclusive, and why."""
    return Result(
        name=scenario.name,
        n=scenario.replicas,
        seed=scenario.seed,
        runner=runner,
        fired={},
        findings=(Finding("runner", Verdict.INCONCLUSIVE, why),),
        blocks=0,
        views=0,
        recovered_ms=None,
        blamed=(),
        liars=scenario.lying_members,
        seconds=seconds,
    )
