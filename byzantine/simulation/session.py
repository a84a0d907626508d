"""A simulated network that somebody else drives, step by step: a test, or a researcher.

What lives here: a world in which time passes while clients wait, the staging of a scenario's faults and lies
beside the work that comes from outside, and the end: healing, convergence, judgement. What must not be known
here: pytest.

The scenario's own work (Submit, Read) is left out: whoever drives the session is the work. Of its outcome,
what depends on that work is not asked either: evidence, refusals, views, and whether a behaviour fired
(`silent` says which did not).
"""

import asyncio
from types import TracebackType

from msgspec import structs

from byzantine import scenario as plan
from byzantine.oracles import ORACLES, Oracle, history, judge, outcome
from byzantine.oracles.elsewhere import Elsewhere, Unavailable
from byzantine.oracles.observation import Observation
from byzantine.runners.simulated import observe
from byzantine.scenario import Expect, Scenario, require_consistent
from byzantine.simulation.application_faults import ApplicationFault
from byzantine.simulation.faults import Faults
from byzantine.simulation.recorder import Recorder
from byzantine.simulation.session_client import SessionClient
from byzantine.simulation.standing import collect
from byzantine.simulation.steps import do
from byzantine.simulation.virtual_loop import VirtualLoop
from byzantine.simulation.world import CLEAN, World
from byzantine.verdicts import Finding, Verdict, worst
from crypto.batch import Millis
from ledger.application import SHIPPED, load_application
from ledger.genesis import Genesis
from network.simulated import MILLISECOND
from tetrarch.trust import TrustRoot

LOOK_SECONDS = 0.005
"""Between two looks at whether all have converged."""

IDLE_MS = 1_000
"""Longer than clocks differ: after so long, beyond the clock bound, no member orders what expired before."""

MEANWHILE = tuple(each for each in ORACLES if each not in (outcome.liveness, outcome.expected))
"""Oracles that can be asked while faults last."""


class Session:
    """A running network of one scenario. A context manager."""

    def __init__(
        self, scenario: Scenario, *, elsewhere: Elsewhere | None = None, recorder: Recorder | None = None
    ) -> None:
        """`elsewhere`: where an application of one's own is executed anew as well. Raises `Contradiction`,
        `ApplicationError`."""
        require_consistent(scenario)
        # At once, and not at each replica's start: what is wrong with it is no replica's fault.
        load_application(scenario.application, scenario.parameters)
        self.behaviours = _staged(scenario)
        """What must fire, or links must do, for the attack to have happened."""
        self.scenario = _without_work(scenario)
        self.world = World(self.scenario, recorder)
        self._elsewhere = elsewhere
        self._loop = VirtualLoop(self.world.scheduler)
        self._clients: list[SessionClient] = []
        self._unfinished = ""
        self._found: dict[str, Finding] = {}
        """What was no pass when the session was finished before, by oracle."""
        self.faults = Faults(self.world, self.run)
        for step in self.scenario.steps:
            self.world.scheduler.at(step.at_ms * MILLISECOND, do, self.world, step)
        if self.scenario.steps or self.scenario.hostile_network or self.scenario.links != CLEAN:
            self.world.scheduler.at(self.scenario.heal_at_ms * MILLISECOND, self.world.heal)

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the loop that the clients run in."""
        if not self._loop.is_closed():
            for client in self._clients:
                client.close()
            self._loop.close()

    # What it is.

    @property
    def n(self) -> int:
        """How many replicas there are."""
        return self.scenario.replicas

    @property
    def f(self) -> int:
        """How many of them may be faulty."""
        return self.scenario.f

    @property
    def liars(self) -> tuple[int, ...]:
        """Members that lie."""
        return self.scenario.lying_members

    @property
    def honest(self) -> tuple[int, ...]:
        """Members that do not."""
        return tuple(member for member in range(self.n) if member not in self.liars)

    @property
    def genesis(self) -> Genesis:
        """What all replicas agree on beforehand."""
        return self.world.genesis

    @property
    def trust(self) -> TrustRoot:
        """Whom clients believe."""
        return self.world.trust

    @property
    def now_ms(self) -> int:
        """The virtual time since the network began."""
        return self.world.scheduler.now_us // MILLISECOND

    def heights(self) -> dict[int, int | None]:
        """Return the height that each replica has reached; `None` where it is down."""
        hearts = {int(replica.member): replica.heart for replica in self.world.replicas}
        return {
            member: None if heart is None else int(heart.ledger.height) for member, heart in hearts.items()
        }

    # What is done with it.

    def client(self) -> SessionClient:
        """Return a new client, with a key of its own."""
        client = SessionClient(self.world, len(self._clients), self._loop)
        self._clients.append(client)
        return client

    def run(self, ms: int) -> None:
        """Let so much virtual time pass."""
        self._loop.run_until_complete(asyncio.sleep(ms / 1000))

    # What came of it.

    @property
    def fired(self) -> dict[str, int]:
        """How often each behaviour really did what it is named for."""
        return dict(self.world.observed.fired)

    @property
    def silent(self) -> tuple[str, ...]:
        """Behaviours that are staged, and did nothing so far."""
        return tuple(name for name in self.behaviours if not self.world.observed.fired[name])

    @property
    def application_errors(self) -> tuple[ApplicationFault, ...]:
        """What `execute` and `query` of the application raised so far, and should not, each with its
        traceback."""
        return self.world.observed.application_faults.of("execute", "query")

    def audit(self) -> tuple[Finding, ...]:
        """Judge what has been seen so far; nothing that takes time is asked for."""
        return self._judged(MEANWHILE)

    def finish(self) -> tuple[Finding, ...]:
        """End all faults, demand convergence within the scenario's bound, and judge all that happened so far.

        The network runs on, and may be finished again. What was once found to be no pass stays so.
        """
        # What is staged has its time, however soon the work was done.
        if self.behaviours or self.scenario.steps:
            self.run(max(0, self.scenario.heal_at_ms - self.now_ms))
        self.world.heal()
        self.world.observed.converged_us = None
        self._loop.run_until_complete(self._converge())
        judged = self._judged(ORACLES)
        asked = {finding.oracle for finding in judged}
        silent = [finding for oracle, finding in self._found.items() if oracle not in asked]
        findings = (*map(self._worse, judged), *silent)
        self._found = {each.oracle: each for each in findings if each.verdict is not Verdict.PASS}
        return findings

    async def _converge(self) -> None:
        limit_ms = self.scenario.expect.live_within_ms
        if limit_ms is None:
            return
        until = self._loop.time() + limit_ms / 1000
        await asyncio.gather(*(client.settle(limit_ms / 1000) for client in self._clients))
        while not self._converged() and self._loop.time() < until and not self.world.observed.forks:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)
        converged_us = self.world.scheduler.now_us
        if self._converged() and await self._still_orders(limit_ms):
            self.world.observed.converged_us = converged_us

    def _converged(self) -> bool:
        open_ = sum(not operation.outcome for client in self._clients for operation in client.operations)
        self._unfinished = f"clients wait for {open_}; " if open_ else ""
        return not open_ and self.world.converged()

    async def _still_orders(self, limit_ms: int) -> bool:
        """Whether a new block comes into being: one without transactions, in which the application has no
        part, so that time passes on the ledger and what is asked for is shown to have expired."""
        bound_ms = self.genesis.clock_bound_ms
        await asyncio.sleep((bound_ms + IDLE_MS) / 1000)
        clocks = [replica.clock.wall_ms for replica in self.world.replicas]
        if await self.client().sees_expire(Millis(min(clocks) - bound_ms - 1), limit_ms / 1000):
            return True
        self._unfinished = "all had converged, and nothing was ordered any more; "
        return False

    # Judging.

    def _judged(self, oracles: tuple[Oracle, ...]) -> tuple[Finding, ...]:
        collect(self.world)
        seen = self._observed()
        if not any(operation.outcome == "committed" for operation in seen.operations):
            # A test in which nothing was to be executed has no history that could be wrong.
            oracles = tuple(each for each in oracles if each is not history.linearizability)
        findings = judge(seen, oracles)
        if self.genesis.application in SHIPPED or self._elsewhere is None:
            return findings
        return (*findings, _determinism(seen, self._elsewhere))

    def _worse(self, finding: Finding) -> Finding:
        """Return this finding, or what the same oracle found before if that was worse."""
        before = self._found.get(finding.oracle, finding)
        return finding if finding.verdict is worst((finding.verdict, before.verdict)) else before

    def _observed(self) -> Observation:
        seen, clients = observe(self.world), self._clients
        blocks = {height: set(hashes) for height, hashes in seen.believed_blocks.items()}
        for client in clients:
            for height, block_hash in client.believed:
                blocks.setdefault(height, set()).add(block_hash)
        seen.believed_blocks = blocks
        seen.operations = [operation for client in clients for operation in client.operations]
        seen.reads = [read for client in clients for read in client.reads]
        seen.answers = [answer for client in clients for answer in client.answers]
        seen.forks = [*seen.forks, *(fork for client in clients for fork in client.forks)]
        seen.unfinished = self._unfinished + seen.unfinished
        return seen


def _staged(scenario: Scenario) -> tuple[str, ...]:
    lies = [lie for liar in scenario.liars for lie in liar.lies]
    lies += [*scenario.hostile_clients, *scenario.hostile_network]
    return tuple(dict.fromkeys(scenario.expect.fired or [lie.behaviour for lie in lies]))


def _without_work(scenario: Scenario) -> Scenario:
    """Return a scenario as it is staged beside other work. Clients verify real signatures."""
    steps = tuple(step for step in scenario.steps if not isinstance(step, plan.Submit | plan.Read))
    expect = Expect(safe=scenario.expect.safe, live_within_ms=scenario.expect.live_within_ms, fired=())
    return structs.replace(scenario, steps=steps, clients=0, signatures="ed25519", expect=expect)


def _determinism(seen: Observation, elsewhere: Elsewhere) -> Finding:
    """The application gives the same in another process."""
    chain = max(seen.chains.values(), key=lambda each: each.height, default=None)
    if chain is None:
        return Finding("determinism", Verdict.INCONCLUSIVE, "no honest chain could be read")
    heights = range(1, chain.height + 1)
    blocks, hashes = [chain.block(at) for at in heights], [chain.block_hash(at) for at in heights]
    try:
        wrong = elsewhere.first_difference(seen.genesis, blocks, hashes)
    except Unavailable as why:
        return Finding("determinism", Verdict.INCONCLUSIVE, str(why))
    if wrong is None:
        return Finding("determinism", Verdict.PASS)
    return Finding("determinism", Verdict.FAIL, f"in another process, {wrong}")
