"""Scenario files: TOML as people write it, JSON as replays keep it.

What lives here: reading, with errors that name the file and the field. What must not be known here: running.
"""

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from byzantine.fields import field_and_reason
from byzantine.known import require_known
from byzantine.reports.wording import clean
from byzantine.scenario import FORMAT, Contradiction, Scenario, require_consistent, require_work

REPLAYED = "Replay files are for `tetrarch attack replay FILE`."
"""What to say to whoever gives one where a scenario file belongs."""

MAX_SCENARIO_BYTES = 1024 * 1024


class UnusableFile(ValueError):
    """A file that cannot be used: which, which field, and why. One line."""

    def __init__(self, path: Path | str, field: str, why: str) -> None:
        super().__init__(clean(f"{path}: {field}: {why}" if field else f"{path}: {why}"))
        self.field = field


def read_text(path: Path, most: int) -> str:
    """Return what a file of at most so many bytes holds. Raises `UnusableFile`."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise UnusableFile(path, "", f"more than {most} bytes")
        return data.decode()
    except OSError as error:
        raise UnusableFile(path, "", error.strerror or str(error)) from None
    except UnicodeDecodeError as error:
        raise UnusableFile(path, "", f"is no text in UTF-8: byte {error.start} cannot be") from None


def load_scenario(path: Path) -> Scenario:
    """Return the scenario in a TOML file, checked for consistency. Raises `UnusableFile`."""
    text = read_text(path, MAX_SCENARIO_BYTES)
    try:
        values = tomllib.loads(text)
    except ValueError as error:
        if text.lstrip().startswith("{"):
            raise UnusableFile(path, "", f"is no scenario file, but JSON. {REPLAYED}") from None
        raise UnusableFile(path, "", f"is no TOML: {error}") from None
    except RecursionError:
        raise UnusableFile(path, "", "is nested too deeply") from None
    if values.pop("format", None) != FORMAT:
        raise UnusableFile(path, "format", f"must be {FORMAT}")
    return scenario_of(values, path)


def scenario_of(values: Any, path: Path | str, within: str = "", *, worked: bool = True) -> Scenario:
    """Return the scenario in plain values, checked. Raises `UnusableFile`.

    `within`: how fields of a scenario begin that is part of another file. `worked`: whether its own clients
    do the work, rather than somebody beside it.
    """
    try:
        scenario = msgspec.convert(values, Scenario, strict=True)
        require_consistent(scenario)
        require_known(scenario)
        if worked:
            require_work(scenario)
    except msgspec.ValidationError as error:
        field, why = field_and_reason(error, Scenario)
        raise UnusableFile(path, f"{within}{field}".removesuffix("."), why) from None
    except Contradiction as error:
        raise UnusableFile(path, f"{within}{error.field}", error.why) from None
    return scenario
