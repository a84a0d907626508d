"""How far a store was synced, noted beside it, so that a log that lost its tail is found out.

What lives here: a file of 12 bytes. What must not be known here: what the numbers count.

RocksDB's log ends where a record claims to reach beyond the file: it was torn by a crash, and is dropped. A
flipped bit in a record's length looks the same, and silently takes with it everything behind it: measured,
one byte in a thousand of a log's last 32 KiB. A replica that forgets votes it has sent may contradict itself.
So after every sync the number of what was synced is noted here. The note itself is not synced: it may lag
after a power failure, when it proves less, but is never ahead.
"""

import os
from pathlib import Path
from zlib import crc32

from ledger.errors import CorruptStore

NAME = "SYNCED"
NUMBER_BYTES = 8
MARK_BYTES = NUMBER_BYTES + 4


class SyncMark:
    """The note of one store. Raises `OSError` where its file cannot be read or written."""

    def __init__(self, directory: Path, read_only: bool) -> None:
        self._file: int | None = None
        path = directory / NAME
        if read_only:
            if path.exists():
                self._file = os.open(path, os.O_RDONLY)
        else:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def require(self, number: int) -> None:
        """Raise `CorruptStore` unless the store still reaches up to what was synced. No note proves
        nothing."""
        noted = b"" if self._file is None else os.pread(self._file, MARK_BYTES, 0)
        if not noted:
            return
        if len(noted) != MARK_BYTES or _seal(noted[:NUMBER_BYTES]) != noted:
            raise CorruptStore(f"the note {NAME} of what was synced is damaged")
        synced = int.from_bytes(noted[:NUMBER_BYTES], "big")
        if number < synced:
            raise CorruptStore(
                f"its log ends at change {number}, but was synced up to {synced}: its end was lost after that"
            )

    def note(self, number: int) -> None:
        """Note that everything up to `number` is durable."""
        if self._file is not None:
            os.pwrite(self._file, _seal(number.to_bytes(NUMBER_BYTES, "big")), 0)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _seal(number: bytes) -> bytes:
    return number + crc32(number).to_bytes(MARK_BYTES - NUMBER_BYTES, "big")
