"""Links: dialled, lost, dialled again, never as often as the other end likes."""

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from crypto.attestation import Height
from crypto.roster import MemberId
from network.backoff import Backoff
from tests.tetrarch.client.running import run, until
from tetrarch.client.links import Link
from tetrarch.client.proof import ReplicaFault
from tetrarch.client.tuning import Tuning
from tetrarch.decoding import FrameDecoder
from tetrarch.wire import TO_CLIENTS, AskStatus, Frame, Pending, Unknown, pack


class Line:
    """A connection that a test pulls at both ends."""

    def __init__(self, receive: Callable[[bytes], None]) -> None:
        self.receive = receive
        self.sent: list[bytes] = []
        self.takes = True
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def send(self, frame: bytes) -> bool:
        if self.takes:
            self.sent.append(frame)
        return self.takes

    def close(self) -> None:
        if not self.closed.done():
            self.closed.set_result("closed")

    async def wait_closed(self) -> str:
        return await asyncio.shield(self.closed)


class Exchange:
    """Dials lines, fails to, and judges frames as it is told."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.down = False
        self.dials = 0
        self.frames: list[Frame] = []
        self.fault: ReplicaFault | None = None

    async def dial(self, member: MemberId, receive: Callable[[bytes], None]) -> Line:
        self.dials += 1
        await asyncio.sleep(0)
        if self.down:
            raise ConnectionRefusedError("nobody there")
        self.lines.append(Line(receive))
        return self.lines[-1]

    def link_up(self, link: Link) -> None:
        pass

    def frame(self, link: Link, frame: Frame) -> object:
        if self.fault is not None:
            raise self.fault
        self.frames.append(frame)
        return frame


TUNING = Tuning(redial_ms=1, redial_max_ms=4)


class Opened:
    """A running link."""

    def __init__(self, tuning: Tuning = TUNING) -> None:
        self.exchange = Exchange()
        decoder = FrameDecoder(TO_CLIENTS, 1000)
        self.link = Link(MemberId(1), "replica-1", self.exchange, decoder, self.exchange, tuning)

    async def __aenter__(self) -> "Opened":
        self.task = asyncio.ensure_future(self.link.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def line(self, number: int = 1) -> Line:
        await until(lambda: len(self.exchange.lines) >= number and self.link.up)
        return self.exchange.lines[number - 1]


@run
async def test_a_link_that_is_lost_is_dialled_again() -> None:
    async with Opened() as opened:
        (await opened.line()).close()
        await opened.line(2)
        assert opened.exchange.dials == 2


@run
async def test_why_nobody_is_there_is_told() -> None:
    async with Opened() as opened:
        opened.exchange.down = True
        await until(lambda: opened.exchange.dials >= 3)
        assert (opened.link.up, opened.link.cause) == (False, "nobody there")
        opened.exchange.down = False
        await opened.line()


@run
async def test_an_answer_reaches_its_question_and_no_other() -> None:
    async with Opened() as opened:
        line = await opened.line()
        one = asyncio.ensure_future(opened.link.ask(AskStatus, 30))
        two = asyncio.ensure_future(opened.link.ask(AskStatus, 30))
        await until(lambda: len(line.sent) == 2)
        line.receive(pack(Pending(2)))
        line.receive(pack(Unknown(1, Height(0))))
        line.receive(pack(Pending(77)))
        assert await one == Unknown(1, Height(0))
        assert await two == Pending(2)


@run
async def test_a_question_ends_with_silence_with_a_loss_and_where_nothing_can_be_sent() -> None:
    async with Opened() as opened:
        line = await opened.line()
        assert await opened.link.ask(AskStatus, 0.01) is None
        asked = asyncio.ensure_future(opened.link.ask(AskStatus, 30))
        await until(lambda: len(line.sent) == 2)
        line.close()
        assert await asked is None
        line = await opened.line(2)
        line.takes = False
        assert await opened.link.ask(AskStatus, 30) is None


@run
async def test_questions_under_way_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tetrarch.client.links.ASKS_PER_LINK", 3)
    async with Opened() as opened:
        line = await opened.line()
        asks = [asyncio.ensure_future(opened.link.ask(AskStatus, 30)) for _ in range(10)]
        for number in range(1, 11):
            await until(lambda number=number: len(line.sent) == min(number + 2, 10))  # type: ignore[misc]
            line.receive(pack(Pending(number)))
        assert [await ask for ask in asks] == [Pending(number) for number in range(1, 11)]


@pytest.mark.parametrize("data", [b"", b"\xff", b"\x24", pack(Pending(1)) + b"\0", b"\x24\x91\xcd\x00\x01"])
def test_bytes_that_are_no_frame_end_the_connection(data: bytes) -> None:
    async def receive() -> None:
        async with Opened() as opened:
            line = await opened.line()
            asked = asyncio.ensure_future(opened.link.ask(AskStatus, 30))
            await until(lambda: bool(line.sent))
            line.receive(data)
            assert await asked is None
            assert line.closed.done()
            assert not opened.link.up
            assert opened.link.cause.startswith("distrusted: frame")
            line.receive(pack(Pending(1)))
            assert opened.exchange.frames == []

    run(receive)()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses before each dialling."""
    found: list[float] = []
    pause = Link._pause

    def noted(link: Link, failures: int) -> float:
        found.append(pause(link, failures))
        return found[-1]

    monkeypatch.setattr(Link, "_pause", noted)
    return found


def spread(pauses: list[float], longest: list[float]) -> bool:
    """Whether each pause is from half to all of its longest."""
    return all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=True))


@run
async def test_a_wrong_answer_is_rested_for_longer_each_time(
    monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    monkeypatch.setattr("tetrarch.client.links.DISTRUST", Backoff(first_ms=1, cap_ms=4))
    async with Opened() as opened:
        opened.exchange.fault = ReplicaFault("result path", "wrong")
        for number in range(1, 6):
            (await opened.line(number)).receive(pack(Pending(1)))
        await opened.line(6)
        assert opened.link.faults == 5
    assert spread(pauses, [0.001, 0.002, 0.004, 0.004, 0.004])


@run
async def test_a_replica_that_accepts_and_hangs_up_is_dialled_more_and_more_slowly(
    pauses: list[float],
) -> None:
    async with Opened(msgspec.structs.replace(TUNING, redial_max_ms=16)) as opened:
        for number in range(1, 6):
            (await opened.line(number)).close()
        await opened.line(6)
    assert spread(pauses, [0.002, 0.004, 0.008, 0.016, 0.016])
