"""Ports of this machine, for networks that are made on it.

What lives here: which ports are handed out, and remembering which were last. What must not be known here:
whose they are.

A port that is free now belongs to nobody until its replica listens, nor while that is down: another network
that is being made meanwhile may be given it. So ports are handed out in turn, and the same ones come again
only after all others; where the turn has come to lies in a small file, one for each user of the machine.
Where that cannot be kept, or had, they are drawn.
"""

import fcntl
import os
import random
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"

FIRST_PORT: Final = 20_000
LAST_PORT: Final = 32_000
"""Where ports are looked for: below those that Linux gives to outgoing connections (from 32768 on), one of
which could otherwise take a replica's port while it is down."""

SHARED: Final = Path("/tmp")  # `_opened` minds who else can write there
"""Where the file lies, whatever TMPDIR says: ports are the machine's, and not a session's."""

ATTEMPTS: Final = 200
"""Runs of ports tried before giving up: where so few are free, they should be chosen by hand."""

DIGITS: Final = 8
"""What is read of the file: a port has fewer."""

LOCK_SECONDS: Final = 3.0
POLL_SECONDS: Final = 0.01
"""How long whoever has a turn is waited for, and how often that is tried."""


def memory() -> Path:
    """Return the file in which this user's networks remember whose turn it is."""
    return SHARED / f"tetrarch-ports-{os.geteuid()}"


def take_ports(count: int, remembered_in: Path | None = None) -> int | None:
    """Return the first of `count` ports in a row that are free, and were handed out longer ago than all
    others; `None` where there are no such ports. `remembered_in`: by default `memory()`."""
    with _turn(remembered_in or memory()) as turn:
        for _ in range(ATTEMPTS):
            first = turn.port if FIRST_PORT <= turn.port <= LAST_PORT - count else FIRST_PORT
            turn.pass_over(first + count)
            if all_free(first, count):
                return first
    return None


def all_free(first: int, count: int) -> bool:
    """Return whether nobody listens at any of `count` ports from `first` on."""
    for port in range(first, first + count):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                return False
    return True


class _Turn:
    """Where the turn has come to."""

    def __init__(self, file: int | None) -> None:
        """`file`: where that is remembered, opened and locked; `None`: nowhere."""
        self._file = file
        self.port = _drawn()
        if file is not None:
            with suppress(OSError, ValueError):
                self.port = int(os.pread(file, DIGITS, 0))

    def pass_over(self, following: int) -> None:
        """Go on, to the port that follows those whose turn it was."""
        # Those after ports that others use are likely to be others' soon: what is not remembered is drawn.
        self.port = _drawn() if self._file is None else following

    def remember(self) -> None:
        """Write where it has come to."""
        if self._file is not None:
            with suppress(OSError):
                os.ftruncate(self._file, 0)
                os.pwrite(self._file, b"%d\n" % self.port, 0)


@contextmanager
def _turn(file: Path) -> Iterator[_Turn]:
    """Let nobody else have a turn meanwhile."""
    opened = _opened(file)
    try:
        turn = _Turn(opened if opened is not None and _locked(opened) else None)
        yield turn
        turn.remember()
    finally:
        if opened is not None:
            os.close(opened)


def _locked(file: int) -> bool:
    """Lock a file until it is closed; returns whether that could be had in time. A turn takes a moment, but
    its process may have been halted in it."""
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(POLL_SECONDS)
        except OSError:
            return False
        else:
            return True


def _drawn() -> int:
    return random.SystemRandom().randrange(FIRST_PORT, LAST_PORT)


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
