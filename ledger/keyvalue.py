"""The disk as a few families of sorted keys: in RocksDB, and in memory for simulations.

What lives here: the protocol, its two implementations, and every RocksDB option with its reason. What must
not be known here: what a key or a value means.

Durability: `write` is atomic and ordered, but not durable; `sync` makes all writes before it durable. After a
crash the store holds a prefix of the writes, and that prefix contains everything that was synced.

Integrity: RocksDB's own checksums are verified on every read, and a log with a damaged record is refused
instead of being cut there silently; a record at the log's very end that was torn by a crash is dropped, as it
must be.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import Protocol

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    Checkpoint,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
)

from ledger.errors import DiskFull, StoreError
from ledger.storefiles import translated, verify_files
from ledger.syncmark import SyncMark

MIB = 1024 * 1024

BLOCK_CACHE_BYTES = 24 * MIB
"""Shared by all families, indexes and filters included: together with the write buffers this bounds RocksDB's
memory at some 70 MB, so that a replica stays far below 300 MB however long its chain is."""

WRITE_BUFFERS_BYTES = 48 * MIB
"""All write buffers together; RocksDB flushes the largest when they exceed it."""

LOG_BYTES = 64 * MIB
"""The write-ahead log is cut at this size by flushing the families that hold it back. It bounds the log's
room on disk, and how much is replayed at a start: about half a second."""

OPEN_FILES = 256
"""Table files kept open: a store of 16 GB. Each costs a file descriptor and a little memory."""

FILTER_BITS = 10
"""Bits per key of the Bloom filters: 1 % of the lookups of an absent key read a block in vain."""

MEMTABLE_FILTER_SHARE = 0.05
"""Share of a write buffer used as a filter over its own keys. Measured: the lookup of an absent id falls from
2 us to 0.3."""

INFO_LOGS, INFO_LOG_BYTES = 2, MIB
"""RocksDB's own diary: bounded, or it grows for ever."""


class Family(IntEnum):
    """The column families. Each is one sorted map of bytes."""

    META = 0
    """Which chain this is, and its head."""
    BLOCKS = 1
    """Height -> block."""
    CERTIFICATES = 2
    """Height -> the engine's certificate for the batch."""
    INDEX = 3
    """Transaction id -> where it was executed."""
    STATE = 4
    """The authenticated state's rows."""
    VOTES = 5
    """The engine's records."""
    ARCHIVE = 6
    """Certificates and evidence that outlive the engine's log."""

    @property
    def column(self) -> str:
        """The family's name in RocksDB, whose first one is always called "default"."""
        return self.name.lower() if self else "default"


Change = tuple[Family, bytes, bytes | None]
"""A put of a value under a key; `None` deletes the key."""


class KeyValue(Protocol):
    """A store of families. Everything raises `StoreError`: `DiskFull`, or `CorruptStore` for what cannot be
    read."""

    def get(self, family: Family, key: bytes) -> bytes | None:
        """Return the value under `key`, or `None`."""
        ...

    def get_many(self, family: Family, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values under `keys`, in their order."""
        ...

    def write(self, changes: Sequence[Change]) -> None:
        """Apply `changes` in order, all or none of them. They are not durable before the next `sync`."""
        ...

    def sync(self) -> None:
        """Make everything written so far durable. Blocks; may be called beside `write` from another
        thread."""
        ...

    def scan(
        self, family: Family, start: bytes = b"", end: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values from `start` up to, not including, `end`: as they are now, in the order of
        the keys, or the other way round. Raises where something cannot be read; never ends early."""
        ...

    def close(self) -> None:
        """Release the store. What was not synced may be lost."""
        ...


class MemoryKeyValue:
    """A store in memory that can crash as a disk does: for simulations, tests and tools. For one thread."""

    def __init__(self) -> None:
        self._rows: tuple[dict[bytes, bytes], ...] = tuple({} for _ in Family)
        self._order: list[list[bytes] | None] = [None for _ in Family]
        self._unsynced: list[list[Change]] = []
        """For each write since the last sync, what undoes it."""
        self.full = False
        """While true, writes and syncs raise `DiskFull`."""

    def get(self, family: Family, key: bytes) -> bytes | None:
        """Return the value under `key`, or `None`."""
        return self._rows[family].get(key)

    def get_many(self, family: Family, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values under `keys`, in their order."""
        return list(map(self._rows[family].get, keys))

    def write(self, changes: Sequence[Change]) -> None:
        """Apply `changes`, all or none of them; `crash` undoes them before the next `sync`."""
        self._refuse_when_full()
        self._unsynced.append([self._apply(change) for change in changes])

    def sync(self) -> None:
        """Make everything written so far durable."""
        self._refuse_when_full()
        self._unsynced.clear()

    def crash(self, surviving: int = 0) -> None:
        """Lose what was not synced, but for the first `surviving` writes, which happened to reach the
        disk."""
        while len(self._unsynced) > surviving:
            for change in reversed(self._unsynced.pop()):
                self._apply(change)
        self._unsynced.clear()

    def scan(
        self, family: Family, start: bytes = b"", end: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values from `start` up to, not including, `end`."""
        rows, order = self._rows[family], self._order[family]
        if order is None:
            order = self._order[family] = sorted(rows)
        low = bisect_left(order, start)
        keys = order[low : len(order) if end is None else bisect_left(order, end, low)]
        return iter([(key, rows[key]) for key in (reversed(keys) if reverse else keys)])

    def close(self) -> None:
        """Do nothing: the memory is the disk, and can be opened again."""

    def _apply(self, change: Change) -> Change:
        family, key, value = change
        rows = self._rows[family]
        before = rows.get(key)
        if value is not None:
            rows[key] = value
        elif before is not None:
            del rows[key]
        if (before is None) != (value is None):
            self._order[family] = None
        return family, key, before

    def _refuse_when_full(self) -> None:
        if self.full:
            raise DiskFull("the disk is full: nothing was written")


class RocksKeyValue:
    """A store in a directory of RocksDB's. Made by `open`."""

    def __init__(self, path: Path, database: Rdict, mark: SyncMark) -> None:
        self._path = path
        self._mark = mark
        self._database: Rdict | None = database
        self._families = tuple(
            database if family is Family.META else database.get_column_family(family.column)
            for family in Family
        )
        self._handles = tuple(database.get_column_family_handle(family.column) for family in Family)
        reading = ReadOptions()
        reading.set_verify_checksums(True)
        for family in self._families:
            family.set_read_options(reading)

    @classmethod
    def open(cls, path: Path, read_only: bool = False) -> "RocksKeyValue":
        """Open the store at `path`; it is made where there is none, unless `read_only`.

        A read-only store is a view of what the directory held when it was opened, and must have no writer:
        give it a stopped replica's store, or a `checkpoint`. Raises `StoreLocked` where a process has it
        open, `CorruptStore`, `DiskFull`, or `StoreError`.
        """
        if read_only and not (path / "CURRENT").is_file():
            raise StoreError(f"there is no store at {path}")
        access = AccessType.read_only(False) if read_only else AccessType.read_write()
        cache = Cache(BLOCK_CACHE_BYTES)
        families = {family.column: _options(family, cache) for family in Family}
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            verify_files(path)
            database = Rdict(str(path), families["default"], families, access)
            store = cls(path, database, SyncMark(path, read_only))
        except Exception as error:  # rocksdict raises plain Exception
            raise translated(error, path) from error
        try:
            store._mark.require(database.latest_sequence_number())
        except (StoreError, OSError) as error:
            store.close()
            raise translated(error, path) from error
        return store

    def get(self, family: Family, key: bytes) -> bytes | None:
        """Return the value under `key`, or `None`."""
        try:
            value: bytes | None = self._families[family].get(key)
        except Exception as error:
            raise translated(error, self._path, family.column) from error
        return value

    def get_many(self, family: Family, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values under `keys`, in their order."""
        if not keys:
            return []
        try:
            values: list[bytes | None] | None = self._families[family].get(list(keys))
        except Exception as error:
            raise translated(error, self._path, family.column) from error
        return values or []

    def write(self, changes: Sequence[Change]) -> None:
        """Apply `changes` in one atomic write, without syncing it: that would hold the interpreter's lock."""
        database = self._opened()
        batch = WriteBatch(raw_mode=True)
        put, delete, handles = batch.put, batch.delete, self._handles
        for family, key, value in changes:
            if value is None:
                delete(key, handles[family])
            else:
                put(key, value, handles[family])
        try:
            database.write(batch)
        except Exception as error:
            raise translated(error, self._path) from error

    def sync(self) -> None:
        """Sync the write-ahead log. It releases the interpreter's lock: meant for an executor's thread."""
        try:
            database = self._opened()
            number = database.latest_sequence_number()
            database.flush_wal(True)
            self._mark.note(number)
        except Exception as error:
            raise translated(error, self._path) from error

    def scan(
        self, family: Family, start: bytes = b"", end: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values from `start` up to, not including, `end`, from a view taken at the first of
        them."""
        try:
            rows = self._families[family].iter()
            if not reverse:
                rows.seek(start)
            elif end is None:
                rows.seek_to_last()
            else:
                rows.seek_for_prev(end)
                if rows.valid() and rows.key() == end:
                    rows.prev()
            step = rows.prev if reverse else rows.next
            while rows.valid():
                key = rows.key()
                if key < start or (end is not None and key >= end):
                    return
                yield key, rows.value()
                step()
            # An iterator that meets a damaged block becomes invalid, as at the end: only its status tells.
            rows.status()
        except Exception as error:
            raise translated(error, self._path, family.column) from error

    def checkpoint(self, path: Path) -> None:
        """Make a consistent copy of the store at `path`, which must not exist: hard links, where it is the
        same disk."""
        try:
            Checkpoint(self._opened()).create_checkpoint(str(path))
        except Exception as error:
            raise translated(error, self._path) from error

    def close(self) -> None:
        """Close every family, then the store: the lock stays held until the last of them is closed.

        A flush that fails here, on a full disk, is no error: what was synced is in the log.
        """
        if self._database is None:
            return
        self._handles = ()
        for opened in (*self._families[1:], self._database):
            with suppress(Exception):  # rocksdict raises plain Exception
                opened.close()
        self._mark.close()
        self._database = None

    def _opened(self) -> Rdict:
        if self._database is None:
            raise StoreError(f"the store at {self._path} is closed")
        return self._database


_BUFFER_BYTES = {
    Family.BLOCKS: 16 * MIB,
    Family.VOTES: 16 * MIB,
    Family.INDEX: 4 * MIB,
    Family.STATE: 4 * MIB,
}
"""Write buffers of one family. The votes' is large enough that most records are deleted again, by a
checkpoint, before they would be flushed. The index and the state are written in the order of digests:
measured, a row costs 1.5 us in a buffer of 4 MiB, 2 in one of 16; in one of 1 MiB 1 us, but twice the CPU of
flushing and compacting."""

_SMALL_BUFFER_BYTES = MIB


def _options(family: Family, cache: Cache) -> Options:
    """Return the options of one family, raw mode included: without it keys that exist read as absent."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.create_missing_column_families(True)
    options.set_paranoid_checks(True)
    # The default would drop everything behind a flipped bit in the log, without a word.
    options.set_wal_recovery_mode(DBRecoveryMode.tolerate_corrupted_tail_records())
    options.set_max_total_wal_size(LOG_BYTES)
    options.set_db_write_buffer_size(WRITE_BUFFERS_BYTES)
    options.set_write_buffer_size(_BUFFER_BYTES.get(family, _SMALL_BUFFER_BYTES))
    options.set_max_open_files(OPEN_FILES)
    # Written back as it is made, so that no sync of the log waits behind a whole table file.
    options.set_bytes_per_sync(MIB)
    options.set_keep_log_file_num(INFO_LOGS)
    options.set_max_log_file_size(INFO_LOG_BYTES)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    # One thread writes at a time: what makes concurrent inserts safe only costs.
    options.set_allow_concurrent_memtable_write(False)
    # Signatures, digests and keys do not compress; and files that need no recoding are moved, not rewritten.
    options.set_compression_type(DBCompressionType.none())
    table = BlockBasedOptions()
    table.set_block_cache(cache)
    if family in (Family.INDEX, Family.STATE):
        # Elsewhere nearly all that is looked up is there. A damaged filter is ignored, and nothing else is
        # lost by it.
        table.set_bloom_filter(FILTER_BITS, False)
        options.set_memtable_whole_key_filtering(True)
        options.set_memtable_prefix_bloom_ratio(MEMTABLE_FILTER_SHARE)
    # Charged to the cache, or they would grow with the chain outside of any budget.
    table.set_cache_index_and_filter_blocks(True)
    table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    options.set_block_based_table_factory(table)
    return options
