"""Build .venv from a lock file, with whatever installer this machine has.

Run by tools/setup under the chosen interpreter. It uses the standard library alone, since nothing else is
there yet, and knows nothing of the packages it installs. Every archive is checked against the hashes of the
lock file, and only ready-made wheels are taken: building one would fetch tools that no hash covers. Package
indexes are whatever uv, pip or apt are configured to use here.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
LOCKS = {"runtime": ROOT / "requirements.lock", "dev": ROOT / "requirements-dev.lock"}
PIP_LOCK = ROOT / "tools" / "pip.lock"
PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
# Where Debian's python3-pip-whl puts the wheel that its own venv installs pip from.
DISTRIBUTION_WHEELS = Path("/usr/share/python-wheels")
# An unreachable mirror must not look like a set-up that hangs.
APT_TIMEOUTS = ["-o", "Acquire::http::Timeout=20", "-o", "Acquire::https::Timeout=20"]

Command = list[str]


class SetupError(Exception):
    """Set-up cannot go on; the message says what to do, in one line."""


def fingerprint(purpose: str) -> str:
    """Name all that an environment for `purpose` depends on: lock, project, interpreter and place."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    # The settings of linters and tests are in the same file, and change nothing that is installed.
    installed = {key: project[key] for key in ("build-system", "project")}
    parts = [
        LOCKS[purpose].read_text(),
        Path(__file__).read_text(),
        json.dumps(installed),
        str(ROOT),
        sys.version,
        sys.base_prefix,
    ]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def stamp(purpose: str) -> Path:
    """The file that is written last, and says for what .venv was made ready."""
    return VENV / f"ready-{purpose}"


def is_ready(purpose: str) -> bool:
    """Tell whether .venv serves `purpose`; one for development also serves for running."""
    satisfying = ("dev",) if purpose == "dev" else ("runtime", "dev")
    for made_for in satisfying:
        path = stamp(made_for)
        if path.is_file() and path.read_text() == fingerprint(made_for):
            return True
    return False


def clean_environment() -> dict[str, str]:
    """The caller's environment without what would lead an installer away from .venv."""
    environment = dict(os.environ)
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_HASHES"):
        environment.pop(name, None)
    environment |= {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return environment


def run(command: Command, *, quiet: bool = False, directory: Path = ROOT) -> bool:
    """Run `command` and tell whether it succeeded; `quiet` hides what it prints."""
    output = subprocess.DEVNULL if quiet else None
    try:
        finished = subprocess.run(
            command,
            cwd=directory,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )
    except OSError:
        return False
    return finished.returncode == 0


def downloaded_wheels(scratch: Path) -> Iterator[Path]:
    """Let any pip on this machine, also one too old for this interpreter, fetch the locked one."""
    wanted = ["--require-hashes", "--requirement", str(PIP_LOCK), "--dest", str(scratch)]
    # These three let pip choose for another interpreter than its own.
    wanted += ["--no-deps", "--only-binary=:all:", f"--python-version={PYTHON_VERSION}"]
    others = [[path] for name in ("pip3", "pip") if (path := shutil.which(name))]
    for pip in ([sys.executable, "-m", "pip"], *others):
        run([*pip, "download", *wanted], quiet=True)
        yield from scratch.glob("pip-*.whl")


def apt_wheels(scratch: Path) -> Iterator[Path]:
    """Fetch pip's wheel out of the distribution's signed packages into `scratch`.

    This needs no root and installs nothing: where the machine has no package lists, private ones are fetched.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return
    lists = scratch / "lists"
    (lists / "partial").mkdir(parents=True)
    private = ["-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={scratch}", "-o", "Debug::NoLocking=1"]
    packages = ("python3-pip-whl", f"python{PYTHON_VERSION}-venv")
    for options in ([], private):
        apt_get = ["apt-get", *APT_TIMEOUTS, *options]
        if options:
            run([*apt_get, "update"], quiet=True)
        for package in packages:
            run([*apt_get, "download", package], quiet=True, directory=scratch)
        for archive in scratch.glob("*.deb"):
            run(["dpkg-deb", "--extract", str(archive), str(scratch / "files")], quiet=True)
            archive.unlink()
        yield from sorted((scratch / "files").rglob("pip-*.whl"))


def wheels_of_pip(scratch: Path) -> Iterator[Path]:
    """Wheels of pip from all that this machine offers, the nearest first."""
    yield from DISTRIBUTION_WHEELS.glob("pip-*.whl")
    yield from downloaded_wheels(scratch / "downloaded")
    yield from apt_wheels(scratch / "apt")


def provide_pip() -> None:
    """Put a pip into .venv. Raises SetupError where this machine offers none."""
    python = str(VENV_PYTHON)
    if run([python, "-m", "ensurepip", "--default-pip"], quiet=True):
        return
    with tempfile.TemporaryDirectory(prefix="tetrarch-setup-") as scratch:
        for wheel in wheels_of_pip(Path(scratch)):
            # A wheel of pip can run itself; one older than the interpreter breaks, at the latest over a list.
            installed = run([python, f"{wheel}/pip", "install", "--no-index", str(wheel)], quiet=True)
            if installed and run([python, "-m", "pip", "list"], quiet=True):
                return
    raise SetupError(
        f"this Python {PYTHON_VERSION} has neither ensurepip nor pip: install python{PYTHON_VERSION}-venv "
        "(Debian, Ubuntu: apt install), python3-pip or uv, then run make again"
    )


def install(installer: Command, lock: Path) -> bool:
    """Install the locked wheels and then this project, in place; `installer` is a command prefix."""
    locked = [*installer, "--quiet", "--require-hashes", "--only-binary=:all:", "--requirement", str(lock)]
    # The build backend is in the lock: building in isolation would fetch one that no hash covers.
    project = [*installer, "--quiet", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    return run(locked) and run(project)


def fill(purpose: str) -> None:
    """Install what `purpose` needs into .venv. Raises SetupError when no installer manages to."""
    lock = LOCKS[purpose]
    uv = shutil.which("uv")
    if uv is not None:
        say(f"installing {lock.name} with uv")
        if install([uv, "pip", "install", f"--python={VENV_PYTHON}"], lock):
            return
        say("uv did not manage: trying pip, which may know of another package index")
    provide_pip()
    say(f"installing {lock.name} with pip")
    if not install([str(VENV_PYTHON), "-m", "pip", "install"], lock):
        raise SetupError(
            f"installing {lock.name} failed, for the reason above (no network, or no wheel for this platform)"
        )


def build(purpose: str) -> None:
    """Make .venv ready for `purpose`, from scratch unless it only lacks the development tools."""
    grows = purpose == "dev" and is_ready("runtime")
    if not grows:
        say(f"making .venv with Python {sys.version.split()[0]}")
        if VENV.is_dir():
            shutil.rmtree(VENV)
        venv.create(VENV, symlinks=True)
    fill(purpose)
    stamp(purpose).write_text(fingerprint(purpose))


def say(text: str) -> None:
    """Tell the user what is going on, at once also where output is a pipe."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


def main() -> int:
    """Make .venv ready, or with --check only tell whether it is. Exit codes: 0 ready, 1 not."""
    parser = argparse.ArgumentParser(prog="tools/environment.py", description=__doc__)
    parser.add_argument("purpose", choices=sorted(LOCKS))
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 if not ready")
    arguments = parser.parse_args()
    if arguments.check:
        return 0 if is_ready(arguments.purpose) else 1
    # Two makes at once would build the same directory: the second one waits, and then finds it ready.
    guard = os.open(ROOT, os.O_RDONLY)
    fcntl.flock(guard, fcntl.LOCK_EX)
    try:
        if not is_ready(arguments.purpose):
            build(arguments.purpose)
    except (SetupError, OSError) as error:
        say(str(error))
        return 1
    finally:
        os.close(guard)
    return 0


if __name__ == "__main__":
    sys.exit(main())
