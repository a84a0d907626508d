"""The monitor's address: three pages for whoever asks properly, and little for whoever does not."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from network.acceptor import AcceptLimits
from network.address import Address
from tetrarch.event_loop import run
from tetrarch.node.monitor import Monitor, MonitorLimits, Page

LOOPBACK = "127.0.0.1"
ANSWER_S = 20
LIMITS = MonitorLimits(page_ms=0)
ROOM = AcceptLimits(1000, 1000, 1000, 1000, handshakes_per_second=10_000)


class Place:
    """A monitor, and what its pages and its log came to."""

    def __init__(self, limits: MonitorLimits = LIMITS) -> None:
        self.made = 0
        self.lines: list[str] = []
        self.told = asyncio.Event()
        """Set with the first line of its log."""
        pages = {
            "/metrics": self._page,
            "/broken": self._broken,
            "/large": lambda: Page(200, bytes(30_000_000)),
        }
        self.monitor = Monitor(Address(LOOPBACK, 0), pages, self._report, limits)

    def _page(self) -> Page:
        self.made += 1
        return Page(200, b"page %d\n" % self.made)

    def _broken(self) -> Page:
        raise RuntimeError("a bug")

    def _report(self, name: str, /, **facts: object) -> None:
        self.lines.append(f"{name} {facts}")
        self.told.set()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(LOOPBACK, self.monitor.address.port)

    async def say(self, request: bytes) -> bytes:
        """Send `request`, and return all that comes until the connection ends."""
        reader, writer = await self.connect()
        writer.write(request)
        try:
            return await asyncio.wait_for(reader.read(), ANSWER_S)
        finally:
            writer.close()


def with_monitor(play: Callable[[Place], Awaitable[Any]], limits: MonitorLimits = LIMITS) -> Any:
    async def main() -> Any:
        place = Place(limits)
        await place.monitor.start()
        try:
            return await play(place)
        finally:
            await asyncio.wait_for(place.monitor.close(), ANSWER_S)

    # As in a replica: with uvloop, where that is installed.
    return run(main())


def said(request: bytes) -> bytes:
    answer: bytes = with_monitor(lambda place: place.say(request))
    return answer


def test_a_page_is_answered_and_the_connection_ends() -> None:
    head, _, body = said(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n").partition(
        b"\r\n\r\n"
    )
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 7" in head
    assert b"Connection: close" in head
    assert body == b"page 1\n"


def test_head_is_answered_without_a_body() -> None:
    head, _, body = said(b"HEAD /metrics HTTP/1.0\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Length: 7" in head
    assert body == b""


def test_a_query_is_no_part_of_the_path() -> None:
    assert said(b"GET /metrics?name[]=up HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_a_request_may_come_byte_by_byte() -> None:
    async def play(place: Place) -> bytes:
        reader, writer = await place.connect()
        for byte in b"GET /metrics HTTP/1.1\r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
        answer = await asyncio.wait_for(reader.read(), ANSWER_S)
        writer.close()
        return answer

    assert with_monitor(play).endswith(b"page 1\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics/ HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics%00 HTTP/1.1\r\n\r\n", 404),
        (b"GET /\xff\xfe HTTP/1.1\r\n\r\n", 404),
        (b"GET /../node.toml HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"get /metrics HTTP/1.1\r\n\r\n", 405),
        (b"PRI * HTTP/2.0\r\n\r\n", 400),
        (b"GET /metrics HTTP/2.0\r\n\r\n", 400),
        (b"GET http://elsewhere/metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"GET /broken HTTP/1.1\r\n\r\n", 500),
    ],
)
def test_what_is_no_proper_request_gets_its_code(request_bytes: bytes, status: int) -> None:
    assert said(request_bytes).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize("sent", [b"x" * 5000, b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 1000])
def test_a_request_that_does_not_end_within_its_bound_is_cut_off(sent: bytes) -> None:
    assert said(sent).startswith(b"HTTP/1.1 431 ")


def test_what_comes_after_a_request_is_not_answered() -> None:
    assert said(b"GET /metrics HTTP/1.1\r\n\r\n" * 2).count(b"HTTP/1.1") == 1


def test_a_page_that_cannot_be_made_is_told_in_the_log_and_stops_nothing() -> None:
    async def play(place: Place) -> list[str]:
        await place.say(b"GET /broken HTTP/1.1\r\n\r\n")
        assert (await place.say(b"GET /metrics HTTP/1.1\r\n\r\n")).endswith(b"page 1\n")
        return place.lines

    [line] = with_monitor(play)
    assert "RuntimeError: a bug" in line


def test_a_page_is_made_once_for_all_who_ask_at_one_time() -> None:
    async def play(place: Place) -> int:
        request = b"GET /metrics HTTP/1.1\r\n\r\n"
        answers = await asyncio.gather(*(place.say(request) for _ in range(5)))
        assert len({*answers}) == 1
        return place.made

    assert with_monitor(play, replace(LIMITS, page_ms=60_000)) == 1


@pytest.mark.parametrize("sent", [b"", b"GET /metr"])
def test_whoever_says_nothing_or_half_of_it_is_cut_off_at_the_deadline(sent: bytes) -> None:
    async def play(place: Place) -> dict[str, int]:
        with suppress(ConnectionResetError):
            assert await place.say(sent) == b""
        return place.monitor.counts

    assert with_monitor(play, replace(LIMITS, exchange_ms=50)) == {"slow": 1}


def test_whoever_does_not_read_is_cut_off_at_the_deadline() -> None:
    async def play(place: Place) -> list[str]:
        with socket.create_connection((LOOPBACK, place.monitor.address.port)) as stubborn:
            stubborn.sendall(b"GET /large HTTP/1.1\r\n\r\n")
            await asyncio.wait_for(place.told.wait(), ANSWER_S)
        return place.lines

    assert with_monitor(play, replace(LIMITS, exchange_ms=200)) == ["slow {'answered': True}"]


def test_connections_beyond_the_bound_are_closed_at_once_and_the_others_served() -> None:
    async def play(place: Place) -> dict[str, int]:
        held = [await place.connect() for _ in range(3)]
        with suppress(ConnectionResetError):
            assert await place.say(b"") == b""
        first_reader, first_writer = held[0]
        first_writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
        assert b"200 OK" in await asyncio.wait_for(first_reader.read(), ANSWER_S)
        for _, writer in held:
            writer.close()
        return place.monitor.counts

    limits = replace(LIMITS, accept=replace(ROOM, connections=3))
    assert with_monitor(play, limits)["refused_too_many_connections"] == 1


def test_an_address_that_is_taken_is_told_and_tried_again() -> None:
    async def main() -> bytes:
        taken = socket.create_server((LOOPBACK, 0))
        lines: list[str] = []
        told = asyncio.Event()

        def report(name: str, /, **facts: object) -> None:
            lines.append(name)
            told.set()

        monitor = Monitor(
            Address(LOOPBACK, taken.getsockname()[1]),
            {"/metrics": lambda: Page(200, b"here\n")},
            report,
            replace(LIMITS, retry_ms=1),
        )
        await monitor.start()
        assert lines == ["cannot_listen"]
        taken.close()
        try:
            async with asyncio.timeout(ANSWER_S):
                await monitor.listening.wait()
            reader, writer = await asyncio.open_connection(LOOPBACK, monitor.address.port)
            writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
            answer = await asyncio.wait_for(reader.read(), ANSWER_S)
            writer.close()
            return answer
        finally:
            await monitor.close()

    assert run(main()).endswith(b"here\n")
