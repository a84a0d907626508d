"""What all commands share: exit codes, errors as one line, JSON lines, consoles made when needed.

Nothing heavy is imported here: every start of the command line passes through.
"""

import json
import os
import shlex
import sys
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console


class Exit(IntEnum):
    """The exit codes of every command."""

    FINE = 0
    FAILED = 1
    """The check failed, or a transaction was refused."""
    USAGE = 2
    """Wrong arguments, or a wrong file."""
    UNREACHABLE = 3
    """Too few replicas could be reached."""
    INCOMPLETE = 4
    """Not everything could be done or checked, and nothing was found wrong."""


INTERRUPTED = 130
"""What shells give for a program that was ended by Ctrl-C."""


class Stop(Exception):
    """Ends a command with an exit code and one line on stderr."""

    def __init__(self, code: Exit, line: str) -> None:
        super().__init__(line)
        self.code = code


json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")


def print_json(value: Any) -> None:
    """Print one JSON value on one line."""
    click.echo(json.dumps(value, ensure_ascii=False))


def console(*, stderr: bool = False) -> "Console":
    """Return a rich console for people."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=not _is_terminal(stderr))


def tell(screen: "Console", line: str, indent: str = "") -> None:
    """Print a line of plain text: on a terminal wrapped between words, elsewhere whole."""
    if not screen.is_terminal:
        screen.print(indent + line, markup=False, soft_wrap=True)
        return
    from rich.padding import Padding
    from rich.text import Text

    screen.print(Padding(Text(line), (0, 0, 0, len(indent)), expand=False))


def _is_terminal(stderr: bool) -> bool:
    return (sys.stderr if stderr else sys.stdout).isatty()


def fail(code: Exit, line: str) -> NoReturn:
    """End the command: `line` on stderr, and `code`."""
    raise Stop(code, line)


def error_line(error: BaseException) -> str:
    """Return an error as one line."""
    return " ".join(str(error).split()) or type(error).__name__


NOT_RUNNING = "Start the replicas with `tetrarch up DIR`; `tetrarch status DIR` tells which of them answer."
"""What to do where too few replicas can be reached."""


def printable(text: str) -> str:
    """Return what others said without what would move the cursor or colour the screen."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def shell(path: "Path") -> str:
    """Return a path as it is typed in a command."""
    return shlex.quote(str(path))


def system_line(error: OSError) -> str:
    """Return as one line what the operating system refused: the file, if it names one, and why."""
    cause = error.strerror or str(error)
    if error.filename is None:
        return f"writing or reading failed: {cause}"
    name = os.fsdecode(error.filename) if isinstance(error.filename, bytes) else error.filename
    return f"{name}: {cause}"


def colours() -> bool | None:
    """Whether to print colours: never with NO_COLOR (no-color.org), else as the terminal decides."""
    return False if os.environ.get("NO_COLOR") else None


def exit_code_of(error: Exception) -> Exit | None:
    """Return the exit code for an error that is no bug of ours, `None` for all others."""
    from tetrarch.errors import (
        ConfigurationError,
        IdempotencyConflict,
        NotEnoughReplies,
        OutcomeUnknown,
        TetrarchError,
        Unreachable,
    )

    if isinstance(error, Unreachable):
        return Exit.UNREACHABLE
    if isinstance(error, OutcomeUnknown | NotEnoughReplies):
        return Exit.INCOMPLETE
    if isinstance(error, ConfigurationError | IdempotencyConflict):
        return Exit.USAGE
    if isinstance(error, TetrarchError):
        return Exit.FAILED
    return None
