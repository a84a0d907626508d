"""The frame of RocksDB's log and manifest files: how far it is whole.

What lives here: walking records by their lengths and kinds. What must not be known here: what a record
holds, whose checksum RocksDB verifies itself.

RocksDB takes a record that claims to reach beyond the file for one that a crash tore, and drops it without a
word; so it does with what follows a damaged length. And a damaged kind can make it read in circles. So the
frame is walked here first. Source: RocksDB's wiki, "Write Ahead Log File Format".
"""

from typing import Final

BLOCK_BYTES: Final = 32 * 1024
"""No record crosses a block's end; too short a rest of a block is filled with zeros."""

HEADER_BYTES: Final = 7
"""Checksum (4), length (2, little-endian), kind (1)."""

WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
"""A record in one piece, or the pieces of one. Kinds above belong to recycled or compressed files, which are
never written here."""

_FOLLOWERS = {True: (MIDDLE, LAST), False: (WHOLE, FIRST)}


def whole_length(data: bytes) -> int:
    """Return up to where `data` consists of whole records: its length, unless the frame is damaged or
    torn."""
    at = good = 0
    inside = False
    while at < len(data):
        room = BLOCK_BYTES - at % BLOCK_BYTES
        if room < HEADER_BYTES:
            if any(data[at : at + room]):
                return good
            at += room
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6 : at + 7]
        if not kind or kind[0] not in _FOLLOWERS[inside] or HEADER_BYTES + length > room:
            return good
        at += HEADER_BYTES + length
        if at > len(data):
            return good
        inside = kind[0] in (FIRST, MIDDLE)
        if not inside:
            good = at
    return len(data) if not inside else good
