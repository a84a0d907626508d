"""A network on this machine, from its first process to its last: for `up`, `dev`, `bench` and `demo`.

What lives here: starting and waiting until all answer, and throw-away networks that never outlive their
block. What must not be known here: what is printed.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ledger.genesis import Genesis
from tetrarch.client.config import ClientConfig
from tetrarch.client.states import ReplicaStatus
from tetrarch.event_loop import run
from tetrarch.layout import CLIENT_FILE
from tetrarch.processes import LocalNetwork
from tetrarch.setup.network import make_network
from tetrarch.setup.plan import NetworkPlan
from tetrarch.survey import survey

UP_SECONDS: Final = 60.0
"""How long all replicas together may take to answer. A store of 100,000 blocks opens in some seconds."""

PAUSE_SECONDS: Final = 0.05

CONNECTED_SECONDS: Final = 10.0
"""How long replicas that answer may take to find each other."""


class NotRunning(RuntimeError):
    """Replicas that do not answer. One line for each."""


def bring_up(network: LocalNetwork, seconds: float = UP_SECONDS) -> list[ReplicaStatus]:
    """Start what does not run, and return the last reports: when all answer and are connected, when those
    that do not have ended, or when time is up. Raises `OSError`, `ConfigurationError`."""
    dialer = ClientConfig.load(network.directory / CLIENT_FILE).dialer()
    network.start()
    until = time.monotonic() + seconds
    answered_at = None
    while True:
        reports = run(survey(network.genesis, dialer))
        silent = [
            replica for replica, report in zip(network.replicas, reports, strict=True) if report.reply is None
        ]
        now = time.monotonic()
        if not silent:
            answered_at = answered_at or now
            connected = all(report.reply is not None and all(report.reply.peers) for report in reports)
            if connected or now >= answered_at + CONNECTED_SECONDS:
                return reports
        if now >= until or (silent and all(replica.ended() for replica in silent)):
            return reports
        time.sleep(PAUSE_SECONDS)


def faults(network: LocalNetwork, reports: list[ReplicaStatus]) -> list[str]:
    """Return a line for every replica that does not answer: why, and where its log lies."""
    return [
        f"{replica.name}: {replica.last_words() or report.cause} (log: {replica.log})"
        for replica, report in zip(network.replicas, reports, strict=True)
        if report.reply is None
    ]


@contextmanager
def throw_away(directory: Path, plan: NetworkPlan) -> Iterator[tuple[LocalNetwork, Genesis]]:
    """Make a network in `directory` and run it until the block ends, however it ends.

    Raises `SetupError`, `NotRunning`.
    """
    genesis = make_network(directory, plan)
    network = LocalNetwork(directory)
    try:
        reports = bring_up(network)
        silent = faults(network, reports)
        if silent:
            raise NotRunning("; ".join(silent))
        yield network, genesis
    finally:
        network.stop()
