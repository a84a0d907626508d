"""A network in memory, on a virtual clock, repeatable from a seed.

What lives here: endpoints, the links between them, partitions, crashes, and a trace of all that happened.
What must not be known here: nodes and what frames mean. No threads, no event loop, no real time, no global
chance: the same seed and the same calls give the same trace, byte for byte, on every machine.

```python
network = SimulatedNetwork(seed=7, policy=LinkPolicy(Uniform(500, 3_000), loss=0.01))
network.attach(0, lambda source, frame: print(network.now_us, source, frame))
network.attach(1, lambda source, frame: network.send(1, source, b"pong"))
network.send(0, 1, b"ping")
network.scheduler.at(2 * SECOND, network.partition, {0}, {1})
network.scheduler.at(5 * SECOND, network.heal)
network.scheduler.run_until(10 * SECOND)
```

The rules of links:

- every direction between two endpoints is a link of its own, with a policy and a source of chance of its own:
  what happens on one changes nothing on any other;
- a frame is lost if its link is cut when it is sent or when it would arrive;
- a frame to an endpoint that is down when it is sent, or crashes before it arrives, is lost, even if the
  endpoint is back by then; a frame from an endpoint that crashed after sending it still arrives;
- a timer of an endpoint does not survive its crash.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import NamedTuple
from zlib import crc32

from network.links import USUAL, Chance, Constant, Delay, LinkPolicy, Tailed, Uniform
from network.scheduler import (
    MILLISECOND,
    SECOND,
    WALL_START_MS,
    Scheduler,
    Timer,
    TimeStandsStill,
    VirtualClock,
)

__all__ = [
    "MILLISECOND",
    "SECOND",
    "WALL_START_MS",
    "Chance",
    "Constant",
    "Delay",
    "Endpoint",
    "Happening",
    "LinkPolicy",
    "Scheduler",
    "SimulatedNetwork",
    "Tailed",
    "TimeStandsStill",
    "Timer",
    "TraceEvent",
    "Traffic",
    "Uniform",
    "VirtualClock",
]

Endpoint = int | str
"""Members by their id, others (clients) by a name of their own."""

Deliver = Callable[[Endpoint, bytes], object]
"""Takes the source and the frame."""


class Happening(StrEnum):
    """What a trace tells."""

    SENT = "sent"
    REPEATED = "repeated"
    DELIVERED = "delivered"
    LOST = "lost"
    """By the link's policy."""
    CUT = "cut"
    """Lost because the link is cut."""
    SOURCE_DOWN = "source-down"
    """Not sent: an endpoint that is down sends nothing."""
    DESTINATION_DOWN = "destination-down"
    """Lost because the destination is down, or was since the frame was sent."""
    ATTACH = "attach"
    CRASH = "crash"
    RESTART = "restart"
    LINK_CUT = "link-cut"
    LINK_MENDED = "link-mended"
    POLICY = "policy"


class TraceEvent(NamedTuple):
    """One line of a trace. `number` counts frames from 1, in the order of sending; 0: not about a frame."""

    time_us: int
    what: Happening
    source: Endpoint
    destination: Endpoint
    number: int = 0
    size: int = 0
    """The frame's bytes."""
    checksum: int = 0
    """CRC-32 of the frame: two runs that sent other bytes have other traces."""

    def __str__(self) -> str:
        ends = self.source if self.source == self.destination else f"{self.source} > {self.destination}"
        frame = f" #{self.number} {self.size} {self.checksum:08x}" if self.number else ""
        return f"{self.time_us:>12} {self.what} {ends}{frame}"


@dataclass(slots=True)
class Traffic:
    """How many frames met which fate. Repetitions arrive, or are lost on the way, beside what was sent."""

    sent: int = 0
    repeated: int = 0
    reordered: int = 0
    """To arrive before an earlier one of the same link."""
    delayed: int = 0
    """To arrive later than any frame of a usual link does (`network.links.USUAL`)."""
    delivered: int = 0
    lost: int = 0
    cut: int = 0
    source_down: int = 0
    destination_down: int = 0


class _Node:
    """An endpoint. `life` counts crashes and restarts: what was meant for one reaches no later one."""

    __slots__ = ("deliver", "life", "up")

    def __init__(self, deliver: Deliver) -> None:
        self.deliver = deliver
        self.life = 0
        self.up = True


class _Link:
    """One direction between two endpoints."""

    __slots__ = ("chance", "cut", "last_us", "policy", "receiver", "sender")

    def __init__(self, sender: _Node, receiver: _Node, policy: LinkPolicy, chance: Chance) -> None:
        self.sender = sender
        self.receiver = receiver
        self.policy = policy
        self.chance = chance
        self.cut = False
        self.last_us = 0
        """When the last frame that keeps the order arrives."""


class SimulatedNetwork:
    """Moves bytes between endpoints and runs their timers.

    `seed`: of all chance. `policy`: of links that are given no other. `scheduler`: virtual time, shared with
    whatever else happens in the simulation. `trace`: called with everything that happens; it costs time.
    """

    def __init__(
        self,
        seed: int,
        policy: LinkPolicy | None = None,
        scheduler: Scheduler | None = None,
        trace: Callable[[TraceEvent], object] | None = None,
    ) -> None:
        self.scheduler = scheduler or Scheduler()
        self.traffic = Traffic()
        self._seed = seed
        self._policy = policy or LinkPolicy()
        self._trace = trace
        self._nodes: dict[Endpoint, _Node] = {}
        self._links: dict[tuple[Endpoint, Endpoint], _Link] = {}

    @property
    def now_us(self) -> int:
        """The virtual time."""
        return self.scheduler.now_us

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """All endpoints, in the order in which they were attached."""
        return tuple(self._nodes)

    # Endpoints.

    def attach(self, endpoint: Endpoint, deliver: Deliver) -> None:
        """Add an endpoint; `deliver(source, frame)` is called with what is sent to it.

        Raises `ValueError` for one that is attached already: `restart` gives it another `deliver`.
        """
        if endpoint in self._nodes:
            raise ValueError(f"endpoint {endpoint} is attached already")
        self._nodes[endpoint] = _Node(deliver)
        self._tell(Happening.ATTACH, endpoint)

    def is_up(self, endpoint: Endpoint) -> bool:
        """Whether `endpoint` runs."""
        return self._node(endpoint).up

    def crash(self, endpoint: Endpoint) -> None:
        """Stop `endpoint`: what is on its way to it is lost, and so are its timers."""
        node = self._node(endpoint)
        node.up = False
        node.life += 1
        self._tell(Happening.CRASH, endpoint)

    def restart(self, endpoint: Endpoint, deliver: Deliver | None = None) -> None:
        """Let `endpoint` run again, after a crash or, crashing it first, without one."""
        if self.is_up(endpoint):
            self.crash(endpoint)
        node = self._node(endpoint)
        node.up = True
        node.life += 1
        if deliver is not None:
            node.deliver = deliver
        self._tell(Happening.RESTART, endpoint)

    def timer(self, endpoint: Endpoint, delay_us: int, action: Callable[[], object]) -> Timer:
        """Call `action` when `delay_us` have passed, unless `endpoint` crashes before."""
        node = self._node(endpoint)
        life = node.life

        def ring() -> None:
            if node.life == life:
                action()

        return self.scheduler.timer(delay_us, ring)

    # Frames.

    def send(self, source: Endpoint, destination: Endpoint, frame: bytes) -> None:
        """Send `frame`. Raises `ValueError` for an endpoint that was never attached."""
        link = self._links.get((source, destination)) or self._link(source, destination)
        if not link.sender.up:
            self.traffic.source_down += 1
            self._tell_frame(Happening.SOURCE_DOWN, source, destination, 0, frame)
            return
        self.traffic.sent += 1
        number = self.traffic.sent
        if self._trace is not None:
            self._tell_frame(Happening.SENT, source, destination, number, frame)
        policy = link.policy
        if link.cut:
            self.traffic.cut += 1
            self._tell_frame(Happening.CUT, source, destination, number, frame)
        elif policy.loss and link.chance() < policy.loss:
            self.traffic.lost += 1
            self._tell_frame(Happening.LOST, source, destination, number, frame)
        else:
            self._dispatch(link, source, destination, number, frame)
        if policy.repeat and not link.cut and link.chance() < policy.repeat:
            self.traffic.repeated += 1
            self._tell_frame(Happening.REPEATED, source, destination, number, frame)
            self._dispatch(link, source, destination, number, frame)

    def _dispatch(
        self, link: _Link, source: Endpoint, destination: Endpoint, number: int, frame: bytes
    ) -> None:
        policy, scheduler = link.policy, self.scheduler
        arrival = scheduler.now_us + policy.delay.draw(link.chance)
        if not policy.reorder or link.chance() >= policy.reorder:
            arrival = link.last_us = max(arrival, link.last_us)
        elif arrival < link.last_us:
            self.traffic.reordered += 1
        if arrival > scheduler.now_us + USUAL.high_us:
            self.traffic.delayed += 1
        scheduler.at(arrival, self._arrive, link, link.receiver.life, source, destination, number, frame)

    def _arrive(
        self, link: _Link, life: int, source: Endpoint, destination: Endpoint, number: int, frame: bytes
    ) -> None:
        receiver = link.receiver
        if link.cut:
            self.traffic.cut += 1
            self._tell_frame(Happening.CUT, source, destination, number, frame)
        elif receiver.life != life or not receiver.up:
            self.traffic.destination_down += 1
            self._tell_frame(Happening.DESTINATION_DOWN, source, destination, number, frame)
        else:
            self.traffic.delivered += 1
            if self._trace is not None:
                self._tell_frame(Happening.DELIVERED, source, destination, number, frame)
            receiver.deliver(source, frame)

    # Links.

    def set_policy(
        self, policy: LinkPolicy, source: Endpoint | None = None, destination: Endpoint | None = None
    ) -> None:
        """Treat frames by `policy` from now on: those from `source`, those to `destination`, those from one
        to the other; or, where neither is named, all, also between endpoints that are attached later."""
        if source is None and destination is None:
            self._policy = policy
        for pair in self._pairs(source, destination):
            self._link(*pair).policy = policy
            self._tell(Happening.POLICY, *pair)

    def cut(self, source: Endpoint, destination: Endpoint) -> None:
        """Let nothing pass from `source` to `destination`. The other direction is another link."""
        self._set_cut(source, destination, True)

    def mend(self, source: Endpoint, destination: Endpoint) -> None:
        """Let frames pass again from `source` to `destination`."""
        self._set_cut(source, destination, False)

    def isolate(self, endpoint: Endpoint) -> None:
        """Cut all links from and to `endpoint`."""
        for pair in (*self._pairs(endpoint, None), *self._pairs(None, endpoint)):
            self.cut(*pair)

    def partition(self, *groups: Collection[Endpoint]) -> None:
        """Let nothing pass between endpoints of different groups. An endpoint in no group keeps its links."""
        side = {endpoint: number for number, group in enumerate(groups) for endpoint in group}
        for source, destination in self._pairs(None, None):
            if source in side and destination in side and side[source] != side[destination]:
                self.cut(source, destination)

    def heal(self) -> None:
        """Mend all links."""
        for pair in self._pairs(None, None):
            self.mend(*pair)

    def _set_cut(self, source: Endpoint, destination: Endpoint, cut: bool) -> None:
        link = self._link(source, destination)
        if link.cut is not cut:
            link.cut = cut
            self._tell(Happening.LINK_CUT if cut else Happening.LINK_MENDED, source, destination)

    def _pairs(
        self, source: Endpoint | None, destination: Endpoint | None
    ) -> Iterator[tuple[Endpoint, Endpoint]]:
        """The links between attached endpoints, in the order of attaching, never in that of a set."""
        for from_ in self._nodes if source is None else (source,):
            for to in self._nodes if destination is None else (destination,):
                if from_ != to:
                    yield from_, to

    def _link(self, source: Endpoint, destination: Endpoint) -> _Link:
        link = self._links.get((source, destination))
        if link is None:
            chance = Random(f"{self._seed} {source!r} {destination!r}").random
            link = _Link(self._node(source), self._node(destination), self._policy, chance)
            self._links[source, destination] = link
        return link

    def _node(self, endpoint: Endpoint) -> _Node:
        node = self._nodes.get(endpoint)
        if node is None:
            raise ValueError(f"endpoint {endpoint!r} was never attached")
        return node

    # The trace.

    def _tell(self, what: Happening, source: Endpoint, destination: Endpoint | None = None) -> None:
        if self._trace is not None:
            end = source if destination is None else destination
            self._trace(TraceEvent(self.scheduler.now_us, what, source, end))

    def _tell_frame(
        self, what: Happening, source: Endpoint, destination: Endpoint, number: int, frame: bytes
    ) -> None:
        if self._trace is not None:
            event = TraceEvent(
                self.scheduler.now_us, what, source, destination, number, len(frame), crc32(frame)
            )
            self._trace(event)
