"""Minutes of loss and delay between all hosts: `python -m tests.machines.lossy [--minutes 10] [--loss 0.2]`.

A light load goes on all the time. It is demanded that every transaction is committed, that all stores hold
the same chain, and that no view was left: nobody is faulty here, so that every view change is a needless one.
Loss is of packets in either direction, the clients' included; a round trip takes twice the delay. Connections
are made before losses begin, and made anew by the replicas themselves where they break.
"""

import argparse
import sys
import time
from collections import Counter

from msgspec import to_builtins
from msgspec.json import Decoder

from ledger.audit.report import Verdict
from tests.machines.cabling import Delay
from tests.machines.campaigning import Figures, chosen, main, network, options_of, tell, views
from tests.machines.load import SteadyLoad
from tests.machines.replicas import Deployed

TIMEOUT_S = 300.0
"""How long a transaction may take: many times what it should."""

LOOK_S = 30.0
"""Between two looks at how far the load is."""

_lines = Decoder()


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    found = options_of(__doc__)
    found.add_argument("--minutes", type=float, default=10.0)
    found.add_argument("--loss", type=float, default=0.2, help="share of packets, each direction")
    found.add_argument("--delay-ms", type=float, default=100.0, help="each direction")
    found.add_argument("--per-second", type=float, default=5.0, help="transactions")
    return found


def campaign(options: argparse.Namespace) -> tuple[Figures, bool]:
    """Run it; returns the figures, and whether it held what it promises."""
    with network(options) as net:
        net.lab.delay(Delay(options.delay_ms))
        net.lab.lose(options.loss)
        with net.load(options.per_second, TIMEOUT_S) as load:
            _watch(load, options.minutes * 60)
        carried, lost = net.lab.cabling.counts()["carried"], sum(net.lab.dropped("lost").values())
        seen = max(views(net))
        net.lab.lose(0)
        level = net.wait_until_level(max(load.committed.values(), default=0), TIMEOUT_S)
        net.network.stop()
        verdict = net.audit()
        told = load.figures()
        figures = {
            **chosen(options),
            "minutes": options.minutes,
            "loss": options.loss,
            "delay_ms": options.delay_ms,
            **to_builtins(told),
            "height": level[0].height,
            "view_changes": seen,
            "packets_lost_share": round(lost / carried, 3),
            "audit": str(verdict),
            "failures": load.failures[:3],
            "events": events(net),
        }
        return figures, not told.failed and not seen and verdict is Verdict.VALID


def _watch(load: SteadyLoad, seconds: float) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, LOOK_S))
        good, bad = len(load.committed), len(load.failures)
        tell(f"{good} committed, {bad} failed, {max(left - LOOK_S, 0):.0f} s left")


def events(net: Deployed) -> dict[str, int]:
    """Return how often replicas' logs tell of what counts here."""
    found: Counter[str] = Counter()
    for replica in net.network.replicas:
        for line in replica.log.read_bytes().splitlines():
            found[str(_lines.decode(line).get("event"))] += 1
    return {name: found[name] for name in sorted(found)}


if __name__ == "__main__":
    sys.exit(main(parser(), campaign))
