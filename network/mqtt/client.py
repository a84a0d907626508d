"""aiomqtt's client, made prompt: what is published is written in the same loop turn, what comes is handed on
at once.

What lives here: all that has to be known of aiomqtt 2.5 and paho-mqtt 2. What must not be known here: when to
connect again, what messages are for.

Why it is derived from, with the underscored hooks that this needs: for each message aiomqtt makes a task and
a timer in either direction, and registers the socket with the event loop and takes it off again. Measured for
messages of 300 bytes, one process sending to itself by way of a broker: 335 us of CPU for a message as it
comes, 230 us like this; and a replica handles some fifteen for one transaction. Traps that are seen to here:

- it connects in a thread, and a caller that is cancelled does not stop the thread;
- the socket of a connection that was never accepted is left open, and that of a failed handshake in the
  frames of the exception, which are part of a cycle;
- an exception from a message handler ends the connection, as if the broker had;
- a packet of any length that a broker announces is kept, and messages at QoS 2 until the broker releases
  them;
- from a packet that cannot be decoded an exception comes, and that same packet is decoded again and again;
- a broker that hangs up before it has accepted a connection is waited for all the same;
- Nagle's algorithm is left on, and delays every second message by the 40 ms of a delayed acknowledgement.
"""

import asyncio
import logging
import socket
import traceback
from collections.abc import Callable, Iterable
from typing import Any, Final

import aiomqtt
import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from network.mqtt.broker import Broker

_QUIET: Final = logging.getLogger("tetrarch.network.mqtt.paho")
"""What paho says of a connection that breaks, at level error, is said once and better by whoever keeps it."""

_QUIET.addHandler(logging.NullHandler())
_QUIET.propagate = False

_TYPE: Final = 0xF0
_QUALITY: Final = 0x06
"""Of a packet's first byte: what it is, and of a PUBLISH its quality of service (MQTT 5.0, 3.3.1)."""

Receive = Callable[[str, bytes], None]
"""Takes the topic and payload of a message. Must not raise."""


class PromptClient(aiomqtt.Client):
    """One connection to `broker`; made in the event loop that it is used in, and used once.

    `writable_again` is called when what was handed over has been written, after `writable` was false.
    `largest`: bytes that a message may have, asked of the broker.
    """

    def __init__(
        self,
        broker: Broker,
        identifier: str,
        receive: Receive,
        writable_again: Callable[[], None],
        *,
        largest: int,
        keep_alive_s: int,
        answer_s: float,
    ) -> None:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
        properties.MaximumPacketSize = largest
        properties.SessionExpiryInterval = 0
        super().__init__(
            broker.address.host,
            broker.address.port,
            username=broker.user,
            password=broker.password.text,
            logger=_QUIET,
            identifier=identifier,
            queue_type=_handing_to(receive),
            protocol=aiomqtt.ProtocolVersion.V5,
            clean_start=True,
            timeout=answer_s,
            keepalive=keep_alive_s,
            properties=properties,
            socket_options=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
            tls_context=broker.context,
            # A pinned certificate is compared whole, whatever names it bears.
            tls_insecure=None if broker.context is None else not broker.context.check_hostname,
        )
        self.writable = True
        """Whether all that was handed over has been written."""
        self._writable_again = writable_again
        self._publishing = False
        # Nobody waits for a message of QoS 0 to have been written: what is called for each would be for
        # nothing.
        self._client.on_publish = None
        _guard(self._client, largest)
        # However it ends, somebody has looked why: asyncio takes what nobody looked at for a fault of ours.
        for ending in (self._connected, self._disconnected):
            ending.add_done_callback(_looked_at)

    async def enter(self) -> None:
        """Connect and log in. Raises `aiomqtt.MqttError`."""
        try:
            await self.__aenter__()
        except aiomqtt.MqttError as error:
            self._client.disconnect()
            if error.__context__ is not None:
                traceback.clear_frames(error.__context__.__traceback__)
            raise

    async def leave(self) -> None:
        """Disconnect; never raises."""
        try:
            await self.__aexit__(None, None, None)
        except aiomqtt.MqttError:
            self._client.disconnect()

    async def lost(self) -> None:
        """Wait for the end of the connection, which is an `aiomqtt.MqttError`: no message comes this way."""
        async for _ in self.messages:
            pass

    def publish_now(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Write messages, each a topic and a payload, at QoS 0, as far as the broker takes them now.

        What is left is written as soon as it does. A connection that is lost takes everything, and nobody
        gets it.
        """
        self._publishing = True
        try:
            for topic, payload in messages:
                self._client.publish(topic, payload)
        finally:
            self._publishing = False
        self._write()
        connection = self._client.socket()
        if connection is not None and self._client.want_write():
            self.writable = False
            self._loop.add_writer(connection.fileno(), self._write)

    def _write(self) -> None:
        """Write what there is. A socket that cannot be written to is a connection that is lost."""
        try:
            self._client.loop_write()
        except (OSError, ValueError) as error:
            if not self._disconnected.done():
                self._disconnected.set_exception(error)

    # What paho calls.

    def _on_disconnect(self, client: paho.Client, userdata: Any, *arguments: Any) -> None:
        """The connection is gone, be it before it was accepted: then nothing more is to be waited for."""
        if not self._connected.done():
            self._connected.set_exception(aiomqtt.MqttError("it hangs up before it accepts us"))
        super()._on_disconnect(client, userdata, *arguments)

    def _on_socket_register_write(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        """There is something to write: what is being published, as soon as all of it has been handed over."""
        if not self._connected.done():
            # From the thread that connects.
            super()._on_socket_register_write(client, userdata, sock)
        elif not self._publishing:
            # At once, not in a later turn of the loop: by then all might have been written, and a writer that
            # has nothing to write would be called for ever.
            self._loop.add_writer(sock.fileno(), self._write)

    def _on_socket_unregister_write(self, client: paho.Client, userdata: Any, sock: Any) -> None:
        """All has been written."""
        super()._on_socket_unregister_write(client, userdata, sock)
        if not self.writable:
            self.writable = True
            self._writable_again()


def _guard(client: paho.Client, largest: int) -> None:
    """Let a packet end the connection that is too long, at a quality of service that was never asked for, or
    cannot be decoded."""
    receive, handle = client._sock_recv, client._packet_handle

    def receive_bounded(size: int) -> bytes:
        if size > largest:
            raise ConnectionAbortedError("it sends a packet that is too long")
        return receive(size)

    def handle_checked() -> MQTTErrorCode:
        command = client._in_packet["command"]
        if command & _TYPE == paho.PUBLISH and command & _QUALITY:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        try:
            return handle()
        except Exception:  # noqa: BLE001  # whatever it is, the broker's bytes were its cause
            return MQTTErrorCode.MQTT_ERR_PROTOCOL

    setattr(client, "_sock_recv", receive_bounded)  # noqa: B010  # to mypy, methods are not for assigning
    setattr(client, "_packet_handle", handle_checked)  # noqa: B010


def _looked_at(ended: "asyncio.Future[None]") -> None:
    if not ended.cancelled():
        ended.exception()


def _handing_to(receive: Receive) -> type["asyncio.Queue[aiomqtt.Message]"]:
    """Return a queue that keeps nothing: what is put into it is handed on."""

    class Handing(asyncio.Queue[aiomqtt.Message]):
        def put_nowait(self, item: aiomqtt.Message) -> None:
            payload = item.payload
            if isinstance(payload, bytes):
                receive(item.topic.value, payload)

    return Handing
