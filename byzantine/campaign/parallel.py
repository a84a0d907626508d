"""Many runs on all cores.

What lives here: handing tasks out to processes and taking results in, in any order, also where a process is
lost. What must not be known here: what a task is about, and how progress is shown.
"""

import gc
import multiprocessing
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
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
    work: Callable[[T], R],
    tasks: Iterable[T],
    lost: Callable[[T], R],
    processes: int | None = None,
    chunk: int = 8,
) -> Iterator[R]:
    """Yield `work(task)` for every task, as they are done. `work` and tasks must be picklable.

    With one process all is done in this one. Where a process is lost (killed for want of memory, say), the
    tasks that were under way are done again, each in a process of its own; `lost(task)` is what is yielded
    for those that take their process with them. Raises what `work` raised.
    """
    number = cores() if processes is None else processes
    if number <= 1:
        yield from map(work, tasks)
        return
    parts = _chunks(tasks, chunk)
    more = True
    while more:
        unfinished: list[list[T]] = []
        more = yield from _run_pool(work, parts, number, unfinished)
        for task in (task for part in unfinished for task in part):
            yield _alone(work, task, lost)


def _run_pool(
    work: Callable[[T], R], parts: Iterator[list[T]], number: int, unfinished: list[list[T]]
) -> Generator[R, None, bool]:
    """Yield results until all parts are done, or a process is lost: then what was under way is `unfinished`.

    Returns whether there may be more parts."""
    waiting: dict[Future[list[R]], list[T]] = {}
    broken = False
    with ProcessPoolExecutor(number, mp_context=_context(), initializer=prepare) as pool:
        try:
            while True:
                while not broken and len(waiting) < number * (1 + AHEAD):
                    part = next(parts, None)
                    if part is None:
                        break
                    try:
                        waiting[pool.submit(_several, work, part)] = part
                    except BrokenProcessPool:
                        unfinished.append(part)
                        broken = True
                if not waiting:
                    return broken
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    part = waiting.pop(future)
                    try:
                        results = future.result()
                    except BrokenProcessPool:
                        unfinished.append(part)
                        broken = True
                    else:
                        yield from results
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _alone(work: Callable[[T], R], task: T, lost: Callable[[T], R]) -> R:
    with ProcessPoolExecutor(1, mp_context=_context(), initializer=prepare) as pool:
        try:
            return pool.submit(work, task).result()
        except BrokenProcessPool:
            return lost(task)


def _context() -> BaseContext:
    methods = multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")


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
