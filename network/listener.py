"""Where clients connect: strangers under named limits.

What lives here: the clients' connections, their numbers and their bounds. What must not be known here: what
frames mean, and who a client is: clients show no certificate, their transactions are signed.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NewType, Protocol

from network.acceptor import AcceptLimits, Acceptor
from network.address import Address
from network.bounds import Budget, ChannelLimits, Ending
from network.channel import HEARTBEAT, Channel
from network.framing import check_payload
from network.queue import FrameQueue
from network.session import Session
from network.tally import Report, Tally, log_line

ConnectionId = NewType("ConnectionId", int)
"""A client's connection, counted from 1; never used twice by one listener."""


class ClientHandler(Protocol):
    """Who gets what clients send."""

    def client_frame(self, connection: ConnectionId, frame: bytes, /) -> None:
        """Take a frame. May raise `MalformedFrame`, which is counted; the connection stays."""
        ...

    def client_up(self, connection: ConnectionId, /) -> None:
        """A client is connected."""
        ...

    def client_gone(self, connection: ConnectionId, /) -> None:
        """A client's connection is gone, by whomever."""
        ...


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """Bounds of what clients can make a replica keep, in bytes, counts and ms."""

    frame_bytes: int = 4 * 1024 * 1024
    """The largest frame of a client's."""
    answer_bytes: int = 48 * 1024 * 1024
    """The largest frame to a client: above the largest block."""
    queue_bytes: int = 8 * 1024 * 1024
    queue_frames: int = 16_384
    """What waits for one client; one that lets more come together is disconnected, and may ask again."""
    held_bytes: int = 256 * 1024
    """What is still read from a client whose frames are not wanted at present."""
    total_bytes: int = 64 * 1024 * 1024
    """All that is kept for all clients, in both directions; beyond, the one with most is disconnected."""
    handshake_ms: int = 5_000
    """From the connection to the end of the TLS handshake."""
    watch_ms: int = 1_000
    """How often connections are looked at. The three bounds below are counted in whole watches."""
    idle_ms: int = 60_000
    """A client that sends nothing for so long, no heartbeat either, is disconnected."""
    frame_ms: int = 20_000
    """A frame that has begun must be complete within so long: 4 MiB at 200 KB/s."""
    stalled_ms: int = 20_000
    """A client that in so long does not take what one write may leave in the transport (256 KiB) while more
    waits for it is disconnected."""
    accept: AcceptLimits = field(default_factory=AcceptLimits)

    def with_patience(self, milliseconds: int) -> "ListenerLimits":
        """Return these limits with so much time for a frame and for reading, and no more for a handshake."""
        handshake_ms = min(self.handshake_ms, milliseconds)
        return replace(self, handshake_ms=handshake_ms, frame_ms=milliseconds, stalled_ms=milliseconds)


class _Client:
    """The owner of one client's channel."""

    __slots__ = ("_gone", "_opened", "blocked", "channel", "connection", "idle", "in_frame")

    def __init__(
        self, opened: Callable[["_Client", Channel], None], gone: Callable[["_Client", Channel], None]
    ) -> None:
        self._opened = opened
        self._gone = gone
        self.connection = ConnectionId(0)
        """0 until the handshake is done."""
        self.idle = 0
        """Watches since it was last heard."""
        self.in_frame = 0
        """Watches since a frame of its began that is not complete."""
        self.blocked = 0
        """Watches since it stopped reading."""

    def opened(self, channel: Channel) -> None:
        """The handshake is done: a client is there."""
        self.channel = channel
        self._opened(self, channel)

    def closed(self, channel: Channel) -> None:
        """The connection is gone."""
        self._gone(self, channel)


class ClientListener:
    """Accepts clients on one address. All calls from the event loop's thread.

    `context`: from `crypto.tls.server_context_anonymous`.
    """

    def __init__(
        self,
        listen: Address,
        context: ssl.SSLContext,
        handler: ClientHandler,
        *,
        limits: ListenerLimits | None = None,
        report: Report = log_line,
    ) -> None:
        limits = limits or ListenerLimits()
        self._limits = limits
        self._context = context
        self._handler = handler
        self._tally = Tally(report)
        self._clients: dict[ConnectionId, _Client] = {}
        self._last = 0
        self._budget = Budget(limits.total_bytes, self._relieve)
        self._channel_limits = ChannelLimits(
            limits.frame_bytes, limits.frame_bytes, limits.held_bytes, limits.handshake_ms
        )
        self._acceptor = Acceptor(listen, self._make_channel, limits.accept, self._tally)
        self._watch_timer: asyncio.TimerHandle | None = None

    @property
    def address(self) -> Address:
        """Where it listens; with the port that was found where port 0 was asked for."""
        return self._acceptor.address

    @property
    def counts(self) -> dict[str, int]:
        """How often things went wrong, by reason."""
        return self._tally.counts

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._clients)

    async def start(self) -> None:
        """Listen. Raises `ListenError`."""
        await self._acceptor.start()
        self._watch_later()

    async def close(self) -> None:
        """Send what is queued as far as clients read it, and end all connections; within seconds."""
        if self._watch_timer is not None:
            self._watch_timer.cancel()
        await self._acceptor.close()

    def send(self, connection: int, payload: bytes) -> bool:
        """Queue a frame for a client; all of one loop turn leave in one write. Never blocks.

        Returns `False` where the connection is gone, or ends because too much waits for it. Raises
        `ValueError` for a frame that nobody may send.
        """
        check_payload(payload, self._limits.answer_bytes)
        if payload == HEARTBEAT:
            raise ValueError("a single zero byte is a heartbeat, not a message")
        client = self._clients.get(ConnectionId(connection))
        if client is None or not client.channel.open:
            return False
        if not client.channel.queue.has_room(len(payload)):
            client.channel.abort(Ending.BACKLOG, f"{client.channel.queue.size} bytes wait for it")
            return False
        client.channel.send(payload)
        return client.channel.open

    def disconnect(self, connection: int) -> None:
        """End a client's connection after what is queued for it was sent. Not an error if it is gone."""
        client = self._clients.get(ConnectionId(connection))
        if client is not None:
            client.channel.close(Ending.ASKED)

    def pause(self, connection: int) -> None:
        """Deliver no frames of this client until `resume`; soon none are read either, and it feels that."""
        client = self._clients.get(ConnectionId(connection))
        if client is not None:
            client.channel.pause()

    def resume(self, connection: int) -> None:
        """Deliver frames of this client again."""
        client = self._clients.get(ConnectionId(connection))
        if client is not None:
            client.idle = client.in_frame = 0
            client.channel.resume()

    # What channels call.

    def _make_channel(self) -> Channel:
        return Channel(
            _Client(self._up, self._gone),
            Session(self._context, server_side=True),
            FrameQueue(self._limits.queue_bytes, self._limits.queue_frames),
            self._channel_limits,
            self._tally,
            self._budget,
            weighs_queue=True,
            answers_heartbeats=True,
        )

    def _up(self, client: _Client, channel: Channel) -> None:
        self._last += 1
        connection = ConnectionId(self._last)
        client.connection = connection
        self._clients[connection] = client

        def deliver(payload: bytes) -> None:
            self._handler.client_frame(connection, payload)

        channel.deliver = deliver
        self._handler.client_up(connection)

    def _gone(self, client: _Client, channel: Channel) -> None:
        ending = channel.ending or Ending.BROKEN
        if ending in _USUAL:
            self._tally.count(ending)
        else:
            self._tally.note(ending, remote=channel.remote, why=channel.detail)
        if self._clients.pop(client.connection, None) is not None:
            self._handler.client_gone(client.connection)

    # Keeping watch.

    def _watch_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._watch_timer = loop.call_later(self._limits.watch_ms / 1000, self._watch)

    def _watch(self) -> None:
        for client in list(self._clients.values()):
            self._look_at(client)
        self._watch_later()

    def _look_at(self, client: _Client) -> None:
        """Judge one connection. What we do not read ourselves is not held against a client."""
        channel, limits = client.channel, self._limits
        listening = not channel.paused
        client.idle = 0 if channel.heard or not listening else client.idle + 1
        waiting = channel.in_frame and not channel.completed and listening
        client.in_frame = client.in_frame + 1 if waiting else 0
        client.blocked = 0 if channel.writable else client.blocked + 1
        channel.heard = channel.completed = False
        if client.idle * limits.watch_ms >= limits.idle_ms:
            channel.close(Ending.IDLE, f"nothing for {limits.idle_ms} ms")
        elif client.in_frame * limits.watch_ms >= limits.frame_ms:
            channel.abort(Ending.FRAME_SLOW, f"one frame takes longer than {limits.frame_ms} ms")
        elif client.blocked * limits.watch_ms >= limits.stalled_ms:
            channel.abort(Ending.READER_SLOW, f"it has not read for {limits.stalled_ms} ms")

    def _relieve(self) -> None:
        """End the connection that keeps the most memory."""
        channels = [client.channel for client in self._clients.values() if client.channel.open]
        heaviest = max(channels, key=lambda channel: channel.weight, default=None)
        if heaviest is not None:
            heaviest.abort(Ending.BUDGET, f"it keeps {heaviest.weight} bytes here")


_USUAL = frozenset({Ending.ASKED, Ending.PEER, Ending.IDLE})
"""Endings that happen all day."""
