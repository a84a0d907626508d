"""Opening a store for an audit: also a running replica's, and never changing a byte of it.

What lives here: a mirror of the store's files to open, damage that RocksDB meets, turned into faults, and
reading. What must not be known here: what a record means.

Opening a RocksDB directory writes into it, read-only too (rocksdict rewrites its configuration). So a
mirror is opened: a temporary directory with copies of the small files that a writer appends to (the log and
the manifest) and symbolic links to the table files, which never change. It is a consistent view, since it
is taken again until no file came or went meanwhile. All table files are opened at once: what a running
replica then deletes stays readable.

Nothing damaged is passed over: the log must be whole up to its last byte, and so must the manifest; RocksDB
itself would drop what looks like a torn end. If the store can be opened only by leaving something out, then
that is done, with a fault that says so: the rest is still worth auditing.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

from rocksdict import AccessType, BlockBasedOptions, Cache, DBRecoveryMode, Options, Rdict, ReadOptions

from ledger.audit.report import Fault
from ledger.errors import CorruptStore, StoreError
from ledger.keyvalue import Family
from ledger.logframes import whole_length
from ledger.storefiles import belongs, explained, unusable
from ledger.syncmark import NAME as SYNC_MARK
from ledger.syncmark import SyncMark

CACHE_BYTES = 32 * 1024 * 1024
"""Blocks, indexes and filters in memory: an audit reads forward, so little is read twice."""

OPEN_AT_ONCE = 512
"""Up to so many table files all are opened at once, which checks their frames and keeps deleted ones
readable; beyond, a usual limit of 1024 file descriptors would end it."""

MIRROR_ATTEMPTS = 50
MIRROR_PAUSE_SECONDS = 0.02
"""A running replica makes or drops a file every few seconds at most; a mirror of it takes milliseconds."""

LIVE_ATTEMPTS = 5
"""A log copied while a record was being written looks torn; the next copy is whole."""


class AuditedStore(Protocol):
    """What an audit reads: any `ledger.keyvalue.KeyValue` is one. All raise `StoreError`."""

    def get(self, family: Family, key: bytes) -> bytes | None:
        """Return the value under `key`, or `None`."""
        ...

    def scan(
        self, family: Family, start: bytes = b"", end: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values in order; raise, and never end early, where something cannot be read."""
        ...


class StoreChanged(StoreError):
    """A running replica replaced files while they were read. Not the store's fault."""


class OpenedStore(NamedTuple):
    """A store opened for an audit."""

    store: "StoreView | None"
    """None where it cannot be opened at all."""
    faults: Sequence[Fault]
    """What is wrong with its files."""


class StoreView:
    """A frozen view of a store. Made by `open_for_audit`."""

    def __init__(self, path: Path, database: Rdict) -> None:
        self._path = path
        self._database = database
        self._families = [
            database if family is Family.META else database.get_column_family(family.column)
            for family in Family
        ]
        reading = ReadOptions()
        reading.set_verify_checksums(True)
        for family in self._families:
            family.set_read_options(reading)

    def get(self, family: Family, key: bytes) -> bytes | None:
        """Return the value under `key`, or `None`. Raises `CorruptStore`, `StoreChanged`."""
        try:
            value: bytes | None = self._families[family].get(key)
        except Exception as error:  # rocksdict raises plain Exception
            raise self._unreadable(error) from error
        return value

    def scan(
        self, family: Family, start: bytes = b"", end: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values from `start` up to, not including, `end`. Raises `CorruptStore`,
        `StoreChanged`."""
        try:
            rows = self._families[family].iter()
            if not reverse:
                rows.seek(start)
            elif end is None:
                rows.seek_to_last()
            else:
                rows.seek_for_prev(end)
            step = rows.prev if reverse else rows.next
            while rows.valid():
                key = rows.key()
                if end is not None and key >= end:
                    if not reverse:
                        return
                elif key < start:
                    return
                else:
                    yield key, rows.value()
                step()
            # At a damaged block the iterator becomes invalid, as at the end: only its status tells.
            rows.status()
        except Exception as error:
            raise self._unreadable(error) from error

    def last_change(self) -> int:
        """Return the number of the store's last change."""
        return int(self._database.latest_sequence_number())

    def close(self) -> None:
        """Close every family, then the store."""
        for family in self._families[1:]:
            family.close()
        self._database.close()

    def _unreadable(self, error: Exception) -> StoreError:
        if isinstance(error, StoreError):
            return error
        text = _plain(error)
        if "no such file" in text.lower():
            return StoreChanged(f"{self._path}: {text}. {BUSY}")
        return CorruptStore(explained(text).what)


BUSY = "A running replica replaces its files: audit a copy of its store, or stop it meanwhile"


def holds_store(path: Path) -> bool:
    """Return whether any file of a store is in `path`: damage may have taken each of them, `CURRENT` too.

    Raises `StoreError` where the directory cannot be read.
    """
    return path.is_dir() and any(map(_belongs, _names(path)))


@contextmanager
def open_for_audit(path: Path, name: str | None = None) -> Iterator[OpenedStore]:
    """Open the store in directory `path`, whether or not a replica is running on it; nothing there is
    changed.

    The view is of one moment. `name` stands for the store in faults. Raises `StoreError` where there is no
    store, or it cannot be read for reasons that are not its own.
    """
    if not holds_store(path):
        raise StoreError(f"there is no store at {path}")
    strange = [file for file in sorted(_names(path)) if _belongs(file) and (path / file).is_dir()]
    if strange:
        what = "a directory, where a file of the store must be"
        yield OpenedStore(None, [Fault(name or str(path), "files", None, file, what) for file in strange])
        return
    with tempfile.TemporaryDirectory(prefix="tetrarch-audit-") as scratch:
        opened = _open_mirrored(path, Path(scratch), name or str(path))
        try:
            yield opened
        finally:
            if opened.store is not None:
                opened.store.close()


def _open_mirrored(path: Path, scratch: Path, name: str) -> OpenedStore:
    """Open a mirror, anew as long as a running replica writes into what is being copied."""
    for attempt in range(LIVE_ATTEMPTS):
        directory = scratch / str(attempt)
        sizes = _mirror(path, directory)
        opened = _open_whole(path, directory, name)
        if not opened.faults or _log_sizes(path) == sizes:
            break
        if opened.store is not None and attempt < LIVE_ATTEMPTS - 1:
            opened.store.close()
    return opened


def _open_whole(path: Path, directory: Path, name: str) -> OpenedStore:
    """Open the mirror in `directory`: strictly, or else with what can still be read."""
    faults = list(_frame_faults(directory, name))
    if any(fault.field.startswith("MANIFEST-") for fault in faults):
        return OpenedStore(None, faults)
    tables = sum(file.endswith(".sst") for file in _names(directory))
    at_once = -1 if tables <= OPEN_AT_ONCE else OPEN_AT_ONCE
    problem = ""
    for attempt in (_Opening(at_once, True), _Opening(at_once, True, True), _Opening(cut_log=True)):
        try:
            store = StoreView(path, _database(directory, attempt))
        except Exception as error:  # noqa: BLE001 - rocksdict raises plain Exception
            problem = problem or _plain(error, directory)
            continue
        if problem:
            faults.append(_open_fault(directory, name, problem, attempt.strict))
        faults += [*_mark_faults(directory, store, name), *_strange_families(directory, name)]
        return OpenedStore(store, faults)
    return OpenedStore(None, [*faults, _open_fault(directory, name, problem, False)])


class _Opening(NamedTuple):
    """One way to open a mirror."""

    open_files: int = OPEN_AT_ONCE
    strict: bool = False
    """Whether a damaged table file ends it."""
    cut_log: bool = False
    """Whether a log is read up to its first damage only."""


def _open_fault(directory: Path, name: str, problem: str, log_damaged: bool) -> Fault:
    if log_damaged:
        logs = ", ".join(file for file in sorted(_names(directory)) if file.endswith(".log"))
        what = f"{explained(problem).what}: what it held behind that was left out"
        return Fault(name, "files", None, logs, what)
    complaint = explained(problem)
    return Fault(name, "files", None, complaint.file or "files", complaint.what)


def _frame_faults(directory: Path, name: str) -> Iterator[Fault]:
    """Yield what is wrong with the frames of logs and manifest; cut a copied log where its frame is
    damaged."""
    for file in sorted([*directory.glob("MANIFEST-*"), *directory.glob("*.log")]):
        data = file.read_bytes()
        good = whole_length(data)
        if good < len(data):
            what = f"its records are damaged or torn from byte {good} of {len(data)} on: that was left out"
            yield Fault(name, "files", None, file.name, what)
            if file.suffix == ".log":
                file.write_bytes(data[:good])


def _strange_families(directory: Path, name: str) -> Iterator[Fault]:
    """Yield the families that are no store's: read-only, RocksDB opens a store without them."""
    known = {family.column for family in Family}
    for column in sorted(set(Rdict.list_cf(str(directory))) - known):
        yield Fault(name, "files", None, f"column family {column}", "a family that is no part of a store")


def _mark_faults(directory: Path, store: StoreView, name: str) -> Iterator[Fault]:
    mark = SyncMark(directory, read_only=True)
    try:
        mark.require(store.last_change())
    except CorruptStore as error:
        yield Fault(name, "files", None, SYNC_MARK, error.what)
    finally:
        mark.close()


def _database(directory: Path, opening: _Opening) -> Rdict:
    cache = Cache(CACHE_BYTES)
    cut, whole = DBRecoveryMode.point_in_time(), DBRecoveryMode.absolute_consistency()
    families: dict[str, Options] = {}
    for family in Family:
        table = BlockBasedOptions()
        table.set_block_cache(cache)
        # Charged to the cache, or they would grow with the chain.
        table.set_cache_index_and_filter_blocks(True)
        options = Options(raw_mode=True)
        options.set_paranoid_checks(opening.strict)
        options.set_max_open_files(opening.open_files)
        options.set_wal_recovery_mode(cut if opening.cut_log else whole)
        options.set_block_based_table_factory(table)
        options.set_db_log_dir(str(directory / "log"))
        families[family.column] = options
    return Rdict(str(directory), families["default"], families, AccessType.read_only(False))


def _mirror(path: Path, directory: Path) -> dict[str, int]:
    """Mirror the files of the store at `path` as they are at one moment; return the sizes of what was
    copied."""
    for _ in range(MIRROR_ATTEMPTS):
        before = sorted(filter(_belongs, _names(path)))
        directory.mkdir()
        try:
            # The note of what was synced first: it must not be ahead of the log.
            sizes = {file: _take(path, directory, file) for file in sorted(before, key=_order)}
        except OSError as error:
            if sorted(filter(_belongs, _names(path))) == before:
                raise unusable(error, path) from error
        else:
            if sorted(filter(_belongs, _names(path))) == before:
                return {file: size for file, size in sizes.items() if size is not None}
        shutil.rmtree(directory)
        time.sleep(MIRROR_PAUSE_SECONDS)
    raise StoreChanged(f"{path}: its files changed {MIRROR_ATTEMPTS} times while they were copied. {BUSY}")


def _take(path: Path, directory: Path, file: str) -> int | None:
    """Copy or link one file; return the size of a copied log."""
    source, target = path / file, directory / file
    if file.endswith(".sst"):
        target.symlink_to(source.resolve(strict=True))
        return None
    shutil.copyfile(source, target)
    return target.stat().st_size if file.endswith(".log") else None


def _log_sizes(path: Path) -> dict[str, int]:
    try:
        return {file.name: file.stat().st_size for file in path.glob("*.log")}
    except FileNotFoundError:
        return {}


def _order(file: str) -> tuple[int, str]:
    return (0 if file == SYNC_MARK else 1 if file.endswith(".log") else 2, file)


def _belongs(file: str) -> bool:
    return belongs(file) or file == SYNC_MARK


def _names(directory: Path) -> list[str]:
    try:
        return [file.name for file in directory.iterdir()]
    except OSError as error:
        raise StoreError(f"{directory}: {error.strerror}") from error


def _plain(error: Exception, mirror: Path | None = None) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if mirror is None else text.replace(f"{mirror}/", "")
