"""The links between the members of a real network: TCP proxies that can hold, delay, break and mend them.

What lives here: one listening port for each pair of members, at which the lower one dials the higher one
(`network.mesh`), and what is done to the bytes on their way. What must not be known here: frames (TLS hides
them), scenarios' times.

A cut link holds what is sent, as a real one does until TCP gives up, and a mended one carries it on. Each
direction is cut by itself. What else a network can do to a stream is in `stream_faults`.

A member that runs twice is at two places, numbered like seats: members first, then twins. Another member has
one connection to it all the same: to the copy that it is not cut off from, or, where it could have both, to
the first one as an even member and to the second as an odd one. When that becomes another one, the connection
is reset, and the next one leads there.
"""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from random import Random
from typing import NamedTuple, Protocol

from byzantine.runners.stream_faults import RESET, StreamFaults, changed
from byzantine.scenario import Links
from network.address import Address
from network.links import USUAL

LOOPBACK = "127.0.0.1"

UNDELAYED_US = USUAL.high_us
"""Links whose delays end here are not delayed further: two processes and a proxy take as long."""

LONGEST_TAIL = 40
"""A delay with a tail grows to so many times the longest common one, at most."""

CHUNK_BYTES = 64 * 1024
CHUNKS_HELD = 64
"""What is read ahead of a delayed or cut link; then its sender has to wait, as with a real one."""


class _Piece(NamedTuple):
    """A piece of a stream on its way."""

    due: float
    """When it arrives, s, monotonic."""
    late: bool
    """Whether that is later than on any usual link."""
    data: bytes


class MemberLinks(Protocol):
    """All links between the members of one network, and what can be done to them."""

    ports: dict[tuple[int, int], int]
    """Where a member finds a higher one, by both."""

    @property
    def done(self) -> Counter[str]:
        """What was done to links, and how often (`byzantine.scenario.LINKS_DO`)."""
        ...

    async def start(self) -> None:
        """Listen. Raises `OSError`."""
        ...

    async def close(self) -> None:
        """End everything."""
        ...

    def cut(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Let nothing pass from the first to the second of each pair."""
        ...

    def mend(self, pairs: Iterable[tuple[int, int]] | None = None) -> None:
        """Let everything pass; from the first to the second of each pair, or everywhere."""
        ...

    def set_policy(self, policy: Links) -> None:
        """Treat what is sent by another policy from now on."""
        ...


class ProxiedLinks:
    """All links of one network, as TLS leaves them to it. `peers`: where each member listens for others."""

    def __init__(
        self, peers: list[Address], policy: Links, seed: int, slowdown: float, twins: Sequence[int] = ()
    ) -> None:
        """`peers`: by seat. `twins`: of whom the seats above the members are second copies."""
        self._peers = peers
        self._policy = policy
        self._slowdown = slowdown
        self._random = Random(f"links {seed}")
        self._servers: list[asyncio.Server] = []
        self._carrying: set[asyncio.Task[None]] = set()
        members = len(peers) - len(twins)
        self._member = (*range(members), *twins)
        """Who sits on each seat."""
        self._copies = [
            [seat for seat, who in enumerate(self._member) if who == member] for member in range(members)
        ]
        self._open = {
            (one, other): asyncio.Event()
            for one, first in enumerate(self._member)
            for other, second in enumerate(self._member)
            if first != second
        }
        self._changed = asyncio.Event()
        """Set, and replaced, when links were cut or mended."""
        self.faults = StreamFaults(policy, seed, slowdown)
        self.held = 0
        """How often something had to wait for a cut link."""
        self.delayed = 0
        """How often something had to wait longer than on any usual link."""
        self.ports: dict[tuple[int, int], int] = {}
        """Where a seat finds a higher member, by both."""

    @property
    def done(self) -> Counter[str]:
        """What was done to links, and how often (`byzantine.scenario.LINKS_DO`)."""
        return self.faults.done + Counter({"cut": self.held, "delayed": self.delayed})

    async def start(self) -> None:
        """Listen. Raises `OSError`."""
        self.mend()
        for one, lower in enumerate(self._member):
            for other in range(lower + 1, len(self._copies)):
                server = await asyncio.start_server(self._accepting(one, other), LOOPBACK, 0)
                self._servers.append(server)
                self.ports[one, other] = server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End everything."""
        for server in self._servers:
            server.close()
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    # What is done to them.

    def cut(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Let nothing pass from the first to the second of each pair."""
        for pair in pairs:
            if pair in self._open:
                self._open[pair].clear()
        self._reroute()

    def mend(self, pairs: Iterable[tuple[int, int]] | None = None) -> None:
        """Let everything pass, what was held first; from the first to the second of each pair, or
        everywhere."""
        for pair in self._open if pairs is None else pairs:
            self._open[pair].set()
        self._reroute()

    def _reroute(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def carries(self, source: int, target: int) -> bool:
        """Whether something passes from one to another at present."""
        return self._open[source, target].is_set()

    def set_policy(self, policy: Links) -> None:
        """Delay and break by another policy from now on."""
        self._policy = policy
        self.faults.set_policy(policy, asyncio.get_running_loop().time())

    # Carrying.

    def _accepting(
        self, one: int, other: int
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(self._carry(one, other, reader, writer))
            self._carrying.add(task)
            task.add_done_callback(self._carrying.discard)

        return accept

    async def _carry(
        self, one: int, other: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Carry one connection of a seat to a member both ways until either end closes it."""
        target = other
        twins = len(self._copies[self._member[one]]) + len(self._copies[other]) > 2
        if twins:
            while (found := self._target(one, other)) is None:
                await self._changed.wait()
            target = found
        there = self._peers[target]
        try:
            far_reader, far_writer = await asyncio.open_connection(there.host, there.port)
        except OSError:
            writer.close()
            return
        self.faults.up(one, target)
        directions = [
            asyncio.create_task(self._pass(one, target, reader, far_writer)),
            asyncio.create_task(self._pass(target, one, far_reader, writer)),
        ]
        if twins:
            directions.append(asyncio.create_task(self._until_elsewhere(one, target)))
        try:
            ended, _ = await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            if any(direction.result() for direction in ended):
                for end in (writer, far_writer):
                    _reset(end)
        finally:
            for direction in directions:
                direction.cancel()
            for end in (writer, far_writer):
                end.close()
            await asyncio.gather(*directions, return_exceptions=True)

    def _target(self, one: int, other: int) -> int | None:
        """Return the copy of a member to which a seat is connected at present, if there is one."""
        return next((seat for seat in self._copies[other] if self._joined(one, seat)), None)

    def _joined(self, one: int, other: int) -> bool:
        """Whether each of two seats is the copy that the other's member is connected to."""
        first = next((seat for seat in self._preferred(one, other) if self._both_ways(seat, other)), None)
        second = next((seat for seat in self._preferred(other, one) if self._both_ways(one, seat)), None)
        return (first, second) == (one, other)

    def _preferred(self, seat: int, by: int) -> list[int]:
        """Return the copies of who sits on a seat, in the order in which another member would have them."""
        copies = self._copies[self._member[seat]]
        return copies[::-1] if self._member[by] % 2 else copies

    def _both_ways(self, one: int, other: int) -> bool:
        return self._open[one, other].is_set() and self._open[other, one].is_set()

    async def _until_elsewhere(self, one: int, target: int) -> bool:
        """Wait until two seats are not to be connected any more: then the connection is reset."""
        while self._joined(one, target):
            await self._changed.wait()
        return True

    async def _pass(
        self, source: int, target: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Carry one direction: what is read now is written when its delay is over and the link open. Returns
        whether the connection is to be reset."""
        under_way: asyncio.Queue[_Piece] = asyncio.Queue(CHUNKS_HELD)
        reading = asyncio.create_task(self._read(reader, under_way))
        try:
            with suppress(OSError):
                while True:
                    due, late, data = await under_way.get()
                    delay = due - asyncio.get_running_loop().time()
                    if delay > 0:
                        await asyncio.sleep(delay)
                    self.delayed += late
                    self.held += not self._open[source, target].is_set()
                    await self._open[source, target].wait()
                    if not data or writer.is_closing():
                        return False
                    fault = self.faults.due(source, target, data, asyncio.get_running_loop().time())
                    if fault == RESET:
                        return True
                    writer.write(data if fault is None else changed(fault, data))
                    await writer.drain()
        finally:
            reading.cancel()
        return False

    async def _read(self, reader: asyncio.StreamReader, under_way: asyncio.Queue[_Piece]) -> None:
        loop = asyncio.get_running_loop()
        usual_s = UNDELAYED_US * self._slowdown / 1_000_000
        due, data = 0.0, b"-"
        while data:
            try:
                data = await reader.read(CHUNK_BYTES)
            except OSError:
                data = b""
            # Never before what was sent earlier: it is one stream.
            delay_s = delay_us(self._policy, self._random) * self._slowdown / 1_000_000
            now = loop.time()
            due = max(due, now + delay_s)
            await under_way.put(_Piece(due, bool(data) and due > now + usual_s, data))


def delay_us(policy: Links, random: Random) -> float:
    """Return how long something takes on a link, beside what it takes anyway, in the scenario's time."""
    if policy.high_us <= UNDELAYED_US and not policy.tail:
        return 0.0
    delay = random.uniform(policy.low_us, policy.high_us)
    while policy.tail and delay < LONGEST_TAIL * policy.high_us and random.random() < policy.tail:
        delay *= 2
    return delay


def _reset(end: asyncio.StreamWriter) -> None:
    """Break a connection off, with all that is on its way."""
    if end.is_closing():
        return
    end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.transport.abort()


def between(groups: Iterable[Iterable[int]]) -> list[tuple[int, int]]:
    """Return all pairs of members of different groups, both directions."""
    side = {member: number for number, group in enumerate(groups) for member in group}
    return [(one, other) for one in side for other in side if side[one] != side[other]]
