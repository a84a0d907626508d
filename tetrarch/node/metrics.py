"""What a replica measures, in the text format of Prometheus.

What lives here: the names, units and meanings of all metrics (docs/watching.md lists them), read from the
replica at the moment of asking. What must not be known here: HTTP, and how the format is written: that is
`prometheus_client`'s part. Its import takes about 0.1 s, so it is imported where metrics are wanted alone;
and its own histograms take 1 to 2 us to observe a value, which is why blocks are timed by
`tetrarch.node.timings`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ledger.refusals import RefusalCode
from tetrarch.node.heart import Heart
from tetrarch.node.settings import NodeSettings
from tetrarch.node.sockets import NetworkLoad
from tetrarch.node.timings import Histogram, PhaseTimes
from tetrarch.node.trace import Trace

ROLES: Final = ("primary", "backup", "view change", "catching up", "marked", "halted")
"""What a replica may be (`Reporter.role`)."""

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

_REFUSED: Final = "refused"
_SIDES: Final = {"client connection": "client", "member connection": "member"}
_OTHER: Final = "other"
"""The source of a count that names none."""


@dataclass(frozen=True, slots=True)
class Sources:
    """All that is read. `monitor_counts`: what went wrong with those who ask for metrics."""

    settings: NodeSettings
    heart: Heart
    times: PhaseTimes
    fsyncs: Histogram
    trace: Trace
    load: Callable[[], NetworkLoad]
    faults: Callable[[], Mapping[str, int]]
    monitor_counts: Callable[[], Mapping[str, int]]
    uptime_s: Callable[[], float]


class Metrics(Collector):
    """The page of one replica."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)

    def page(self) -> bytes:
        """Return the text."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing: a registry would otherwise collect all to learn the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield all of this replica's metrics."""
        yield from self._standing()
        yield from self._durations()
        yield from self._counts()
        yield from self._queues()
        yield from self._itself()

    def _standing(self) -> Iterator[Metric]:
        """What part it takes, and how far it is."""
        heart = self._sources.heart
        status, ledger = heart.engine.status(), heart.ledger
        role = heart.reporter.role(status)
        genesis = self._sources.settings.genesis
        labels = ["replica", "member", "chain_id", "engine", "application"]
        info = GaugeMetricFamily("tetrarch_replica_info", "Which replica this is; always 1.", labels=labels)
        name, member = self._sources.settings.name, str(self._sources.settings.member)
        info.add_metric([name, member, genesis.chain_id.hex(), genesis.engine, genesis.application], 1)
        yield info
        roles = GaugeMetricFamily("tetrarch_role", "1 for the part that it takes now.", labels=["role"])
        for other in ROLES:
            roles.add_metric([other], role == other)
        yield roles
        leader = -1 if status.leader is None else status.leader
        yield GaugeMetricFamily("tetrarch_view", "The view that it is in, or enters.", status.view)
        yield GaugeMetricFamily("tetrarch_view_active", "0 while the view is being changed.", status.active)
        yield GaugeMetricFamily("tetrarch_primary_member", "The primary, by member; -1: unsettled.", leader)
        yield GaugeMetricFamily("tetrarch_executed_height", "The height of its last block.", ledger.height)
        yield GaugeMetricFamily("tetrarch_stable_height", "Its last stable checkpoint.", status.low)
        yield GaugeMetricFamily("tetrarch_last_vote_height", "The highest it voted for.", status.last_vote)
        block_time = ledger.time / 1000
        yield GaugeMetricFamily("tetrarch_block_time_seconds", "Time of its last block (Unix).", block_time)

    def _durations(self) -> Iterator[Metric]:
        sources = self._sources
        phases = HistogramMetricFamily(
            "tetrarch_phase_seconds", "How long each phase of a block takes here.", labels=["phase"]
        )
        for phase, histogram in sources.times.phases.items():
            _add(phases, [phase.value], histogram)
        yield phases
        whole = HistogramMetricFamily("tetrarch_block_seconds", "From a proposal's coming to the replies.")
        _add(whole, [], sources.times.whole)
        yield whole
        fsync = HistogramMetricFamily("tetrarch_fsync_seconds", "How long a sync of the store takes.")
        _add(fsync, [], sources.fsyncs)
        yield fsync

    def _counts(self) -> Iterator[Metric]:
        """What was executed, and what was not taken, by reason."""
        heart = self._sources.heart
        executed = heart.reporter.transactions
        yield CounterMetricFamily("tetrarch_transactions_executed", "Since the start.", executed)
        ignored = CounterMetricFamily(
            "tetrarch_messages_ignored",
            "Members' messages that the engine did not act on.",
            labels=["reason"],
        )
        for reason, times in heart.engine.status().ignored:
            ignored.add_metric([reason], times)
        yield ignored
        refused = CounterMetricFamily(
            "tetrarch_transactions_refused", "Clients' transactions not admitted.", labels=["code"]
        )
        dropped = CounterMetricFamily(
            "tetrarch_inputs_dropped", "Frames, bodies and questions not taken.", labels=["source", "reason"]
        )
        # From the first, at 0: what appears with its first count cannot be seen to have risen.
        codes, evidence = {code.value: 0 for code in RefusalCode}, 0
        for name, times in heart.counters.all():
            source, colon, reason = name.partition(": ")
            if name == "evidence":
                evidence = times
            elif source == _REFUSED:
                codes[reason] = times
            else:
                dropped.add_metric([source, reason] if colon else [_OTHER, name], times)
        for code, times in codes.items():
            refused.add_metric([code], times)
        yield refused
        yield dropped
        yield CounterMetricFamily("tetrarch_evidence", "Proofs of misbehaviour found.", evidence)
        yield self._faults()

    def _faults(self) -> Metric:
        faults = CounterMetricFamily(
            "tetrarch_connection_faults", "Connections refused, ended, not made.", labels=["side", "reason"]
        )
        for name, times in self._sources.faults().items():
            whose, _, reason = name.partition(": ")
            faults.add_metric([_SIDES.get(whose, whose), reason], times)
        for reason, times in self._sources.monitor_counts().items():
            faults.add_metric(["monitor", reason], times)
        return faults

    def _queues(self) -> Iterator[Metric]:
        """What waits, and who is connected."""
        heart, load = self._sources.heart, self._sources.load()
        pending = heart.engine.status().pending
        yield GaugeMetricFamily("tetrarch_pool_transactions", "Admitted and not executed.", pending)
        held = GaugeMetricFamily("tetrarch_buffer_items", "What is kept for others' sake.", labels=["buffer"])
        most = GaugeMetricFamily(
            "tetrarch_buffer_limit_items", "How much of it may be kept.", labels=["buffer"]
        )
        for buffer, (count, limit) in heart.sizes().items():
            held.add_metric([buffer], count)
            most.add_metric([buffer], limit)
        yield held
        yield most
        names = [member.name for member in self._sources.settings.genesis.members]
        queued = GaugeMetricFamily(
            "tetrarch_peer_queue_bytes", "What waits to be sent to a member.", labels=["peer"]
        )
        for member, size in load.queued.items():
            queued.add_metric([names[member]], size)
        yield queued
        connected = GaugeMetricFamily(
            "tetrarch_peer_connected", "1 while the connection to a member stands.", labels=["peer"]
        )
        for place, up in enumerate(heart.reporter.peers):
            if place != self._sources.settings.member:
                connected.add_metric([names[place]], up)
        yield connected
        yield GaugeMetricFamily("tetrarch_client_connections", "Clients that are connected.", load.clients)

    def _itself(self) -> Iterator[Metric]:
        """The process, and its checks of signatures."""
        sources = self._sources
        verified, memory = sources.heart.verified, sources.heart.reporter.resident_bytes
        hits, misses = verified.hits, verified.misses
        yield CounterMetricFamily("tetrarch_signature_cache_hits", "Members', not verified again.", hits)
        yield CounterMetricFamily("tetrarch_signature_cache_misses", "Members', verified.", misses)
        processes = sources.settings.checking_processes
        yield GaugeMetricFamily("tetrarch_checking_processes", "That verify signatures.", processes)
        yield GaugeMetricFamily("tetrarch_resident_memory_bytes", "Of the replica's process.", memory)
        yield GaugeMetricFamily("tetrarch_uptime_seconds", "Since the replica started.", sources.uptime_s())
        dropped = sources.trace.dropped
        yield CounterMetricFamily("tetrarch_trace_lines_dropped", "Too many for their second.", dropped)


def _add(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    buckets = [
        ("+Inf" if bound == float("inf") else str(bound), count) for bound, count in histogram.cumulated()
    ]
    family.add_metric(labels, buckets, histogram.total_s)
