"""A lying broker: a proxy before a real one, by which all members and clients go, and which does as it likes
with what members say to each other.

What lives here: the packets of MQTT as far as they must be told apart, and what is done to messages between
members. What must not be known here: any member's key: what it sees of a message is its topic and its size.

It acts on what the real broker has already let through, on its way to the receiver, so accounts and access
lists do not stop it: it is the broker. Messages of clients pass untouched, so that a run can be watched. A
cut link loses what is sent, where one of TCP would hold it back. Source: MQTT 5.0, 1.5.5, 2.1 and 3.3.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

from byzantine.liars.adversary import Carried
from byzantine.runners.clock import RunClock
from byzantine.runners.links import UNDELAYED_US, delay_us
from byzantine.scenario import Links
from crypto.digest import ChainId
from crypto.roster import MemberId
from crypto.tls import certificate_der, client_context_anonymous, server_context_anonymous
from network.address import Address
from network.mqtt.topics import Topics
from tetrarch.layout import BROKER_FILE
from tetrarch.setup.brokers import CERTIFICATE_FILE, KEY_FILE

PUBLISH = 3
"""The type of packet that carries a message (MQTT 5.0, 2.1.2)."""

COPIED_BYTES = 64 * 1024
MAX_PACKET_BYTES = 1024 * 1024
MAX_UNWRITTEN_BYTES = 64 * 1024 * 1024
"""What waits for one receiver; beyond, messages are lost, as a broker's queue loses them."""

Through = Callable[[int, int, bytes], Iterable[Carried]]
"""What arrives of a message from one member to another."""


class Premises(NamedTuple):
    """Where a network's broker is, and where its members look for it."""

    home: Path
    """The real one's files: the proxy shows its certificate."""
    seen: Address
    real: Address


def step_aside(home: Path, seen: Address, real: Address) -> Premises:
    """Have the broker in `home` listen elsewhere than where members look for it, and return both places."""
    file = home / BROKER_FILE
    file.write_text(file.read_text().replace(f"listener {seen.port} ", f"listener {real.port} "))
    return Premises(home, seen, real)


class BrokerProxy:
    """All links of one network (`byzantine.runners.links.MemberLinks`). `through`: what else a hostile one
    does."""

    def __init__(
        self,
        premises: Premises,
        chain_id: ChainId,
        policy: Links,
        seed: int,
        clock: RunClock,
        through: Through | None = None,
    ) -> None:
        self.ports: dict[tuple[int, int], int] = {}
        """None: nobody dials anybody else."""
        self.done: Counter[str] = Counter()
        """What was done to links, and how often (`byzantine.scenario.LINKS_DO`)."""
        self._premises = premises
        self._topics = Topics(chain_id)
        self._policy = policy
        self._clock = clock
        self._through = through
        self._random = Random(f"broker {seed}")
        self._cut: set[tuple[int, int]] = set()
        self._due: dict[tuple[int, int], float] = {}
        """When the last message on a link arrives, as long as that is to come."""
        self._server: asyncio.Server | None = None
        self._carrying: set[asyncio.Task[None]] = set()
        certificate = premises.home / CERTIFICATE_FILE
        self._accepting = server_context_anonymous(certificate, premises.home / KEY_FILE)
        self._dialling = client_context_anonymous([certificate_der(certificate.read_bytes())])

    async def start(self) -> None:
        """Listen. Raises `OSError`."""
        seen = self._premises.seen
        self._server = await asyncio.start_server(self._accept, seen.host, seen.port, ssl=self._accepting)

    async def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        for task in self._carrying:
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    def cut(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Let nothing pass from the first to the second of each pair."""
        self._cut.update(pairs)

    def mend(self, pairs: Iterable[tuple[int, int]] | None = None) -> None:
        """Let everything pass again, of these pairs or of all."""
        self._cut.difference_update(tuple(self._cut) if pairs is None else pairs)

    def set_policy(self, policy: Links) -> None:
        """Treat messages by another policy from now on."""
        self._policy = policy

    # Carrying.

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._carry(reader, writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to the real broker both ways until either end closes it."""
        real = self._premises.real
        try:
            far_reader, far_writer = await asyncio.open_connection(real.host, real.port, ssl=self._dialling)
        except OSError:
            writer.close()
            return
        directions = [
            asyncio.create_task(_copy(reader, far_writer)),
            asyncio.create_task(self._pass(far_reader, writer)),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            for end in (writer, far_writer):
                end.close()
            await asyncio.gather(*directions, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry what the real broker sends, packet by packet."""
        with suppress(OSError, EOFError, ssl.SSLError):
            while True:
                first, body = await _read_packet(reader)
                pair = None
                if first >> 4 == PUBLISH:
                    length = int.from_bytes(body[:2], "big")
                    pair = self._topics.pair_of(body[2 : 2 + length].decode(errors="replace"))
                if pair is None:
                    writer.write(_packet(first, body))
                    await writer.drain()
                else:
                    self._carry_message(pair[0], pair[1], body, writer)

    def _carry_message(self, source: int, to: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        """Do to one message between members what is to be done to it."""
        between, payload = _split(body)
        through = (Carried(payload),) if self._through is None else self._through(source, to, payload)
        for each in through:
            said = source if each.source is None else int(each.source)
            if (source, to) in self._cut:
                self.done["cut"] += 1
            elif self._random.random() < self._policy.loss:
                self.done["lost"] += 1
            else:
                topic = self._topics.between(MemberId(said), MemberId(to)).encode()
                body = len(topic).to_bytes(2, "big") + topic + between + each.frame
                self._send(source, to, each.delay_ms, _packet(PUBLISH << 4, body), writer)

    def _send(self, source: int, to: int, delay_ms: int, packet: bytes, writer: asyncio.StreamWriter) -> None:
        policy, random = self._policy, self._random
        times = 1
        if random.random() < policy.repeat:
            self.done["repeated"] += 1
            times = 2
        for _ in range(times):
            link_us = delay_us(policy, random)
            self.done["delayed"] += link_us > UNDELAYED_US
            seconds = (delay_ms + link_us / 1000) * self._clock.slowdown / 1000
            self._arrive(source, to, seconds, partial(_write, writer, packet))

    def _arrive(self, source: int, to: int, seconds: float, arrive: Callable[[], None]) -> None:
        """Have something arrive so much later: in the order in which it was sent, unless that is not to be
        kept."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        due = now + seconds
        last = self._due.get((source, to), 0.0)
        if due < last:
            if self._random.random() < self._policy.reorder:
                self.done["reordered"] += 1
            else:
                due = last
        self._due[source, to] = max(due, last)
        if due <= now:
            arrive()
        else:
            loop.call_at(due, arrive)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError, ssl.SSLError):
        while data := await reader.read(COPIED_BYTES):
            writer.write(data)
            await writer.drain()


async def _read_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return the first byte of the next packet, and what follows its length. Raises `EOFError`."""
    first = (await reader.readexactly(1))[0]
    length = 0
    for place in range(4):
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            break
    if length > MAX_PACKET_BYTES:
        raise EOFError(f"a packet of {length} bytes")
    return first, await reader.readexactly(length)


def _packet(first: int, body: bytes) -> bytes:
    """Return a packet, its length written as MQTT 5.0, 1.5.5 has it."""
    header = bytearray([first])
    length = len(body)
    while True:
        length, digit = length >> 7, length & 0x7F
        header.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(header) + body


def _split(body: bytes) -> tuple[bytes, bytes]:
    """Return what stands between a message's topic and its payload, its properties, and the payload: at QoS
    0."""
    start = 2 + int.from_bytes(body[:2], "big")
    length, place = 0, start
    while True:
        byte = body[place]
        length |= (byte & 0x7F) << (7 * (place - start))
        place += 1
        if byte < 0x80:
            break
    return body[start : place + length], body[place + length :]


def _write(writer: asyncio.StreamWriter, packet: bytes) -> None:
    if not writer.is_closing() and writer.transport.get_write_buffer_size() < MAX_UNWRITTEN_BYTES:
        writer.write(packet)
