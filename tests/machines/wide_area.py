"""A wide-area network: `python -m tests.machines.wide_area [--replicas 7] [--client "Sao Paulo"]`.

Each replica stands in a region of its own, and one client in one; packets take as long as regions are apart
(`regions`). A single client waits for each of its transactions; then many are under way at once. Beside what
is measured stands what the simulator says of the same delays (`predicted`), which charges nothing for
computing.
"""

import argparse
import sys

from msgspec.structs import replace

from crypto.keys import SigningKey
from ledger.audit.report import Verdict
from tests.machines.cabling import Delay
from tests.machines.campaigning import Figures, chosen, main, network, options_of, tell, views
from tests.machines.predicted import LOAD_AT_ONCE, SINGLE, predict
from tests.machines.regions import NAMES, one_way_ms, region
from tests.machines.replicas import CLIENT, Deployed
from tetrarch.bench.load import Timing, all_at_once, one_at_a_time
from tetrarch.bench.machine import percentile
from tetrarch.client.async_client import AsyncClient
from tetrarch.client.config import ClientConfig
from tetrarch.event_loop import run
from tetrarch.layout import CLIENT_FILE

WARM_UP = 5
"""Transactions before anything is timed: TCP learns its round trips."""


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    found = options_of(__doc__)
    found.add_argument("--client", choices=NAMES, default=region(0), help="the client's region")
    found.add_argument("--seconds", type=float, default=20.0, help="how long the load lasts")
    return found


def place(net: Deployed, client_region: str) -> None:
    """Let every line take as long as the regions of its ends are apart."""
    where = {name: region(member) for member, name in enumerate(net.members)}
    where[CLIENT] = client_region
    for source, here in where.items():
        for target, there in where.items():
            if source != target:
                net.lab.delay(Delay(one_way_ms(here, there)), [(source, target)])


def campaign(options: argparse.Namespace) -> tuple[Figures, bool]:
    """Run it; returns the figures, and whether nothing went wrong."""
    with network(options) as net:
        place(net, options.client)
        single, load = run(measured(net, options.seconds))
        seen = max(views(net))
        net.wait_until_level(load.heights[1], 60)
        net.network.stop()
        verdict = net.audit()
        figures = {
            **chosen(options),
            "client": options.client,
            **told("single", single),
            **told("load", load),
            "load_tps": round(load.per_second, 1),
            "under_way": LOAD_AT_ONCE,
            "view_changes": seen,
            "audit": str(verdict),
        }
    tell("measured; now simulated")
    said = predict(options.replicas, options.client)
    for name in ("single_p50_ms", "single_p99_ms", "load_p50_ms", "load_p99_ms", "load_tps"):
        figures[f"simulated_{name}"] = getattr(said, name)
    return figures, not seen and verdict is Verdict.VALID


async def measured(net: Deployed, seconds: float) -> tuple[Timing, Timing]:
    """Return how one client fares with one transaction at a time, and with many. Raises `LoadFailed`."""
    config = ClientConfig.load(net.directory / CLIENT_FILE)
    tuning = replace(config.tuning, window=LOAD_AT_ONCE)
    async with AsyncClient(config.trust, SigningKey.generate(), config.dialer(), tuning=tuning) as client:
        await one_at_a_time(client, WARM_UP)
        single = await one_at_a_time(client, SINGLE)
        return single, await all_at_once([client], 0, seconds)


def told(name: str, timing: Timing) -> Figures:
    """Return the latencies of a phase."""
    return {
        f"{name}_{word}_ms": round(percentile(timing.latencies_ms, share), 1)
        for word, share in (("p50", 0.5), ("p99", 0.99))
    }


if __name__ == "__main__":
    sys.exit(main(parser(), campaign))
