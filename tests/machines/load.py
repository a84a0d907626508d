"""A steady load from the clients' host: so many transactions a second, whatever becomes of them.

What lives here: submitting in a thread, and what became of each. What must not be known here: faults.
"""

import asyncio
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from msgspec import Struct

from crypto.batch import TxId
from tetrarch.bench.machine import percentile
from tetrarch.client.async_client import AsyncClient
from tetrarch.errors import TetrarchError
from tetrarch.event_loop import run

MAX_OPEN: Final = 2_000
"""Transactions under way at most: a load that is not served shall not grow without bound."""

KEYS: Final = 1_000
"""Keys that come again and again."""


class Sample(Struct, frozen=True):
    """One transaction. Times in s."""

    began: float
    """Since the load began."""
    seconds: float
    """From its submission to its receipt, or to its failure."""
    tx_id: TxId | None
    height: int = 0
    error: str = ""
    """Empty where it is committed."""


class LoadFigures(Struct, frozen=True):
    """What became of a load. Units are in the names."""

    submitted: int
    committed: int
    failed: int
    throughput_tps: float
    p50_ms: float
    p99_ms: float
    longest_ms: float
    longest_silence_s: float
    """Without any receipt."""


class SteadyLoad:
    """A load that lasts as long as its block. Its thread is in the host in which the block begins."""

    def __init__(self, client_file: Path, per_second: float, timeout: float) -> None:
        """`timeout`: how long each transaction may take, s."""
        self._file, self._per_second, self._timeout = client_file, per_second, timeout
        self._thread = threading.Thread(target=self._run, name="load")
        self._changed = threading.Condition()
        self._end = threading.Event()
        self._began = time.monotonic()
        self._error: BaseException | None = None
        self._open = 0
        """Transactions under way."""
        self.samples: list[Sample] = []
        """In the order in which they ended."""

    def __enter__(self) -> "SteadyLoad":
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Submit nothing more, and wait for what is under way."""
        self._end.set()
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    @property
    def committed(self) -> dict[TxId, int]:
        """What was acknowledged so far, and in which block."""
        return {each.tx_id: each.height for each in list(self.samples) if each.tx_id is not None}

    @property
    def failures(self) -> list[str]:
        """Why transactions failed so far."""
        return [each.error for each in list(self.samples) if each.error]

    def wait_for(self, more: int, seconds: float) -> None:
        """Wait until so many more transactions are committed. Raises `TimeoutError` after so many seconds."""
        with self._changed:
            goal = len(self.committed) + more
            if not self._changed.wait_for(lambda: len(self.committed) >= goal or self._error, seconds):
                raise TimeoutError(
                    f"{goal - len(self.committed)} of {more} were not committed in {seconds} s"
                )

    def until_open(self, count: int, seconds: float) -> None:
        """Wait until so many transactions are under way. Raises `TimeoutError` after so many seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._open >= count or self._error, seconds):
                raise TimeoutError(f"{self._open} transactions are under way after {seconds} s, not {count}")

    def _run(self) -> None:
        try:
            run(self._submit_all())
        except BaseException as error:  # noqa: BLE001 - raised anew by who waits for the end
            self._error = error
            with self._changed:
                self._changed.notify_all()

    async def _submit_all(self) -> None:
        under_way: set[asyncio.Task[None]] = set()
        async with AsyncClient.open(self._file) as client:
            number = 0
            while not self._end.is_set():
                if len(under_way) < MAX_OPEN:
                    self._count(+1)
                    task = asyncio.create_task(self._submit(client, number))
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                number += 1
                await asyncio.sleep(max(0.0, self._began + number / self._per_second - time.monotonic()))
            await asyncio.gather(*under_way)

    async def _submit(self, client: AsyncClient, number: int) -> None:
        payload = {"op": "put", "key": f"k{number % KEYS}", "value": str(number)}
        began = time.monotonic()
        tx_id, height, error = None, 0, ""
        try:
            receipt = await client.submit(payload, timeout=self._timeout)
            tx_id, height = receipt.tx_id, int(receipt.height)
        except TetrarchError as caught:
            error = f"{type(caught).__name__}: {caught}"
        self._count(-1)
        with self._changed:
            took = time.monotonic() - began
            self.samples.append(Sample(began - self._began, took, tx_id, height, error))
            self._changed.notify_all()

    def _count(self, change: int) -> None:
        with self._changed:
            self._open += change
            self._changed.notify_all()

    def figures(self) -> LoadFigures:
        """Return what became of it so far."""
        samples = list(self.samples)
        good = [each for each in samples if not each.error]
        ends = sorted(each.began + each.seconds for each in good)
        latencies = [each.seconds * 1000 for each in good]
        last = ends[-1] if ends else 0.0
        return LoadFigures(
            submitted=len(samples),
            committed=len(good),
            failed=len(samples) - len(good),
            throughput_tps=round(len(good) / last, 2) if last else 0.0,
            p50_ms=round(percentile(latencies, 0.5), 1),
            p99_ms=round(percentile(latencies, 0.99), 1),
            longest_ms=round(max(latencies, default=0.0), 1),
            longest_silence_s=round(
                max((after - before for before, after in zip([0.0, *ends], ends, strict=False)), default=0.0),
                2,
            ),
        )
