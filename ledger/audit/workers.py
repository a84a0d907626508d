"""Worker processes that inspect blocks: started when there is enough to do, replaced when one dies.

What lives here: jobs, the bounded window of jobs in flight, the pool. What must not be known here: what
inspecting means, in what order results matter beyond that they come as the jobs went.

The processes are spawned, never forked: a fork would copy RocksDB's threads' locks in whatever state they
are. What travels are whole pieces of stored bytes; the workers parse and hash them as well, so that the
main process is left with reading and re-executing.
"""

import gc
import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from types import TracebackType
from typing import Final

from ledger.audit.inspection import BlockRow, Inspected, Inspector, Setup

JOB_BYTES: Final = 128 * 1024
"""Some 600 small transactions, 40 ms of work: beside it, handing a job over costs nothing."""

JOB_BLOCKS: Final = 256
"""Bounds what one job's answer holds where blocks are empty."""

INLINE_BYTES: Final = 1024 * 1024
"""What is inspected here before processes are started: half a second's work, as long as starting them
takes."""

WINDOW_JOBS: Final = 4
"""Jobs in flight for each process: enough that none ever waits for the main one."""

WINDOW_BYTES: Final = 64 * 1024 * 1024
"""What the jobs in flight may hold, whatever the size of blocks."""

MAX_RESTARTS: Final = 3
"""A pool that broke so often is not started again: the audit goes on in this process, slower."""

Job = list[BlockRow]

_inspector: Inspector | None = None
"""A worker process' own."""


def _start(setup: Setup) -> None:
    """Make a worker process ready."""
    global _inspector
    # What it handles has no cycles: collecting them would be in vain.
    gc.disable()
    # An interrupt at the terminal goes to all processes; the main one decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _inspector = Inspector(setup)


def _work(rows: Job) -> list[Inspected]:
    if _inspector is None:
        raise RuntimeError("a worker that was not started properly")
    return _inspector.inspect(rows)


def available_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """Inspects jobs in order, in processes where that is worth it. A context manager."""

    def __init__(self, setup: Setup, processes: int, inline_bytes: int = INLINE_BYTES) -> None:
        """With `processes` 0, as many as there are processors; with 1 (or one processor), all is done
        inline."""
        self._setup = setup
        self._processes = processes or available_processors()
        self._inline = Inspector(setup)
        self._inline_left = inline_bytes
        self._pool: ProcessPoolExecutor | None = None
        self.restarts = 0

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Sequence[Inspected]]]:
        """Yield each job with what its inspection gave, in order. A few jobs ahead are taken from `jobs`."""
        flight: deque[tuple[Job, int, Future[list[Inspected]] | None]] = deque()
        held = 0
        for job in jobs:
            size = job_bytes(job)
            flight.append((job, size, self._submit(job, size)))
            held += size
            while len(flight) > self._processes * WINDOW_JOBS or held > WINDOW_BYTES or flight[0][2] is None:
                first, size, _ = flight[0]
                yield first, self._collect(flight)
                held -= size
                if not flight:
                    break
        while flight:
            yield flight[0][0], self._collect(flight)

    def _collect(self, flight: deque[tuple[Job, int, Future[list[Inspected]] | None]]) -> Sequence[Inspected]:
        """Take the first job out of `flight` and return its result; a broken pool is replaced before."""
        while True:
            job, _, future = flight[0]
            if future is None:
                flight.popleft()
                return self._inline.inspect(job)
            try:
                done = future.result()
            except BrokenProcessPool:
                self._replace_pool(flight)
            else:
                flight.popleft()
                return done

    def _submit(self, job: Job, size: int) -> Future[list[Inspected]] | None:
        """Hand a job to the pool; None where it is to be done here."""
        if self._processes == 1 or self.restarts > MAX_RESTARTS:
            return None
        if self._inline_left > 0:
            self._inline_left -= size
            return None
        try:
            return self._started().submit(_work, job)
        except BrokenProcessPool:
            # Found when its turn comes; then the whole flight is submitted again.
            broken: Future[list[Inspected]] = Future()
            broken.set_exception(BrokenProcessPool("it broke before"))
            return broken

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._processes, get_context("spawn"), initializer=_start, initargs=(self._setup,)
            )
        return self._pool

    def _replace_pool(self, flight: deque[tuple[Job, int, Future[list[Inspected]] | None]]) -> None:
        """A worker died: submit what is in flight to a new pool; or, after too many deaths, to nobody."""
        self._stop()
        self.restarts += 1
        for _ in range(len(flight)):
            job, size, _old = flight.popleft()
            flight.append((job, size, self._submit(job, size)))

    def _stop(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def job_bytes(job: Job) -> int:
    """Return how many stored bytes a job carries."""
    return sum(len(row.block or b"") + len(row.certificate or b"") for row in job)


def in_jobs(rows: Iterable[BlockRow]) -> Iterator[Job]:
    """Yield `rows` in jobs of a size that is worth handing over."""
    job: Job = []
    size = 0
    for row in rows:
        job.append(row)
        size += len(row.block or b"") + len(row.certificate or b"")
        if size >= JOB_BYTES or len(job) >= JOB_BLOCKS:
            yield job
            job, size = [], 0
    if job:
        yield job
