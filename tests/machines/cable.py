"""The cable: one process that owns an interface of every host, and carries each packet with a delay.

What lives here: the process, run as `python -m tests.machines.cable`, with the hosts' devices inherited. What
must not be known here: namespaces, and who wants which delay (`cabling`).

Not every kernel has `tc netem`. All else is done by the kernel itself (`hosts`). A packet is read from one
TUN device and written to another when its time has come; both addresses stand in its header (RFC 791, 3.1),
and name the line that it takes. Lines keep their order but for the packets that overtake,
by lot. Chance is seeded; which packets there are, and when, is not.

Standard input brings one JSON object a line, each answered by one on standard output; its end ends this.
"""

import json
import os
import select
import sys
import time
from collections import Counter
from heapq import heappop, heappush
from random import Random
from typing import Any, Final, NamedTuple

ADDRESSES: Final = slice(12, 20)
"""Source and destination in a packet."""

PACKET_BYTES: Final = 64 * 1024

BATCH: Final = 64
"""Packets that are read from one device before others have their turn."""

MAX_HELD: Final = 50_000
"""Packets under way, 75 MB; beyond, new ones are dropped, and counted."""

CONTROL: Final = 0
"""Standard input."""


class Line(NamedTuple):
    """What happens to packets in one direction between two hosts. Times in us."""

    target: int
    """The device that they are written to."""
    delay_us: int = 0
    jitter_us: int = 0
    """A delay is drawn between `delay_us` and so much more."""
    overtaking: float = 0.0
    """The share of packets that do not wait for those sent before them, and have half of the delay."""


class Cable:
    """All lines, and the packets under way."""

    def __init__(self, devices: dict[bytes, int], seed: int) -> None:
        """`devices`: by the address of the host, 4 bytes."""
        self._devices = devices
        self._random = Random(f"cable {seed}")
        self._under_way: list[tuple[float, int, int, bytes]] = []
        self._last: dict[bytes, float] = {}
        """When the last packet of each line arrives, s."""
        self._number = 0
        self.counts: Counter[str] = Counter()
        self.lines = {
            source + target: Line(device)
            for source in devices
            for target, device in devices.items()
            if source != target
        }

    def take(self, device: int, now: float) -> None:
        """Read what a host has sent."""
        for _ in range(BATCH):
            try:
                packet = os.read(device, PACKET_BYTES)
            except BlockingIOError:
                return
            addresses = packet[ADDRESSES]
            line = self.lines.get(addresses)
            if line is None:
                self.counts["unroutable"] += 1
            elif line.delay_us or line.jitter_us or self._under_way:
                self._hold(addresses, line, packet, now)
            else:
                self._deliver(line.target, packet)

    def _hold(self, addresses: bytes, line: Line, packet: bytes, now: float) -> None:
        if len(self._under_way) >= MAX_HELD:
            self.counts["dropped"] += 1
            return
        delay_us = float(line.delay_us)
        if line.jitter_us:
            delay_us += self._random.random() * line.jitter_us
        last = self._last.get(addresses, 0.0)
        if line.overtaking and self._random.random() < line.overtaking:
            due = now + delay_us / 2e6
            self.counts["overtook"] += due < last
        else:
            due = self._last[addresses] = max(last, now + delay_us / 1e6)
        self.counts["delayed"] += bool(line.delay_us or line.jitter_us)
        self._number += 1
        heappush(self._under_way, (due, self._number, line.target, packet))

    def _deliver(self, device: int, packet: bytes) -> None:
        try:
            os.write(device, packet)
            self.counts["carried"] += 1
        except OSError:
            # The host takes no more at present, or its interface is down.
            self.counts["dropped"] += 1

    def deliver(self, now: float) -> float | None:
        """Write what has arrived by now; returns how long until the next one does, s."""
        under_way = self._under_way
        while under_way and under_way[0][0] <= now:
            _, _, device, packet = heappop(under_way)
            self._deliver(device, packet)
        return max(0.0, under_way[0][0] - now) if under_way else None

    def obey(self, order: dict[str, Any]) -> dict[str, int]:
        """Do what a line of standard input says; returns the counts so far.

        `lines`: a list of source, target (both in hex), delay and jitter in us, share that overtakes.
        """
        for source, target, delay_us, jitter_us, overtaking in order.get("lines", ()):
            pair = bytes.fromhex(source + target)
            self.lines[pair] = Line(self._devices[pair[4:]], delay_us, jitter_us, overtaking)
        return dict(self.counts)


def carry(cable: Cable, devices: list[int]) -> None:
    """Carry packets until standard input ends."""
    read, text = [*devices, CONTROL], b""
    while True:
        wait = cable.deliver(time.monotonic())
        # select takes microseconds, epoll whole milliseconds.
        ready, _, _ = select.select(read, (), (), wait)
        now = time.monotonic()
        for device in ready:
            if device != CONTROL:
                cable.take(device, now)
                continue
            more = os.read(CONTROL, PACKET_BYTES)
            if not more:
                return
            *orders, text = (text + more).split(b"\n")
            for order in orders:
                answer = json.dumps(cable.obey(json.loads(order))) + "\n"
                sys.stdout.write(answer)
                sys.stdout.flush()


def main() -> None:
    """Run with one JSON object as argument: `devices`, file descriptors by address in hex, and `seed`."""
    told = json.loads(sys.argv[1])
    devices = {bytes.fromhex(address): device for address, device in told["devices"].items()}
    carry(Cable(devices, told["seed"]), list(devices.values()))


if __name__ == "__main__":
    main()
