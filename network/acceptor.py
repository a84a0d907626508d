"""The listening socket: accepting connections within named limits, before anything is spent on them.

What lives here: one bound socket, accepting, and who is turned away at once. What must not be known here:
TLS, frames, who the peers are.

asyncio's own server is not used: it takes every connection before anyone is asked.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv6Address
from typing import Final, Protocol, cast

from network.address import Address
from network.bounds import Ending
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
    """In all. A TLS session and its buffers are some 30 KB."""
    per_origin: int = 128
    """From one IPv4 address or one IPv6 /64. On one machine all clients share one origin."""
    handshakes: int = 128
    """Not yet through their handshake: whoever says nothing holds one of these for a while."""
    handshakes_per_origin: int = 64
    """So that it takes more than one who says nothing to keep everybody out."""
    handshakes_per_second: int = 200
    """A handshake costs about 0.5 ms of CPU: this is a tenth of a core at most."""


class Accepted(Protocol):
    """What an acceptor makes for a connection: a protocol of asyncio's that says when it is gone."""

    gone: asyncio.Event
    when_gone: Callable[[], None]
    """Called when it is gone; set by the acceptor, which counts connections."""

    @property
    def open(self) -> bool:
        """Whether it is through what others call a handshake: what comes before anybody is served."""
        ...

    def close(self, ending: Ending, /) -> None:
        """End it after what is to be sent was sent, soon."""
        ...

    def abort(self, ending: Ending, /) -> None:
        """End it now."""
        ...

    def connection_lost(self, exc: Exception | None, /) -> None:
        """It has ended, or never began."""
        ...


class Acceptor:
    """Listens on one address and makes a channel for each connection that is let in.

    `make` is called for each; a connection counts until its channel is gone.
    """

    def __init__(
        self, address: Address, make: Callable[[], Accepted], limits: AcceptLimits, tally: Tally
    ) -> None:
        self._address = address
        self._make = make
        self._limits = limits
        self._tally = tally
        self._socket: socket.socket | None = None
        self._resting: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._channels: dict[Accepted, str] = {}
        self._origins: dict[str, int] = {}
        self._allowance = float(limits.handshakes_per_second)
        self._reckoned_at = 0.0
        self._closing = False

    @property
    def address(self) -> Address:
        """Where it listens; with the port that was found where port 0 was asked for."""
        return self._address

    async def start(self) -> None:
        """Bind and begin to accept. Raises `ListenError`."""
        self._socket = await _bound(self._address)
        host, port = self._socket.getsockname()[:2]
        self._address = Address(host, port)
        self._reckoned_at = asyncio.get_running_loop().time()
        self._listen(self._socket)

    async def close(self) -> None:
        """Stop accepting, and close every connection that was accepted."""
        self._closing = True
        if self._resting is not None:
            self._resting.cancel()
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
        for channel in list(self._channels):
            channel.close(Ending.ASKED)
        if self._tasks:
            await asyncio.wait(self._tasks)
        for channel in list(self._channels):
            await channel.gone.wait()

    def _listen(self, listening: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        """Take one connection: the others of a flood wait for the event loop's next turns."""
        try:
            connection, name = listening.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:
            self._tally.note("accept_failed", why=said(error))
            self._rest(listening, RESOURCE_PAUSE_S)
            return
        origin = origin_of(name)
        refusal = self._refusal(origin)
        if refusal is None:
            self._let_in(connection, origin)
        else:
            self._tally.note(refusal, origin=origin)
            connection.close()
        self._spend(listening, REFUSAL_COST if refusal else 1.0)

    def _let_in(self, connection: socket.socket, origin: str) -> None:
        connection.setblocking(False)
        self._origins[origin] = self._origins.get(origin, 0) + 1
        channel = self._make()
        channel.when_gone = partial(self._release, channel)
        self._channels[channel] = origin
        task = asyncio.create_task(self._connect(channel, connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(report_fault)

    def _spend(self, listening: socket.socket, cost: float) -> None:
        """Take `cost` from the allowance for handshakes, and rest until there is enough for another."""
        rate = self._limits.handshakes_per_second
        now = asyncio.get_running_loop().time()
        self._allowance = min(rate, self._allowance + (now - self._reckoned_at) * rate) - cost
        self._reckoned_at = now
        if self._allowance < 1:
            self._tally.count("accept_paced")
            self._rest(listening, (1 - self._allowance) / rate)

    def _rest(self, listening: socket.socket, seconds: float) -> None:
        """Accept nothing for a while: the kernel keeps some connections ready and turns others away."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        self._resting = loop.call_later(seconds, self._listen, listening)

    def _refusal(self, origin: str) -> str | None:
        if sum(self._origins.values()) >= self._limits.connections:
            return "refused_too_many_connections"
        if self._origins.get(origin, 0) >= self._limits.per_origin:
            return "refused_too_many_from_one_origin"
        shaking = [other for channel, other in self._channels.items() if not channel.open]
        if len(shaking) >= self._limits.handshakes:
            return "refused_too_many_handshakes"
        if shaking.count(origin) >= self._limits.handshakes_per_origin:
            return "refused_too_many_handshakes_from_one_origin"
        return None

    async def _connect(self, channel: Accepted, connection: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: cast(asyncio.BaseProtocol, channel), connection
            )
        except OSError as error:
            self._tally.note("accept_failed", why=said(error))
            connection.close()
            channel.connection_lost(error)
        else:
            if self._closing:
                channel.abort(Ending.ASKED)

    def _release(self, channel: Accepted) -> None:
        origin = self._channels.pop(channel)
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


def origin_of(name: tuple[str, ...]) -> str:
    """What counts as one origin: an IPv4 address, or the first half of an IPv6 one."""
    host = name[0]
    if ":" not in host:
        return host
    address = IPv6Address(host)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    shift = 128 - _ORIGIN_BITS_IPV6
    return f"{IPv6Address(int(address) >> shift << shift)}/{_ORIGIN_BITS_IPV6}"
