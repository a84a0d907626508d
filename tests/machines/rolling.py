"""A rolling restart under load: `python -m tests.machines.rolling [--per-second 20] [--rounds 1]`.

One replica after the other is asked to end (SIGTERM), started anew, and waited for until it has caught up and
all are connected. It is demanded that every transaction that is submitted meanwhile is committed.
"""

import argparse
import signal
import sys
import time

from msgspec import to_builtins

from ledger.audit.report import Verdict
from tests.machines.cabling import Delay
from tests.machines.campaigning import Figures, chosen, main, network, options_of, tell, views
from tests.machines.replicas import Deployed
from tetrarch.processes import ReplicaProcess

TIMEOUT_S = 60.0
"""How long a transaction may take, and a replica to come back: many times what they should."""

BETWEEN = 20
"""Transactions that are committed before the first restart, and after each."""


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    found = options_of(__doc__)
    found.add_argument("--per-second", type=float, default=20.0, help="transactions")
    found.add_argument("--rounds", type=int, default=1, help="how often every replica is restarted")
    found.add_argument("--delay-ms", type=float, default=0.0, help="each direction")
    return found


def campaign(options: argparse.Namespace) -> tuple[Figures, bool]:
    """Run it; returns the figures, and whether it held what it promises."""
    with network(options) as net:
        net.lab.delay(Delay(options.delay_ms))
        away = []
        with net.load(options.per_second, TIMEOUT_S) as load:
            load.wait_for(BETWEEN, TIMEOUT_S)
            for _ in range(options.rounds):
                for replica in net.network.replicas:
                    away.append(restart(net, replica))
                    tell(f"{replica.name} was away for {away[-1]:.2f} s; {len(load.failures)} failed")
                    load.wait_for(BETWEEN, TIMEOUT_S)
        net.wait_until_level(max(load.committed.values()), TIMEOUT_S)
        seen = max(views(net))
        net.network.stop()
        verdict, told = net.audit(), load.figures()
        figures = {
            **chosen(options),
            "delay_ms": options.delay_ms,
            "restarts": len(away),
            "longest_away_s": round(max(away), 2),
            **to_builtins(told),
            "view_changes": seen,
            "audit": str(verdict),
            "failures": load.failures[:5],
        }
        return figures, not told.failed and verdict is Verdict.VALID


def restart(net: Deployed, replica: ReplicaProcess) -> float:
    """End a replica and start it anew; returns after how long it stood where the others do, s.

    Raises `TimeoutError`.
    """
    began = time.monotonic()
    replica.signal(signal.SIGTERM)
    if not replica.wait(TIMEOUT_S):
        raise TimeoutError(f"{replica.name} does not end")
    replica.start()
    wait_until_back(net, replica, began + TIMEOUT_S)
    return time.monotonic() - began


def wait_until_back(net: Deployed, replica: ReplicaProcess, until: float) -> None:
    """Wait until a replica has caught up with what the others had when it began, connected to all of them.

    Raises `TimeoutError`.
    """
    place = net.network.replicas.index(replica)
    goal = max(state.height for state in net.states() if state is not None)
    while time.monotonic() < until:
        state = net.states()[place]
        if state is not None and all(state.peers) and state.height >= goal and state.active:
            return
    raise TimeoutError(f"{replica.name} is not back")


if __name__ == "__main__":
    sys.exit(main(parser(), campaign))
