"""Metrics and health over plain HTTP: a few pages, asked for by whoever may reach the address.

What lives here: one request per connection, under named limits, and pages that are made at most so often.
What must not be known here: what the pages say.

Everything that comes in is hostile. A request is GET or HEAD of a known path in HTTP/1.0 or 1.1 (RFC 9112,
3): of all that is sent only its first line is looked at, and after the answer the connection ends. With no
bodies, no second request and no header of use there is little left that a library would do; h11 would be one
dependency more for one line, and a server of the standard library's needs a thread beside the event loop.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, cast

from network.acceptor import AcceptLimits, Acceptor
from network.address import Address
from network.bounds import Ending
from network.errors import ListenError, said
from network.tally import Report, Tally

PLAIN: Final = "text/plain; charset=utf-8"

_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Page(NamedTuple):
    """What is answered."""

    status: int
    body: bytes
    content_type: str = PLAIN


@dataclass(frozen=True, slots=True)
class MonitorLimits:
    """Bounds of what strangers can make a replica keep and do here, in bytes, counts and ms."""

    request_bytes: int = 4 * 1024
    """From the first byte to the empty line: a Prometheus server sends some 300."""
    exchange_ms: int = 5_000
    """From the connection until the answer has left, however slowly the other side sends or reads."""
    page_ms: int = 1_000
    """A page is made at most once in so long, and else told again: making one takes some ms."""
    retry_ms: int = 10_000
    """Between attempts to listen where the address cannot be had: monitoring must not keep a replica down."""
    accept: AcceptLimits = field(
        default_factory=lambda: AcceptLimits(
            connections=16, per_origin=8, handshakes=16, handshakes_per_origin=8, handshakes_per_second=20
        )
    )
    """A few probes at a time. Twenty a second cost some 1% of a core, and a flood of them costs no more."""


class _Pages:
    """The pages by path, each kept for a while."""

    def __init__(self, makers: Mapping[str, Callable[[], Page]], keep_s: float, tally: Tally) -> None:
        self._makers = makers
        self._keep_s = keep_s
        self._tally = tally
        self._kept: dict[str, tuple[float, Page]] = {}

    def get(self, path: str, now: float) -> Page:
        """Return the page at `path`; `now` in monotonic s."""
        maker = self._makers.get(path)
        if maker is None:
            return Page(404, f"only {', '.join(self._makers)} are here\n".encode())
        kept = self._kept.get(path)
        if kept is not None and now - kept[0] < self._keep_s:
            return kept[1]
        try:
            page = maker()
        except Exception as error:  # noqa: BLE001  # whoever looks on must not stop the replica
            self._tally.note("page_failed", path=path, why=f"{type(error).__name__}: {error}")
            page = Page(500, b"this page cannot be made; the log says why\n")
        self._kept[path] = now, page
        return page


class _Exchange(asyncio.Protocol):
    """One connection: a request, its answer, the end."""

    def __init__(self, pages: _Pages, limits: MonitorLimits, tally: Tally) -> None:
        self.gone = asyncio.Event()
        self.when_gone: Callable[[], None] = _nothing
        self._pages = pages
        self._limits = limits
        self._tally = tally
        self._received = bytearray()
        self._answered = False
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def open(self) -> bool:
        """Whether its request is here."""
        return self._answered

    def close(self, _ending: Ending) -> None:
        """End it."""
        self.abort(_ending)

    def abort(self, _ending: Ending) -> None:
        """End it now."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The clock begins to run."""
        # uvloop's transports have all of its methods and not its name.
        self._transport = cast(asyncio.Transport, transport)
        self._deadline = self._loop.call_later(self._limits.exchange_ms / 1000, self._too_slow)

    def data_received(self, data: bytes) -> None:
        """Take a part of the request; answer when it is complete, or too large."""
        if self._answered:
            return
        room = self._limits.request_bytes - len(self._received)
        self._received += data[:room]
        end = self._received.find(b"\r\n\r\n")
        if end >= 0:
            self._answer(*self._page(bytes(self._received[: self._received.index(b"\r\n")])))
        elif len(data) >= room:
            self._answer(Page(431, b"the request is too large\n"))

    def eof_received(self) -> bool:
        """Whoever has nothing more to send may still read."""
        return self._answered

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        if self.gone.is_set():
            return
        if self._deadline is not None:
            self._deadline.cancel()
        if exc is not None:
            self._tally.count("broken")
        self.gone.set()
        self.when_gone()

    def _page(self, line: bytes) -> tuple[Page, bool]:
        """Return the answer to a request line, and whether its body is wanted."""
        parts = line.split(b" ")
        if len(parts) != 3 or parts[2] not in (b"HTTP/1.0", b"HTTP/1.1") or not parts[1].startswith(b"/"):
            return Page(400, b"this is no HTTP request that can be answered here\n"), True
        method, target, _ = parts
        if method not in (b"GET", b"HEAD"):
            return Page(405, b"only GET and HEAD are answered\n"), True
        path = target.partition(b"?")[0].decode("latin-1")
        return self._pages.get(path, self._loop.time()), method == b"GET"

    def _answer(self, page: Page, with_body: bool = True) -> None:
        """Write the answer and let the connection end when it has left."""
        self._answered = True
        if page.status not in (200, 503):
            self._tally.count(f"answered_{page.status}")
        head = (
            f"HTTP/1.1 {page.status} {_REASONS[page.status]}\r\n"
            f"Content-Type: {page.content_type}\r\n"
            f"Content-Length: {len(page.body)}\r\n"
            + ("Allow: GET, HEAD\r\n" if page.status == 405 else "")
            + "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n"
        )
        if self._transport is not None:
            self._transport.write(head.encode() + (page.body if with_body else b""))
            self._transport.close()

    def _too_slow(self) -> None:
        self._tally.note("slow", answered=self._answered)
        self.abort(Ending.ASKED)


class Monitor:
    """Serves `pages` on `listen`. All calls from the event loop's thread."""

    def __init__(
        self,
        listen: Address,
        pages: Mapping[str, Callable[[], Page]],
        report: Report,
        limits: MonitorLimits | None = None,
    ) -> None:
        self._limits = limits = limits or MonitorLimits()
        self._tally = Tally(report)
        self._listen = listen
        self._pages = _Pages(pages, limits.page_ms / 1000, self._tally)
        self._acceptor = self._make_acceptor()
        self._retry: asyncio.TimerHandle | None = None
        self._starting: asyncio.Task[None] | None = None
        self._closed = False
        self.listening = asyncio.Event()
        """Set once anybody can connect."""

    @property
    def address(self) -> Address:
        """Where it listens; with the port that was found where port 0 was asked for."""
        return self._acceptor.address

    @property
    def counts(self) -> dict[str, int]:
        """How often requests and connections were refused or came to nothing, by reason."""
        return self._tally.counts

    async def start(self) -> None:
        """Listen; where that fails, say so and try again from time to time."""
        try:
            await self._acceptor.start()
        except ListenError as error:
            self._tally.note("cannot_listen", why=said(error))
            self._acceptor = self._make_acceptor()
            if not self._closed:
                loop = asyncio.get_running_loop()
                self._retry = loop.call_later(self._limits.retry_ms / 1000, self._start_again)
        else:
            self.listening.set()

    async def close(self) -> None:
        """Stop listening, and end what is going on."""
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
        if self._starting is not None:
            await self._starting
        await self._acceptor.close()

    def _start_again(self) -> None:
        self._starting = asyncio.create_task(self.start())

    def _make_acceptor(self) -> Acceptor:
        return Acceptor(self._listen, self._make_exchange, self._limits.accept, self._tally)

    def _make_exchange(self) -> _Exchange:
        return _Exchange(self._pages, self._limits, self._tally)


def _nothing() -> None:
    """Nobody wants to know."""
