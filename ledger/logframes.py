"""The frame of RocksDB's log and manifest files: how far it is whole, and whether what follows is damage.

What lives here: walking records by their lengths and kinds. What must not be known here: what a record
holds, whose checksum RocksDB verifies itself.

RocksDB takes a record that claims to reach beyond the file for one that a crash tore, and drops it without a
word; so it does with what follows a damaged length. And a damaged kind can make it read in circles, for
ever. So the frame is walked here first. Source: RocksDB's wiki, "Write Ahead Log File Format".
"""

from mmap import mmap
from typing import Final, NamedTuple

BLOCK_BYTES: Final = 32 * 1024
"""No record crosses a block's end; too short a rest of a block is filled with zeros."""

HEADER_BYTES: Final = 7
"""Checksum (4), length (2, little-endian), kind (1)."""

WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
"""A record in one piece, or the pieces of one. Kinds above belong to recycled or compressed files, which are
never written here."""

_FOLLOWERS = {True: (MIDDLE, LAST), False: (WHOLE, FIRST)}

_POLYNOMIAL: Final = 0x82F63B78
_MASK_DELTA: Final = 0xA282EAD8
_WORD: Final = 0xFFFFFFFF


class Extent(NamedTuple):
    """How far a file consists of whole records."""

    whole: int
    """The length of what does: the file's, unless it is damaged or torn."""
    damaged: bool
    """Whether what follows is no record that a crash tore: one that is cut off by the file's end."""


def extent(data: bytes | mmap) -> Extent:
    """Walk the frames of a log or manifest file."""
    at = good = 0
    inside = False
    size = len(data)
    while at < size:
        room = BLOCK_BYTES - at % BLOCK_BYTES
        if room < HEADER_BYTES:
            if any(data[at : at + room]):
                return Extent(good, True)
            at += room
            continue
        header = data[at : at + HEADER_BYTES]
        if len(header) < HEADER_BYTES:
            return Extent(good, False)
        length, kind = int.from_bytes(header[4:6], "little"), header[6]
        if kind not in _FOLLOWERS[inside] or HEADER_BYTES + length > room:
            # Where the machine failed, a file may have been lengthened before it was written.
            return Extent(good, any(data[at:]))
        at += HEADER_BYTES + length
        if at > size:
            return Extent(good, _is_shorter(header, data[at - length : size]))
        inside = kind in (FIRST, MIDDLE)
        if not inside:
            good = at
    return Extent(good if inside else size, False)


def whole_length(data: bytes | mmap) -> int:
    """Return up to where `data` consists of whole records: its length, unless the frame is damaged or
    torn."""
    return extent(data).whole


def _is_shorter(header: bytes, rest: bytes) -> bool:
    """Return whether a record that claims to reach beyond the file lies in it all the same: then it was not
    torn, but its length is damaged. Its checksum tells: it is of kind and payload, not of the length."""
    masked = (int.from_bytes(header[:4], "little") - _MASK_DELTA) & _WORD
    expected = (masked << 15 | masked >> 17) & _WORD ^ _WORD
    state = _TABLE[(header[6] ^ _WORD) & 0xFF] ^ _WORD >> 8
    for byte in rest:
        if state == expected:
            return True
        state = _TABLE[(state ^ byte) & 0xFF] ^ state >> 8
    return state == expected


def _entry(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
    return value


_TABLE: Final = tuple(_entry(value) for value in range(256))
"""Of CRC-32C, which the standard library does not have."""
