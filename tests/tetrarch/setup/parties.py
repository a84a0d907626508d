"""The parties of a ceremony, each in a directory of its own below one `home`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.tetrarch.command_line import Ran, ran

NAMES = ("berlin", "paris", "rome", "oslo")
BROKERS = ("--broker", "broker.example.org:8883")


def joined_all(home: Path) -> Path:
    """All parties after their first step; one of them cannot be reached directly."""
    for name in NAMES:
        joined(home, name, *(["--transport", "mqtt"] if name == "oslo" else []))
    return home


def joined(home: Path, name: str, *more: str) -> Path:
    """A party's directory after its first step."""
    result = ran("init", str(home / name), "--join", name, "--host", f"{name}.example.org", *more)
    assert result.code == 0, result.err
    return home / name


def public(home: Path, name: str) -> Path:
    return home / name / f"{name}.public"


def gathered(home: Path, *more: str, names: tuple[str, ...] = NAMES, net: str = "net") -> Ran:
    parts = [str(public(home, name)) for name in names]
    return ran("init", str(home / net), "--members", *parts, *more)


def settled(home: Path, name: str, net: str = "net", *more: str) -> Ran:
    return ran("init", str(home / name), "--join", name, "--network", str(home / net / "public"), *more)


def refused(result: Ran, *words: str) -> None:
    """One line on stderr, and exit code 2."""
    assert result.code == 2
    assert len(result.err.splitlines()) == 1, result.err
    for word in words:
        assert word in result.err


def rewritten(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
