"""Many runs on all cores.

What lives here: handing tasks out to processes and taking results in, in any order. What must not be known
here: what a task is about, and how progress is shown.
"""

import gc
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 4
"""Chunks handed out per process beyond the one it works on: enough that none waits."""

COLLECT_AFTER = 100_000
"""A world is one large cycle that dies whole: looking for it seldom costs least."""


def cores() -> int:
    """Return how many processes can run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prepare() -> None:
    """Make the collector of this process look seldom; what is loaded now it never looks at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 5, 5)


def run_all(
    work: Callable[[T], R], tasks: Iterable[T], processes: int | None = None, chunk: int = 8
) -> Iterator[R]:
    """Yield `work(task)` for every task, as they are done. `work` and tasks must be picklable.

    With one process all is done in this one. Raises what `work` raised, and `BrokenProcessPool` where a
    process was lost.
    """
    number = cores() if processes is None else processes
    if number <= 1:
        yield from map(work, tasks)
        return
    context = multiprocessing.get_context("forkserver" if "forkserver" in _METHODS else "spawn")
    with ProcessPoolExecutor(number, mp_context=context, initializer=prepare) as pool:
        waiting: set[Future[list[R]]] = set()
        for part in _chunks(tasks, chunk):
            waiting.add(pool.submit(_several, work, part))
            if len(waiting) >= number * (1 + AHEAD):
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield from future.result()
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                yield from future.result()


_METHODS = multiprocessing.get_all_start_methods()


def _several(work: Callable[[T], R], tasks: list[T]) -> list[R]:
    return [work(task) for task in tasks]


def _chunks(tasks: Iterable[T], size: int) -> Iterator[list[T]]:
    chunk: list[T] = []
    for task in tasks:
        chunk.append(task)
        if len(chunk) >= size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
