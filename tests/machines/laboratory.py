"""The laboratory: hosts with addresses of their own, and what can be done to the network between them.

What lives here: making hosts, connecting them by a cable, faults between hosts by name, processes
in hosts, and the end of all that. What must not be known here: what these processes are.

    with Laboratory(["replica-0", "client"]) as lab:
        lab.delay(Delay(100))
        with lab.inside("client"):
            ...                       # sockets, threads and processes made here are the client's
"""

import subprocess
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from itertools import permutations
from pathlib import Path
from types import TracebackType
from typing import Final

from tests.machines.cabling import Cabling, Delay
from tests.machines.hosts import Host
from tests.machines.namespaces import Unavailable

MAX_HOSTS: Final = 120
"""More have no place in an address' last part, or among the descriptors of the cable."""

END_SECONDS: Final = 5.0
"""How long a process that is asked to end may take."""


class Laboratory:
    """Some hosts and the network between them. A context manager."""

    def __init__(self, names: Sequence[str], seed: int = 0) -> None:
        """`seed`: of what the cable draws by lot."""
        if len(names) > MAX_HOSTS or len(set(names)) < len(names):
            raise ValueError(f"a laboratory has up to {MAX_HOSTS} hosts with different names")
        self._names = tuple(names)
        self._held = ExitStack()
        self.cabling = Cabling(seed)
        self._cut: set[tuple[str, str]] = set()
        self.hosts: dict[str, Host] = {}

    def __enter__(self) -> "Laboratory":
        """Raises `Unavailable`."""
        try:
            self._build()
        except BaseException:
            self._held.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held.close()

    def _build(self) -> None:
        self._held.callback(self.cabling.close)
        for number, name in enumerate(self._names, 1):
            host = self.hosts[name] = Host(name, number)
            self._held.callback(host.namespace.close)
            self.cabling.connect(host)
            host.bring_up()
        self.cabling.start()

    # What runs in it.

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Be in a host with this thread, and with all that it starts until the block ends."""
        with self.hosts[name].namespace.entered():
            yield

    def start(self, name: str, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a process in a host, which is ended with the laboratory at the latest. Raises `OSError`.

        `log`: where all that it prints goes.
        """
        with self.inside(name), log.open("wb") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self._held.callback(_end, process)
        return process

    # What is done to the network.

    def cut(self, source: str, target: str) -> None:
        """Let nothing of what `source` sends be heard at `target`. The other direction is another one."""
        self._cut.add((source, target))
        self._apply({target})

    def partition(self, *groups: Collection[str]) -> None:
        """Let nothing pass between hosts of different groups; who is in no group hears everybody."""
        side = {name: number for number, group in enumerate(groups) for name in group}
        self._cut |= {(one, other) for one, other in permutations(side, 2) if side[one] != side[other]}
        self._apply(side)

    def mend(self) -> None:
        """Let everything pass that was cut."""
        self._cut.clear()
        self._apply(self.hosts)

    def _apply(self, names: Iterable[str]) -> None:
        for name in names:
            sources = [source for source, target in self._cut if target == name]
            self.hosts[name].be_deaf_to(self.hosts[source].address for source in sources)

    def lose(self, share: float, names: Iterable[str] | None = None) -> None:
        """Lose this share, 0 to 1, of all packets on their way to these hosts, or to all."""
        for name in self.hosts if names is None else names:
            self.hosts[name].lose(share)

    def limit(self, kbit_per_second: int | None, names: Iterable[str] | None = None) -> None:
        """Let these hosts, or all, send no more than so much; `None`: without limit."""
        for name in self.hosts if names is None else names:
            self.hosts[name].limit(kbit_per_second)

    def delay(self, delay: Delay, pairs: Iterable[tuple[str, str]] | None = None) -> None:
        """Let these directions, or all, take so long."""
        chosen = permutations(self.hosts, 2) if pairs is None else pairs
        self.cabling.set(((self.hosts[one], self.hosts[other]) for one, other in chosen), delay)

    # Whether it was done.

    def dropped(self, kind: str) -> dict[str, int]:
        """Return how many packets each host did not hear, because it was `cut` off or they were `lost`."""
        return {name: host.dropped()[kind] for name, host in self.hosts.items()}

    def held_back(self) -> dict[str, int]:
        """Return how often a packet of each host had to wait under the present limit."""
        return {name: host.held_back() for name, host in self.hosts.items()}


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@cache
def missing() -> str:
    """Return why there can be no laboratory on this machine, after trying all that it is made of, or an empty
    text."""
    try:
        with Laboratory(["one", "other"]) as lab:
            lab.cut("one", "other")
            lab.lose(0.5)
            lab.limit(1000)
            lab.dropped("cut")
            lab.held_back()
    except Unavailable as error:
        return str(error)
    return ""
