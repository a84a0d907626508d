"""What the machine can do, and what its processes took: signature rates, cores, CPU time and memory.

What lives here: measuring. What must not be known here: networks, transactions.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from msgspec import Struct

from crypto.keys import SigningKey, verify

CHUNK: Final = 40
CHUNKS: Final = 200
"""About 2 ms a chunk and 0.4 s in all. The quickest chunk counts: what a neighbour takes away would make the
machine look slower than it is, and the ledger better."""

SIGNED_BYTES: Final = 220
"""As many bytes as one of the bench's transactions signs."""


class Rates(Struct, frozen=True):
    """The price of signatures on one core, in µs, and how many cores there are."""

    verify_us: float
    sign_us: float
    cores: int

    def limit_tps(self, replicas: int) -> float:
        """Return how many transactions per second signatures alone would allow: each is signed once and
        verified by every replica, on the same cores."""
        return self.cores / ((replicas * self.verify_us + self.sign_us) / 1e6)

    @property
    def verifications_per_second(self) -> float:
        """What all cores together could verify."""
        return self.cores / (self.verify_us / 1e6)


class Usage(Struct, frozen=True):
    """What a process took so far."""

    cpu_seconds: float
    peak_mb: float
    resident_mb: float


def measure_rates() -> Rates:
    """Measure PyNaCl's signing and verifying, as replicas and clients use it."""
    signer = SigningKey.generate()
    message = os.urandom(SIGNED_BYTES)
    signature = signer.sign(message)
    key = signer.public_key
    return Rates(
        verify_us=_quickest_us(lambda: verify(key, message, signature)),
        sign_us=_quickest_us(lambda: signer.sign(message)),
        cores=cores(),
    )


def cores() -> int:
    """Return how many cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _quickest_us(operation: Callable[[], object]) -> float:
    quickest = float("inf")
    for _ in range(CHUNKS):
        started = time.perf_counter()
        for _ in range(CHUNK):
            operation()
        quickest = min(quickest, time.perf_counter() - started)
    return quickest / CHUNK * 1e6


def usage(pid: int) -> Usage | None:
    """Return what the process with this number took, where the system tells (proc(5)); else `None`."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text(errors="replace")
    except OSError:
        return None
    memory = {
        name: int(value.split()[0]) / 1000 * 1.024
        for name, _, value in (line.partition(":") for line in status.splitlines())
        if name in ("VmHWM", "VmRSS")
    }
    ticks = int(fields[11]) + int(fields[12])
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), memory.get("VmHWM", 0.0), memory.get("VmRSS", 0.0))


def percentile(values: list[float], share: float) -> float:
    """Return the value that `share` of `values` do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
