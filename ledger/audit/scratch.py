"""The state that re-execution builds: in memory while it is small, then in a temporary store.

What lives here: rows by key, their order, the move to disk. What must not be known here: what a row means.
"""

import shutil
import tempfile
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from ledger.keyvalue import Change, Family, KeyValue, RocksKeyValue

MEMORY_BYTES: Final = 192 * 1024 * 1024
"""Beyond this, keys and values together, the rows move to disk: a large state must not need a large
machine."""

ROW_BYTES: Final = 200
"""What a row costs in memory beside its bytes."""

MOVED_AT_ONCE: Final = 10_000
"""Rows per write while moving."""


class ScratchState:
    """A `ledger.state` source that takes writes. A context manager: the temporary store goes with it."""

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        self._limit = memory_bytes
        self._rows: dict[bytes, bytes] = {}
        self._order: list[bytes] | None = None
        self._held = 0
        self._disk: KeyValue | None = None
        self._directory: Path | None = None

    def __enter__(self) -> "ScratchState":
        return self

    def __exit__(self, *_: object) -> None:
        if self._disk is not None:
            self._disk.close()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def on_disk(self) -> bool:
        """Whether the rows have moved to disk."""
        return self._disk is not None

    def get(self, key: bytes) -> bytes | None:
        """Return the row under `key`, or `None`."""
        return self._rows.get(key) if self._disk is None else self._disk.get(Family.STATE, key)

    def scan(self, start: bytes, end: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows from `start` up to, not including, `end`, in order."""
        if self._disk is not None:
            return self._disk.scan(Family.STATE, start, end)
        if self._order is None:
            self._order = sorted(self._rows)
        rows, order = self._rows, self._order
        low = bisect_left(order, start)
        high = len(order) if end is None else bisect_left(order, end)
        return ((key, rows[key]) for key in order[low:high])

    def apply(self, writes: Mapping[bytes, bytes | None]) -> None:
        """Put every row, or delete it where its bytes are None."""
        if self._disk is not None:
            self._disk.write([(Family.STATE, key, row) for key, row in writes.items()])
            return
        rows, before = self._rows, len(self._rows)
        for key, row in writes.items():
            old = rows.get(key)
            if old is not None:
                self._held -= len(old)
            if row is None:
                if rows.pop(key, None) is not None:
                    self._held -= len(key) + ROW_BYTES
                    self._order = None
                continue
            rows[key] = row
            self._held += len(row) if old is not None else len(row) + len(key) + ROW_BYTES
        if len(rows) != before:
            self._order = None
        if self._held > self._limit:
            self._move()

    def _move(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="tetrarch-audit-"))
        self._disk = RocksKeyValue.open(self._directory / "state")
        changes: list[Change] = []
        for key, row in self._rows.items():
            changes.append((Family.STATE, key, row))
            if len(changes) == MOVED_AT_ONCE:
                self._disk.write(changes)
                changes = []
        self._disk.write(changes)
        self._rows, self._order = {}, None
