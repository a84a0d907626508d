"""Scenario files: TOML as people write it, JSON as replays keep it.

What lives here: reading, with errors that name the file and the field. What must not be known here: running.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from byzantine.known import require_known
from byzantine.scenario import FORMAT, Contradiction, Scenario, require_consistent, require_work

MAX_SCENARIO_BYTES = 1024 * 1024


class UnusableFile(ValueError):
    """A file that cannot be used: which, which field, and why. One line."""

    def __init__(self, path: Path | str, field: str, why: str) -> None:
        super().__init__(f"{path}: {field}: {why}" if field else f"{path}: {why}")
        self.field = field


def load_scenario(path: Path) -> Scenario:
    """Return the scenario in a TOML file, checked for consistency. Raises `UnusableFile`."""
    try:
        if path.stat().st_size > MAX_SCENARIO_BYTES:
            raise UnusableFile(path, "", f"more than {MAX_SCENARIO_BYTES} bytes")
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise UnusableFile(path, "", error.strerror or str(error)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UnusableFile(path, "", f"is no TOML: {error}") from None
    if values.pop("format", None) != FORMAT:
        raise UnusableFile(path, "format", f"must be {FORMAT}")
    return scenario_of(values, path)


def scenario_of(values: Any, path: Path | str) -> Scenario:
    """Return the scenario in plain values, checked. Raises `UnusableFile`."""
    try:
        scenario = msgspec.convert(values, Scenario, strict=True)
        require_consistent(scenario)
        require_work(scenario)
        require_known(scenario)
    except msgspec.ValidationError as error:
        raise UnusableFile(path, *field_and_reason(error)) from None
    except Contradiction as error:
        raise UnusableFile(path, error.field, error.why) from None
    return scenario


def field_and_reason(error: msgspec.ValidationError) -> tuple[str, str]:
    """Return the field that an error of decoding is about, as people write it, and what is wrong."""
    what, _, place = str(error).partition(" - at `")
    field = re.sub(r"\A\$\.?|\[\.\.\.\]|`\Z", "", place)
    named = re.search(r"field `([^`]+)`", what)
    if named is not None:
        field = f"{field}.{named.group(1)}" if field else named.group(1)
    return field, what[:1].lower() + what[1:]
