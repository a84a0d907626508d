"""Configuration files in TOML: read strictly, with errors that name file and key.

What lives here: the one reader of such files, and how a text is written into one. What must not be known
here: what any of them means.
"""

import json
import tomllib
from pathlib import Path
from typing import Final, TypeVar

from ledger.jsonfile import FileFault, convert, read_bounded
from tetrarch.errors import ConfigurationError

MAX_CONFIG_BYTES: Final = 256 * 1024
"""256 peers at about 200 bytes each, with room for comments."""

T = TypeVar("T")


def toml_string(text: str) -> str:
    """Return `text` as a TOML basic string: its escapes are JSON's (TOML v1.0.0, "String")."""
    return json.dumps(text, ensure_ascii=False)


def read_toml(path: Path, target: type[T]) -> T:
    """Return the TOML file at `path` as `target`, without any leniency. Raises `ConfigurationError`."""
    try:
        data = read_bounded(path, MAX_CONFIG_BYTES)
    except FileFault as fault:
        raise ConfigurationError(path, fault.key, fault.what) from None
    try:
        value = tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        raise ConfigurationError(path, "", f"is not UTF-8 at byte {error.start}") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigurationError(path, "", f"is not proper TOML: {error}") from None
    try:
        return convert(value, target, path)
    except FileFault as fault:
        raise ConfigurationError(path, fault.key, fault.what) from None
