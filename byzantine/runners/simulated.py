"""The simulated runner: one scenario in a world of its own, judged.

What lives here: making an observation of a world that has run, and the result of it. What must not be known
here: how a world runs.
"""

import time
from collections.abc import Sequence

from byzantine.oracles import Observation, judge
from byzantine.oracles.observation import Operation
from byzantine.scenario import Scenario, require_consistent, require_work
from byzantine.simulation.recorder import Recorder
from byzantine.simulation.replica import block_hash_at
from byzantine.simulation.standing import in_words
from byzantine.simulation.world import World
from byzantine.trace import What
from byzantine.verdicts import Finding, Result, Verdict
from crypto.attestation import Height
from crypto.digest import Digest
from ledger.block import Block
from ledger.ledger import Ledger
from tetrarch.evidence import convicted

SIMULATED = "simulated"

SEEN_MEANWHILE = ("agreement", "conduct", "robustness", "memory")
"""What is noted while a run goes on, and stands though it came to no end."""


class LedgerChain:
    """A simulated replica's chain (`byzantine.oracles.observation.Chain`)."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._blocks: dict[int, Block] = {}

    @property
    def height(self) -> int:
        """Of its last block."""
        return self._ledger.height

    def block_hash(self, height: int) -> Digest:
        """Return a block's hash."""
        return block_hash_at(self._ledger, height)

    def block(self, height: int) -> Block:
        """Return a block. Raises `LookupError`, `CorruptStore`."""
        block = self._blocks.get(height) or self._ledger.block(Height(height))
        if block is None:
            raise LookupError(f"there is no block {height}")
        self._blocks[height] = block
        return block


def simulate(scenario: Scenario, recorder: Recorder | None = None) -> Result:
    """Run a scenario to its end and judge it. Raises `Contradiction`.

    With a recorder its events are the trace of the run.
    """
    return Simulation(scenario, recorder).result()


class Simulation:
    """One run: to its end, or as far as it came."""

    def __init__(self, scenario: Scenario, recorder: Recorder | None = None) -> None:
        """Raises `Contradiction`."""
        require_consistent(scenario)
        require_work(scenario)
        self._began = time.perf_counter()
        self._recorder = recorder
        self._world = World(scenario, recorder)

    def result(self) -> Result:
        """Run to the end, and judge."""
        self._world.play()
        seen = observe(self._world)
        findings = judge(seen)
        if self._recorder is not None:
            for finding in findings:
                if finding.verdict != "pass":
                    self._world.note(What.FAILED, "network", kind=finding.oracle, note=finding.why)
        return self._result_of(seen, findings)

    def broken_off(self, why: str) -> Result:
        """Return the result of a run that came to no end: inconclusive, but for what was seen to be wrong by
        then."""
        observed = self._world.observed
        seen = Observation(
            scenario=self._world.scenario,
            genesis=self._world.genesis,
            chains={},
            check=self._world.signatures.check,
            forks=observed.forks,
            misconduct=observed.misconduct,
            stopped=observed.stopped,
            halted=observed.halted_before,
            evidence=observed.evidence,
            fired=observed.fired,
            overfull=list(observed.overfull.values()),
            fired_by=observed.deeds.by,
            highest_view=observed.highest_view,
        )
        found = [
            each for each in judge(seen) if each.verdict is Verdict.FAIL and each.oracle in SEEN_MEANWHILE
        ]
        return self._result_of(seen, (*found, Finding("runner", Verdict.INCONCLUSIVE, why)))

    def _result_of(self, seen: Observation, findings: Sequence[Finding]) -> Result:
        return result_of(seen, findings, SIMULATED, time.perf_counter() - self._began)


def observe(world: World) -> Observation:
    """Return what was seen of a world that has run."""
    observed = world.observed
    chains = {}
    for replica in world.honest:
        if replica.heart is not None:
            chains[int(replica.member)] = LedgerChain(replica.heart.ledger)
    operations: list[Operation] = [each for client in world.clients for each in client.operations.values()]
    recovered = None
    if observed.converged_us is not None and observed.healed_us is not None:
        recovered = (observed.converged_us - observed.healed_us) // 1000
    return Observation(
        scenario=world.scenario,
        genesis=world.genesis,
        chains=chains,
        check=world.signatures.check,
        operations=operations,
        sent_by_liars=frozenset(world.sent_by_liars),
        reads=[read for client in world.clients for read in client.reads],
        answers=[answer for client in world.clients for answer in client.answers],
        believed_blocks=observed.believed_blocks,
        forks=observed.forks,
        misconduct=observed.misconduct,
        denials=observed.denials,
        missing=observed.missing,
        level_at_end=observed.level_at_end,
        stopped=observed.stopped,
        lost=observed.lost,
        halted=observed.halted,
        halted_liars=observed.halted_liars,
        evidence=observed.evidence,
        convicted=_convicted(world),
        refused=observed.refused,
        fired=observed.fired,
        fired_by=observed.deeds.by,
        overfull=list(observed.overfull.values()),
        highest_view=observed.highest_view,
        recovered_ms=recovered,
        unfinished="" if recovered is not None else in_words(world),
    )


def _convicted(world: World) -> frozenset[int]:
    """Return whom the honest replicas' stores convict together, if the scenario asks: it takes its time."""
    expect = world.scenario.expect
    if expect.safe and not expect.convicted:
        return frozenset()
    stores = {f"replica-{replica.member}": replica.disk for replica in world.honest}
    return frozenset(int(member) for member in convicted(stores, world.genesis, world.signatures))


def result_of(seen: Observation, findings: Sequence[Finding], runner: str, seconds: float) -> Result:
    """Return the result of a judged observation."""
    scenario = seen.scenario
    return Result(
        name=scenario.name,
        n=scenario.replicas,
        seed=scenario.seed,
        runner=runner,
        fired=dict(sorted(seen.fired.items())),
        findings=tuple(findings),
        blocks=max((chain.height for chain in seen.chains.values()), default=0),
        views=seen.highest_view,
        recovered_ms=seen.recovered_ms,
        blamed=tuple(sorted(seen.evidence.keys() | seen.convicted)),
        liars=scenario.lying_members,
        seconds=seconds,
        within_ms=seen.within_ms,
        fired_by={who: dict(sorted(of_one.items())) for who, of_one in sorted(seen.fired_by.items())},
    )
