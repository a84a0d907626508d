"""A broker that is killed and comes back under load: `python -m benchmarks.broker_restarts [--restarts N]
[--json]`.

Four replicas and a client by way of one Mosquitto. It is killed (SIGKILL) again and again while transactions
are submitted, stays away for a while, and is started anew. For each time: how long from the moment in which
it accepts connections until a client hears of an outcome. At the end all that was acknowledged is looked for
in the chain.
"""

import argparse
import json
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from network.address import Address
from tetrarch.client.client import Client
from tetrarch.client.config import ClientConfig
from tetrarch.client.outcome import Submission
from tetrarch.layout import CLIENT_FILE
from tetrarch.local_network import throw_away
from tetrarch.processes import BrokerProcess, LocalNetwork
from tetrarch.setup.places import local_places
from tetrarch.setup.plan import local_plan

BAR_S = 3.0
"""From the broker's return to the next outcome."""

WINDOW = 64
"""Transactions under way: so few that outcomes come evenly."""

LONGEST_AWAY_S = 6.0
"""How long the broker stays away: longer than the five seconds after which members count as gone."""

PATIENCE_S = 120.0


class Restarts:
    """Kills the broker and starts it again, so many times, in a thread of its own; then sets `end`."""

    def __init__(self, broker: BrokerProcess, address: Address, times: int, seed: int) -> None:
        self.end = threading.Event()
        self.returned: list[float] = []
        """When it accepted connections again (monotonic, s)."""
        self._broker, self._address, self._times = broker, address, times
        self._random = random.Random(seed)
        self._thread = threading.Thread(target=self._run, name="restarts")

    def __enter__(self) -> "Restarts":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            for _ in range(self._times):
                if self.end.wait(self._random.uniform(1.0, 4.0)):
                    return
                self._broker.kill()
                self.end.wait(self._random.uniform(0.0, LONGEST_AWAY_S))
                self._broker.start()
                self._until_it_accepts()
                self.returned.append(time.monotonic())
            # Long enough for the last time too.
            self.end.wait(3 * BAR_S)
        finally:
            self.end.set()

    def _until_it_accepts(self) -> None:
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex((self._address.host, self._address.port)) == 0:
                    return
            time.sleep(0.005)


def submissions(end: threading.Event) -> Iterator[Submission]:
    """Yield transactions until the end."""
    number = 0
    while not end.is_set():
        yield Submission({"op": "put", "key": f"k{number % 1000}", "value": str(number)}, f"restart-{number}")
        number += 1


def lost(client: Client, acknowledged: dict[bytes, int]) -> int:
    """Return how many of the acknowledged transactions are not in the chain where they were said to be."""
    found: dict[bytes, int] = {}
    for block in client.subscribe(1):
        found.update((each.tx_id, block.height) for each in block.transactions if each.result.executed)
        if block.height >= max(acknowledged.values()):
            break
    return sum(found.get(tx_id) != height for tx_id, height in acknowledged.items())


def measured(network: LocalNetwork, restarts: int, seed: int) -> dict[str, Any]:
    """Return what was seen."""
    file = network.directory / CLIENT_FILE
    file.write_text(f"{file.read_text()}\n[tuning]\nwindow = {WINDOW}\n")
    config = ClientConfig.load(file)
    outcomes: list[tuple[float, str]] = []
    acknowledged: dict[bytes, int] = {}
    with (
        Client.open(file) as client,
        Restarts(network.brokers[0], config.brokers[0].address, restarts, seed) as faults,
    ):
        for outcome in client.submit_many(submissions(faults.end), timeout=PATIENCE_S):
            outcomes.append((time.monotonic(), outcome.status))
            if outcome.status == "committed" and outcome.height is not None:
                acknowledged[outcome.tx_id] = outcome.height
        back = [
            next((at - returned for at, _ in outcomes if at >= returned), None)
            for returned in faults.returned
        ]
        return {
            "restarts": len(back),
            "back_s": back,
            "bar_s": BAR_S,
            "outcomes": dict(Counter(status for _, status in outcomes)),
            "lost": lost(client, acknowledged),
        }


def main() -> int:
    """Run, print, and return 1 where a bar was missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        plan = local_plan(local_places(4, "mqtt"))
        with throw_away(Path(scratch) / "net", plan) as (network, _):
            seen = measured(network, options.restarts, options.seed)
    back = sorted(seconds for seconds in seen["back_s"] if seconds is not None)
    held = len(back) == seen["restarts"] and (not back or back[-1] <= BAR_S) and not seen["lost"]
    if options.json:
        print(json.dumps({**seen, "held": held}))
    else:
        counted = ", ".join(f"{count:,} {status}" for status, count in sorted(seen["outcomes"].items()))
        print(f"{seen['restarts']} restarts of the broker; {counted}; {seen['lost']} acknowledged and lost")
        if back:
            print(
                f"service was back after {back[len(back) // 2]:.2f} s in the median, {back[-1]:.2f} s at most"
            )
        print(f"bar: {BAR_S:.0f} s and nothing lost: {'held' if held else 'MISSED'}")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
