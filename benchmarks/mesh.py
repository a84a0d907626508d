"""What frames between two members cost, TLS included: `python -m benchmarks.mesh`.

Two meshes in one process exchange frames over the loopback, so that the CPU time printed is that of both
sides together: a member that only sends or only receives pays about half. `per turn` is how many frames are
sent in one turn of the event loop, and so how many share one write. On asyncio and, where installed, uvloop.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from crypto import tls
from crypto.keyfile import write_private_file
from crypto.roster import MemberId
from network.tcp import Address, MeshLimits, PeerMesh

QUEUED_AT_MOST = 4 * 1024 * 1024
FIRST, SECOND = MemberId(0), MemberId(1)


class Counting:
    """Counts frames and says when enough came."""

    def __init__(self) -> None:
        self.left = self.wanted = 0
        self.enough = asyncio.Event()
        self.up = asyncio.Event()
        self.answer: Callable[[bytes], None] | None = None

    def peer_frame(self, _member: MemberId, frame: bytes) -> None:
        """Take a frame."""
        self.left -= 1
        if self.left <= self.wanted:
            self.enough.set()
        elif self.answer is not None:
            self.answer(frame)

    def peer_up(self, _member: MemberId) -> None:
        """The other one is there."""
        self.up.set()

    def peer_down(self, _member: MemberId) -> None:
        """The other one is gone."""

    def expect(self, frames: int) -> None:
        """Count anew."""
        self.left, self.wanted = frames, 0
        self.enough.clear()

    async def caught_up(self, frames: int) -> None:
        """Wait until so many more have come, or all."""
        self.wanted = max(0, self.left - frames)
        self.enough.clear()
        await self.enough.wait()
        self.wanted = 0
        if self.left:
            self.enough.clear()


@dataclass
class Pair:
    """Two connected members."""

    sender: PeerMesh
    receiver: PeerMesh
    sent: Counting
    received: Counting

    @classmethod
    async def make(cls, directory: Path) -> "Pair":
        """Make identities and connect."""
        certificates = []
        for member in (FIRST, SECOND):
            certificate, key = tls.make_identity(f"member-{member}")
            (directory / f"{member}.pem").write_bytes(certificate)
            write_private_file(directory / f"{member}.key", key)
            certificates.append(certificate)
        known = [tls.fingerprint(tls.certificate_der(each)) for each in certificates]
        fingerprints = dict(zip((FIRST, SECOND), known, strict=True))
        addresses: dict[MemberId, Address] = {}
        meshes, handlers = [], []
        for member in (SECOND, FIRST):
            own = directory / f"{member}.pem", directory / f"{member}.key"
            handlers.append(Counting())
            mesh = PeerMesh(
                member,
                bytes(32),
                Address("127.0.0.1", 0),
                addresses,
                fingerprints,
                tls.server_context(*own, certificates),
                tls.client_context(*own, certificates),
                handlers[-1],
                limits=MeshLimits(queue_bytes=2 * QUEUED_AT_MOST, queue_frames=10**6),
                report=_unreported,
            )
            await mesh.start()
            addresses[member] = mesh.address
            meshes.append(mesh)
        for handler in handlers:
            await handler.up.wait()
        return cls(meshes[1], meshes[0], handlers[1], handlers[0])

    async def stream(self, size: int, count: int, per_turn: int) -> tuple[float, float]:
        """Send `count` frames as fast as they are read; return seconds and CPU seconds."""
        frame = bytes([1]) * size
        self.received.expect(count)
        begun, used = time.perf_counter(), time.process_time()
        for sent in range(0, count, per_turn):
            for _ in range(min(per_turn, count - sent)):
                self.sender.send(SECOND, frame)
            await asyncio.sleep(0)
            if self.sender.queued(SECOND) > QUEUED_AT_MOST:
                await self.received.caught_up(QUEUED_AT_MOST // 2 // size)
        await self.received.enough.wait()
        return time.perf_counter() - begun, time.process_time() - used

    async def ping_pong(self, size: int, count: int) -> tuple[float, float]:
        """Send one frame to and fro, `count` frames in all; return seconds and CPU seconds."""
        self.received.answer = lambda frame: self.receiver.send(FIRST, frame)
        self.sent.answer = lambda frame: self.sender.send(SECOND, frame)
        self.received.expect(count // 2)
        self.sent.expect(count)
        begun, used = time.perf_counter(), time.process_time()
        self.sender.send(SECOND, bytes([1]) * size)
        await self.received.enough.wait()
        elapsed = time.perf_counter() - begun, time.process_time() - used
        self.received.answer = self.sent.answer = None
        return elapsed


async def measure(name: str) -> None:
    """Measure one event loop and print."""
    with TemporaryDirectory() as directory:
        pair = await Pair.make(Path(directory))
        for size, count, per_turn in (
            (100, 20_000, 1),
            (100, 200_000, 64),
            (100, 400_000, 1_000),
            (100_000, 4_000, 1),
            (100_000, 4_000, 8),
        ):
            seconds, cpu = min([await pair.stream(size, count, per_turn) for _ in range(3)])
            report(name, f"{size} bytes, {per_turn} per turn", count, seconds, cpu)
        seconds, cpu = min([await pair.ping_pong(100, 5_000) for _ in range(3)])
        report(name, "100 bytes, to and fro, one at a time", 5_000, seconds, cpu)
        await pair.sender.close()
        await pair.receiver.close()


def _unreported(_name: str, /, **_facts: str | int) -> None:
    """That a mesh was closed is no news here."""


def report(loop: str, name: str, count: int, seconds: float, cpu: float) -> None:
    """Print one line."""
    print(f"{loop:<9}{name:<42}{count / seconds:12,.0f} frames/s{1e6 * cpu / count:9.2f} us CPU per frame")


def main() -> None:
    """Measure and print."""
    asyncio.run(measure("asyncio"))
    try:
        factory = import_module("uvloop").new_event_loop
    except ImportError:
        return
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(measure("uvloop"))


if __name__ == "__main__":
    main()
