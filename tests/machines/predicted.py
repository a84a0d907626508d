"""The simulator's word on a wide-area network: `python -m tests.machines.predicted [--sizes 4 7 10 13]`.

The same replicas, the same delays between regions, and no cost of computing: what is left is what the
protocol itself needs. A single client waits for each of its transactions; then a load asks for many at once.
Networks of any size are simulated, those too that no laboratory on one machine could run. Of 100 members that
takes minutes: messages grow with the members' square.
"""

import argparse
import json
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

from msgspec.structs import replace

from byzantine.oracles.observation import Operation
from byzantine.scenario import Links, Scenario, Tunes
from byzantine.simulation.world import World
from network.links import Constant, LinkPolicy
from network.simulated import MILLISECOND, Endpoint
from pbft import Tuning as Usual
from tests.machines.regions import one_way_ms, region
from tetrarch.bench.machine import percentile
from tetrarch.engines import UnusableGenesis
from tetrarch.setup.plan import INTERVALS

SINGLE = 50
"""Transactions of the single client, one after the other."""

LOAD = 3_000
"""Transactions of the load."""

LOAD_AT_ONCE = 300
"""Of them, how many the client has under way."""

LIMIT_MS = 600_000
"""Virtual time that either phase may take."""

SIZES = (4, 7, 10, 13, 16, 25, 40, 64)


@dataclass(frozen=True)
class Prediction:
    """What the simulator says of one size. Units are in the names."""

    replicas: int
    checkpoint_interval: int
    single_p50_ms: float
    single_p99_ms: float
    load_tps: float
    load_p50_ms: float
    load_p99_ms: float
    view: int
    computed_s: float


def predict(replicas: int, client_region: str) -> Prediction:
    """Simulate a network whose members stand in different regions, and one client."""
    began = time.perf_counter()
    world = usual_world(replicas)
    place(world, client_region)
    single = one_at_a_time(world, SINGLE)
    seconds, load = many_at_once(world, LOAD, LOAD_AT_ONCE)
    return Prediction(
        replicas=replicas,
        checkpoint_interval=world.scenario.checkpoint_interval,
        single_p50_ms=round(percentile(single, 0.5), 1),
        single_p99_ms=round(percentile(single, 0.99), 1),
        load_tps=round(len(load) / seconds, 1),
        load_p50_ms=round(percentile(load, 0.5), 1),
        load_p99_ms=round(percentile(load, 0.99), 1),
        view=world.observed.highest_view,
        computed_s=round(time.perf_counter() - began, 1),
    )


def usual_world(replicas: int) -> World:
    """Return a world with one client, tuned as replicas are that nobody tunes. Raises `UnusableGenesis`."""
    usual = Usual()
    tunes = Tunes(
        batch_target=usual.batch_target,
        batch_delay_ms=usual.batch_delay_ms,
        pipeline_depth=usual.pipeline_depth,
        request_timeout_ms=usual.request_timeout_ms,
    )
    links = Links(low_us=0, high_us=0)
    scenario = Scenario(name="wide-area", replicas=replicas, clients=1, links=links, tuning=tunes)
    for interval in INTERVALS[:-1]:
        # The longest that suits so many, as `tetrarch init` chooses it.
        with suppress(UnusableGenesis):
            return World(replace(scenario, checkpoint_interval=interval))
    return World(replace(scenario, checkpoint_interval=INTERVALS[-1]))


def place(world: World, client_region: str) -> None:
    """Let every link of a world take as long as the regions of its ends are apart."""
    where: dict[Endpoint, str] = {member: region(member) for member in range(world.n)}
    where[world.clients[0].endpoint] = client_region
    for source, here in where.items():
        for target, there in where.items():
            if source != target:
                policy = LinkPolicy(Constant(round(one_way_ms(here, there) * MILLISECOND)))
                world.network.set_policy(policy, source, target)


def _wait(world: World, open_at_most: int) -> None:
    """Let time pass until no more than so many transactions are open. Raises `TimeoutError`."""
    client = world.clients[0]
    if not world.scheduler.run_while(lambda: len(client.open) > open_at_most, LIMIT_MS * MILLISECOND):
        raise TimeoutError(f"{len(client.open)} transactions are open after {LIMIT_MS} ms")


def _latencies(operations: list[Operation]) -> list[float]:
    return [
        (operation.returned_us - operation.invoked_us) / MILLISECOND
        for operation in operations
        if operation.returned_us is not None
    ]


def one_at_a_time(world: World, count: int) -> list[float]:
    """Submit `count` transactions, each after the one before; returns their latencies, ms."""
    client = world.clients[0]
    for _ in range(count):
        client.submit(1)
        _wait(world, 0)
    return _latencies(list(client.operations.values()))


def many_at_once(world: World, count: int, at_once: int) -> tuple[float, list[float]]:
    """Submit `count` transactions, `at_once` under way; returns the seconds it took, and latencies, ms."""
    client = world.clients[0]
    before, began = len(client.operations), world.scheduler.now_us
    left = count
    while left:
        more = min(left, at_once - len(client.open))
        client.submit(more)
        left -= more
        _wait(world, at_once - 1 if left else 0)
    seconds = (world.scheduler.now_us - began) / MILLISECOND / 1000
    return seconds, _latencies(list(client.operations.values())[before:])


def main() -> int:
    """Predict, and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--client", default=region(0), help="the client's region")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    for size in options.sizes:
        said = predict(size, options.client).__dict__
        line = json.dumps(said) if options.json else "  ".join(f"{name} {said[name]}" for name in said)
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
