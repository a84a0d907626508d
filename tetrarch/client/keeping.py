"""The outbox beside an event loop: one thread for the disk, and outcomes written in groups.

What lives here: when the outbox is asked and told. What must not be known here: what it keeps and how
(`ledger.outbox`), what transactions are sent.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from crypto.batch import TxId
from ledger import outbox as ledger_outbox
from ledger.outbox import Entry, NewEntry, Outbox, OutboxError, Settled
from ledger.result import ResultCode
from tetrarch.client.outcome import Outcome
from tetrarch.errors import ConfigurationError, IdempotencyConflict, Rejected

SETTLE_SECONDS: Final = 0.1
"""How long outcomes gather before they are written together: losing the last ones only costs asking again."""

T = TypeVar("T")


class Keeping:
    """All that one client does with its outbox."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="tetrarch-outbox")
        self._settled: list[Settled] = []
        self._timer: asyncio.TimerHandle | None = None
        self._writing: set[asyncio.Task[None]] = set()
        self._fault: OutboxError | None = None

    async def find(self, keys: Sequence[str]) -> dict[str, Entry]:
        """Return what there is for `keys`."""
        return await self._run(lambda: self._outbox.find(keys)) if keys else {}

    async def find_id(self, tx_id: TxId) -> Entry | None:
        """Return what there is for a transaction id."""
        return (await self._run(lambda: self._outbox.find_ids([tx_id]))).get(tx_id)

    async def put(self, entries: Sequence[NewEntry]) -> list[Entry | IdempotencyConflict]:
        """Keep signed transactions, durably; returns for each what now stands under its key, or the
        conflict."""
        if not entries:
            return []
        try:
            return list(await self._run(lambda: self._outbox.put(entries)))
        except IdempotencyConflict as conflict:
            if len(entries) == 1:
                return [conflict]
        # Another process took one of the keys meanwhile: find out which.
        kept: list[Entry | IdempotencyConflict] = []
        for entry in entries:
            kept += await self.put([entry])
        return kept

    async def open_entries(self, limit: int, after: str) -> list[Entry]:
        """Return a page of the entries whose outcome is not known."""
        return await self._run(lambda: self._outbox.open_entries(limit, after))

    def settle(self, outcome: Outcome) -> None:
        """Note a final outcome; it is written soon."""
        if outcome.status == "unknown":
            return
        error, result, code, reason = outcome.error, outcome.result, "", ""
        if isinstance(error, Rejected):
            code, reason = error.code, error.reason
        elif result is not None and result.code is not ResultCode.OK:
            code, reason = result.code.value, result.reason
        self._settled.append(Settled(outcome.tx_id, outcome.status, outcome.height, code, reason))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SETTLE_SECONDS, self._write_soon)

    async def close(self) -> None:
        """Write what is left and close the file. Raises `ConfigurationError` if that failed, now or
        before."""
        if self._timer is not None:
            self._timer.cancel()
        await self._write()
        await asyncio.gather(*self._writing)
        self._disk.shutdown()
        self._outbox.close()
        self._require_written()

    def _write_soon(self) -> None:
        self._timer = None
        task = asyncio.get_running_loop().create_task(self._write())
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write(self) -> None:
        settled, self._settled = self._settled, []
        if settled:
            try:
                await asyncio.get_running_loop().run_in_executor(self._disk, self._outbox.settle, settled)
            except OutboxError as error:
                self._fault = error

    def _require_written(self) -> None:
        """Guard: what could not be written earlier is reported to the next caller, not lost."""
        if self._fault is not None:
            fault, self._fault = self._fault, None
            raise _translated(fault)

    async def _run(self, work: Callable[[], T]) -> T:
        self._require_written()
        try:
            return await asyncio.get_running_loop().run_in_executor(self._disk, work)
        except OutboxError as error:
            raise _translated(error) from None
        except ledger_outbox.IdempotencyConflict as conflict:
            raise IdempotencyConflict(conflict.key, conflict.what) from None


def _translated(error: OutboxError) -> ConfigurationError:
    return ConfigurationError(error.path, "", error.what)
