"""Running the command line within the tests' process: what it printed, and its exit code."""

import io
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple

from tetrarch.cli import run


class Ran(NamedTuple):
    """One call's exit code and its two streams."""

    code: int
    out: str
    err: str


def ran(*arguments: str) -> Ran:
    """Call `tetrarch` with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run(list(arguments))
    return Ran(int(code), out.getvalue(), err.getvalue())
