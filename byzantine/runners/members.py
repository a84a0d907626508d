"""The members of a real network as processes: started, ended, restarted, their disks spoilt, their ends
explained.

What lives here: one member's process and files, and what a liar reports of itself. What must not be known
here: scenarios' steps, links, clients.
"""

import os
import resource
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from byzantine.liars.report import ReportReader
from byzantine.node import save_lies
from byzantine.scenario import Liar
from tetrarch.layout import NODE_FILE, STORE
from tetrarch.processes import KILLED, PROGRAM, STOP_SECONDS, ReplicaProcess

LIAR = ("byzantine.node",)
"""What runs a liar, as `tetrarch.processes.PROGRAM` runs an honest member."""

FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP, 0)
"""Ends that a replica does not bring upon itself: signals of others', and a stop as asked for."""

CAN_FILL_DISKS = hasattr(resource, "prlimit")
"""Whether this system can forbid a running process to write to files."""

_LISTENING = b'"event": "listening"'
_MARKED = "restored_from_backup = "


class RealMember:
    """One member: its directory always, its process while it runs."""

    def __init__(
        self,
        number: int,
        process: ReplicaProcess,
        liar: Liar | None,
        seed: int,
        slowdown: float,
        plotting: Sequence[int] = (),
        twin: bool = False,
    ) -> None:
        """`plotting`: the liars that plot together. `twin`: it is a member's second copy."""
        self.number, self.process, self.liar = number, process, liar
        self.wanted = False
        """Whether its process is meant to run."""
        self.lost_disk = False
        """Whether its disk was lost, put back, or damaged at any time."""
        self.damaged = False
        """Whether a bit was turned over: it may refuse to go on, loudly."""
        self.full = False
        """Whether its disk was full since it started."""
        self.lives = 0
        """How often it was started."""
        self.peak_bytes: int | None = None
        """The most memory that its processes took, as far as that could be read."""
        self.fired: Counter[str] = Counter()
        self.crashed_for_ms: int | None = None
        """A liar's crash of its own choice, which is to be followed by a start."""
        self._seed, self._slowdown, self._twin = seed, slowdown, twin
        self._marked = False
        self._report = process.directory / "liar.report"
        self._reader = ReportReader(self._report)
        self._lies = process.directory / "liar.json"
        if liar is not None:
            save_lies(self._lies, liar.lies, plotting)

    @property
    def honest(self) -> bool:
        """Whether it does not lie."""
        return self.liar is None

    @property
    def store(self) -> Path:
        """The directory of its store."""
        return self.process.directory / STORE

    # Life and death.

    def start(self, began_ms: int | None) -> None:
        """Start its process. `began_ms`: when the run began, by the monotonic clock; `None`: it has not yet.

        Raises `OSError`.
        """
        self._write_marked()
        self.wanted, self.full = True, False
        self.lives += 1
        if self.honest:
            self.process.start(program=PROGRAM)
            return
        begins = ["--wait"] if began_ms is None else ["--began", str(began_ms)]
        files = ["--lies", str(self._lies.absolute()), "--report", str(self._report.absolute())]
        numbers = ["--seed", str(self._seed), "--slowdown", str(self._slowdown)]
        numbers += ["--twin"] if self._twin else []
        self.process.start([*files, *numbers, *begins], LIAR)

    def begin(self) -> None:
        """Tell a liar that the run begins."""
        if not self.honest:
            self.process.signal(signal.SIGUSR1)

    def kill(self) -> None:
        """End its process as a crash does, if it runs: what it wrote stays with the system, synced or not."""
        self.wanted = False
        self.weigh()
        self.process.kill()

    def weigh(self) -> None:
        """Read how much memory its process has taken at most, if it runs and the system tells."""
        pid = self.process.pid_number()
        peak = None if pid is None else peak_bytes(pid)
        if peak is not None:
            self.peak_bytes = max(peak, self.peak_bytes or 0)

    def read_report(self) -> None:
        """Take in what a liar has reported since."""
        for line in self._reader.lines():
            if line.lied:
                self.fired[line.lied] += 1
            if line.crashed_for_ms is not None:
                self.crashed_for_ms = line.crashed_for_ms

    def listens(self) -> bool:
        """Whether its process has come so far in this life that it listens."""
        try:
            return self.process.log.read_bytes().count(_LISTENING) >= self.lives
        except FileNotFoundError:
            return False

    def ended_unasked(self) -> bool:
        """Whether its process has ended though it was meant to run."""
        return self.wanted and self.process.ended()

    def brought_down_by_itself(self) -> bool:
        """Whether its end was its own fault, as far as exit codes tell."""
        return self.process.exit_code not in FROM_OUTSIDE

    def how_it_ended(self) -> str:
        """Return why its process ended, in words."""
        code, name = self.process.exit_code or 0, self.process.name
        words = self.process.last_words()
        said = f", saying: {words}" if words else ""
        if code < 0:
            return f"{name} was ended by {signal.Signals(-code).name}{said}"
        return f"{name} ended with exit code {code}{said}"

    # Disks.

    def keep_disk(self) -> None:
        """Make a backup, as of one moment: the process is halted meanwhile."""
        running = self.process.signal(signal.SIGSTOP)
        try:
            shutil.rmtree(self._kept, ignore_errors=True)
            shutil.copytree(self.store, self._kept)
        finally:
            if running:
                self.process.signal(signal.SIGCONT)

    def put_back_disk(self) -> None:
        """Restore the backup, or nothing where none was made; it starts marked the next time."""
        self.lose_disk()
        if self._kept.is_dir():
            shutil.copytree(self._kept, self.store)

    def lose_disk(self) -> None:
        """Hold nothing any more; it starts marked the next time. Its process must not run."""
        shutil.rmtree(self.store, ignore_errors=True)
        self._marked = self.lost_disk = True
        self.damaged = False

    def flip_disk(self, random: Random) -> None:
        """Turn one bit of one of the store's files over, under the running process."""
        files = [
            file
            for file in sorted(self.store.iterdir())
            if file.suffix in (".sst", ".log") and file.stat().st_size
        ]
        if files:
            file = random.choice(files)
            _flip(file, random.randrange(8 * file.stat().st_size))
            self.lost_disk = self.damaged = True

    def fill_disk(self, full: bool) -> None:
        """Let its process write nothing any more (until it is started again), or let it write again.

        Raises `OSError`.
        """
        pid = self.process.pid_number()
        if pid is not None:
            _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1 if full else most, most))
        self.full = self.full or full

    @property
    def _kept(self) -> Path:
        return self.store.with_name(f"{STORE}.kept")

    def _write_marked(self) -> None:
        file = self.process.directory / NODE_FILE
        text = file.read_text()
        marked, self._marked = self._marked, False
        right = f"{_MARKED}{'true' if marked else 'false'}"
        file.write_text(text.replace(f"{_MARKED}true", right).replace(f"{_MARKED}false", right))


def peak_bytes(pid: int) -> int | None:
    """Return the most memory that a process of this machine has had resident, or `None` (proc(5), VmHWM)."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        return None


def _flip(file: Path, bit: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(bit // 8)
        (byte,) = opened.read(1)
        opened.seek(bit // 8)
        opened.write(bytes([byte ^ 1 << bit % 8]))
        os.fsync(opened.fileno())


class Members:
    """All members of one network, watched."""

    def __init__(
        self,
        members: list[RealMember],
        slowdown: float,
        later: Callable[[float, Callable[[], None]], object],
        twins: Sequence[RealMember] = (),
    ) -> None:
        """`later`: calls something after so many seconds. `twins`: second copies of some."""
        self.all = members
        self.twins = tuple(twins)
        self.everybody = (*members, *twins)
        """Twins too, after all members."""
        self.began_ms: int | None = None
        self.stopped: list[str] = []
        """Honest members with whole disks whose processes ended by a fault of their own."""
        self.lost: list[str] = []
        """Processes that were ended by nobody here, and liars that ended without meaning to."""
        self._slowdown = slowdown
        self._later = later
        self._over = False

    @property
    def honest(self) -> list[RealMember]:
        """The members that do not lie."""
        return [member for member in self.all if member.honest]

    @property
    def broken(self) -> bool:
        """Whether a process ended that should not have."""
        return bool(self.stopped or self.lost)

    def revive(self, member: RealMember) -> None:
        """Start a member that is down, unless all is over."""
        if not (member.wanted or self._over):
            member.crashed_for_ms = None
            member.start(self.began_ms)

    def end(self) -> list[RealMember]:
        """Let no process be started or missed any more; returns the honest members that run."""
        self._over = True
        running = [member for member in self.honest if member.wanted]
        for member in self.everybody:
            member.wanted = False
        return running

    def on_stopped(self, member: RealMember, outcome: str) -> None:
        """Take what became of an honest member that ran and was asked to stop (`LocalNetwork.stop`)."""
        name = member.process.name
        if outcome == KILLED:
            self.stopped.append(f"asked to stop, {name} still ran {STOP_SECONDS:.0f} s later, and was killed")
        elif member.brought_down_by_itself():
            self.stopped.append(f"asked to stop, {member.how_it_ended()}")

    def look(self) -> None:
        """See who has ended, and why; read what liars report."""
        for member in self.everybody:
            ended = member.ended_unasked()
            if not member.honest:
                member.read_report()
            if ended:
                member.wanted = False
                self._on_end(member)

    def _on_end(self, member: RealMember) -> None:
        if member.crashed_for_ms is not None:
            delay = member.crashed_for_ms * self._slowdown / 1000
            self._later(delay, lambda: self.revive(member))
        elif member.damaged or member.full:
            pass
        elif member.honest and member.brought_down_by_itself():
            self.stopped.append(member.how_it_ended())
        else:
            whom = "" if member.honest else "the liar "
            self.lost.append(f"{whom}{member.how_it_ended()}, and nobody here ended it")
