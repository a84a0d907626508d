"""Ports of this machine, for networks that are made on it.

What lives here: which ports are handed out, and remembering which were last. What must not be known here:
whose they are.

A port that is free now belongs to nobody until its replica listens, nor while that is down: another network
that is being made meanwhile may be given it. So ports are handed out in turn, and the same ones come again
only after all others; where the turn has come to lies in a small file beside other temporary ones, one for
each user. Without it, where it cannot be kept, they are drawn.
"""

import fcntl
import os
import random
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"

FIRST_PORT: Final = 20_000
LAST_PORT: Final = 32_000
"""Where ports are looked for: below those that Linux gives to outgoing connections (from 32768 on), one of
which could otherwise take a replica's port while it is down."""

ATTEMPTS: Final = 200
"""Runs of ports tried before giving up: where so few are free, they should be chosen by hand."""

DIGITS: Final = 8
"""What is read of the file: a port has fewer."""


def memory() -> Path:
    """Return the file in which this user's networks remember whose turn it is."""
    return Path(tempfile.gettempdir()) / f"tetrarch-ports-{os.geteuid()}"


def take_ports(count: int, remembered_in: Path | None = None) -> int | None:
    """Return the first of `count` ports in a row that are free, and were handed out longer ago than all
    others; `None` where there are no such ports. `remembered_in`: by default `memory()`."""
    with _turn(remembered_in or memory()) as turn:
        first = turn.port
        for _ in range(ATTEMPTS):
            if not FIRST_PORT <= first <= LAST_PORT - count:
                first = FIRST_PORT
            if all_free(first, count):
                turn.port = first + count
                return first
            first += count
    return None


def all_free(first: int, count: int) -> bool:
    """Return whether nobody listens at any of `count` ports from `first` on."""
    with ExitStack() as sockets:
        for port in range(first, first + count):
            probe = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                return False
    return True


class _Turn:
    """Where the turn has come to."""

    def __init__(self) -> None:
        self.port = random.SystemRandom().randrange(FIRST_PORT, LAST_PORT)


@contextmanager
def _turn(file: Path) -> Iterator[_Turn]:
    """Read whose turn it is, keep all others waiting meanwhile, and write whose it is then."""
    turn, opened = _Turn(), _opened(file)
    if opened is None:
        yield turn
        return
    try:
        with suppress(OSError, ValueError):
            fcntl.flock(opened, fcntl.LOCK_EX)
            turn.port = int(os.pread(opened, DIGITS, 0))
        yield turn
        with suppress(OSError):
            os.ftruncate(opened, 0)
            os.pwrite(opened, b"%d\n" % turn.port, 0)
    finally:
        os.close(opened)


def _opened(file: Path) -> int | None:
    """Open the file if it is our own and no link to another one: anybody may write where it lies."""
    try:
        opened = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError:
        return None
    found = os.fstat(opened)
    if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1:
        return opened
    os.close(opened)
    return None
