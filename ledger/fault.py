"""What a user's code raised though it should not, as one line for whoever writes it.

What lives here: that line. What must not be known here: what becomes of the fault. The text depends on the
machine: it goes to a log, and into nothing that is agreed or sent.
"""

from traceback import format_exception_only, walk_tb

MAX_FAULT_CHARACTERS = 400
"""So much is told of a fault: clients can cause as many as they like."""


def told(fault: BaseException, caller: str) -> str:
    """Return what `fault` is, and the last place outside of the file `caller`, which ran the user's code."""
    places = [(frame.f_code.co_filename, line) for frame, line in walk_tb(fault.__traceback__)]
    own = [f" at {file}:{line}" for file, line in places if file != caller]
    what = " ".join(format_exception_only(fault)[-1].split())
    return f"{what[:MAX_FAULT_CHARACTERS]}{own[-1] if own else ''}"
