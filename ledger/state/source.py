"""What the state reads from: the store as a sorted map of bytes, and one in memory.

What lives here: the protocol that a store implements, and an implementation without a disk for tests,
simulations and tools. What must not be known here: the tree, its hashes, RocksDB.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from typing import Protocol


class NodeSource(Protocol):
    """Read access to the stored state, in which all that was committed so far is visible."""

    def get(self, key: bytes) -> bytes | None:
        """Return the bytes stored under a key, or None."""
        ...

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield what is stored from key `start` up to, not including, `end`, in ascending order of the bytes.

        It must raise, never end early, where the store cannot read what it holds.
        """
        ...


class MemorySource:
    """A `NodeSource` in memory, with the one method that a store needs besides."""

    def __init__(self) -> None:
        self._rows: dict[bytes, bytes] = {}
        self._order: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        """Return the bytes stored under a key, or None."""
        return self._rows.get(key)

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows from `start` up to, not including, `end`, as they are now."""
        low, high = bisect_left(self._order, start), bisect_left(self._order, end)
        rows = self._rows
        return iter([(key, rows[key]) for key in self._order[low:high]])

    def apply(self, writes: Mapping[bytes, bytes | None]) -> None:
        """Put every row, or delete it where its bytes are None."""
        fresh = [key for key, row in writes.items() if row is not None and key not in self._rows]
        if len(fresh) > 64:
            self._order = sorted(self._order + fresh)
        else:
            for key in fresh:
                insort(self._order, key)
        for key, row in writes.items():
            if row is not None:
                self._rows[key] = row
            elif self._rows.pop(key, None) is not None:
                del self._order[bisect_left(self._order, key)]
