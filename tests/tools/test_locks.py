"""The lock files are complete, hashed, and free of addresses. Knows nothing of what they lock."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ["requirements.lock", "requirements-dev.lock", "tools/pip.lock"]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME: list[str] = PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["fast"]
DEVELOPMENT: list[str] = PROJECT["dependency-groups"]["dev"]
BUILD: list[str] = PROJECT["dependency-groups"]["build"]
PINNED = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9.-]*)==(?P<version>[^ ]+)(?: ; [^\\]+)?(?: --hash=sha256:[0-9a-f]{64})+"
)


def locked(lock: str) -> dict[str, str]:
    """The requirements of a lock file, one logical line each, by normalized name."""
    lines = (ROOT / lock).read_text().replace("\\\n", " ").splitlines()
    return {re.split(r"[=;\s]", line)[0]: re.sub(r"\s+", " ", line).strip() for line in lines}


def normalized_name(requirement: str) -> str:
    return re.split(r"[<>=!~;\[\s]", requirement)[0].lower().replace("_", "-")


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_one_version_and_hashes(lock: str) -> None:
    assert [line for line in locked(lock).values() if not PINNED.fullmatch(line)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_no_lock_file_names_where_packages_come_from(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert re.findall(r"://|index|find-links|trusted-host|@ |file:", text) == []


def test_what_runs_is_locked_with_its_build_backend() -> None:
    assert {normalized_name(requirement) for requirement in RUNTIME + BUILD} <= locked(
        "requirements.lock"
    ).keys()


def test_development_uses_the_very_packages_that_run() -> None:
    development = locked("requirements-dev.lock")
    assert {name: development.get(name) for name in locked("requirements.lock")} == locked(
        "requirements.lock"
    )
    assert {normalized_name(requirement) for requirement in DEVELOPMENT} <= development.keys()


def test_the_extra_for_tests_asks_for_what_development_has() -> None:
    extra: list[str] = PROJECT["project"]["optional-dependencies"]["test"]
    assert {normalized_name(requirement) for requirement in extra} == {"pytest", "pytest-xdist"}
    assert set(extra) <= set(DEVELOPMENT)


def test_every_direct_dependency_is_accounted_for() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text().lower()
    direct = {normalized_name(requirement) for requirement in RUNTIME + DEVELOPMENT + BUILD}
    assert [name for name in sorted(direct) if f"| {name} |" not in page] == []
