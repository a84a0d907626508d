"""Files that a command was asked to write: whether they can be, before anything runs, and what became of it.

What lives here: a directory of failures, and the checks of paths. What must not be known here: what is in a
report. A run may have taken hours: that a disk is full must never cost its results.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryFile

import click

from byzantine.reports.wording import counted
from byzantine.scenario import Scenario
from byzantine.verdicts import Result
from tetrarch.cli.output import Exit, fail, system_line

Scenarios = Callable[[Result], Scenario]
"""Gives the scenario that a result is of."""


def writable_directory(_context: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    """Return a directory that files can be written to, or that can be made. Ends the command otherwise."""
    if path is not None:
        _require(option, path, _try_directory)
    return path


def writable_file(_context: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    """Return the path of a file that can be written. Ends the command otherwise."""
    if path is not None:
        _require(option, path, _try_file)
    return path


def _require(option: click.Parameter, path: Path, attempt: Callable[[Path], None]) -> None:
    try:
        attempt(path)
    except OSError as error:
        fail(Exit.USAGE, f"{option.opts[0]}: {path} cannot be written: {error.strerror or error}")


def _try_file(path: Path) -> None:
    if path.exists():
        with path.open("ab"):
            return
    with TemporaryFile(dir=path.parent):
        return


def _try_directory(path: Path) -> None:
    with TemporaryFile(dir=_nearest(path)):
        return


def _nearest(directory: Path) -> Path:
    """Return the directory, or the one above it that exists already."""
    return next(each for each in (directory, *directory.parents) if each.exists())


class Saving:
    """Failures as files in a directory, if one was asked for. What cannot be written is told at the end."""

    def __init__(self, directory: Path | None, scenarios: Scenarios) -> None:
        self.directory, self.scenarios = directory, scenarios
        self.saved = 0
        self.why_not = ""
        """Why not all could be saved."""

    def save(self, failures: Iterable[Result]) -> None:
        """Write a replay file and a pytest file for each failure."""
        for result in failures:
            if self._save(result, self.scenarios(result), ""):
                self.saved += 1

    def save_shrunk(self, result: Result, scenario: Scenario) -> None:
        """Write the same for the smaller scenario that was made of a failure, in a directory of its own."""
        self._save(result, scenario, "shrunk")

    def _save(self, result: Result, scenario: Scenario, below: str) -> bool:
        if self.directory is None or self.why_not:
            return False
        try:
            save_failure(result, scenario, self.directory / below)
        except OSError as error:
            self.why_not = system_line(error)
        return not self.why_not

    def tell(self, failures: int, quiet: bool) -> None:
        """Say in a line what was saved of so many failures; `quiet`: only what went wrong."""
        if self.directory is None:
            return
        if self.why_not:
            some = f"{self.saved:,} of {counted(failures, 'failure')}"
            line = f"tetrarch: not all could be saved to {self.directory} ({some}): {self.why_not}"
            click.echo(line, err=True)
        elif quiet:
            return
        elif not failures:
            click.echo(f"Nothing was saved to {self.directory}: nothing failed.")
        else:
            click.echo(f"Saved {self.saved:,} of {counted(failures, 'failure')} to {self.directory}")


def save_failure(result: Result, scenario: Scenario, directory: Path) -> None:
    """Write a replay file and a pytest file for a failure. Raises `OSError`."""
    from byzantine.campaign.replay import as_test, replay_of, save_replay
    from byzantine.campaign.runs import recorded
    from byzantine.trace import fingerprint

    directory.mkdir(parents=True, exist_ok=True)
    trace = fingerprint(recorded(scenario)[1]) if result.runner == "simulated" else ""
    replay = replay_of(scenario, result, trace)
    name = f"{result.name}-n{result.n}-seed{result.seed}"
    save_replay(replay, directory / f"{name}.replay.json")
    (directory / f"test_{name.replace('-', '_')}.py").write_text(as_test(replay))
