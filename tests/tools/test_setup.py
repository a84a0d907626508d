"""Set-up leaves a ready .venv alone and says in one line what it lacks. Installs nothing."""

import subprocess
from pathlib import Path

import pytest

from tools import environment

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working copy with lock files of its own and an empty .venv."""
    (tmp_path / ".venv").mkdir()
    (tmp_path / "pyproject.toml").write_text("[build-system]\n[project]\nname = 'x'\n[tool.ruff]\n")
    for purpose in environment.LOCKS:
        (tmp_path / f"{purpose}.lock").write_text(purpose)
        monkeypatch.setitem(environment.LOCKS, purpose, tmp_path / f"{purpose}.lock")
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setattr(environment, "VENV", tmp_path / ".venv")
    return tmp_path


def finish(purpose: str) -> None:
    environment.stamp(purpose).write_text(environment.fingerprint(purpose))


@pytest.mark.usefixtures("checkout")
def test_an_unfinished_environment_is_not_ready() -> None:
    assert not environment.is_ready("runtime")
    assert not environment.is_ready("dev")


@pytest.mark.usefixtures("checkout")
def test_an_environment_for_development_also_serves_for_running_but_not_the_reverse() -> None:
    finish("runtime")
    assert environment.is_ready("runtime")
    assert not environment.is_ready("dev")
    environment.stamp("runtime").unlink()
    finish("dev")
    assert environment.is_ready("runtime")
    assert environment.is_ready("dev")


@pytest.mark.parametrize(
    ("changed", "text"),
    [("dev.lock", "another version"), ("pyproject.toml", "[build-system]\n[project]\nname = 'y'\n")],
)
def test_an_environment_is_stale_once_what_it_installs_has_changed(
    checkout: Path, changed: str, text: str
) -> None:
    finish("dev")
    (checkout / changed).write_text(text)
    assert not environment.is_ready("dev")


def test_a_linter_setting_does_not_make_an_environment_stale(checkout: Path) -> None:
    finish("dev")
    with (checkout / "pyproject.toml").open("a") as project:
        project.write("line-length = 99\n")
    assert environment.is_ready("dev")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"PATH": "/usr/bin:/bin", "PYTHON": "/bin/false"},
            "PYTHON=/bin/false is not a CPython 3.11 to 3.14",
        ),
        ({"PATH": "", "PYTHON": ""}, "no CPython 3.11 to 3.14 on PATH"),
    ],
)
def test_without_a_suitable_interpreter_set_up_says_so_in_one_line(
    tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    (tmp_path / "tools").mkdir()
    script = tmp_path / "tools" / "setup"
    script.write_bytes((ROOT / "tools" / "setup").read_bytes())
    finished = subprocess.run(["/bin/sh", script], env=variables, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert finished.stderr.count("\n") == 1
    assert said in finished.stderr
