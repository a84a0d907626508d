"""How many events a second the simulated network moves: `python -m benchmarks.simulated_network`.

Four endpoints send to each other all the time: whoever gets a frame passes it on. Prints the best of several
runs. A schedule of a few thousand frames and timers must take no longer than the nodes' own work in it.
"""

import time
from collections.abc import Callable

from network.links import LinkPolicy, Uniform
from network.scheduler import MILLISECOND, Scheduler
from network.simulated import SimulatedNetwork, TraceEvent

FRAMES = 100_000
ROUNDS = 5
FRAME = bytes(200)
MEMBERS = 4


def passing_on(policy: LinkPolicy, trace: Callable[[TraceEvent], object] | None = None) -> float:
    """Return the seconds that delivering `FRAMES` frames takes."""
    network = SimulatedNetwork(1, policy, trace=trace)

    def receiver(member: int) -> Callable[[object, bytes], None]:
        neighbour = (member + 1) % MEMBERS
        return lambda _source, frame: network.send(member, neighbour, frame)

    for member in range(MEMBERS):
        network.attach(member, receiver(member))
    for number in range(400):
        network.send(number % MEMBERS, (number + 1) % MEMBERS, FRAME)
    begun = time.perf_counter()
    network.scheduler.run_while(lambda: network.traffic.delivered < FRAMES, 10**12)
    return time.perf_counter() - begun


def timers(cancelled: bool) -> float:
    """Return the seconds that `FRAMES` timers take, each of which sets the next one."""
    scheduler = Scheduler()
    left = FRAMES

    def ring() -> None:
        nonlocal left
        left -= 1
        if cancelled:
            scheduler.timer(1000 * MILLISECOND, ring).cancel()
        scheduler.timer(MILLISECOND, ring)

    ring()
    begun = time.perf_counter()
    scheduler.run_while(lambda: left > 0, 10**12)
    return time.perf_counter() - begun


def report(name: str, work: Callable[[], float]) -> None:
    """Print one line: the name and the events per second."""
    best = min(work() for _ in range(ROUNDS))
    print(f"{name:<58}{FRAMES / best:12,.0f} per second{1e6 * best / FRAMES:8.2f} us each")


def main() -> None:
    """Measure and print."""
    plain = LinkPolicy(Uniform(200, 2_000))
    wild = LinkPolicy(Uniform(200, 2_000), repeat=0.01, reorder=0.2)
    report("frames sent and delivered", lambda: passing_on(plain))
    report("frames, some repeated and overtaken", lambda: passing_on(wild))
    report("frames, with a trace that nobody keeps", lambda: passing_on(plain, len))
    report("timers", lambda: timers(cancelled=False))
    report("timers, each with another that is called off", lambda: timers(cancelled=True))


if __name__ == "__main__":
    main()
