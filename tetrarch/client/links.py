"""One link per replica: dialled, lost, dialled again; frames out, decoded frames in, questions and answers.

What lives here: the life of connections, the pairing of answers with questions, and the distrust of replicas
that answered wrongly. What must not be known here: what frames prove (a `Reader` judges them).
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

from crypto.errors import CodecError
from crypto.roster import MemberId
from network.backoff import Backoff
from tetrarch.client.proof import ReplicaFault
from tetrarch.client.transport import Connection, Dialer
from tetrarch.client.tuning import (
    ASKS_PER_LINK,
    CLOSING_SECONDS,
    DISTRUST,
    STEADY_SECONDS,
    Tuning,
)
from tetrarch.decoding import FrameDecoder
from tetrarch.wire import Frame, pack


class Reader(Protocol):
    """Who judges frames and wants to know of links."""

    def link_up(self, link: "Link") -> None:
        """`link` can be used."""
        ...

    def frame(self, link: "Link", frame: Frame) -> object:
        """Judge a frame, and return what answers the question it belongs to. Raises `ReplicaFault`."""
        ...


class Link:
    """The connection to one member, for as long as the client is open."""

    def __init__(
        self,
        member: MemberId,
        name: str,
        dialer: Dialer,
        decoder: FrameDecoder,
        reader: Reader,
        tuning: Tuning,
        chance: random.Random | None = None,
    ) -> None:
        self.member = member
        self.name = name
        self.cause = "not tried yet"
        """Why there is no connection."""
        self.faults = 0
        """Wrong answers so far."""
        self.wrong: Counter[str] = Counter()
        """These, by the check that failed."""
        self.silent = False
        """Whether the last question went unanswered."""
        self.tried = asyncio.Event()
        """Set when the first dialling has ended, either way."""
        self.proved_at = 0.0
        """When the last proven results came (loop time, s)."""
        self._dialer = dialer
        self._decoder = decoder
        self._reader = reader
        self._tuning = tuning
        self._redial = Backoff(tuning.redial_ms, tuning.redial_max_ms)
        self._random = chance or random.Random()
        self._connection: Connection | None = None
        self._fault_paused = False
        self._answers: dict[int, asyncio.Future[object]] = {}
        self._next_request = 1
        self._asking = asyncio.Semaphore(ASKS_PER_LINK)

    @property
    def up(self) -> bool:
        """Whether frames can be sent."""
        return self._connection is not None

    async def run(self) -> None:
        """Keep a connection, until cancelled."""
        failures = 0
        while True:
            try:
                async with asyncio.timeout(self._tuning.connect_timeout_ms / 1000):
                    connection = await self._dialer.dial(self.member, self._receive)
            except OSError as error:
                self.cause = str(error) or type(error).__name__
                self.tried.set()
                failures += 1
            else:
                since = asyncio.get_running_loop().time()
                await self._use(connection)
                steady = asyncio.get_running_loop().time() - since >= STEADY_SECONDS
                failures = 0 if steady else failures + 1
            await asyncio.sleep(self._pause(failures))

    async def _use(self, connection: Connection) -> None:
        self._connection = connection
        self._fault_paused = False
        self.tried.set()
        try:
            self._reader.link_up(self)
            cause = await connection.wait_closed()
            self.cause = self.cause if self._fault_paused else cause
        finally:
            connection.close()
            self._lost()
            # Whoever closes the event loop next must not find a socket that is still being closed.
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSING_SECONDS):
                    await connection.wait_closed()

    def _pause(self, failures: int) -> float:
        """Seconds until the next dialling: longer with every failure, and spread, so that clients of a
        replica that comes back do not all come at once."""
        if self._fault_paused:
            return DISTRUST.delay_ms(self.faults, self._random) / 1000
        return self._redial.delay_ms(failures + 1, self._random) / 1000

    def _lost(self) -> None:
        self._connection = None
        answers, self._answers = self._answers, {}
        for answer in answers.values():
            if not answer.done():
                answer.set_result(None)

    def send(self, frame: bytes) -> bool:
        """Send packed bytes. Returns `False` where the connection did not take them."""
        connection = self._connection
        return connection is not None and connection.send(frame)

    async def ask(self, question: Callable[[int], Frame], patience: float) -> object:
        """Send a question and return what its answer proved.

        Returns `None` after `patience` seconds of silence, without a connection, and for a wrong answer.
        """
        loop = asyncio.get_running_loop()
        request, self._next_request = self._next_request, self._next_request + 1
        try:
            async with asyncio.timeout(patience), self._asking:
                answer: asyncio.Future[object] = loop.create_future()
                self._answers[request] = answer
                if not self.send(pack(question(request))):
                    return None
                return await answer
        except TimeoutError:
            return None
        finally:
            self._answers.pop(request, None)

    def _receive(self, data: bytes) -> None:
        if self._fault_paused:
            return
        try:
            frame = self._decoder.decode(data)
            proven = self._reader.frame(self, frame)
        except CodecError as error:
            self.distrust("frame", str(error))
        except ReplicaFault as fault:
            self.distrust(fault.check, fault.what)
        else:
            request = getattr(frame, "request", 0)
            answer = self._answers.get(request) if request else None
            if answer is not None and not answer.done():
                answer.set_result(proven)

    def distrust(self, check: str, what: str) -> None:
        """Close the connection because of a wrong answer, and let it rest the longer the more there were."""
        self.faults += 1
        self.wrong[check] += 1
        self.cause = f"distrusted: {check}: {what}"
        self._fault_paused = True
        if self._connection is not None:
            self._connection.close()
            self._lost()


class Links:
    """All replicas: which of them can be used, and which one is designated to send results and proofs."""

    def __init__(self, links: Sequence[Link], acceptance: int, chance: random.Random | None = None) -> None:
        self.all = tuple(links)
        self.acceptance = acceptance
        # Clients that all began with the same replica would leave it the work of proofs for everybody.
        drawn = random.randrange if chance is None else chance.randrange
        self._first = drawn(len(self.all))

    @property
    def up(self) -> list[Link]:
        """The links that can be used."""
        return [link for link in self.all if link.up]

    @property
    def enough(self) -> bool:
        """Whether as many replicas are connected as a client must hear to believe."""
        return sum(link.up for link in self.all) >= self.acceptance

    def designate(self) -> Link | None:
        """Return the replica that is to send results and proofs: the same one, as long as it can be used."""
        return next(iter(self.in_turn()), None)

    def pass_over(self, link: Link) -> None:
        """Designate the next replica after `link`, if `link` is the designated one."""
        if self.designate() is link:
            self._first = (self.all.index(link) + 1) % len(self.all)

    def heard(self, link: Link, *, answered: bool) -> None:
        """Note whether `link` answered a question; after silence, another one is asked first from now on."""
        link.silent = not answered
        if not answered:
            self.pass_over(link)

    def in_turn(self) -> list[Link]:
        """Return the usable links, beginning with the designated one."""
        return [link for link in (*self.all[self._first :], *self.all[: self._first]) if link.up]

    def causes(self) -> list[str]:
        """Why replicas cannot be used, one line each."""
        return [f"{link.name}: {link.cause}" for link in self.all if not link.up]
