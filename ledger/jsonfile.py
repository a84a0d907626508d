"""JSON files that people read and may edit (genesis.json, receipts): read strictly, written whole.

What lives here: bounded reading, the refusal of everything ambiguous, errors that name file and key, and
durable writing. What must not be known here: what the files mean.

JSON leaves two things open that a file with a digest over it must not: a repeated key (readers keep
different ones) and NaN or Infinity. Both are refused, as are unknown keys where the type forbids them.
"""

import json
import math
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec

from crypto.files import cause, sync_directory
from ledger.errors import LedgerError

T = TypeVar("T")

_PLACE = re.compile(r" - at `\$\.?(?P<key>[^`]*)`$")
_MISSING = re.compile(r"missing required field `(?P<key>[^`]+)`|unknown field `(?P<unknown>[^`]+)`")


class FileFault(LedgerError):
    """A file that cannot be read and believed, or written. One line: the file, the key, and what is wrong."""

    def __init__(self, path: Path, key: str, what: str) -> None:
        super().__init__(f"{path}: {key}: {what}" if key else f"{path}: {what}")
        self.path = path
        self.key = key
        """The key at fault, as `members[2].public_key`; empty where it is the file itself."""
        self.what = what


class NoFile(FileFault):
    """There is no file that can be read: nothing is said of its content."""


def read_bounded(path: Path, limit: int) -> bytes:
    """Return the content of a regular file of at most `limit` bytes. Raises `FileFault`."""
    try:
        if path.exists() and not path.is_file():
            raise NoFile(path, "", "is not a regular file")
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise NoFile(path, "", "there is no such file") from None
    except (OSError, ValueError) as error:
        raise NoFile(path, "", f"cannot be read: {cause(error)}") from None
    if len(data) > limit:
        raise FileFault(path, "", f"has more than {limit} bytes")
    return data


def parse_json(data: bytes, target: type[T], path: Path) -> T:
    """Return the value of type `target` in `data`; `path` names the source in errors. Raises `FileFault`."""
    try:
        # `loads` would take bytes for UTF-16 or UTF-32 where they look like it.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileFault(path, "", f"is not UTF-8 at byte {error.start}") from None
    try:
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite
        )
    except (ValueError, RecursionError) as error:
        raise FileFault(path, "", f"is not proper JSON: {error}") from None
    return convert(value, target, path)


def convert(value: object, target: type[T], path: Path) -> T:
    """Return plain `value` (from JSON or TOML) as `target`, without any leniency. Raises `FileFault`."""
    try:
        return msgspec.convert(value, target)
    except msgspec.ValidationError as error:
        key, what = key_and_reason(str(error))
        raise FileFault(path, key, what) from None


def key_and_reason(message: str) -> tuple[str, str]:
    """Split msgspec's message into the key at fault (may be empty) and what is wrong with it."""
    place = _PLACE.search(message)
    key = place["key"] if place else ""
    what = message[: place.start()] if place else message
    named = _MISSING.search(what)
    if named is None:
        return key, what
    missing, unknown = named["key"], named["unknown"]
    inner = f"{key}.{missing or unknown}" if key else str(missing or unknown)
    return inner, "is missing" if missing else "is not a key that is known here"


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON; the file appears whole and durable, or not at all.

    An existing file is replaced. Raises `FileFault`.
    """
    data = msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        try:
            with beside.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        sync_directory(path.parent)
    except (OSError, ValueError) as error:
        raise FileFault(path, "", f"cannot be written: {cause(error)}") from None


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the key {key!r} stands there twice")
            seen.add(key)
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large for a number")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")
