"""A run whose work is the production client's: writes, proven reads and questions, on virtual time.

What lives here: that work, and the result of such a run. What must not be known here: who lies.
"""

import time

from byzantine.runners.results import unfinished
from byzantine.runners.simulated import SIMULATED
from byzantine.scenario import Scenario
from byzantine.simulation.session import Session
from byzantine.verdicts import Finding, Result, Verdict
from tetrarch.errors import TetrarchError

CLIENTS = 8
"""Taking turns. Each prefers another member, as long as that answers well."""

ROUNDS = 16
KEYS = 3
SECONDS = 30.0
"""Of virtual time, for any one call."""


def driven(scenario: Scenario) -> Result:
    """Return what came of a scenario whose faults and lies are staged beside the production client's work.

    One client acts at a time, so that what it reads must be what was written last."""
    began = time.perf_counter()
    with Session(scenario) as session:
        try:
            wrong = _work(session)
        except TetrarchError as error:
            wrong = f"a call failed: {type(error).__name__}: {error}"
        findings = session.finish()
        if wrong:
            findings = (*findings, Finding("reads", Verdict.FAIL, wrong))
        result = unfinished(session.scenario, SIMULATED, "", time.perf_counter() - began)
        return Result(
            name=f"{result.name}-driven",
            n=result.n,
            seed=result.seed,
            runner=SIMULATED,
            fired=session.fired,
            findings=findings,
            blocks=max((height for height in session.heights().values() if height is not None), default=0),
            views=0,
            recovered_ms=None,
            blamed=(),
            liars=session.liars,
            seconds=result.seconds,
        )


def _work(session: Session) -> str:
    """Write, read and ask; returns what was wrong with an answer, if anything."""
    clients = [session.client() for _ in range(CLIENTS)]
    for number in range(ROUNDS):
        client = clients[number % CLIENTS]
        key, value = f"key-{number % KEYS}", f"value-{number}"
        written = client.submit({"op": "put", "key": key, "value": value}, timeout=SECONDS)
        read = client.get(key, int(written.height), timeout=SECONDS)
        if read.value != value:
            return f"{key} read as {read.value!r} after {value!r} was written"
        said = client.query({"op": "get", "key": key}, int(written.height), timeout=SECONDS)
        if said.value != value:
            return f"{key} answered with {said.value!r} after {value!r} was written"
    return ""
