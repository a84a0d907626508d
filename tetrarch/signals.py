"""SIGTERM as a second Ctrl-C, for programs that have replicas of their own to stop before they end.

What lives here: the handler that is there outside of event loops. Within them `tetrarch.event_loop.run` hears
SIGTERM: what a handler raises while uvloop calls a connection's protocol ends that connection, and no more.
"""

import signal
from typing import NoReturn


def interrupt(_number: int, _frame: object) -> NoReturn:
    """Handle a signal as Ctrl-C is handled. Raises `KeyboardInterrupt`, always."""
    raise KeyboardInterrupt


def end_like_interrupt() -> None:
    """Make SIGTERM what Ctrl-C is: commands that run replicas of their own stop them at their end."""
    signal.signal(signal.SIGTERM, interrupt)
