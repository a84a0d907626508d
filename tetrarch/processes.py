"""Replicas and brokers as processes of this machine: started detached, found again, stopped; no stranger is
touched.

What lives here: pid files, starting, signalling, waiting for an end. What must not be known here: what
replicas say of themselves (`tetrarch.client`), and what is printed.

A pid file holds the pid and what no other process has in common with it: when it started, and in which boot
of the machine. A number alone could by now belong to a stranger.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from msgspec import Struct

from tetrarch.errors import ConfigurationError
from tetrarch.genesis_file import load_genesis
from tetrarch.layout import (
    BROKER,
    BROKER_FILE,
    CLIENT_FILE,
    ERROR_FILE,
    GENESIS_FILE,
    LOG_FILE,
    NODE_FILE,
    PID_FILE,
)

STOP_SECONDS: Final = 10.0
"""How long a replica may take to close its store before it is killed. It usually takes less than a tenth."""

POLL_SECONDS: Final = 0.02

STOPPED: Final = "stopped"
KILLED: Final = "killed"
NOT_RUNNING: Final = "was not running"
"""What became of a replica that was asked to stop."""

PROGRAM: Final = ("tetrarch", "node")
"""What runs a replica: a module, and what stands before the replica's directory."""

MAX_PID_FILE_BYTES: Final = 1024
MAX_ERROR_BYTES: Final = 64 * 1024

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


class AlreadyRunning(RuntimeError):
    """A replica that is to be started runs already."""


class Pid(Struct, frozen=True):
    """A process that cannot be mistaken for another one."""

    number: int
    started: str

    @classmethod
    def of(cls, number: int) -> "Pid | None":
        """Return the living process with this number, or `None`. One that has ended but was not waited for
        counts as ended."""
        stat = Path(f"/proc/{number}/stat")
        if _BOOT.exists():
            try:
                # The name in parentheses may hold anything: what follows its last one is regular (proc(5)).
                fields = stat.read_text(errors="replace").rpartition(")")[2].split()
                boot = _BOOT.read_text().strip()
            except OSError:
                return None
            return None if fields[0] in "ZX" else cls(number, f"{fields[19]}@{boot}")
        command = ["ps", "-o", "stat=,lstart=", "-p", str(number)]
        told = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
        return None if not told or told[0].startswith("Z") else cls(number, "_".join(told[1:]))


class OwnProcess:
    """A directory, and the process that runs what is in it, if one does: a replica or a broker."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.name = directory.name
        self._child: subprocess.Popen[bytes] | None = None
        self.exit_code: int | None = None
        """How the last process that `start` started has ended, once that was seen; a signal's number below
        zero."""

    def running(self) -> Pid | None:
        """Return the process that runs, or `None`."""
        self.ended()
        try:
            with (self.directory / PID_FILE).open("rb") as file:
                number, started = file.read(MAX_PID_FILE_BYTES).decode().split()
            noted = Pid(int(number), started)
        except (OSError, ValueError):
            return None
        return noted if Pid.of(noted.number) == noted else None

    def pid_number(self) -> int | None:
        """Return the number of the process that runs, or `None`."""
        pid = self.running()
        return None if pid is None else pid.number

    def launch(self, command: Sequence[str], directory: Path | None = None) -> Pid:
        """Run `command` as a process of its own session, in `directory` if one is given.

        Raises `AlreadyRunning`, `OSError`.
        """
        running = self.running()
        if running is not None:
            raise AlreadyRunning(f"{self.name} runs already, as process {running.number}")
        self.reap()
        with (self.directory / ERROR_FILE).open("wb") as errors:
            child = subprocess.Popen(
                command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
                close_fds=True,
            )
        self._child, self.exit_code = child, None
        pid = Pid.of(child.pid)
        if pid is None:
            self.exit_code = child.wait()
            raise OSError(f"{self.name} ended at once: {self.last_words()}")
        try:
            write_pid(self.directory, pid)
        except OSError:
            child.kill()
            self.exit_code = child.wait()
            raise
        return pid

    def ended(self) -> bool:
        """Whether the process that `start` started has ended."""
        if self._child is not None:
            self.exit_code = self._child.poll()
        return self.exit_code is not None

    def last_words(self) -> str:
        """Return the last line that the process wrote outside its log, or an empty text."""
        try:
            with (self.directory / ERROR_FILE).open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - MAX_ERROR_BYTES))
                lines = file.read().decode(errors="replace").split("\n")
        except OSError:
            return ""
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return last.removeprefix("tetrarch: ").removeprefix(f"{self.name}: ")

    def signal(self, number: int) -> bool:
        """Send a signal to the replica's process; returns whether there is one."""
        pid = self.running()
        return pid is not None and _send(pid, number)

    def wait(self, seconds: float) -> bool:
        """Wait until no process runs the replica any more; returns whether that is so."""
        until = time.monotonic() + seconds
        while self.running() is not None:
            if time.monotonic() >= until:
                return False
            time.sleep(POLL_SECONDS)
        self.reap()
        with suppress(OSError):
            (self.directory / PID_FILE).unlink()
        return True

    def reap(self) -> None:
        """Wait for the end of a process that `start` started and that is not found to run any more: its first
        thread has ended before the others, or it has removed its pid file and not ended yet."""
        if self._child is None:
            return
        try:
            self.exit_code = self._child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self.exit_code = self._child.wait()

    def kill(self) -> bool:
        """Kill the replica's process as a crash would (SIGKILL), and wait for its end."""
        killed = self.signal(signal.SIGKILL)
        self.wait(STOP_SECONDS)
        return killed


class ReplicaProcess(OwnProcess):
    """One replica's directory, and the process that runs it, if one does."""

    @property
    def log(self) -> Path:
        """Where its log is, as `tetrarch init` sets it up."""
        return self.directory / LOG_FILE

    def start(self, arguments: Sequence[str] = (), program: Sequence[str] = PROGRAM) -> Pid:
        """Start the replica. Raises `AlreadyRunning`, `OSError`."""
        return self.launch([sys.executable, "-m", *program, str(self.directory), *arguments])


class BrokerMissing(OSError):
    """There is no Mosquitto on this machine. One line that says what to do."""


class BrokerProcess(OwnProcess):
    """The directory of a Mosquitto broker, and the process that runs it, if one does."""

    def start(self) -> Pid:
        """Start the broker. Raises `BrokerMissing`, `AlreadyRunning`, `OSError`."""
        return self.launch([mosquitto(), "-c", BROKER_FILE], self.directory)


def mosquitto() -> str:
    """Return where the broker's program is. Raises `BrokerMissing`."""
    # Debian installs it where only root's PATH leads.
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/local/sbin:/usr/sbin")
    if found is None:
        raise BrokerMissing(
            "mosquitto is not installed, and this network needs its broker: install the package mosquitto"
            " (apt-get install mosquitto)"
        )
    return found


class LocalNetwork:
    """All replicas of one network directory, on this machine, and its brokers.

    Where there is no client.toml, the directory is one machine's part of a network: its own replicas alone.
    """

    def __init__(self, directory: Path) -> None:
        """Raises `ConfigurationError` where `directory` holds no network."""
        self.directory = directory
        self.genesis = load_genesis(directory / GENESIS_FILE)
        self.is_part = not (directory / CLIENT_FILE).exists()
        homes = [directory / member.name for member in self.genesis.members]
        if self.is_part:
            homes = [home for home in homes if (home / NODE_FILE).is_file()]
        self.replicas = tuple(ReplicaProcess(home) for home in homes)
        brokers = sorted(path.parent for path in directory.glob(f"{BROKER}-*/{BROKER_FILE}"))
        self.brokers = tuple(BrokerProcess(home) for home in brokers)

    def require_all(self) -> None:
        """Raise `ConfigurationError` where a replica's files are not in this directory."""
        if not self.replicas and not self.brokers:
            raise ConfigurationError(self.directory, "", "holds neither a replica nor a broker")
        for replica in self.replicas:
            if not (replica.directory / NODE_FILE).is_file():
                raise ConfigurationError(replica.directory / NODE_FILE, "", "there is no such file")

    def start(self) -> list[ReplicaProcess]:
        """Start every broker and every replica that does not run; returns the replicas that were started.

        Raises `OSError`.
        """
        for broker in self.brokers:
            if broker.running() is None:
                broker.start()
        started = []
        for replica in self.replicas:
            if replica.running() is None:
                replica.start()
                started.append(replica)
        return started

    def stop(self, seconds: float = STOP_SECONDS) -> dict[str, str]:
        """Stop every replica, then every broker: asked first, killed if it takes longer than `seconds`.

        Returns what happened, by name: `STOPPED`, `KILLED` or `NOT_RUNNING`.
        """
        return _stop(self.replicas, seconds) | _stop(self.brokers, seconds)

    def kill(self) -> None:
        """Kill every replica and broker that runs."""
        for process in (*self.replicas, *self.brokers):
            process.kill()


def _stop(processes: Sequence[OwnProcess], seconds: float) -> dict[str, str]:
    asked = [process for process in processes if process.signal(signal.SIGTERM)]
    until = time.monotonic() + seconds
    outcome = {process.name: NOT_RUNNING for process in processes}
    for process in asked:
        if process.wait(max(0.0, until - time.monotonic())):
            outcome[process.name] = STOPPED
        else:
            process.kill()
            outcome[process.name] = KILLED
    for process in processes:
        if process not in asked:
            process.reap()
    return outcome


@contextmanager
def registered(directory: Path) -> Iterator[None]:
    """Keep a pid file for the present process as the runner of a replica. Raises `AlreadyRunning`."""
    own = Pid.of(os.getpid())
    running = ReplicaProcess(directory).running()
    if running is not None and running != own:
        raise AlreadyRunning(f"{directory.name} runs already, as process {running.number}")
    if own is not None:
        with suppress(OSError):
            write_pid(directory, own)
    try:
        yield
    finally:
        with suppress(OSError):
            (directory / PID_FILE).unlink()


def write_pid(directory: Path, pid: Pid) -> None:
    """Note which process runs the replica in `directory`. Raises `OSError`."""
    beside = directory / f".{PID_FILE}.{os.getpid()}"
    beside.write_text(f"{pid.number} {pid.started}\n")
    beside.replace(directory / PID_FILE)


def _send(pid: Pid, number: int) -> bool:
    """Signal exactly this process: the handle keeps its number from being used anew between look and blow."""
    try:
        handle = os.pidfd_open(pid.number)
    except (AttributeError, OSError):
        handle = -1
    try:
        if Pid.of(pid.number) != pid:
            return False
        if handle >= 0:
            signal.pidfd_send_signal(handle, number)
        else:
            os.kill(pid.number, number)
    except ProcessLookupError:
        return False
    finally:
        if handle >= 0:
            os.close(handle)
    return True
