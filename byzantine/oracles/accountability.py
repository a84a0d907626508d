"""The oracle of blame: whoever is accused lied, and whoever must be accused is."""

from byzantine.oracles.ledger import agreement
from byzantine.oracles.observation import Observation
from byzantine.verdicts import Finding, Verdict


def accountability(seen: Observation) -> Finding:
    """Evidence is held against liars alone, and against all against whom the scenario expects it.

    Where more than f liars broke agreement, at least f+1 of them are convicted.
    """
    expect, liars = seen.scenario.expect, set(seen.scenario.lying_members)
    wrongly = sorted(set(seen.evidence) - liars)
    if wrongly:
        what = f"member {wrongly[0]} is honest, and accused: {sorted(seen.evidence[wrongly[0]])[0]}"
        return Finding("accountability", Verdict.FAIL, what)
    if seen.missing:
        return Finding("accountability", Verdict.FAIL, seen.missing[0])
    wrongly = sorted(seen.convicted - liars)
    if wrongly:
        return Finding(
            "accountability", Verdict.FAIL, f"member {wrongly[0]} is honest, and convicted by stores"
        )
    missing = [member for member in expect.evidence if member not in seen.evidence]
    if missing:
        return Finding("accountability", Verdict.FAIL, f"nobody holds evidence against member {missing[0]}")
    missing = [member for member in expect.convicted if member not in seen.convicted]
    if missing:
        return Finding("accountability", Verdict.FAIL, f"the stores do not convict member {missing[0]}")
    if not expect.safe and len(seen.convicted) <= seen.scenario.f and agreement(seen).verdict is Verdict.FAIL:
        what = f"agreement broke, and the stores convict only {sorted(seen.convicted)}"
        return Finding("accountability", Verdict.FAIL, what)
    if expect.no_evidence and seen.evidence:
        accused = sorted(seen.evidence)[0]
        what = f"member {accused} is accused of what cannot be proven: {sorted(seen.evidence[accused])[0]}"
        return Finding("accountability", Verdict.FAIL, what)
    return Finding("accountability", Verdict.PASS)
