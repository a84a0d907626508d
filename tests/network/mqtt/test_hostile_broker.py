"""What a broker's bytes can do to a connection: end it, and nothing else. The broker here is a script."""

import asyncio
from contextlib import suppress
from random import Random

import pytest

from network.address import Address
from network.mqtt import connection as module
from network.mqtt.broker import Broker, Password
from network.mqtt.connection import MAX_MESSAGE_BYTES, BrokerConnection
from network.tally import Tally

CONNACK = bytes.fromhex("2003000000")
HANG_UP = b""
SUBACK = bytes.fromhex("9004000100") + b"\x00"


def packet(command: int, body: bytes) -> bytes:
    length, digits = len(body), bytearray()
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | (0x80 if length else 0))
        if not length:
            return bytes([command]) + bytes(digits) + body


def publish(topic: bytes, payload: bytes, quality: int = 0) -> bytes:
    number = b"\x00\x01" if quality else b""
    return packet(0x30 | quality << 1, len(topic).to_bytes(2, "big") + topic + number + b"\x00" + payload)


HONEST = [CONNACK, SUBACK + publish(b"topic", b"hello")]


class ScriptedBroker:
    """Says what each connection's script says, a piece for each thing that it hears, and hangs up only where
    that stands there."""

    def __init__(self, *scripts: list[bytes]) -> None:
        self.scripts = list(scripts)
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        script = self.scripts.pop(0) if self.scripts else HONEST
        with suppress(ConnectionError):
            for reply in script:
                if reply != HANG_UP:
                    await reader.read(4_096)
                    writer.write(reply)
            while script[-1] != HANG_UP and await reader.read(4_096):
                pass
        writer.close()


async def visit(broker: ScriptedBroker) -> tuple[list[tuple[str, bytes]], list[object]]:
    """Keep a connection until an honest message comes; return what was taken and what was not caught."""
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    server = await asyncio.start_server(broker.serve, "127.0.0.1", 0)
    address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
    taken: list[tuple[str, bytes]] = []
    came = asyncio.Event()

    def take(topic: str, payload: bytes) -> None:
        taken.append((topic, payload))
        if payload == b"hello":
            came.set()

    connection = BrokerConnection(
        Broker(address, None, "user", Password("password")),
        "identifier",
        ["topic"],
        list,
        take,
        lambda: None,
        Tally(lambda name, /, **facts: None),
        Random(1),
    )
    running = asyncio.create_task(connection.run())
    try:
        async with asyncio.timeout(10):
            await came.wait()
    finally:
        running.cancel()
        await asyncio.wait([running])
        server.close()
    return taken, faults


HOSTILE = {
    "nothing_and_the_end": [HANG_UP],
    "the_end_after_login": [CONNACK, HANG_UP],
    "the_end_after_subscribing": [CONNACK, SUBACK, HANG_UP],
    "topic_that_is_no_text": [CONNACK, SUBACK + publish(b"\xff\xfe", b"x")],
    "publish_cut_short": [CONNACK, SUBACK + packet(0x30, b"\x00")],
    "topic_longer_than_its_packet": [CONNACK, SUBACK + packet(0x30, b"\xff\xffab")],
    "properties_that_make_no_sense": [CONNACK, SUBACK + packet(0x30, b"\x00\x01t\x05\x7f\x7f\x7f")],
    "packet_of_256_mb": [CONNACK, SUBACK + b"\x30\xff\xff\xff\x7f" + bytes(10 * MAX_MESSAGE_BYTES)],
    "quality_of_service_1": [CONNACK, SUBACK + publish(b"topic", b"x", 1)],
    "quality_of_service_2": [CONNACK, SUBACK + publish(b"topic", b"x", 2)],
    "connack_cut_short": [b"\x20\x01\x00"],
    "connack_of_no_kind": [packet(0x20, b"\x00\xfe\x00")],
    "suback_cut_short": [CONNACK, b"\x90\x01\x00"],
    "disconnect_of_no_kind": [CONNACK, SUBACK + packet(0xE0, b"\x01\x7f")],
    "packet_of_no_kind": [CONNACK, SUBACK + b"\x00\x00"],
    "length_of_five_bytes": [CONNACK, SUBACK + b"\x30\xff\xff\xff\xff\xff\xff"],
}


@pytest.mark.parametrize("script", HOSTILE.values(), ids=HOSTILE.keys())
def test_bytes_that_no_honest_broker_sends_end_one_connection_and_the_next_one_works(
    script: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.3)
    broker = ScriptedBroker(script)
    taken, faults = asyncio.run(visit(broker))
    assert (taken, faults, broker.connections) == ([("topic", b"hello")], [], 2)
