"""Running coroutines as tests, within a bound that only a hanging client reaches; and what they submit."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any


def run(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make an ordinary test of a coroutine function."""

    @functools.wraps(test)
    def wrapped(*arguments: Any, **named: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(30):
                await test(*arguments, **named)

        asyncio.run(bounded())

    return wrapped


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop turn until `condition` holds; `run` bounds it."""
    while not condition():  # noqa: ASYNC110  # what changes is plain state of the doubles, no event
        await asyncio.sleep(0)


def put(key: str, value: str = "1") -> dict[str, Any]:
    """Return the payload that puts `value` under `key`, for `kv`."""
    return {"op": "put", "key": key, "value": value}
