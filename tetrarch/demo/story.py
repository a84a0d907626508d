"""The demo's steps, in order, each ending in a check that fails loudly.

What lives here: what is done and what must be true after it. What must not be known here: how it is shown
(a `Narrator` knows).
"""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from json import JSONDecodeError, loads
from pathlib import Path
from typing import Any, Final, Protocol

from msgspec.structs import replace as struct_replace

from crypto.attestation import Height
from crypto.batch import TxId
from ledger.result import ResultCode
from tetrarch.bench.machine import percentile
from tetrarch.client.async_client import AsyncClient
from tetrarch.client.config import ClientConfig
from tetrarch.client.states import ReplicaStatus
from tetrarch.demo.books import Books
from tetrarch.event_loop import run
from tetrarch.journal import Journal, LineOutcome, submit_journal
from tetrarch.layout import CLIENT_FILE
from tetrarch.local_network import bring_up, faults
from tetrarch.processes import LocalNetwork, ReplicaProcess
from tetrarch.setup.network import make_network
from tetrarch.setup.places import local_places
from tetrarch.setup.plan import local_plan
from tetrarch.survey import survey

REPLICAS: Final = 4
WINDOW: Final = 1_000
"""Transactions under way at once: so few that some of the journal is still to come at the kill."""

KILL_AT: Final = 0.4
"""The primary dies when so much of the journal has an outcome."""

CATCH_UP_SECONDS: Final = 20.0
OUTCOME_SECONDS: Final = 30.0
"""How long one transaction may take: a view change takes two or three."""

PAUSE_SECONDS: Final = 0.05


class StepFailed(RuntimeError):
    """A check of the demo did not hold. One line."""


class Narrator(Protocol):
    """Who shows what happens."""

    def step(self, title: str) -> AbstractContextManager[None]:
        """Announce a step; leaving the block without an exception means that it passed."""
        ...

    def say(self, line: str) -> None:
        """Tell something worth knowing about the present step."""
        ...

    async def follow(
        self,
        outcomes: AsyncIterator[LineOutcome],
        journal: Journal,
        also: Callable[[LineOutcome], None],
    ) -> None:
        """Take every outcome, show progress, and pass each on to `also`."""
        ...


CONNECTED: Final = {
    "tcp": "Four processes, connected by mutual TLS, each with its own disk",
    "mqtt": "Four processes, each with its own disk, that meet at a broker which they need not trust",
}


@dataclass
class Story:
    """All that one run of the demo came to know."""

    directory: Path
    journal: Journal
    narrator: Narrator
    transport: str = "tcp"
    """Or "mqtt"."""
    facts: dict[str, Any] = field(default_factory=dict)
    """For --json and for the summary; units are in the names."""
    outcomes: list[LineOutcome] = field(default_factory=list)
    seconds: float = 0.0
    """Submitting the journal, the view change included."""
    killed: ReplicaProcess | None = None
    killed_at: float = 0.0
    """Wall time, s."""
    pause_ms: float = 0.0
    """The longest time without any outcome after the kill."""
    before_kill: tuple[int, float] = (0, 0.0)
    """Outcomes, and seconds, up to the kill."""

    @property
    def net(self) -> Path:
        """The network's directory."""
        return self.directory / "net"

    @property
    def config(self) -> ClientConfig:
        """The client's configuration: so few transactions under way that the killed primary is missed."""
        found = ClientConfig.load(self.net / CLIENT_FILE)
        return replace(found, tuning=struct_replace(found.tuning, window=WINDOW))

    def require(self, holds: bool, what: str) -> None:
        """Guard: a claim of the demo. Raises `StepFailed`."""
        if not holds:
            raise StepFailed(what)


def make(story: Story) -> LocalNetwork:
    """Make a network of four."""
    plan = local_plan(local_places(REPLICAS, story.transport), "assets")
    with story.narrator.step("A network of four replicas, of which one may lie"):
        genesis = make_network(story.net, plan)
        story.narrator.say(f"keys, certificates and genesis in {story.net}")
        story.narrator.say(f"chain {genesis.chain_id.hex()[:16]}…, application assets")
    return LocalNetwork(story.net)


def start(story: Story, network: LocalNetwork) -> None:
    """Start all replicas, and wait until they answer."""
    with story.narrator.step(CONNECTED[story.transport]):
        started = time.monotonic()
        silent = faults(network, bring_up(network))
        story.require(not silent, "; ".join(silent))
        numbers = ", ".join(str(replica.pid_number()) for replica in network.replicas)
        story.narrator.say(f"processes {numbers}; all answer after {time.monotonic() - started:.1f} s")


async def submit(story: Story, network: LocalNetwork, client: AsyncClient) -> None:
    """Submit the journal, and kill the primary in the middle."""
    title = f"{story.journal.count:,} lines of {story.journal.path.name}; the primary is killed in the middle"
    with story.narrator.step(title):
        kill_at = int(story.journal.count * KILL_AT)
        began = last = time.monotonic()
        killing: asyncio.Task[None] | None = None

        def also(line: LineOutcome) -> None:
            nonlocal last, killing
            now = time.monotonic()
            story.outcomes.append(line)
            if story.killed is not None:
                story.pause_ms = max(story.pause_ms, (now - last) * 1000)
            last = now
            if len(story.outcomes) >= kill_at and killing is None:
                killing = asyncio.ensure_future(_kill_primary(story, network, began))

        async def outcomes() -> AsyncIterator[LineOutcome]:
            async for line in submit_journal(client, story.journal, OUTCOME_SECONDS):
                yield line
                # On a busy machine the whole journal could be through before the primary is found: no more
                # is submitted until it is killed.
                if killing is not None and not killing.done():
                    await killing

        await story.narrator.follow(outcomes(), story.journal, also)
        story.seconds = time.monotonic() - began
        if killing is None:
            raise StepFailed("the journal is too short for a kill in the middle")
        await killing
        _count(story)


def _count(story: Story) -> None:
    """Count outcomes by kind, and require that none is unknown."""
    kinds = Counter("broken" if line.outcome is None else line.outcome.status for line in story.outcomes)
    executed = {
        line.outcome.tx_id: line.outcome.result
        for line in story.outcomes
        if line.outcome is not None and line.outcome.result is not None
    }
    ok = sum(result.code is ResultCode.OK for result in executed.values())
    story.facts |= {
        "lines": len(story.outcomes),
        "executed": ok,
        "refused_by_application": len(executed) - ok,
        "refused_lines": kinds["broken"] + kinds["refused"],
        "repeated_lines": kinds["committed"] - len(executed),
        "unknown": kinds["unknown"] + kinds["expired"],
    }
    story.require(not story.facts["unknown"], f"{story.facts['unknown']} transactions have no outcome")


async def _kill_primary(story: Story, network: LocalNetwork, began: float) -> None:
    """Kill whoever is the primary now: on a busy machine that may be another one than at the start."""
    primary = await _primary(network, story.config)
    story.require(primary.signal(signal.SIGKILL), f"{primary.name} could not be killed")
    story.killed, story.killed_at = primary, time.time()
    story.before_kill = (len(story.outcomes), time.monotonic() - began)
    story.narrator.say(
        f"{primary.name}, the primary, was killed (SIGKILL) after {len(story.outcomes):,} outcomes"
    )


async def _primary(network: LocalNetwork, config: ClientConfig) -> ReplicaProcess:
    reports = await survey(network.genesis, config.dialer())
    for report in reports:
        if report.reply is not None and report.reply.active and report.reply.leader >= 0:
            return network.replicas[report.reply.leader]
    raise StepFailed("no replica knows who the primary is")


async def check_books(story: Story, client: AsyncClient) -> None:
    """Follow the whole chain, and hold every outcome and every balance against it."""
    with story.narrator.step("Nothing acknowledged was lost or repeated, and no unit came from nowhere"):
        acknowledged = {
            line.outcome.tx_id: line.outcome.height
            for line in story.outcomes
            if line.outcome is not None and line.outcome.status == "committed"
        }
        story.require(bool(acknowledged), "no line of the journal was executed: `assets` knows none of them")
        books, head = await _follow(client, acknowledged)
        lost = [tx_id for tx_id, height in acknowledged.items() if books.executed.get(tx_id) != height]
        story.require(not lost, f"{len(lost)} acknowledged transactions are not on the ledger")
        strange = books.executed.keys() - acknowledged.keys()
        story.require(not strange, f"{len(strange)} executed transactions were acknowledged to nobody")
        await _compare_balances(story, client, books, head)
        story.facts |= {"acknowledged": len(acknowledged), "height": head}
        story.narrator.say(
            f"{len(acknowledged):,} acknowledged transactions, each executed exactly once in {head} blocks"
        )


async def _follow(client: AsyncClient, acknowledged: dict[TxId, Height]) -> tuple[Books, Height]:
    """Enter all blocks up to the last that holds an acknowledged transaction."""
    books, head = Books(), max(acknowledged.values())
    blocks = client.subscribe(1)
    try:
        async for block in blocks:
            books.add(block)
            if block.height >= head:
                break
    finally:
        await blocks.aclose()
    return books, head


async def _compare_balances(story: Story, client: AsyncClient, books: Books, head: Height) -> None:
    reads = [client.get(f"account/{name}", min_height=head) for name in books.balances]
    balances = dict(
        zip(books.balances, [read.value["balance"] for read in await asyncio.gather(*reads)], strict=True)
    )
    wrong = [name for name, balance in balances.items() if balance != books.balances[name]]
    story.require(not wrong, f"the balances of {', '.join(wrong[:5])} are not what the blocks lead to")
    total = sum(balances.values())
    story.facts |= {"accounts": len(balances), "total_balance": total}
    story.narrator.say(
        f"{len(balances)} accounts, read with proofs, hold {total:,} together: what was issued"
    )


def bring_back(story: Story, network: LocalNetwork) -> None:
    """Start the killed replica again, and wait until it has caught up."""
    killed = story.killed
    if killed is None:
        raise StepFailed("no replica was killed")
    with story.narrator.step(f"{killed.name} comes back and catches up"):
        started = time.monotonic()
        silent = faults(network, bring_up(network))
        story.require(not silent, "; ".join(silent))
        while not _level(reports := run(survey(network.genesis, story.config.dialer()))):
            story.require(
                time.monotonic() < started + CATCH_UP_SECONDS,
                f"{killed.name} did not catch up within {CATCH_UP_SECONDS:g} s",
            )
            time.sleep(PAUSE_SECONDS)
        seconds = time.monotonic() - started
        [height] = {report.reply.height for report in reports if report.reply is not None}
        roots = {report.reply.state_root for report in reports if report.reply is not None}
        story.require(len(roots) == 1, "the replicas have different states")
        story.facts |= {"catch_up_s": round(seconds, 2)}
        story.narrator.say(
            f"all four are at height {height} with one state root, {seconds:.1f} s after its start"
        )


def _level(reports: list[ReplicaStatus]) -> bool:
    """Whether all replicas answer, are at one height, and none is still catching up."""
    replies = [report.reply for report in reports if report.reply is not None]
    return (
        len(replies) == len(reports)
        and len({reply.height for reply in replies}) == 1
        and all(reply.role in ("primary", "backup") for reply in replies)
    )


def view_change_seconds(story: Story, network: LocalNetwork) -> float | None:
    """Return how long after the kill a new primary was in office, by the logs of the others."""
    found = []
    for replica in network.replicas:
        if replica is story.killed:
            continue
        times = [at for at in _view_times(replica.log) if at >= story.killed_at]
        found += times[:1]
    return min(found) - story.killed_at if found else None


def _view_times(log: Path) -> list[float]:
    """When this replica entered a view, in s since the epoch."""
    times = []
    for line in log.read_text(errors="replace").splitlines():
        try:
            entry = loads(line)
        except JSONDecodeError:
            continue
        if entry.get("event") == "view_active":
            times.append(datetime.fromisoformat(entry["timestamp"]).timestamp())
    return times


def summarize(story: Story, network: LocalNetwork) -> None:
    """Add the figures of the run to the facts."""
    latencies = [
        line.latency_ms
        for line in story.outcomes
        if line.outcome is not None and line.outcome.result is not None
    ]
    count, seconds = story.before_kill
    change = view_change_seconds(story, network)
    story.require(change is not None, "no replica tells of a new primary")
    story.facts |= {
        "throughput_tps": round(count / seconds, 1) if seconds else 0.0,
        "throughput_with_kill_tps": round(len(latencies) / story.seconds, 1),
        "p50_ms": round(percentile(latencies, 0.50), 1),
        "p99_ms": round(percentile(latencies, 0.99), 1),
        "view_change_s": None if change is None else round(change, 2),
        "longest_pause_s": round(story.pause_ms / 1000, 2),
        "directory": str(story.directory),
    }
