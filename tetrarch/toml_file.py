"""Configuration files in TOML: read strictly, with errors that name file, line and key.

What lives here: the one reader of such files, and how a text is written into one. What must not be known
here: what any of them means.
"""

import json
import re
import tomllib
from bisect import bisect_left
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from ledger.jsonfile import FileFault, convert, read_bounded
from tetrarch.errors import ConfigurationError

MAX_CONFIG_BYTES: Final = 256 * 1024
"""256 peers at about 200 bytes each, with room for comments."""

T = TypeVar("T")


def toml_string(text: str) -> str:
    """Return `text` as a TOML basic string: its escapes are JSON's (TOML v1.0.0, "String")."""
    return json.dumps(text, ensure_ascii=False)


class TomlText:
    """A TOML file that was read, and whose faults can be named by line and key."""

    def __init__(self, path: Path) -> None:
        """Raises `ConfigurationError` where it cannot be read, or is no TOML."""
        self.path = path
        try:
            data = read_bounded(path, MAX_CONFIG_BYTES)
        except FileFault as fault:
            raise ConfigurationError(path, fault.key, fault.what) from None
        try:
            self._text = data.decode()
            self._value = tomllib.loads(self._text)
        except UnicodeDecodeError as error:
            raise ConfigurationError(path, "", f"is not UTF-8 at byte {error.start}") from None
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ConfigurationError(path, "", f"is not proper TOML: {error}") from None

    def read_as(self, target: type[T]) -> T:
        """Return what the file says as `target`, without any leniency. Raises `ConfigurationError`."""
        try:
            return convert(self._value, target, self.path)
        except FileFault as fault:
            raise self.fault(fault.key, fault.what) from None

    def fault(self, key: str, what: str) -> ConfigurationError:
        """Return the error that says `what` is wrong with `key` (`replicas[2].host`), and in which line."""
        return ConfigurationError(self.path, key, what, self.line_of(key))

    def line_of(self, key: str) -> int | None:
        """Return the number of the line where `key` stands, or else the innermost of what holds it; `None`
        where the file says nothing of either.

        Parsed values do not tell. So the first line is looked for with which the file's beginning holds the
        key; a beginning that ends within a value is no TOML, and counts as the next one that is.
        """
        steps = _steps(key)
        while steps and not _holds(self._value, steps):
            steps.pop()
        if not steps:
            return None
        lines = self._text.replace("\r\n", "\n").split("\n")

        def there(count: int) -> bool:
            for end in range(count, len(lines)):
                with suppress(tomllib.TOMLDecodeError):
                    return _holds(tomllib.loads("\n".join(lines[:end])), steps)
            return True

        return bisect_left(range(len(lines)), True, key=there)


def read_toml(path: Path, target: type[T]) -> T:
    """Return the TOML file at `path` as `target`, without any leniency. Raises `ConfigurationError`."""
    return TomlText(path).read_as(target)


def _steps(key: str) -> list[str | int]:
    """`replicas[2].host` as what is looked up in turn: "replicas", 2, "host"."""
    parts = re.findall(r"\[([0-9]+)\]|([^.\[\]]+)", key)
    return [int(number) if number else name for number, name in parts]


def _holds(value: Any, steps: list[str | int]) -> bool:
    try:
        for step in steps:
            value = value[step]
    except (KeyError, IndexError, TypeError):
        return False
    return True
