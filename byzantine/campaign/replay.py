"""Replay files: a scenario that failed, what failed, and of which code; and the same as a ready test.

What lives here: writing and reading both. What must not be known here: how the scenario was found.
"""

import subprocess
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from byzantine.fields import field_and_reason
from byzantine.scenario import Scenario
from byzantine.scenario_file import UnusableFile, read_text, scenario_of
from byzantine.verdicts import FORMAT, Finding, Result

MAX_REPLAY_BYTES = 4 * 1024 * 1024


class Replay(Struct, frozen=True, forbid_unknown_fields=True):
    """A run that can be had again."""

    format: int
    version: str
    """Of Tetrarch."""
    commit: str
    """Of the working copy; empty for an installed Tetrarch."""
    scenario: Scenario
    failed: tuple[Finding, ...]
    """What was no pass."""
    trace: str
    """The fingerprint of the run's trace: a replay that has another one is another run."""


@cache
def this_version() -> str:
    """Return the version of this Tetrarch."""
    try:
        return version("tetrarch")
    except PackageNotFoundError:
        return "unknown"


@cache
def this_commit() -> str:
    """Return the commit of this working copy; where files differ from it, with a `+` and a hash of the
    differences. Empty where there is none."""
    return commit_of(Path(__file__).resolve().parents[2])


def commit_of(root: Path) -> str:
    """Return the same of any directory."""
    if not (root / ".git").exists():
        return ""
    try:
        commit = _git(root, "rev-parse", "HEAD").decode().strip()
        changed = _git(root, "diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{commit}+{sha256(changed).hexdigest()[:8]}" if changed else commit


def _git(root: Path, *arguments: str) -> bytes:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, check=True, timeout=10).stdout


def replay_of(scenario: Scenario, result: Result, trace: str) -> Replay:
    """Return the replay of a run of this very code."""
    return Replay(FORMAT, this_version(), this_commit(), scenario, result.failed, trace)


def save_replay(replay: Replay, path: Path) -> None:
    """Write a replay file. Raises `OSError`."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(replay), indent=1) + b"\n")


def load_replay(path: Path, any_commit: bool = False) -> Replay:
    """Return the replay in a file.

    Raises `UnusableFile`, naming the field: also for another version, and, unless `any_commit`, another
    commit.
    """
    values = _values(path)
    for field in Replay.__struct_fields__:
        if field not in values:
            raise UnusableFile(path, field, "is missing: this is no replay file")
    for field, own in (("format", FORMAT), ("version", this_version()), ("commit", this_commit())):
        if values[field] != own and not (field == "commit" and any_commit):
            anyway = " (--any-commit plays it anyway)" if field == "commit" else ""
            why = f"is {values[field]!r}, and here {own!r}: only the code that made it replays it{anyway}"
            raise UnusableFile(path, field, why)
    scenario = scenario_of(values["scenario"], path, "scenario.")
    try:
        replay = msgspec.convert(values, Replay, strict=True)
    except msgspec.ValidationError as error:
        raise UnusableFile(path, *field_and_reason(error, Replay)) from None
    return msgspec.structs.replace(replay, scenario=scenario)


def _values(path: Path) -> dict[str, Any]:
    text = read_text(path, MAX_REPLAY_BYTES)
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        if path.suffix == ".toml":
            line = "is no replay file. Scenario files are for `tetrarch attack run FILE.toml`."
            raise UnusableFile(path, "", line) from None
        raise UnusableFile(path, "", f"is no replay file: {error}") from None
    except RecursionError:
        raise UnusableFile(path, "", "is nested too deeply") from None


_TEST = '''"""A scenario that once failed: {why}"""

import msgspec

from byzantine.runners.simulated import simulate
from byzantine.fields import field_and_reason
from byzantine.scenario import Scenario

SCENARIO = r"""
{scenario}
"""


def test_{name}() -> None:
    assert simulate(msgspec.json.decode(SCENARIO, type=Scenario)).failed == ()
'''


def as_test(replay: Replay) -> str:
    """Return a pytest file that plays the scenario and asks that nothing fails."""
    scenario = msgspec.json.format(msgspec.json.encode(replay.scenario), indent=1).decode()
    first = replay.failed[0] if replay.failed else None
    why = "nothing" if first is None else f"{first.oracle}: {first.why}"
    name = f"{replay.scenario.name}_{replay.scenario.seed}_n{replay.scenario.replicas}".replace("-", "_")
    return _TEST.format(why=_safe(why), scenario=scenario, name=name)


def _safe(text: str) -> str:
    return text.replace("\\", "/").replace('"', "'")
