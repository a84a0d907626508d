"""Network namespaces without names: a file descriptor keeps one, and the kernel removes it, with all that is
in it, when nobody holds it any more.

What lives here: making a namespace, entering it for a while, running a command in it. What must not be known
here: addresses, interfaces, replicas.

Nothing is left to clean up, however a program ends, and two laboratories never meet: namespaces(7), setns(2).
A thread is in a namespace by itself, and hands it on to threads and processes that it starts meanwhile.
"""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

CLONE_NEWNET: Final = 0x40000000
"""sched.h."""

COMMAND_SECONDS: Final = 20.0
"""How long one command may take; most take some ms."""

_OWN: Final = "/proc/thread-self/ns/net"

_libc: Final = ctypes.CDLL(None, use_errno=True)


class Unavailable(RuntimeError):
    """This machine cannot do it: a right, a program or something of the kernel is missing. One line."""


class Namespace:
    """One network namespace, empty at first. Holds one file descriptor."""

    def __init__(self) -> None:
        """Raises `Unavailable`."""
        try:
            own = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Unavailable(f"there are no network namespaces here: {error}") from None
        try:
            _require(_libc.unshare(CLONE_NEWNET), "a network namespace cannot be made")
            try:
                self.descriptor = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
                _without_version_6()
            finally:
                _require(_libc.setns(own, CLONE_NEWNET), "the way back is lost")
        finally:
            os.close(own)

    @property
    def path(self) -> str:
        """How other processes name it, as `ip link … netns PATH` wants it."""
        return f"/proc/{os.getpid()}/fd/{self.descriptor}"

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be in it with this thread, and with all processes and threads that it starts until the block ends.
        Sockets stay in the namespace that they were made in."""
        own = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _require(_libc.setns(self.descriptor, CLONE_NEWNET), "a network namespace cannot be entered")
            try:
                yield
            finally:
                _require(_libc.setns(own, CLONE_NEWNET), "the way back is lost")
        finally:
            os.close(own)

    def run(self, *command: str, given: str = "") -> str:
        """Run a command in it, with `given` on its standard input; returns what it printed. Raises
        `Unavailable`."""
        try:
            with self.entered():
                done = subprocess.run(
                    command,
                    input=given,
                    text=True,
                    capture_output=True,
                    check=False,
                    timeout=COMMAND_SECONDS,
                )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"{command[0]} cannot be run: {error}") from None
        if done.returncode:
            why = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
            raise Unavailable(f"{' '.join(command)}: {why}")
        return done.stdout

    def close(self) -> None:
        """Hold it no longer. Processes in it still do."""
        os.close(self.descriptor)


def _require(result: int, what: str) -> None:
    if result:
        raise Unavailable(f"{what}: {os.strerror(ctypes.get_errno())}")


def _without_version_6() -> None:
    """Keep interfaces that will be made here quiet: no addresses are sought, no routers asked."""
    for interfaces in ("all", "default"):
        try:
            with open(f"/proc/sys/net/ipv6/conf/{interfaces}/disable_ipv6", "w") as file:
                file.write("1")
        except OSError:
            # There is none to switch off.
            return
