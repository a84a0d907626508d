"""Compose files as an engine reads them: `extends` joined, `${NAME:-default}` filled in. For tests and
docker/check.py.

What lives here: the part of the Compose Specification that our files use. What must not be known here:
engines.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

HERE: Final = Path(__file__).resolve().parent
FILES: Final = ("tcp.yaml", "mqtt.yaml", "byzantine.yaml")

REPLACED: Final = ("command", "entrypoint")
"""Lists that are taken over whole where they are given again; all others grow."""

_VARIABLE: Final = re.compile(r"\$\{([A-Z_]+):-([^}]*)\}")


def load(path: Path, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return a compose file with every service in full. `environment`: what variables are; by default
    unset."""
    text = _filled(_parsed(path), environment or {})
    text["services"] = {
        name: _joined(path, service, environment) for name, service in text["services"].items()
    }
    return dict(text)


@cache
def _parsed(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def _joined(path: Path, service: dict[str, Any], environment: Mapping[str, str] | None) -> dict[str, Any]:
    source = service.get("extends")
    own = {key: value for key, value in service.items() if key != "extends"}
    if source is None:
        return own
    file = path.parent / source["file"] if "file" in source else path
    base = _filled(_parsed(file), environment or {})["services"][source["service"]]
    return _merged(_joined(file, base, environment), own)


def _merged(base: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in own.items():
        before = merged.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            merged[key] = _merged(before, value)
        elif isinstance(before, list) and isinstance(value, list) and key not in REPLACED:
            merged[key] = [*before, *(item for item in value if item not in before)]
        else:
            merged[key] = value
    return merged


def _filled(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, environment) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, environment) for item in value]
    if isinstance(value, str):
        return _VARIABLE.sub(lambda match: environment.get(match[1], "") or match[2], value)
    return value


def mounts(service: Mapping[str, Any]) -> dict[str, str]:
    """Return what is mounted where, by target; a host's path begins with a dot."""
    parts = [text.split(":") for text in service.get("volumes", ())]
    return {target: source for source, target, *_ in parts}
