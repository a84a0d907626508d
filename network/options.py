"""The options of every TCP socket here.

What lives here: what the kernel is asked to do. What must not be known here: what is sent.
"""

import socket
from contextlib import suppress
from typing import Final

KEEPALIVE: Final = (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
"""Seconds, seconds, count: the kernel notices a vanished machine within 25 s even where nobody asks."""


def tune(connection: socket.socket) -> None:
    """Send small frames at once, and have the kernel look after half-open connections."""
    # Some systems refuse options of a connection that its peer has reset; reading will tell of that.
    with suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            if hasattr(socket, option):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
