"""The files of a store: what must be right before RocksDB may open it, and what its complaints mean.

What lives here: names, kinds and frames of files, and RocksDB's messages in words that name the file. What
must not be known here: opening, records.

RocksDB makes a new, empty store where it finds no CURRENT, drops what a damaged length hides, and reads for
ever where the kind of a record is damaged. None of these may befall a replica that has voted.
"""

import mmap
import os
import re
import stat
from pathlib import Path
from typing import Final, NamedTuple

from rocksdict import DbClosedError

from ledger.errors import CorruptStore, DiskFull, StoreError, StoreLocked
from ledger.logframes import extent

CURRENT: Final = "CURRENT"
"""Names the manifest, which names all else. Every store has one."""

_PARTS: Final = re.compile(r"[0-9]{6,20}\.(?:sst|log)|MANIFEST-[0-9]{6,20}|CURRENT")
_MANIFEST_LINE: Final = re.compile(rb"(MANIFEST-[0-9]{6,20})\n")
_FILE_IN_TEXT: Final = re.compile(rf"\b({_PARTS.pattern}|IDENTITY|LOCK)\b")
_TABLE_IN_TEXT: Final = re.compile(r"table file ([0-9]+)\b")
_ADDENDUM: Final = re.compile(r" The file \S+ may be corrupted\.?")
"""What RocksDB says of the manifest whatever file it could not open."""

_FULL: Final = ("no space left on device", "quota exceeded", "file too large", "disk full", "space limit")
_CORRUPT: Final = ("corruption", "checksum mismatch", "is a directory", "column families not opened")
_LOCKED: Final = ("lock hold by current process", "while lock file")

MAKE_ROOM: Final = "Make room, then start again: nothing that was synced is lost"


class Complaint(NamedTuple):
    """What RocksDB found wrong."""

    file: str
    """The file's name; empty where RocksDB does not tell."""
    what: str
    """One sentence that names the file."""


def belongs(file: str) -> bool:
    """Return whether a file of this name holds part of what a store says; others are diaries and settings."""
    return _PARTS.fullmatch(file) is not None


def verify_files(path: Path) -> None:
    """Verify what must be right before RocksDB may open the store at `path`; an empty directory is.

    Raises `CorruptStore`, and `StoreError` for a file that may not be read.
    """
    names = sorted(os.listdir(path))
    files = [name for name in names if belongs(name)]
    if CURRENT not in files:
        if files:
            raise CorruptStore(f"its file {CURRENT} is missing, but it has {files[0]}")
        return
    for name in names:
        if (belongs(name) or name in ("IDENTITY", "LOCK")) and not stat.S_ISREG(os.stat(path / name).st_mode):
            raise CorruptStore(f"{name} is not a file, but must be one")
    _verify_frame(path / _manifest(path))
    for name in files:
        if name.endswith(".log"):
            _verify_frame(path / name)


def explained(text: str) -> Complaint:
    """Return what one of RocksDB's messages means."""
    plain = _ADDENDUM.sub("", " ".join(text.split()))
    file = _file_in(plain) or _file_in(text)
    lowered = plain.lower()
    meaning = next((words for mark, words in _MEANINGS if mark in lowered), "")
    if not meaning:
        return Complaint(file, f"RocksDB: {_without_paths(plain)}")
    if file:
        return Complaint(file, f"{_kind_of(file)}{file} {meaning}")
    if "column families" in lowered:
        return Complaint("", f"its manifest {meaning}")
    # Of all files it names none but the log's.
    return Complaint("", f"its write-ahead log {meaning}")


_MEANINGS: Final = (
    ("no space left", "cannot grow"),
    ("quota exceeded", "may not grow: the quota is used up"),
    ("file too large", "may not grow: files of this size are not allowed"),
    ("column families not opened", "names families that are no part of a store"),
    ("no such file", "is missing"),
    ("is a directory", "is not a file, but must be one"),
    ("permission denied", "may not be read or written by this user"),
    ("size mismatch", "is longer or shorter than the store noted"),
    ("mismatch in unique id", "is another store's"),
    ("checksum mismatch", "is damaged: a checksum in it does not hold"),
    ("bad table magic number", "is damaged: it does not end as a table does"),
    ("format_version", "is damaged: it does not end as a table does"),
    ("bad block", "is damaged: a block in it cannot be read"),
    ("entry in manifest", "is damaged: entries that every store has are missing"),
    ("file corrupted", "is damaged"),
    ("does not end with newline", "is damaged"),
    ("corrupted", "is damaged"),
)
"""RocksDB's words, lowered, and ours for the same. The first that fit count."""


def _file_in(text: str) -> str:
    found = _FILE_IN_TEXT.search(text)
    if found is not None:
        return found.group(1)
    table = _TABLE_IN_TEXT.search(text)
    return "" if table is None else f"{int(table.group(1)):06}.sst"


def _kind_of(file: str) -> str:
    if file.endswith(".sst"):
        return "its table file "
    return "its write-ahead log " if file.endswith(".log") else "its file "


def _without_paths(text: str) -> str:
    return re.sub(r"/\S*/", "", text)


def _manifest(path: Path) -> str:
    with (path / CURRENT).open("rb") as file:
        line = _MANIFEST_LINE.fullmatch(file.read(64))
    if line is None:
        raise CorruptStore(f"its file {CURRENT} is damaged: it names no manifest")
    name = line.group(1).decode()
    if not (path / name).exists():
        raise CorruptStore(f"its file {name} is missing, which {CURRENT} names")
    return name


def _verify_frame(file: Path) -> None:
    """Verify that a log or a manifest consists of whole records, but for a last one that a crash tore."""
    with file.open("rb") as opened:
        if not os.fstat(opened.fileno()).st_size:
            return
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = extent(data)
            size = len(data)
    if found.damaged:
        raise CorruptStore(
            f"{_kind_of(file.name)}{file.name} is damaged from byte {found.whole} of {size} on"
        )


def translated(error: Exception, path: Path, column: str | None = None) -> StoreError:
    """Return the error of ours for one that came of using the store at `path`, and there the family `column`.

    rocksdict's are plain exceptions with RocksDB's text, nearly all of them.
    """
    if isinstance(error, StoreError):
        return error
    if isinstance(error, DbClosedError):
        return StoreError(f"the store at {path} is closed")
    text = " ".join(str(error).split()) or type(error).__name__
    lowered = text.lower()
    if any(mark in lowered for mark in _FULL):
        return DiskFull(f"the disk of {path} is full ({explained(text).what}). {MAKE_ROOM}")
    if any(mark in lowered for mark in _LOCKED):
        return StoreLocked(f"the store at {path} is open in another process already")
    if isinstance(error, OSError):
        return unusable(error, path)
    where = f"{path}" if column is None else f"{path}, family {column}"
    if any(mark in lowered for mark in _CORRUPT):
        return CorruptStore(f"{explained(text).what} ({where})")
    return StoreError(f"the store at {where}: {explained(text).what}")


def unusable(error: OSError, path: Path) -> StoreError:
    """Return the error for a file of the store that the system does not let one use."""
    file = Path(str(error.filename)).name if error.filename else ""
    where = f"{path}" if file in ("", path.name) else f"{path}, file {file}"
    return StoreError(f"the store at {where}: {error.strerror or error}")
