"""Oracles over how a run went: nobody correct stops, memory stays bounded, it recovers, and the stated
outcome came about.
"""

from byzantine.culprits import meant
from byzantine.oracles.ledger import executed_at
from byzantine.oracles.observation import Observation
from byzantine.verdicts import BROKEN, NOT_EXPECTED, Finding, Verdict
from ledger.keyvalue import MIB

MAX_PROCESS_BYTES = 200 * MIB
"""What the process of a replica may take of memory, whatever is sent to it. Left in peace it takes 60 MB."""


def conduct(seen: Observation) -> Finding | None:
    """No honest member contradicts itself, votes in a view that it left, hides what it committed, or denies
    what is executed. Not asked where nobody could listen to what members say."""
    if seen.misconduct is None:
        return None
    if seen.misconduct:
        return Finding("conduct", Verdict.FAIL, seen.misconduct[0])
    if (denied := _denied_wrongly(seen)) is not None:
        return Finding("conduct", Verdict.FAIL, denied)
    return Finding("conduct", Verdict.PASS)


def _denied_wrongly(seen: Observation) -> str | None:
    executed = {member: executed_at(chain) for member, chain in seen.chains.items()} if seen.denials else {}
    for denial in sorted(seen.denials, key=lambda each: (each.member, each.tx_id, each.up_to or 0)):
        height = executed.get(denial.member, {}).get(denial.tx_id)
        if height is not None and (denial.up_to is None or height <= denial.up_to):
            what = "never would be" if denial.up_to is None else f"was not up to block {denial.up_to}"
            name = denial.tx_id.hex()[:12]
            return f"member {denial.member} signed that {name} {what} executed; its block {height} holds it"
    return None


def robustness(seen: Observation) -> Finding:
    """No correct replica stops, halts or is marked without a reason of its own; nothing was lost sight of."""
    if seen.stopped:
        return Finding("robustness", Verdict.FAIL, f"a correct replica stopped: {seen.stopped[0]}")
    if seen.halted and seen.scenario.expect.safe:
        return Finding("robustness", Verdict.FAIL, seen.halted[0])
    if seen.halted:
        # To halt is right where more than f lie, and a replica sees that something was decided twice.
        return Finding("robustness", Verdict.PASS, f"{BROKEN}: {seen.halted[0]}")
    if seen.lost:
        return Finding("robustness", Verdict.INCONCLUSIVE, seen.lost[0])
    return Finding("robustness", Verdict.PASS)


def memory(seen: Observation) -> Finding:
    """Nothing that others send heaps up beyond its bound."""
    if seen.overfull:
        return Finding("memory", Verdict.FAIL, seen.overfull[0])
    peaks = {member: peak for member, peak in seen.peak_bytes.items() if peak is not None}
    if not seen.peak_bytes:
        return Finding("memory", Verdict.PASS)
    most = max(peaks, key=peaks.__getitem__, default=None)
    if most is not None and peaks[most] > MAX_PROCESS_BYTES:
        return Finding("memory", Verdict.FAIL, _memory(most, peaks[most]))
    for member in seen.peak_bytes:
        if member not in peaks:
            return Finding("memory", Verdict.INCONCLUSIVE, f"nobody could tell what replica {member} took")
    return Finding("memory", Verdict.PASS, "" if most is None else _memory(most, peaks[most]))


def _memory(member: int, peak: int) -> str:
    return f"replica {member} took {peak // MIB} MB at most, of {MAX_PROCESS_BYTES // MIB} MB"


def liveness(seen: Observation) -> Finding:
    """Once faults have ended everybody converges within the stated time."""
    limit = seen.within_ms
    if limit is None:
        return Finding("liveness", Verdict.PASS, NOT_EXPECTED)
    if seen.lost:
        return Finding("liveness", Verdict.INCONCLUSIVE, seen.lost[0])
    if seen.recovered_ms is None:
        return Finding("liveness", Verdict.FAIL, f"no convergence within {limit} ms: {seen.unfinished}")
    if seen.recovered_ms > limit:
        return Finding("liveness", Verdict.FAIL, f"convergence took {seen.recovered_ms} ms, {_bound(seen)}")
    denied = [each.outcome for each in seen.operations if each.outcome in ("refused", "expired")]
    if denied and seen.scenario.clients:
        # Of a scenario's own clients: all that they ask for is valid, and for longer than any run.
        what = f"{len(denied)} of {len(seen.operations)} valid operations were {denied[0]} for good"
        return Finding("liveness", Verdict.FAIL, what)
    told = f"convergence took {seen.recovered_ms} ms, {_bound(seen)}" if seen.allowance_ms else ""
    return Finding("liveness", Verdict.PASS, told)


def _bound(seen: Observation) -> str:
    if not seen.allowance_ms or seen.within_ms is None:
        return f"{seen.within_ms} ms are stated"
    stated = seen.within_ms - seen.allowance_ms
    return f"{stated} ms are stated, and {seen.allowance_ms} ms more allowed on a machine that others use too"


def _silent(seen: Observation) -> str:
    """Return which behaviour never fired though it was to, or nothing."""
    expect = seen.scenario.expect
    everybody = meant(seen.scenario)
    behaviours = [behaviour for _, behaviour in everybody] if expect.fired is None else expect.fired
    for behaviour in behaviours:
        if not seen.fired.get(behaviour):
            return f"{behaviour} never fired"
    for who, behaviour in everybody if expect.fired is None else ():
        if not seen.fired_by.get(who, {}).get(behaviour):
            return f"{behaviour} never fired at {who}"
    return ""


def expected(seen: Observation) -> Finding:
    """What the scenario states beyond safety and liveness: who fired, what was refused, which view."""
    expect = seen.scenario.expect
    silent = _silent(seen)
    if silent:
        return Finding("outcome", Verdict.FAIL, silent)
    for member in expect.halted:
        if member not in seen.halted_liars:
            return Finding("outcome", Verdict.FAIL, f"member {member} never noticed that it is wrong")
    for reason in expect.refused:
        if not seen.refused.get(reason):
            return Finding("outcome", Verdict.FAIL, f"nobody counted {reason!r}")
    if expect.level and seen.level_at_end is None:
        return Finding(
            "outcome", Verdict.INCONCLUSIVE, "nobody looked where replicas stood when faults ended"
        )
    if expect.level and not seen.level_at_end:
        return Finding("outcome", Verdict.FAIL, "when faults ended not all stood at one block")
    if expect.view == "kept" and seen.highest_view:
        return Finding("outcome", Verdict.FAIL, f"view 0 was left needlessly, for {seen.highest_view}")
    if expect.view == "changed" and not seen.highest_view:
        return Finding("outcome", Verdict.FAIL, "view 0 was never left")
    if expect.views is not None:
        return _views(seen, *expect.views)
    return Finding("outcome", Verdict.PASS)


def _views(seen: Observation, least: int, most: int) -> Finding:
    highest, allowed = seen.highest_view, seen.allowance_views
    what = f"the highest view was {highest}, and was to lie between {least} and {most}"
    if not least <= highest <= most + allowed:
        return Finding("outcome", Verdict.FAIL, what)
    if highest > most:
        told = f"{what}; {allowed} more are allowed on a machine that others use too"
        return Finding("outcome", Verdict.PASS, told)
    return Finding("outcome", Verdict.PASS)
