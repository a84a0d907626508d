"""What is measured and followed of one replica while it runs, and the pages that tell it.

What lives here: joining timings, traces and metrics with the replica that they are about, with this process'
clocks. What must not be known here: sockets, and what engines are.
"""

import time
from collections.abc import Callable

from crypto.attestation import Height
from tetrarch.node.health import absence, ailment
from tetrarch.node.heart import Heart
from tetrarch.node.logs import Log, TraceLog, trace_path
from tetrarch.node.monitor import Monitor, Page
from tetrarch.node.settings import NodeSettings
from tetrarch.node.sockets import Network
from tetrarch.node.timings import Histogram, PhaseTimes
from tetrarch.node.trace import NONE, Trace


class Watch:
    """Filled in by those who see it happen: engine, admission, heart and shell."""

    def __init__(self, trace: str = NONE) -> None:
        self.times = PhaseTimes()
        self.fsyncs = Histogram()
        self.trace = Trace(trace)

    def replied(self, heights: list[Height]) -> None:
        """What follows from these blocks has left."""
        now = time.monotonic_ns()
        for height in heights:
            self.times.replied(height, now)
            if self.trace.on:
                self.trace.replied(height)


class TraceWriter:
    """Brings the lines about single transactions to their file, and changes which are followed."""

    def __init__(self, settings: NodeSettings, trace: Trace, log: Log) -> None:
        self._trace = trace
        self._log = log
        self._file = TraceLog(settings.name, None if settings.log is None else trace_path(settings.log))

    def write(self) -> None:
        """Write what was noted since the last call."""
        lines = self._trace.take()
        if lines:
            self._file.write(lines)

    def follow(self, choice: str) -> None:
        """Follow other transactions from now on."""
        self.write()
        self._trace.follow(choice)
        self._log.info("following", transactions=choice)

    def close(self) -> None:
        """Write what is left and let go of the file."""
        self.write()
        self._file.close()


def open_monitor(
    settings: NodeSettings,
    heart: Heart,
    watch: Watch,
    network: Network,
    log: Log,
    started: Callable[[], bool],
) -> Monitor | None:
    """Return what serves metrics and health, if this replica is to tell them."""
    if settings.metrics is None:
        return None
    from tetrarch.node.metrics import CONTENT_TYPE, Metrics, Sources

    began = time.monotonic()
    monitor: Monitor
    metrics = Metrics(
        Sources(
            settings=settings,
            heart=heart,
            times=watch.times,
            fsyncs=watch.fsyncs,
            trace=watch.trace,
            load=lambda: network.load,
            faults=lambda: network.counts,
            monitor_counts=lambda: monitor.counts,
            uptime_s=lambda: time.monotonic() - began,
        )
    )
    monitor = Monitor(
        settings.metrics,
        {
            "/metrics": lambda: Page(200, metrics.page(), CONTENT_TYPE),
            "/healthz": lambda: _verdict(ailment(heart)),
            "/readyz": lambda: _verdict(absence(heart, started())),
        },
        lambda name, /, **facts: log.warning(f"monitor_{name}", **facts),
    )
    return monitor


def _verdict(fault: str | None) -> Page:
    """Return the answer to a probe: fine, or why not, in one line."""
    return Page(200, b"ok\n") if fault is None else Page(503, " ".join(fault.split()).encode() + b"\n")
