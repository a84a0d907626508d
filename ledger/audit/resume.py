"""Where an audit can go on: up to which block signatures were verified, and which chain that was.

What lives here: the resume point and its file. What must not be known here: auditing.

The file is not signed: whoever can change it can make an audit skip signatures. It belongs to the auditor,
and lies where only the auditor writes. What a resumed audit does not verify again is the signatures;
everything else is computed anew, and the block at the point must have the hash that was noted.
"""

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from crypto.attestation import Height, HeightField
from crypto.digest import Digest
from ledger.audit.report import Level
from ledger.jsonfile import FileFault, parse_json, read_bounded, write_json
from ledger.receipt_text import Hex32

FORMAT = 1
MAX_FILE_BYTES = 4096


class ResumePoint(Struct, frozen=True):
    """No fault was found up to `height`, at this level, on the chain whose block there has this hash."""

    chain_id: str
    """Hexadecimal."""
    level: Level
    height: Height
    block_hash: Digest


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    format: Annotated[int, Meta(ge=FORMAT, le=FORMAT)]
    chain_id: Hex32
    level: str
    height: HeightField
    block_hash: Hex32


def load_resume_point(path: Path) -> ResumePoint | None:
    """Return the resume point in `path`; None where there is no such file. Raises `FileFault`."""
    if not path.exists():
        return None
    content = parse_json(read_bounded(path, MAX_FILE_BYTES), _File, path)
    levels = {level.word: level for level in Level}
    if content.level not in levels:
        raise FileFault(path, "level", f"is {content.level!r}, not one of {', '.join(levels)}")
    block_hash = Digest(bytes.fromhex(content.block_hash))
    return ResumePoint(content.chain_id, levels[content.level], content.height, block_hash)


def save_resume_point(path: Path, point: ResumePoint) -> None:
    """Write `point` to `path`, whole and durable. Raises `FileFault`."""
    write_json(path, _File(FORMAT, point.chain_id, point.level.word, point.height, point.block_hash.hex()))
