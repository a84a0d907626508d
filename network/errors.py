"""The errors of this package: what a network, or someone at its other end, did wrong. One line each."""

import os
import socket
from enum import StrEnum


class NetworkError(Exception):
    """Something about addresses, connections or what came over them."""


class AddressError(NetworkError, ValueError):
    """Text that is not an address."""


class ListenError(NetworkError, OSError):
    """An address cannot be listened on: taken, not ours, not permitted."""


class ConnectError(NetworkError, ConnectionError):
    """A connection could not be made, or its other end is not who it should be."""


class HelloError(NetworkError):
    """A first frame that is no hello, or the hello of another chain, version or member."""


class FramingFault(StrEnum):
    """Why a byte stream cannot be cut into frames. After any of these the stream is of no use."""

    EMPTY = "frame_empty"
    OVERSIZED = "frame_oversized"


class FramingError(NetworkError):
    """A byte stream that breaks the framing; `fault` says how."""

    def __init__(self, fault: FramingFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


def said(error: OSError) -> str:
    """Return what the system says, without numbers and without what libraries add to it."""
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno)


class MalformedFrame(NetworkError):
    """To be raised by a handler for a frame that makes no sense to it.

    `reason` is counted, so it must be one of a few literals. The framing being intact, the connection stays.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
