"""Which event loop runs, and how SIGTERM ends what runs in it.

uvloop's where it is installed, else asyncio's: nothing but speed depends on it.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tetrarch.signals import interrupt

T = TypeVar("T")


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return what makes event loops, `None` for asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` in a new event loop and return what it returns.

    Ctrl-C cancels it and raises `KeyboardInterrupt`; so does SIGTERM after `signals.end_like_interrupt`.
    """
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        main = threading.current_thread() is threading.main_thread()
        if not main or signal.getsignal(signal.SIGTERM) is not interrupt:
            return runner.run(work)
        return runner.run(_ended_by_sigterm(work))


async def _ended_by_sigterm(work: Coroutine[Any, Any, T]) -> T:
    """Await `work`, and let SIGTERM cancel it. However it ends itself then, it was interrupted."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    heard = False

    def hear() -> None:
        nonlocal heard
        heard = True
        task.cancel()

    loop.add_signal_handler(signal.SIGTERM, hear)
    try:
        return await task
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, interrupt)
        if heard:
            raise KeyboardInterrupt
