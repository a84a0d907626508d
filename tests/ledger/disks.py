"""Disks for tests, of both kinds: opened, closed, killed under their owner, and damaged."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ledger.keyvalue import Family, KeyValue, MemoryKeyValue, RocksKeyValue


class Disk(Protocol):
    """What outlives a process."""

    def open(self) -> KeyValue:
        """Open the store; it must not be open."""
        ...

    def kill(self) -> None:
        """End whoever has the store open without letting him close it. What he wrote is there."""
        ...

    def close(self) -> None:
        """Close the store, if it is open."""
        ...


class MemoryDisk:
    """A disk in memory."""

    def __init__(self) -> None:
        self._store = MemoryKeyValue()

    def open(self) -> MemoryKeyValue:
        return self._store

    def kill(self) -> None:
        self._store.crash(surviving=10**9)

    def close(self) -> None:
        self._store.close()


class RocksDisk:
    """A directory. A kill leaves the files as the kernel has them: the next process finds a copy of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._store: RocksKeyValue | None = None
        self._kills = 0

    def open(self) -> RocksKeyValue:
        self._store = RocksKeyValue.open(self.path)
        return self._store

    def kill(self) -> None:
        self._kills += 1
        found = self.path.with_name(f"{self.path.name}-{self._kills}")
        shutil.copytree(self.path, found)
        self.close()
        self.path = found

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None


def change(disk: Disk, family: Family, key: bytes, damage: Callable[[bytes], bytes | None]) -> None:
    """Change one record behind its owner's back, as its owner would write it; `None` removes it."""
    store = disk.open()
    value = store.get(family, key)
    assert value is not None
    store.write([(family, key, damage(value))])
    store.sync()
    disk.close()


def flip(at: int) -> Callable[[bytes], bytes]:
    """Return what flips one bit of the byte at `at`, counted from the end when negative."""

    def damage(value: bytes) -> bytes:
        flipped = bytearray(value)
        flipped[at] ^= 1
        return bytes(flipped)

    return damage
