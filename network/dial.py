"""The clients' end of a connection to one replica.

What lives here: connecting, the comparison of the replica's certificate, sending and receiving frames,
noticing that the other end is gone. What must not be known here: what frames mean, which replicas there are,
when to try again.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from crypto.tls import TlsError, require_peer
from network.address import Address
from network.bounds import Budget, ChannelLimits, Ending
from network.channel import HEARTBEAT, Channel
from network.errors import ConnectError, said
from network.framing import check_payload
from network.queue import FrameQueue
from network.session import Session
from network.tally import Tally


@dataclass(frozen=True, slots=True)
class ClientLimits:
    """Bounds of one connection, in bytes, counts and ms."""

    frame_bytes: int = 48 * 1024 * 1024
    """The largest frame of a replica's: above the largest block."""
    request_bytes: int = 4 * 1024 * 1024
    """The largest frame to a replica: what it takes."""
    queue_bytes: int = 16 * 1024 * 1024
    queue_frames: int = 16_384
    """What may wait to be sent; beyond, `send` says no."""
    held_bytes: int = 1024 * 1024
    """What is still read while frames are not wanted."""
    connect_ms: int = 5_000
    """To resolve a name, connect, shake hands."""
    heartbeat_ms: int = 10_000
    """Whoever has sent nothing for so long sends a heartbeat, which the replica answers in kind."""
    silent_heartbeats: int = 3
    """A replica from which nothing came during so many heartbeats is gone."""


class ClientConnection:
    """An open connection to one replica. Made by `connect`; all calls from the event loop's thread."""

    def __init__(
        self, context: ssl.SSLContext, expected: bytes, receive: Callable[[bytes], None], limits: ClientLimits
    ) -> None:
        self._expected = expected
        self._receive = receive
        self._limits = limits
        self._silent = 0
        self._heart: asyncio.TimerHandle | None = None
        self._settled = asyncio.Event()
        bounds = ChannelLimits(limits.frame_bytes, limits.frame_bytes, limits.held_bytes, limits.connect_ms)
        self._channel = Channel(
            self,
            Session(context, server_side=False),
            FrameQueue(limits.queue_bytes, limits.queue_frames),
            bounds,
            Tally(),
            Budget(limits.frame_bytes + 2 * limits.held_bytes, self._too_much),
        )

    @classmethod
    async def connect(
        cls,
        address: Address,
        context: ssl.SSLContext,
        fingerprint: bytes,
        receive: Callable[[bytes], None],
        *,
        limits: ClientLimits | None = None,
    ) -> "ClientConnection":
        """Return a connection to the replica at `address` whose certificate has this `fingerprint`.

        `context`: from `crypto.tls.client_context_anonymous`. `receive` is called with every frame that
        comes, in order. Raises `ConnectError`, a `ConnectionError`: nobody there, too slow, or somebody else.
        """
        limits = limits or ClientLimits()
        connection = cls(context, fingerprint, receive, limits)
        channel = connection._channel
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(limits.connect_ms / 1000):
                await loop.create_connection(lambda: channel, address.host, address.port)
                await connection._until_settled()
        except OSError as error:
            slow = isinstance(error, TimeoutError) and error.errno is None
            reason = f"no connection within {limits.connect_ms} ms" if slow else said(error)
            raise ConnectError(f"{address}: {reason}") from None
        finally:
            if not connection.open:
                channel.abort(Ending.ASKED)
        if not connection.open:
            raise ConnectError(f"{address}: {connection._why()}")
        return connection

    @property
    def open(self) -> bool:
        """Whether frames can be exchanged."""
        return self._channel.open

    @property
    def queued(self) -> int:
        """Bytes that wait to be sent."""
        return self._channel.queue.size

    def send(self, frame: bytes) -> bool:
        """Queue a frame; all of one loop turn leave in one write. Never blocks.

        Returns `False` where it was not taken (closed, or too much waits already): then the replica will see
        nothing of it. Raises `ValueError` for a frame that nobody may send.
        """
        check_payload(frame, self._limits.request_bytes)
        if frame == HEARTBEAT:
            raise ValueError("a single zero byte is a heartbeat, not a message")
        if not self._channel.open or not self._channel.queue.has_room(len(frame)):
            return False
        self._channel.send(frame)
        return True

    def pause(self) -> None:
        """Receive no frames until `resume`; soon none are read either, and the replica feels that."""
        self._channel.pause()

    def resume(self) -> None:
        """Receive frames again."""
        self._silent = 0
        self._channel.resume()

    def close(self) -> None:
        """Send what is queued as far as the replica reads it, and close. May be called again."""
        self._channel.close(Ending.ASKED)

    async def wait_closed(self) -> str:
        """Wait until the connection is gone, by whomever, and return why, in one line."""
        await self._channel.gone.wait()
        return self._why()

    # What the channel calls.

    def opened(self, channel: Channel) -> None:
        """Compare certificates before any frame is exchanged."""
        try:
            require_peer(channel.ssl_object, {self._expected})
        except TlsError as error:
            channel.abort(Ending.STRANGER, str(error))
            return
        channel.deliver = self._receive
        self._beat_later()
        self._settled.set()

    def closed(self, _channel: Channel) -> None:
        """The connection is gone."""
        if self._heart is not None:
            self._heart.cancel()
        self._settled.set()

    async def _until_settled(self) -> None:
        """Wait for the end of the handshake. Where the wait is ended nothing is left open, even if the
        handshake has just succeeded."""
        try:
            await self._settled.wait()
        except asyncio.CancelledError:
            self._channel.abort(Ending.ASKED)
            await self._channel.gone.wait()
            raise

    def _why(self) -> str:
        channel = self._channel
        ending = (channel.ending or Ending.BROKEN).replace("_", " ")
        return f"{ending}: {channel.detail}" if channel.detail else ending

    def _too_much(self) -> None:
        self._channel.abort(Ending.BUDGET, "the replica sent more than is kept for it")

    # Keeping watch.

    def _beat_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._heart = loop.call_later(self._limits.heartbeat_ms / 1000, self._beat)

    def _beat(self) -> None:
        channel = self._channel
        if not channel.open:
            return
        self._silent = 0 if channel.heard or channel.paused else self._silent + 1
        if self._silent >= self._limits.silent_heartbeats:
            channel.abort(Ending.SILENT, f"nothing for {self._silent * self._limits.heartbeat_ms} ms")
            return
        if not channel.queue:
            channel.send(HEARTBEAT)
        channel.heard = False
        self._beat_later()
