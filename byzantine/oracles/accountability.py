"""The oracle of blame: whoever is accused lied, and whoever must be accused is."""

from byzantine.oracles.observation import Observation
from byzantine.verdicts import Finding, Verdict


def accountability(seen: Observation) -> Finding:
    """Evidence is held against liars alone, and against all against whom the scenario expects it."""
    expect, liars = seen.scenario.expect, set(seen.scenario.lying_members)
    wrongly = sorted(set(seen.evidence) - liars)
    if wrongly:
        what = f"member {wrongly[0]} is honest, and accused: {sorted(seen.evidence[wrongly[0]])[0]}"
        return Finding("accountability", Verdict.FAIL, what)
    if seen.missing:
        return Finding("accountability", Verdict.FAIL, seen.missing[0])
    missing = [member for member in expect.evidence if member not in seen.evidence]
    if missing:
        return Finding("accountability", Verdict.FAIL, f"nobody holds evidence against member {missing[0]}")
    if expect.no_evidence and seen.evidence:
        accused = sorted(seen.evidence)[0]
        what = f"member {accused} is accused of what cannot be proven: {sorted(seen.evidence[accused])[0]}"
        return Finding("accountability", Verdict.FAIL, what)
    return Finding("accountability", Verdict.PASS)
