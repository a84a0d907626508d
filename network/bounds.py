"""What one connection may use, and the reasons why one ends.

What lives here: plain data, and a sum that many connections share. What must not be known here: sockets.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Ending(StrEnum):
    """Why a channel was closed."""

    ASKED = "closed_by_us"
    PEER = "closed_by_peer"
    BROKEN = "connection_broken"
    HANDSHAKE_FAILED = "handshake_failed"
    HANDSHAKE_SLOW = "handshake_slow"
    RECORD = "tls_record_broken"
    FRAMING = "framing_broken"
    STRANGER = "certificate_unknown"
    HELLO = "hello_refused"
    HELLO_SLOW = "hello_slow"
    REPLACED = "replaced_by_newer"
    SILENT = "silent"
    IDLE = "idle"
    FRAME_SLOW = "frame_slow"
    READER_SLOW = "reader_slow"
    BACKLOG = "backlog_full"
    BUDGET = "memory_budget_full"


class Budget:
    """Bytes that many channels may keep together. `relieve` is called whenever they keep more."""

    def __init__(self, limit: int, relieve: Callable[[], None]) -> None:
        self.limit = limit
        self.used = 0
        self._relieve = relieve

    def change(self, difference: int) -> None:
        """Add to what is used."""
        self.used += difference
        if difference > 0 and self.used > self.limit:
            self._relieve()


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """Bounds of one connection, in bytes and ms."""

    frame_bytes: int
    """The largest payload accepted."""
    first_frame_bytes: int
    """The largest first payload accepted."""
    held_bytes: int
    """What is still read while the handler does not want frames; beyond, reading stops."""
    handshake_ms: int
    """From the connection to the end of the TLS handshake."""
    closing_ms: int = 2_000
    """How long a closed connection may take to bring away what was written."""
