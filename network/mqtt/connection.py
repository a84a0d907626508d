"""One connection to one broker, kept up for as long as it is wanted.

What lives here: logging in, subscribing, sending what a source gives, handing on what comes, and doing all of
it again when it fails. What must not be known here: who the messages are for, which broker is preferred.

Source: MQTT 5.0 (OASIS Standard, 7 March 2019). Messages go at QoS 0: what is lost, the protocols above
resend, and they know better than a broker what is still wanted. A session ends with its connection, so
nothing old waits anywhere.

What aiomqtt does that must be known here: `network.mqtt.client`.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Any, Final

import aiomqtt
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.reasoncodes import ReasonCode

from network.backoff import Backoff
from network.mqtt.broker import Broker
from network.mqtt.client import PromptClient
from network.tally import Tally

MAX_MESSAGE_BYTES: Final = 128 * 1024
"""The largest message that is taken, its topic included. Asked of the broker too (MQTT 5.0, 3.1.2.11.4)."""

KEEP_ALIVE_S: Final = 10
"""After so long without anything sent the broker is asked whether it lives."""

ANSWER_S: Final = 5.0
"""How long a broker may take to accept a login, a subscription, or what is written to it."""

STEADY_S: Final = 5.0
"""A connection that lasted so long ends the count of failures."""

BACKOFF: Final = Backoff(first_ms=50, cap_ms=1_000)

BURST: Final = 32
"""Messages handed over at once: what one loop turn of a replica makes, some times over. More wait until these
are written, where they can still be joined by others or dropped for newer ones."""

_UNTRUSTED: Final = "certificate verify failed"
_NUMBERS: Final = re.compile(
    r"^\[Errno [-0-9]+\] |^\[SSL: [A-Z0-9_]+\] | \(_ssl\.c:[0-9]+\)$|^\[code:[0-9]+\] "
)

Source = Callable[[], Sequence[tuple[str, bytes]]]
"""Gives the next messages, each a topic and a payload, `BURST` at most; nothing where nothing waits."""

Take = Callable[[str, bytes], None]


class BrokerConnection:
    """Keeps one connection. All calls from the event loop's thread.

    `subscriptions`: topic patterns. `take` gets the topic and payload of every message that comes; whatever
    it raises goes to the event loop's exception handler. `changed` is called when the connection comes up or
    goes down.
    """

    def __init__(
        self,
        broker: Broker,
        identifier: str,
        subscriptions: Sequence[str],
        source: Source,
        take: Take,
        changed: Callable[[], None],
        tally: Tally,
        random: Random,
    ) -> None:
        self.broker = broker
        self.up = False
        self.cause = "not tried yet"
        """Why there is no connection, in one line."""
        self.tried = asyncio.Event()
        """Set when the first attempt has ended, either way."""
        self._identifier = identifier
        self._subscriptions = [(pattern, 0) for pattern in subscriptions]
        self._source = source
        self._take = take
        self._changed = changed
        self._tally = tally
        self._random = random
        self._client: PromptClient | None = None
        """While the connection is up."""
        self._flush_scheduled = False
        self.idle = asyncio.Event()
        """Set while nothing waits to be sent by this connection."""
        self._loop = asyncio.get_running_loop()

    def wake(self) -> None:
        """There may be something to send."""
        self.idle.clear()
        if not self._flush_scheduled and self._client is not None:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    async def run(self) -> None:
        """Keep a connection until cancelled."""
        failures = 0
        while True:
            begun = self._loop.time()
            reason = "broker_lost"
            try:
                reason = await self._once()
            except (aiomqtt.MqttError, OSError) as error:
                self.cause = _said(error, self.broker)
                reason = "broker_lost" if self.up else "broker_unreachable"
            finally:
                self._went_down()
            self._tally.note(reason, broker=str(self.broker.address), why=self.cause)
            failures = 1 if self._loop.time() - begun >= STEADY_S else failures + 1
            await asyncio.sleep(BACKOFF.delay_ms(failures, self._random) / 1000)

    async def _once(self) -> str:
        """Connect and use the connection until it ends. Returns the reason; `cause` says more."""
        client = self._new_client()
        await _finished(client.enter())
        try:
            refused = await self._subscribe(client)
            if refused is not None:
                self.cause = f"it does not allow reading {refused}"
                return "broker_refuses_topic"
            self._client = client
            self.up = True
            self.tried.set()
            self._changed()
            self.wake()
            await client.lost()
        finally:
            self._client = None
            await _finished(client.leave())
        return "broker_lost"

    async def _subscribe(self, client: PromptClient) -> str | None:
        """Subscribe; returns a pattern that was refused, if one was."""
        codes = await client.subscribe(self._subscriptions)
        for (pattern, _), code in zip(self._subscriptions, codes, strict=False):
            if isinstance(code, ReasonCode) and code.is_failure:
                return pattern
        return None

    def _flush(self) -> None:
        """Send what there is, in one write as far as the broker takes it."""
        self._flush_scheduled = False
        client = self._client
        while client is not None and client.writable:
            messages = self._source()
            if not messages:
                self.idle.set()
                return
            client.publish_now(messages)

    def _went_down(self) -> None:
        was_up, self.up = self.up, False
        self.tried.set()
        if was_up:
            self._changed()

    def _receive(self, topic: str, payload: bytes) -> None:
        if len(payload) > MAX_MESSAGE_BYTES:
            self._tally.count("message_too_large")
            return
        # Not at once: what it raises is no fault of the broker's.
        self._loop.call_soon(self._take, topic, payload)

    def _new_client(self) -> PromptClient:
        return PromptClient(
            self.broker,
            self._identifier,
            self._receive,
            self.wake,
            largest=MAX_MESSAGE_BYTES,
            keep_alive_s=KEEP_ALIVE_S,
            answer_s=ANSWER_S,
        )


async def _finished(work: "Awaitable[Any]") -> None:
    """Wait for the end of `work`, also where the wait is cancelled: half a connection would be left open."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise


def _said(error: Exception, broker: Broker) -> str:
    """Return what went wrong in words, without the numbers of libraries."""
    text = _NUMBERS.sub("", str(error.__cause__ or error)) or type(error).__name__
    if isinstance(error, MqttConnectError):
        return f"it refuses the account {broker.user!r}: {text}"
    if text.startswith(_UNTRUSTED):
        return f"its certificate is not the one expected{text.removeprefix(_UNTRUSTED)}"
    return text
