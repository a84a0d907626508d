"""The listening socket: accepting connections within named limits, before anything is spent on them.

What lives here: one bound socket, the loop that accepts, and who is turned away at once. What must not be
known here: TLS, frames, who the peers are.

The loop is our own since asyncio's server takes every connection and tells nobody of those that never finish
their handshake: neither their number nor their origin could be bounded.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Final

from network.address import Address
from network.bounds import Ending
from network.channel import Channel
from network.errors import ListenError, said
from network.tally import Tally

BACKLOG: Final = 128
"""Connections that the kernel keeps ready. While we pause, it is the kernel that turns others away."""

RESOURCE_PAUSE_S: Final = 0.5
"""How long not to accept after the machine ran out of descriptors or memory: spinning would help nobody."""

REFUSAL_COST: Final = 0.1
"""What turning one away takes from the allowance for handshakes, so that a flood of these is bounded too."""

_ORIGIN_BITS_IPV6: Final = 64
"""One customer has at least a whole /64 of IPv6 (RFC 6177), so addresses within it are one origin."""


@dataclass(frozen=True, slots=True)
class AcceptLimits:
    """Bounds on connections that others make."""

    connections: int = 256
    """In all. A TLS session and its buffers are some 100 KB."""
    per_origin: int = 128
    """From one IPv4 address or one IPv6 /64. On one machine all clients share one origin."""
    handshakes: int = 64
    """Not yet through their handshake: whoever says nothing holds one of these for a while."""
    handshakes_per_second: int = 200
    """A handshake costs about 0.5 ms of CPU: this is a tenth of a core at most."""


class Acceptor:
    """Listens on one address and makes a channel for each connection that is let in.

    `make` is called for each; the channel's `gone` ends what is counted for it.
    """

    def __init__(
        self, address: Address, make: Callable[[], Channel], limits: AcceptLimits, tally: Tally
    ) -> None:
        self._address = address
        self._make = make
        self._limits = limits
        self._tally = tally
        self._socket: socket.socket | None = None
        self._loop_task: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._channels: set[Channel] = set()
        self._origins: dict[str, int] = {}
        self._tokens = float(limits.handshakes_per_second)
        self._counted_at = 0.0
        self._closing = False

    @property
    def address(self) -> Address:
        """Where it listens; with the port that was found where port 0 was asked for."""
        if self._socket is None:
            return self._address
        host, port = self._socket.getsockname()[:2]
        return Address(host, port)

    async def start(self) -> None:
        """Bind and begin to accept. Raises `ListenError`."""
        self._socket = await _bound(self._address)
        self._counted_at = asyncio.get_running_loop().time()
        self._loop_task = asyncio.create_task(self._accept(self._socket))
        self._loop_task.add_done_callback(report_fault)

    async def close(self) -> None:
        """Stop accepting, and close every connection that was accepted."""
        self._closing = True
        if self._loop_task is not None:
            self._loop_task.cancel()
            await asyncio.wait([self._loop_task])
        if self._socket is not None:
            self._socket.close()
        for channel in list(self._channels):
            channel.close(Ending.ASKED)
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._pace(loop)
            try:
                connection, name = await loop.sock_accept(listening)
            except ConnectionError:
                continue
            except OSError as error:
                self._tally.note("accept_failed", why=said(error))
                await asyncio.sleep(RESOURCE_PAUSE_S)
                continue
            origin = _origin(name)
            refusal = self._refusal(origin)
            if refusal is not None:
                self._tokens -= REFUSAL_COST
                self._tally.note(refusal, origin=origin)
                connection.close()
                continue
            self._tokens -= 1
            self._origins[origin] = self._origins.get(origin, 0) + 1
            task = asyncio.create_task(self._carry(connection, origin))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(report_fault)

    async def _pace(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait until another handshake may begin; let others run in any case."""
        rate = self._limits.handshakes_per_second
        now = loop.time()
        self._tokens = min(rate, self._tokens + (now - self._counted_at) * rate)
        self._counted_at = now
        if self._tokens < 1:
            self._tally.count("accept_paced")
            await asyncio.sleep((1 - self._tokens) / rate)
        else:
            await asyncio.sleep(0)

    def _refusal(self, origin: str) -> str | None:
        if len(self._tasks) >= self._limits.connections:
            return "refused_too_many_connections"
        if self._origins.get(origin, 0) >= self._limits.per_origin:
            return "refused_too_many_from_one_origin"
        if len(self._tasks) - sum(channel.open for channel in self._channels) >= self._limits.handshakes:
            return "refused_too_many_handshakes"
        return None

    async def _carry(self, connection: socket.socket, origin: str) -> None:
        """Own what is counted for one connection as long as it lives."""
        channel: Channel | None = None
        try:
            loop = asyncio.get_running_loop()
            _, channel = await loop.connect_accepted_socket(self._make, connection)
            self._channels.add(channel)
            if self._closing:
                channel.abort(Ending.ASKED)
            await channel.gone.wait()
        except OSError as error:
            connection.close()
            self._tally.note("accept_failed", why=said(error))
        finally:
            if channel is not None:
                self._channels.discard(channel)
            self._origins[origin] -= 1
            if not self._origins[origin]:
                del self._origins[origin]


def report_fault(task: "asyncio.Task[None]") -> None:
    """Have the event loop's exception handler told of a task that failed: nobody awaits these."""
    if not task.cancelled() and (error := task.exception()) is not None:
        context = {"message": f"{task.get_name()} failed", "exception": error, "task": task}
        task.get_loop().call_exception_handler(context)


async def _bound(address: Address) -> socket.socket:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, name = found[0]
        everywhere = address.host == "::" and socket.has_dualstack_ipv6()
        listening = socket.create_server(
            (str(name[0]), address.port), family=family, backlog=BACKLOG, dualstack_ipv6=everywhere
        )
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {said(error)}") from None
    listening.setblocking(False)
    return listening


def _origin(name: tuple[str, ...]) -> str:
    """What counts as one origin: an IPv4 address, or the first half of an IPv6 one."""
    host = name[0]
    if ":" not in host:
        return host
    address = IPv6Address(host)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    shift = 128 - _ORIGIN_BITS_IPV6
    return f"{IPv6Address(int(address) >> shift << shift)}/{_ORIGIN_BITS_IPV6}"
