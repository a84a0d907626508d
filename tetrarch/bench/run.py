"""One run of the bench: a throw-away network of real processes, its figures, and optional longer sections.

What lives here: the order of the phases, and the figures made of what they measured. What must not be known
here: terminals.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from crypto.keys import SigningKey
from ledger.audit.audit import Options
from ledger.audit.progress import Progress
from ledger.genesis import Genesis
from tetrarch.auditing import audit_store
from tetrarch.bench.load import LoadFailed, Timing, all_at_once, one_at_a_time
from tetrarch.bench.machine import Rates, Usage, measure_rates, percentile, usage
from tetrarch.client.async_client import AsyncClient
from tetrarch.client.config import ClientConfig
from tetrarch.client.states import ReplicaStatus
from tetrarch.event_loop import run
from tetrarch.layout import CLIENT_FILE, STORE
from tetrarch.local_network import bring_up, faults, throw_away
from tetrarch.processes import LocalNetwork
from tetrarch.setup.places import local_places
from tetrarch.setup.plan import local_plan
from tetrarch.survey import survey

WARM_UP: Final = 1_000
"""Transactions before anything is timed: connections, caches and the first view settle."""

SINGLE: Final = 300
"""Transactions of the single client: enough for a 99th percentile of three."""

MEMORY_TRANSACTIONS: Final = 300_000
MEMORY_SAMPLES: Final = 10
AWAY_TRANSACTIONS: Final = 50_000
CATCH_UP_SECONDS: Final = 300.0

Tell = Callable[[str, int, int], None]
"""Progress: which phase, how many are done, of how many."""


class Plan(Struct, frozen=True):
    """What is to be measured."""

    replicas: int = 4
    transactions: int = 20_000
    seconds: float | None = None
    clients: int = 1
    window: int | None = None
    memory: bool = False
    rejoin: bool = False
    audit: bool = False
    transport: str = "tcp"
    """Or "mqtt": everything by way of a broker, which is started too."""


class Memory(Struct, frozen=True):
    """A replica's memory after so many transactions: the largest of all replicas, in MB."""

    transactions: int
    resident_mb: float


class Rejoin(Struct, frozen=True):
    """A replica that was away: how long executing took the others, and how long catching up took it (s)."""

    transactions: int
    executing_seconds: float
    catching_up_seconds: float


class AuditSpeed(Struct, frozen=True):
    """The audit at level full of one replica's store."""

    transactions: int
    seconds: float
    verdict: str
    share_of_limit: float
    """Transactions per second as a share of what all cores could verify."""
    verify_us: float
    """What a verification took on one core, just before."""


class Figures(Struct, frozen=True):
    """All that one run measured."""

    plan: Plan
    rates: Rates
    single: Timing
    load: Timing
    before: list[Usage | None]
    after: list[Usage | None]
    client_cpu_seconds: float
    transaction_bytes: int
    memory: list[Memory]
    rejoin: Rejoin | None
    audit: AuditSpeed | None

    @property
    def limit_tps(self) -> float:
        """What signatures alone would allow."""
        return self.rates.limit_tps(self.plan.replicas)

    def json(self) -> dict[str, Any]:
        """Return the figures as plain values; units are in the names."""
        load, single = self.load, self.single
        cpu = [
            (after.cpu_seconds - before.cpu_seconds) / load.count * 1e6
            for before, after in zip(self.before, self.after, strict=True)
            if before is not None and after is not None
        ]
        blocks = load.heights[1] - load.heights[0] + 1
        return {
            "n": self.plan.replicas,
            "transport": self.plan.transport,
            "cores": self.rates.cores,
            "clients": self.plan.clients,
            "transactions": load.count,
            "transaction_bytes": self.transaction_bytes,
            "throughput_tps": round(load.per_second, 1),
            "limit_tps": round(self.limit_tps, 1),
            "share_of_limit": round(load.per_second / self.limit_tps, 4),
            "verify_us": round(self.rates.verify_us, 2),
            "sign_us": round(self.rates.sign_us, 2),
            "single_p50_ms": round(percentile(single.latencies_ms, 0.50), 2),
            "single_p99_ms": round(percentile(single.latencies_ms, 0.99), 2),
            "load_p50_ms": round(percentile(load.latencies_ms, 0.50), 2),
            "load_p99_ms": round(percentile(load.latencies_ms, 0.99), 2),
            "replica_peak_mb": round(max((use.peak_mb for use in self.after if use), default=0.0), 1),
            "replica_cpu_us": [round(each, 1) for each in cpu],
            "client_cpu_us": round(self.client_cpu_seconds / load.count * 1e6, 1),
            "blocks": blocks,
            "transactions_per_block": round(load.count / blocks, 1),
            "fsync": True,
            "tls": True,
            **self._sections(),
        }

    def _sections(self) -> dict[str, Any]:
        sections: dict[str, Any] = {}
        if self.memory:
            sections["memory"] = [
                {"transactions": sample.transactions, "resident_mb": round(sample.resident_mb, 1)}
                for sample in self.memory
            ]
        if self.rejoin is not None:
            sections["rejoin"] = {
                "transactions": self.rejoin.transactions,
                "executing_s": round(self.rejoin.executing_seconds, 2),
                "catching_up_s": round(self.rejoin.catching_up_seconds, 2),
            }
        if self.audit is not None:
            sections["audit"] = {
                "transactions": self.audit.transactions,
                "seconds": round(self.audit.seconds, 2),
                "verdict": self.audit.verdict,
                "share_of_limit": round(self.audit.share_of_limit, 4),
                "verify_us": round(self.audit.verify_us, 2),
            }
        return sections


@dataclass
class _Bench:
    """The network under load, and who is told of progress."""

    plan: Plan
    network: LocalNetwork
    genesis: Genesis
    config: ClientConfig
    tell: Tell

    def usages(self) -> list[Usage | None]:
        numbers = [replica.pid_number() for replica in self.network.replicas]
        return [None if number is None else usage(number) for number in numbers]

    async def survey(self) -> list[ReplicaStatus]:
        return await survey(self.genesis, self.config.dialer())

    def clients(self) -> list[AsyncClient]:
        tuning = self.config.tuning
        if self.plan.window is not None:
            tuning = replace(tuning, window=self.plan.window)
        return [
            AsyncClient(self.config.trust, SigningKey.generate(), self.config.dialer(), tuning=tuning)
            for _ in range(self.plan.clients)
        ]

    async def load(self, phase: str, count: int, seconds: float | None = None) -> Timing:
        clients = self.clients()
        try:
            return await all_at_once(
                clients, count, seconds, lambda done: self.tell(phase, done, max(count, done))
            )
        finally:
            for client in clients:
                await client.close()

    async def single(self) -> tuple[Timing, int]:
        [client, *rest] = self.clients()
        for other in rest:
            await other.close()
        self.tell("one client", 0, 1)
        async with client:
            receipt = await client.submit({"key": "key-000000", "op": "put", "value": "0" * 62})
            return await one_at_a_time(client, SINGLE), len(receipt.transaction)


def measure(plan: Plan, directory: Path, tell: Tell) -> Figures:
    """Run the bench in `directory`, which must not exist yet; everything it started has ended on return.

    Raises `LoadFailed`, `NotRunning`, `SetupError`.
    """
    tell("signature rates", 0, 1)
    rates = measure_rates()
    tell("starting replicas", 0, 1)
    network_plan = local_plan(local_places(plan.replicas, plan.transport), development=True)
    with throw_away(directory, network_plan) as (network, genesis):
        config = ClientConfig.load(directory / CLIENT_FILE)
        bench = _Bench(plan, network, genesis, config, tell)
        run(bench.load("warming up", WARM_UP))
        single, size = run(bench.single())
        before, client_before = bench.usages(), time.process_time()
        load = run(bench.load("full load", plan.transactions, plan.seconds))
        client_cpu = time.process_time() - client_before
        after = bench.usages()
        memory = run(_memory(bench)) if plan.memory else []
        rejoin = _rejoin(bench) if plan.rejoin else None
        audit = _audit(bench) if plan.audit else None
    return Figures(plan, rates, single, load, before, after, client_cpu, size, memory, rejoin, audit)


async def _memory(bench: _Bench) -> list[Memory]:
    """Have many transactions executed, and look at the replicas' memory now and then."""
    samples = [_sample(bench, 0)]
    step = MEMORY_TRANSACTIONS // MEMORY_SAMPLES
    for number in range(MEMORY_SAMPLES):
        await bench.load(f"memory {number + 1}/{MEMORY_SAMPLES}", step)
        samples.append(_sample(bench, (number + 1) * step))
    return samples


def _sample(bench: _Bench, transactions: int) -> Memory:
    return Memory(transactions, max((use.resident_mb for use in bench.usages() if use), default=0.0))


def _rejoin(bench: _Bench) -> Rejoin:
    """Stop one backup, have the others execute, bring it back, and see how long it takes."""
    reports = run(bench.survey())
    leader = max(report.reply.leader for report in reports if report.reply is not None)
    away = bench.network.replicas[(leader + 1) % len(bench.network.replicas)]
    away.signal(signal.SIGTERM)
    if not away.wait(CATCH_UP_SECONDS):
        raise LoadFailed(f"{away.name} does not stop")
    timing = run(bench.load("one is away", AWAY_TRANSACTIONS))
    bench.tell("catching up", 0, 1)
    started = time.monotonic()
    silent = faults(bench.network, bring_up(bench.network))
    if silent:
        raise LoadFailed("; ".join(silent))
    while time.monotonic() < started + CATCH_UP_SECONDS:
        heights = [report.reply.height for report in run(bench.survey()) if report.reply is not None]
        if len(heights) == len(bench.network.replicas) and len(set(heights)) == 1:
            return Rejoin(timing.count, timing.seconds, time.monotonic() - started)
        time.sleep(0.05)
    raise LoadFailed(f"{away.name} did not catch up within {CATCH_UP_SECONDS:g} s")


def _audit(bench: _Bench) -> AuditSpeed:
    """Stop the network and audit one store at level full, as an auditor would.

    What the machine can verify is measured anew: in the minutes since the start its speed may have drifted.
    """
    replica = bench.network.replicas[0]
    store = replica.directory / STORE
    bench.network.stop()
    rates = measure_rates()
    started = time.perf_counter()

    def tell(progress: Progress) -> None:
        bench.tell(f"audit: {progress.stage}", progress.done, progress.total or 1)

    report = audit_store(store, bench.genesis, Options(progress=tell))
    seconds = time.perf_counter() - started
    share = report.transactions / seconds / rates.verifications_per_second
    return AuditSpeed(report.transactions, seconds, report.verdict.value, share, rates.verify_us)
