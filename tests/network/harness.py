"""Real sockets, TLS and event loops on the loopback, with handlers that remember and can be waited for."""

import asyncio
import atexit
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, wraps
from importlib import import_module
from inspect import Parameter, Signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pytest

from crypto import tls
from crypto.keyfile import write_private_file
from crypto.roster import MemberId
from network.framing import Framer, frame
from network.hello import Hello
from network.tcp import (
    Address,
    Backoff,
    ClientListener,
    ListenerLimits,
    MeshLimits,
    PeerMesh,
)

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop] | None] = {"asyncio": None}
with suppress(ImportError):
    LOOPS["uvloop"] = import_module("uvloop").new_event_loop

_HOME = TemporaryDirectory(prefix="tetrarch-network-")
atexit.register(_HOME.cleanup)

CHAIN = bytes(range(32))
OTHER_CHAIN = bytes(32)
LOOPBACK = Address("127.0.0.1", 0)
PATIENCE_S = 30
"""When a condition that is waited for counts as never coming."""

QUICK = MeshLimits(heartbeat_ms=50, silent_heartbeats=100, backoff=Backoff(5, 50))


@dataclass(frozen=True)
class Identity:
    certificate: Path
    key: Path
    pem: bytes

    @property
    def fingerprint(self) -> bytes:
        return tls.fingerprint(tls.certificate_der(self.pem))


@cache
def identity(name: str) -> Identity:
    directory = Path(_HOME.name) / name
    directory.mkdir()
    pem, key = tls.make_identity(name)
    (directory / "cert.pem").write_bytes(pem)
    write_private_file(directory / "key.pem", key)
    return Identity(directory / "cert.pem", directory / "key.pem", pem)


def member_identity(member: int) -> Identity:
    return identity(f"member-{member}")


def fingerprints(n: int) -> dict[MemberId, bytes]:
    return {MemberId(m): member_identity(m).fingerprint for m in range(n)}


def server_context(own: Identity, *trusted: Identity) -> ssl.SSLContext:
    return tls.server_context(own.certificate, own.key, [each.pem for each in trusted])


def client_context(own: Identity, *trusted: Identity) -> ssl.SSLContext:
    return tls.client_context(own.certificate, own.key, [each.pem for each in trusted])


class Watched:
    """Something whose changes can be waited for."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future] = []

    def changed(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                future = asyncio.get_running_loop().create_future()
                self._waiting.append(future)
                await future


class Recorder(Watched):
    """Handles peers and clients, remembers all, and takes the lines of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[tuple[int, bytes]] = []
        self.events: list[tuple[str, int]] = []
        self.up: set[int] = set()
        self.lines: list[tuple[str, dict]] = []
        self.on_frame: Callable[[int, bytes], object] = lambda source, frame: None

    def peer_frame(self, source: int, frame: bytes) -> None:
        self.frames.append((source, frame))
        self.changed()
        self.on_frame(source, frame)

    def peer_up(self, source: int) -> None:
        self.events.append(("up", source))
        self.up.add(source)
        self.changed()

    def peer_down(self, source: int) -> None:
        self.events.append(("down", source))
        self.up.discard(source)
        self.changed()

    client_frame = peer_frame
    client_up = peer_up
    client_gone = peer_down

    def report(self, name: str, /, **facts: str | int) -> None:
        self.lines.append((name, facts))
        self.changed()

    async def until_up(self, count: int) -> None:
        await self.until(lambda: len(self.up) == count)

    async def until_frames(self, count: int) -> None:
        await self.until(lambda: len(self.frames) >= count)
        assert len(self.frames) == count

    async def until_last(self, source: int, frame: bytes) -> None:
        await self.until(lambda: self.received(source)[-1:] == [frame])

    async def until_events(self, *kinds: str) -> None:
        await self.until(lambda: [kind for kind, _ in self.events] == [*kinds])

    async def until_told(self, name: str) -> None:
        await self.until(lambda: bool(self.told(name)))

    def told(self, name: str) -> list[dict]:
        return [facts for line, facts in self.lines if line == name]

    def received(self, source: int) -> list[bytes]:
        return [frame for sender, frame in self.frames if sender == source]


@dataclass
class Node:
    mesh: PeerMesh
    seen: Recorder


@dataclass
class Cluster:
    """Meshes that know one another; started from the highest id, whose port the lower ones must know."""

    n: int
    limits: MeshLimits = QUICK
    nodes: dict[int, Node] = field(default_factory=dict)
    addresses: dict[MemberId, Address] = field(default_factory=dict)

    async def start(
        self, member: int, listen: Address = LOOPBACK, chain: bytes = CHAIN, **changes: Any
    ) -> Node:
        others = [member_identity(m) for m in range(self.n)]
        own = changes.pop("identity", member_identity(member))
        seen = Recorder()
        mesh = PeerMesh(
            MemberId(member),
            chain,
            listen,
            self.addresses,
            changes.pop("fingerprints", fingerprints(self.n)),
            changes.pop("server_context", server_context(own, *others)),
            changes.pop("client_context", client_context(own, *others)),
            seen,
            limits=changes.pop("limits", self.limits),
            report=seen.report,
        )
        await mesh.start()
        self.addresses[MemberId(member)] = mesh.address
        self.nodes[member] = Node(mesh, seen)
        return self.nodes[member]

    async def start_all(self) -> list[Node]:
        for member in reversed(range(self.n)):
            await self.start(member)
        nodes = [self.nodes[member] for member in range(self.n)]
        for node in nodes:
            await node.seen.until_up(self.n - 1)
        return nodes

    async def stop(self, member: int) -> None:
        await self.nodes.pop(member).mesh.close()

    async def close(self) -> None:
        for node in list(self.nodes.values()):
            await node.mesh.close()


async def listener(seen: Recorder, limits: ListenerLimits | None = None) -> ClientListener:
    own = member_identity(0)
    context = tls.server_context_anonymous(own.certificate, own.key)
    made = ClientListener(LOOPBACK, context, seen, limits=limits, report=seen.report)
    await made.start()
    return made


def client_side(trusted: Identity | None = None) -> ssl.SSLContext:
    return tls.client_context_anonymous([(trusted or member_identity(0)).pem])


class Proxy(Watched):
    """A wire between two sockets that can be cut and held, and that counts the TLS records that pass."""

    def __init__(self, target: Address) -> None:
        super().__init__()
        self.target = target
        self.bytes_there = bytearray()
        """All that went from who connected to the target."""
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task] = set()

    @property
    def address(self) -> Address:
        host, port = self._server.sockets[0].getsockname()[:2]
        return Address(host, port)

    async def start(self) -> "Proxy":
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return self

    def hold(self) -> None:
        self._flowing.clear()

    def let_go(self) -> None:
        self._flowing.set()

    def cut(self) -> None:
        writers, self._writers = self._writers, []
        for writer in writers:
            writer.transport.abort()

    @property
    def records(self) -> int:
        """Application-data records that were sent to the target."""
        place = count = 0
        while place + 5 <= len(self.bytes_there):
            count += self.bytes_there[place] == 23
            place += 5 + int.from_bytes(self.bytes_there[place + 3 : place + 5], "big")
        return count

    async def close(self) -> None:
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection(self.target.host, self.target.port)
        except OSError:
            writer.transport.abort()
            return
        self._writers += [writer, there_writer]
        for one_way in (self._pump(reader, there_writer, True), self._pump(there_reader, writer, False)):
            task = asyncio.create_task(one_way)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, there: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                self.changed()
                await self._flowing.wait()
                writer.write(data)
                if there:
                    self.bytes_there += data
                    self.changed()
                await writer.drain()
        writer.close()


class Raw:
    """The other end of a TLS connection, byte by byte: what a correct node would never send."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._framer = Framer(10**8)
        self._frames: list[bytes] = []

    @classmethod
    async def connect(cls, address: Address, context: ssl.SSLContext | None) -> "Raw":
        name = None if context is None else ""
        return cls(
            *await asyncio.open_connection(address.host, address.port, ssl=context, server_hostname=name)
        )

    @classmethod
    async def as_member(cls, address: Address, member: int, hello: bytes | None = None) -> "Raw":
        """Connect with this member's certificate and say its hello, or what is given instead."""
        raw = await cls.connect(address, careless_context(member_identity(member)))
        raw.send(Hello(CHAIN, MemberId(member)).encode() if hello is None else hello)
        return raw

    def send(self, *payloads: bytes) -> None:
        self.write(b"".join(map(frame, payloads)))

    def write(self, data: bytes) -> None:
        self.writer.write(data)

    async def receive(self) -> bytes:
        """The next frame, heartbeats included."""
        async with asyncio.timeout(PATIENCE_S):
            while not self._frames:
                data = await self.reader.read(65536)
                if not data:
                    raise ConnectionError("closed")
                self._frames += self._framer.feed(data)
        return self._frames.pop(0)

    async def closed(self) -> None:
        """Wait until the other end closes."""
        async with asyncio.timeout(PATIENCE_S):
            with suppress(OSError):
                while await self.reader.read(65536):
                    pass
        self.writer.transport.abort()

    def abort(self) -> None:
        self.writer.transport.abort()


def careless_context(own: Identity) -> ssl.SSLContext:
    """A client that shows a certificate and believes anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(own.certificate, own.key)
    return context


def anonymous_context() -> ssl.SSLContext:
    """A client that shows no certificate and believes anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def run(loop_name: str, test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `test` on a fresh loop; whatever the loop's exception handler is told fails it."""
    faults: list[dict] = []

    async def guarded() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: faults.append(context))
        async with asyncio.timeout(2 * PATIENCE_S):
            await test()

    with asyncio.Runner(loop_factory=LOOPS[loop_name]) as runner:
        runner.run(guarded())
    assert faults == []


def on_every_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run the test on asyncio's event loop and, where it is installed, on uvloop's."""

    @pytest.mark.parametrize("loop_name", LOOPS)
    @wraps(test)
    def wrapped(loop_name: str, **arguments: Any) -> None:
        run(loop_name, lambda: test(**arguments))

    names = ["loop_name", *(name for name in test.__annotations__ if name != "return")]
    parameters = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    wrapped.__dict__["__signature__"] = Signature(parameters)  # what pytest goes by
    return cast(Callable[..., None], wrapped)
