"""What ordering costs each process of a real network in CPU time: `python -m benchmarks.processes`.

Four replicas and one client on this machine, with TLS, fsync and every reply verified, as in `tetrarch
bench`; but what is counted is the CPU time of each process, which a busy neighbour changes less than it does
the wall clock. First one transaction at a time, a block each: where all replicas share few cores, their CPU
time per block bounds the latency from below. Then many at once: CPU time per transaction bounds throughput.

`switches` are voluntary context switches: how often a thread of the process went to sleep. Linux only
(proc(5)).
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from crypto.keys import SigningKey
from tetrarch.bench.load import Timing, all_at_once, one_at_a_time
from tetrarch.bench.machine import Rates, measure_rates, percentile
from tetrarch.client.async_client import AsyncClient
from tetrarch.client.config import ClientConfig
from tetrarch.event_loop import run
from tetrarch.layout import CLIENT_FILE
from tetrarch.local_network import throw_away
from tetrarch.processes import LocalNetwork
from tetrarch.setup.places import local_hosts
from tetrarch.setup.plan import NetworkPlan


@dataclass(frozen=True)
class Spent:
    """CPU time of a process in seconds: its main thread and all others; and voluntary context switches."""

    main: float
    others: float
    switches: int

    @classmethod
    def of(cls, pid: int) -> "Spent":
        """Read what `pid` spent so far."""
        main = others = 0.0
        switches = 0
        for thread in Path(f"/proc/{pid}/task").iterdir():
            seconds = int((thread / "schedstat").read_text().split()[0]) / 1e9
            if thread.name == str(pid):
                main = seconds
            else:
                others += seconds
            for line in (thread / "status").read_text().splitlines():
                if line.startswith("voluntary_ctxt_switches"):
                    switches += int(line.split()[1])
        return cls(main, others, switches)

    def since(self, before: "Spent") -> "Spent":
        """What was spent from `before` to here."""
        return Spent(self.main - before.main, self.others - before.others, self.switches - before.switches)


@dataclass
class Meter:
    """Looks at all processes of a network before and after."""

    network: LocalNetwork

    def read(self) -> list[Spent]:
        """What each replica spent so far."""
        numbers = [replica.pid_number() for replica in self.network.replicas]
        return [Spent.of(number) for number in numbers if number is not None]


def show(what: str, unit: str, count: int, before: list[Spent], after: list[Spent], client: float) -> None:
    """Print microseconds per `unit`."""
    print(f"\n{what}: {count} {unit}s, us of CPU and voluntary switches per {unit}")
    for number, (earlier, later) in enumerate(zip(before, after, strict=True)):
        spent = later.since(earlier)
        total = spent.main + spent.others
        print(
            f"  replica {number}  {total / count * 1e6:8.1f} us   main thread {spent.main / count * 1e6:8.1f}"
            f"   others {spent.others / count * 1e6:7.1f}   switches {spent.switches / count:7.2f}"
        )
    print(f"  client     {client / count * 1e6:8.1f} us")


def describe(timing: Timing, rates: Rates, replicas: int) -> None:
    """Print the wall clock's figures too: they are only worth something on a quiet machine."""
    limit = rates.limit_tps(replicas)
    first, last = timing.heights
    low, high = percentile(timing.latencies_ms, 0.50), percentile(timing.latencies_ms, 0.99)
    print(
        f"  wall clock: {timing.per_second:.0f}/s = {timing.per_second / limit:.3f} of {limit:.0f}/s,"
        f" p50 {low:.2f} ms, p99 {high:.2f} ms, {timing.count / (last - first + 1):.1f} per block"
    )


def main() -> None:
    """Run both parts and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--single", type=int, default=1000, help="transactions one at a time")
    parser.add_argument("--load", type=int, default=20_000, help="transactions at once")
    parser.add_argument("--idle", type=float, default=0.0, help="seconds of doing nothing, measured too")
    options = parser.parse_args()
    rates = measure_rates()
    print(f"verify {rates.verify_us:.1f} us, sign {rates.sign_us:.1f} us, {rates.cores} cores")
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch) / "network"
        plan = NetworkPlan(local_hosts(options.replicas), development=True)
        with throw_away(directory, plan) as (network, _):
            measure(options, network, ClientConfig.load(directory / CLIENT_FILE), rates)


def measure(options: argparse.Namespace, network: LocalNetwork, config: ClientConfig, rates: Rates) -> None:
    """Measure a running network."""
    meter = Meter(network)

    async def phase(single: bool, count: int) -> tuple[Timing, float, list[Spent], list[Spent]]:
        client = AsyncClient(config.trust, SigningKey.generate(), config.dialer(), tuning=config.tuning)
        async with client:
            await client.submit({"key": "key-000000", "op": "put", "value": "0" * 62})
            before, began = meter.read(), time.process_time()
            timing = await (one_at_a_time(client, count) if single else all_at_once([client], count))
            return timing, time.process_time() - began, before, meter.read()

    run(phase(False, 500))
    if options.idle:
        before = meter.read()
        time.sleep(options.idle)
        show("idle", "second", max(1, round(options.idle)), before, meter.read(), 0.0)
    if options.single:
        run(phase(True, 100))
        timing, client, before, after = run(phase(True, options.single))
        show("one at a time", "transaction", timing.count, before, after, client)
        describe(timing, rates, options.replicas)
    if options.load:
        timing, client, before, after = run(phase(False, options.load))
        show("many at once", "transaction", timing.count, before, after, client)
        describe(timing, rates, options.replicas)


if __name__ == "__main__":
    main()
