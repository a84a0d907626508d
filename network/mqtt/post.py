"""The brokers of one process: a connection to each of them, and which of them a message is to take.

What lives here: keeping all connections, asking whoever has something to send in turn. What must not be known
here: sealing, members, clients.

A process is connected to all its brokers at once, and hears what comes by any of them. Brokers need not know
of each other: whoever sends chooses one by which it is heard (`network.mqtt.conversation`), so one broker of
several may fail, or lie, without anything being set up anew.
"""

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Final, Protocol

from network.acceptor import report_fault
from network.mqtt.broker import Broker
from network.mqtt.connection import BURST, BrokerConnection
from network.tally import Tally

CLOSING_S: Final = 2.0
"""How long brokers may take for what still waits when we leave."""

Take = Callable[[int, str, bytes], None]
"""Takes a message: by which broker it came, its topic, its payload."""


class Sender(Protocol):
    """Someone who has messages for others, at times."""

    def next_message(self, broker: int) -> tuple[str, bytes] | None:
        """Return the next message that is to go by this broker, with its topic, if there is one."""
        ...


class Post:
    """Connections to `brokers`. All calls from the event loop's thread.

    `changed` is called when a broker can be used or not any more.
    """

    def __init__(
        self,
        brokers: Sequence[Broker],
        identifier: str,
        subscriptions: Sequence[str],
        take: Take,
        changed: Callable[[], None],
        tally: Tally,
        random: Random,
    ) -> None:
        self._tell = changed
        self._ready: list[dict[Sender, None]] = [{} for _ in brokers]
        """Who may have something to send by each broker, in turn."""
        self._connections = [
            BrokerConnection(
                broker,
                identifier,
                subscriptions,
                self._source(number),
                self._taker(number, take),
                self._changed,
                tally,
                random,
            )
            for number, broker in enumerate(brokers)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def up(self) -> tuple[bool, ...]:
        """Which brokers can be used."""
        return tuple(connection.up for connection in self._connections)

    @property
    def causes(self) -> str:
        """Why brokers cannot be used, in one line."""
        down = [connection for connection in self._connections if not connection.up]
        return "; ".join(f"broker {connection.broker.address}: {connection.cause}" for connection in down)

    def start(self) -> None:
        """Begin to connect."""
        for connection in self._connections:
            name = f"connecting to broker {connection.broker.address}"
            task = asyncio.create_task(connection.run(), name=name)
            task.add_done_callback(report_fault)
            self._tasks.append(task)

    async def tried(self) -> None:
        """Wait until a broker can be used, or connecting to each of them has failed once."""
        waiting = [asyncio.create_task(connection.tried.wait()) for connection in self._connections]
        try:
            for first in asyncio.as_completed(waiting):
                await first
                if any(self.up):
                    return
        finally:
            for task in waiting:
                task.cancel()

    async def close(self) -> None:
        """Send what waits as far as brokers take it, and end all connections; within seconds."""
        leaving = [
            asyncio.create_task(connection.idle.wait()) for connection in self._connections if connection.up
        ]
        if leaving:
            await asyncio.wait(leaving, timeout=CLOSING_S)
        for waiting in leaving:
            waiting.cancel()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def wake(self, sender: Sender) -> None:
        """`sender` may have something to send. By a broker that cannot be used nothing is kept ready: whoever
        has gone meanwhile would be remembered for as long as it is away."""
        for ready, connection in zip(self._ready, self._connections, strict=True):
            if connection.up:
                ready[sender] = None
                connection.wake()

    def forget(self, sender: Sender) -> None:
        """Ask `sender` no more."""
        for ready in self._ready:
            ready.pop(sender, None)

    def _changed(self) -> None:
        for ready, connection in zip(self._ready, self._connections, strict=True):
            if not connection.up:
                ready.clear()
        self._tell()

    def _source(self, number: int) -> Callable[[], Sequence[tuple[str, bytes]]]:
        ready = self._ready[number]

        def gather() -> list[tuple[str, bytes]]:
            """One message of each sender in turn, so that nobody's backlog delays another's votes."""
            messages: list[tuple[str, bytes]] = []
            while ready and len(messages) < BURST:
                sender = next(iter(ready))
                del ready[sender]
                message = sender.next_message(number)
                if message is not None:
                    ready[sender] = None
                    messages.append(message)
            return messages

        return gather

    @staticmethod
    def _taker(number: int, take: Take) -> Callable[[str, bytes], None]:
        return lambda topic, payload: take(number, topic, payload)
