"""Verifying signatures in other processes, for replicas that have cores to spare.

A chunk is handed over as a whole: never one hand-off per signature. Beside a busy event loop a thread would
have to win the interpreter's lock back for every call, so only processes help.
"""

import signal
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

from crypto.keys import Check, InlineChecker, PublicKey


class CheckingProcesses:
    """A pool of processes that verify chunks of checks."""

    def __init__(self, processes: int) -> None:
        if processes < 1:
            raise ValueError("at least one process has to verify")
        # Spawned, not forked: the parent has a running loop, threads and an open store.
        self._pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_leave_signals)

    def submit(self, checks: Sequence[Check]) -> "Future[list[bool]]":
        """Have one chunk verified; the results come in the order of the checks."""
        return self._pool.submit(_check, [(check.key, check.signed, check.signature) for check in checks])

    def close(self) -> None:
        """End the processes; chunks not begun are given up."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _leave_signals() -> None:
    """The parent decides when to stop: a Ctrl-C in the terminal reaches the whole group."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _check(checks: Sequence[tuple[PublicKey, bytes, bytes]]) -> list[bool]:
    return InlineChecker().check([Check(*check) for check in checks])
