"""One flipped byte in the copy of a store.

What lives here: the copy, and the choice of the byte. What must not be known here: how damage is found.
"""

import shutil
from pathlib import Path

from msgspec import Struct

from ledger.errors import StoreError


class Flip(Struct, frozen=True):
    """Which byte was flipped, and what it was and is."""

    file: Path
    offset: int
    before: int
    after: int


def copy_and_flip(store: Path, copy: Path, content: bytes) -> Flip:
    """Copy the stopped store to `copy`, and flip a bit in the middle of the first place with `content`.

    Raises `StoreError` where no file holds it.
    """
    shutil.copytree(store, copy)
    for file in sorted(copy.iterdir()):
        data = bytearray(file.read_bytes())
        found = data.find(content)
        if found >= 0:
            offset = found + len(content) // 2
            before = data[offset]
            data[offset] ^= 1
            file.write_bytes(data)
            return Flip(file, offset, before, data[offset])
    raise StoreError(f"no file of {store} holds the bytes that were looked for")
