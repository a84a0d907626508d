"""The shell around the heart: one turn for many frames, sends after the sync, clean stops, loud faults."""

import asyncio
import json
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from crypto.roster import MemberId
from ledger.errors import CorruptStore, DiskFull
from ledger.keyvalue import MemoryKeyValue
from network.address import Address
from tests.tetrarch.node.support import KEYS, make_genesis, transaction
from tetrarch.decoding import FrameDecoder
from tetrarch.errors import ConfigurationError
from tetrarch.node import shell
from tetrarch.node.composition import compose
from tetrarch.node.effects import ConnectionId, Event, Fact
from tetrarch.node.logs import Log, trace_path
from tetrarch.node.settings import NodeSettings
from tetrarch.node.shell import Node, clocks
from tetrarch.node.sockets import Handler, NetworkLoad
from tetrarch.node.watching import Watch
from tetrarch.wire import TO_CLIENTS, AskStatus, Frame, Results, StatusReply, Submit, pack

_decoder = FrameDecoder(TO_CLIENTS, 10**7)
DEADLINE_S = 20
HERE = Address("127.0.0.1", 1)


class Loopback:
    """A network without sockets: the test plays the client."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.sent: asyncio.Queue[Frame] = asyncio.Queue()
        self.closed_clients: asyncio.Queue[ConnectionId] = asyncio.Queue()
        self.running = asyncio.Event()
        self.closed = False
        self.counts: dict[str, int] = {}
        self.load = NetworkLoad(0, {})

    async def start(self) -> None:
        self.running.set()

    def send_member(self, member: MemberId, frame: bytes) -> None:
        pass

    def send_client(self, connection: ConnectionId, frame: bytes) -> None:
        self.sent.put_nowait(_decoder.decode(frame))

    def close_client(self, connection: ConnectionId) -> None:
        self.closed_clients.put_nowait(connection)

    async def close(self) -> None:
        self.closed = True


class WatchedLog(Log):
    """A log that a test may wait on."""

    def __init__(self, name: str, path: Path | None) -> None:
        super().__init__(name, path)
        self.events: asyncio.Queue[str] = asyncio.Queue()

        self.following = asyncio.Event()
        self.unchanged = asyncio.Event()

    def info(self, name: str, /, **facts: Fact) -> None:
        super().info(name, **facts)
        if name == "following":
            self.following.set()

    def error(self, name: str, /, **facts: Fact) -> None:
        super().error(name, **facts)
        if name == "trace_unchanged":
            self.unchanged.set()

    def event(self, event: Event) -> None:
        super().event(event)
        self.events.put_nowait(event.name)

    async def seen(self, name: str) -> None:
        while await self.events.get() != name:
            pass


class Bench:
    """One node of a network of one, on a disk in memory."""

    def __init__(
        self,
        folder: Path,
        disk: MemoryKeyValue | None = None,
        processes: int = 0,
        metrics: Address | None = None,
        reread: Callable[[], str] | None = None,
    ) -> None:
        self.genesis = make_genesis(1)
        self.settings = NodeSettings(
            genesis=self.genesis,
            member=MemberId(0),
            signer=KEYS[0],
            store=folder,
            certificate=folder,
            private_key=folder,
            peer_certificates=(),
            peer_listen=HERE,
            client_listen=HERE,
            peers=(HERE,),
            checking_processes=processes,
            log=folder / "log",
            metrics=metrics,
        )
        self.reread = reread
        self.watch = Watch()
        self.disk = disk or MemoryKeyValue()
        self.log = WatchedLog("replica-0", self.settings.log)
        self.heart = compose(self.settings, self.disk, watch=self.watch)
        self.network: Loopback

    def open_network(self, handler: Handler) -> Loopback:
        self.network = Loopback(handler)
        return self.network

    def submit(self, *numbers: int) -> None:
        soon = clocks().wall + 60_000
        raws = tuple(transaction(self.genesis, number, valid_until=soon) for number in numbers)
        self.network.handler.client_frame(1, pack(Submit(True, raws)))

    def run(self, play: "Callable[[Bench, Node], Coroutine[None, None, None]]") -> int:
        async def main() -> int:
            parts = (self.settings, self.disk, self.heart, self.open_network, self.log)
            node = Node(*parts, watch=self.watch, reread=self.reread)
            running = asyncio.create_task(node.run())
            await self.network.running.wait()
            await asyncio.wait_for(play(self, node), DEADLINE_S)
            return await asyncio.wait_for(running, DEADLINE_S)

        try:
            return asyncio.run(main())
        finally:
            self.log.close()


@pytest.fixture(params=["quick disk", "slow disk"])
def every_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What must hold whether syncs are waited for in place or run in a thread."""
    if request.param == "slow disk":
        monkeypatch.setattr(shell, "QUICK_SYNC_S", -1.0)


@pytest.mark.usefixtures("every_disk")
def test_a_transaction_is_answered_and_a_stop_is_clean(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def play(bench: Bench, node: Node) -> None:
        bench.submit(1, 2, 3)
        reply = await bench.network.sent.get()
        assert isinstance(reply, Results)
        assert len(reply.entries) == 3
        node.stop()

    assert bench.run(play) == 0
    assert bench.network.closed


def test_frames_of_one_loop_turn_make_one_turn_of_the_heart(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def play(bench: Bench, node: Node) -> None:
        for number in range(50):
            bench.submit(number)
        reply = await bench.network.sent.get()
        assert isinstance(reply, Results)
        assert len(reply.entries) == 50
        node.stop()

    assert bench.run(play) == 0


def test_signatures_may_be_checked_by_other_processes(tmp_path: Path) -> None:
    bench = Bench(tmp_path, processes=1)

    async def play(bench: Bench, node: Node) -> None:
        bench.submit(1, 2)
        reply = await bench.network.sent.get()
        assert isinstance(reply, Results)
        assert len(reply.entries) == 2
        node.stop()

    assert bench.run(play) == 0


class FailingDisk(MemoryKeyValue):
    """A disk whose syncs fail from a moment on."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None

    def sync(self) -> None:
        if self.error is not None:
            raise self.error
        super().sync()


@pytest.mark.usefixtures("every_disk")
def test_after_a_failed_sync_nothing_is_acknowledged_and_the_status_says_why(tmp_path: Path) -> None:
    disk = FailingDisk()
    bench = Bench(tmp_path, disk)

    async def play(bench: Bench, node: Node) -> None:
        disk.error = DiskFull("the disk is full")
        bench.submit(1)
        await bench.log.seen("halted")
        bench.network.handler.client_frame(1, pack(AskStatus(7)))
        reply = await bench.network.sent.get()
        assert isinstance(reply, StatusReply), "the results never left"
        assert reply.role == "halted"
        assert "disk is full" in reply.halted
        node.stop()

    assert bench.run(play) == 0


@pytest.mark.usefixtures("every_disk")
def test_a_fault_of_our_own_stops_the_node_with_one_clear_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    disk = FailingDisk()
    bench = Bench(tmp_path, disk)

    async def play(bench: Bench, node: Node) -> None:
        disk.error = CorruptStore("a flipped bit")
        bench.submit(1)

    assert bench.run(play) == 1
    assert bench.network.closed
    out = capfd.readouterr()
    lines = [line for line in out.err.splitlines() if line.startswith("tetrarch:")]
    assert len(lines) == 1
    assert "a flipped bit" in lines[0]
    assert '"event": "fault"' in (tmp_path / "log").read_text()


def test_a_node_that_gets_no_thread_to_sync_in_stops_loudly(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(shell, "QUICK_SYNC_S", -1.0)
    bench = Bench(tmp_path)

    async def play(bench: Bench, node: Node) -> None:
        monkeypatch.setattr("concurrent.futures.thread.ThreadPoolExecutor.submit", no_thread)
        bench.submit(1)

    assert bench.run(play) == 1
    assert bench.network.closed
    assert "can't start new thread" in capfd.readouterr().err


class BlockingDisk(FailingDisk):
    """A disk whose syncs wait for the test, once that wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.go_on.set()
        self.syncing = threading.Event()

    def sync(self) -> None:
        self.syncing.set()
        assert self.go_on.wait(DEADLINE_S)
        super().sync()


@pytest.mark.parametrize("error", [None, DiskFull("the disk is full")])
def test_a_stop_waits_for_the_sync_that_runs_and_is_clean_however_it_ends(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception | None,
) -> None:
    monkeypatch.setattr(shell, "QUICK_SYNC_S", -1.0)
    disk = BlockingDisk()
    bench = Bench(tmp_path, disk)

    async def play(bench: Bench, node: Node) -> None:
        disk.go_on.clear()
        disk.syncing.clear()
        bench.submit(1)
        assert await asyncio.to_thread(disk.syncing.wait, DEADLINE_S)
        node.stop()
        disk.error = error
        disk.go_on.set()

    assert bench.run(play) == 0
    assert bench.network.closed
    assert bench.network.sent.empty() == (error is not None)
    assert capfd.readouterr().err == ""
    log = (tmp_path / "log").read_text()
    assert '"event": "fault"' not in log
    assert "last_sync_failed" not in log, "after a failed sync there is none to be tried once more"


def test_a_client_that_talks_nonsense_is_closed(tmp_path: Path) -> None:
    bench = Bench(tmp_path)

    async def play(bench: Bench, node: Node) -> None:
        bench.network.handler.client_frame(4, b"\xff")
        assert await bench.network.closed_clients.get() == ConnectionId(4)
        node.stop()

    assert bench.run(play) == 0


async def _asked(node: Node, path: str) -> bytes:
    assert node.monitor is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", node.monitor.address.port)
    writer.write(f"GET {path} HTTP/1.1\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), DEADLINE_S)
    writer.close()
    return answer


@pytest.mark.usefixtures("every_disk")
def test_a_node_tells_metrics_and_that_it_is_well_and_ready(tmp_path: Path) -> None:
    bench = Bench(tmp_path, metrics=Address("127.0.0.1", 0))

    async def play(bench: Bench, node: Node) -> None:
        await node.started.wait()
        assert (await _asked(node, "/healthz")).startswith(b"HTTP/1.1 200 ")
        assert (await _asked(node, "/readyz")).startswith(b"HTTP/1.1 200 ")
        bench.submit(1, 2, 3)
        await bench.network.sent.get()
        page = await _asked(node, "/metrics")
        assert b"\ntetrarch_transactions_executed_total 3.0\n" in page
        assert b'\ntetrarch_phase_seconds_count{phase="reply"} 1.0\n' in page
        # The proposal, the prepared certificate; at most one more for the block.
        syncs = bench.watch.fsyncs.cumulated()[-1][1]
        assert 1 <= syncs <= 3
        node.stop()

    assert bench.run(play) == 0


def test_a_node_whose_disk_is_full_is_neither_well_nor_ready(tmp_path: Path) -> None:
    disk = FailingDisk()
    bench = Bench(tmp_path, disk, metrics=Address("127.0.0.1", 0))

    async def play(bench: Bench, node: Node) -> None:
        disk.error = DiskFull("no space left")
        bench.submit(1)
        await bench.log.seen("halted")
        for path in ("/healthz", "/readyz"):
            answer = await _asked(node, path)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"no space left" in answer
        node.stop()

    assert bench.run(play) == 0


def test_a_signal_has_other_transactions_followed_from_then_on(tmp_path: Path) -> None:
    bench = Bench(tmp_path, reread=lambda: "all")

    async def play(bench: Bench, node: Node) -> None:
        bench.submit(1)
        await bench.network.sent.get()
        assert not trace_path(tmp_path / "log").exists()
        os.kill(os.getpid(), signal.SIGUSR2)
        await bench.log.following.wait()
        bench.submit(2)
        await bench.network.sent.get()
        node.stop()

    assert bench.run(play) == 0
    lines = [json.loads(line) for line in trace_path(tmp_path / "log").read_text().splitlines()]
    assert len({line["tx_id"] for line in lines}) == 1
    assert [line["event"] for line in lines] == [
        *(
            "tx_received",
            "tx_admitted",
            "tx_proposed",
            "tx_prepared",
            "tx_committed",
            "tx_executed",
            "tx_replied",
        ),
    ]
    assert {line["node"] for line in lines} == {bench.settings.name}
    times = [line["timestamp"] for line in lines]
    assert times == sorted(times)


def test_a_configuration_that_became_unreadable_changes_nothing(tmp_path: Path) -> None:
    def reread() -> str:
        raise ConfigurationError(tmp_path / "node.toml", "trace", "is broken")

    bench = Bench(tmp_path, reread=reread)

    async def play(bench: Bench, node: Node) -> None:
        os.kill(os.getpid(), signal.SIGUSR2)
        await bench.log.unchanged.wait()
        bench.submit(1)
        await bench.network.sent.get()
        node.stop()

    assert bench.run(play) == 0
    assert not trace_path(tmp_path / "log").exists()
