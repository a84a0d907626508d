"""Connections to a real replica that are left half open, or on which nobody reads.

What lives here: TCP, as much of TLS as a stage wants, and reading no more. What must not be known here: who
leaves such connections, and what is sent over them.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from byzantine.liars.client import Stage
from network.address import Address
from network.session import Session, SessionFailed

RECEIVE_BYTES = 4 * 1024
"""What the kernel may take in before somebody reads: the less, the sooner the other end feels it."""


class UnreadConnection(asyncio.Protocol):
    """One of them (`byzantine.liars.client.Unread`). Made inside a running event loop."""

    def __init__(
        self,
        address: Address,
        context: ssl.SSLContext,
        stage: Stage,
        data: bytes,
        reached: Callable[[], object],
    ) -> None:
        self.ended = asyncio.Event()
        """Set when it is known to have ended, or could not be made."""
        self._stage, self._data, self._on_reached = stage, data, reached
        self._reached = False
        self._session = Session(context, server_side=False)
        self._transport: asyncio.Transport | None = None
        self._opening = asyncio.get_running_loop().create_task(self._open(address))

    @property
    def gone(self) -> bool:
        """Whether it is known to have ended."""
        return self.ended.is_set()

    def send(self, data: bytes) -> None:
        """Send further bytes of the stream. Where the replica has ended it, this is how one comes to know."""
        if self._reached and not self.gone:
            self._write(data)

    async def close(self) -> None:
        """End it at once."""
        self._opening.cancel()
        await asyncio.gather(self._opening, return_exceptions=True)
        if self._transport is not None:
            self._transport.abort()

    async def _open(self, address: Address) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self, address.host, address.port)
        except OSError:
            self.ended.set()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Go on to the stage, or stay here."""
        self._transport = cast(asyncio.Transport, transport)
        with suppress(OSError):
            connection = transport.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        if self._stage is Stage.CONNECTED:
            self._reach()
        else:
            self._session.begin()
            self._transport.write(self._session.output())

    def data_received(self, data: bytes) -> None:
        """Take the replica's part in the handshake, and answer it or not."""
        if self._reached or self._transport is None:
            return
        if self._stage is Stage.OPEN:
            try:
                self._session.receive(data)
            except SessionFailed:
                self._transport.abort()
                return
            self._transport.write(self._session.output())
            if not self._session.established:
                return
            self._transport.pause_reading()
            self._write(self._data)
        self._reach()

    def connection_lost(self, _error: Exception | None) -> None:
        """It has ended."""
        self.ended.set()

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        with suppress(SessionFailed):
            self._session.protect(data)
        self._transport.write(self._session.output())

    def _reach(self) -> None:
        self._reached = True
        self._on_reached()
