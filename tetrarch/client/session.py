"""One client's view of the network: links, witnesses, open transactions; every frame passes here once.

What lives here: which check each kind of frame gets before anything is believed, collecting attestations for
one block, and the end of everything when a fork is found. What must not be known here: signing keys, outboxes
and what callers want.
"""

import asyncio
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from crypto.attestation import Height
from crypto.batch import Millis
from crypto.digest import Digest
from crypto.roster import MemberId
from crypto.signed import Envelope
from ledger.attestations import Attestations
from ledger.block import Header
from tetrarch.client.limits import frame_limit
from tetrarch.client.links import Link, Links
from tetrarch.client.orders import Orders
from tetrarch.client.proof import (
    ProvenResults,
    ReplicaFault,
    check_not_executed,
    check_refusals,
    check_results,
)
from tetrarch.client.transport import Dialer
from tetrarch.client.tuning import Tuning
from tetrarch.client.witnesses import Witnesses
from tetrarch.decoding import FrameDecoder
from tetrarch.errors import ForkDetected, NotEnoughReplies, TetrarchError, Unreachable
from tetrarch.trust import TrustRoot
from tetrarch.wire import (
    TO_CLIENTS,
    AskAttestation,
    Attested,
    Expired,
    Frame,
    Refused,
    Results,
)

FIRST_PAUSE = 0.01
"""Seconds before replicas that do not have something yet are asked again; doubled up to the longest."""

LONGEST_PAUSE = 0.5


def longer(pause: float) -> float:
    """Return the pause (s) that follows `pause`: twice as long, from `FIRST_PAUSE` up to `LONGEST_PAUSE`."""
    return min(max(2 * pause, FIRST_PAUSE), LONGEST_PAUSE)


class Answer:
    """Results that came as an answer, checked: the frame, the proof, and who attests the block."""

    __slots__ = ("attestations", "frame", "proven")

    def __init__(self, frame: Results, proven: ProvenResults, attestations: Attestations) -> None:
        self.frame = frame
        self.proven = proven
        self.attestations = attestations


class Session:
    """Made inside a running event loop; `close` ends it."""

    def __init__(
        self,
        trust: TrustRoot,
        dialer: Dialer,
        tuning: Tuning,
        wall: Callable[[], Millis],
        chance: Random | None = None,
    ) -> None:
        self.trust = trust
        self.tuning = tuning
        self.wall = wall
        self.witnesses = Witnesses(trust)
        self.fork: ForkDetected | None = None
        decoder = FrameDecoder(TO_CLIENTS, frame_limit(trust))
        links = [
            Link(MemberId(place), member.name, dialer, decoder, self, tuning, chance)
            for place, member in enumerate(trust.genesis.members)
        ]
        self.links = Links(links, trust.acceptance, chance)
        self.orders = Orders(self.links, self.witnesses, tuning, wall, trust.acceptance)
        self._connected = asyncio.Event()
        self._tasks = [asyncio.get_running_loop().create_task(link.run()) for link in links]

    async def close(self) -> None:
        """Close all connections; what is open ends as unknown."""
        self.orders.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # What links report.

    def link_up(self, link: Link) -> None:
        """Wake whoever waits for enough connections, and send what is open."""
        if self.links.enough:
            self._connected.set()
        self.orders.link_up(link)

    def frame(self, link: Link, frame: Frame) -> object:
        """Check a frame, use what it says, and return what it is worth as an answer.

        Raises `ReplicaFault`. Reads, blocks and states are returned as they came: who asked checks them.
        """
        if self.fork is not None:
            return None
        try:
            return self._use(link, frame)
        except ForkDetected as fork:
            self._stop(fork)
            return None

    def _use(self, link: Link, frame: Frame) -> object:
        match frame:
            case Results():
                proven = check_results(self.trust, frame)
                attestations = self.witnesses.attest(link.member, frame.attestation)
                self.orders.proven(link, proven, frame.entries, attestations)
                self.orders.attested(attestations)
                return Answer(frame, proven, attestations)
            case Attested():
                attestations = self.witnesses.attest(link.member, frame.attestation)
                self.orders.attested(attestations)
                return attestations
            case Refused():
                statement = check_refusals(self.trust.roster, link.member, frame.refusals)
                self.orders.refused(link, statement, frame.reasons)
            case Expired():
                said = check_not_executed(self.trust.roster, link.member, frame.statement)
                self.orders.not_executed(link, said)
        return frame

    def attest(self, link: Link, envelope: Envelope) -> Attestations:
        """Count an attestation that came inside an answer. Raises `ReplicaFault`, `ForkDetected`."""
        try:
            return self.witnesses.attest(link.member, envelope)
        except ForkDetected as fork:
            self._stop(fork)
            raise

    def believe(self, header: Header) -> None:
        """Link the header of a believed block with its neighbours. Raises `ForkDetected`."""
        try:
            self.witnesses.link(header)
        except ForkDetected as fork:
            self._stop(fork)
            raise

    def _stop(self, fork: ForkDetected) -> None:
        """Nothing can be relied upon any more: end all that is open."""
        self.fork = fork
        self.orders.close(fork)

    def require_one_chain(self) -> None:
        """Raise `ForkDetected` if a fork was found, ever."""
        if self.fork is not None:
            raise self.fork

    # What callers need.

    async def connect(self, deadline: float) -> None:
        """Wait until enough replicas are connected, for as long as the tuning or `deadline` allow.

        Raises `Unreachable`, `ForkDetected`.
        """
        self.require_one_chain()
        loop = asyncio.get_running_loop()
        until = min(deadline, loop.time() + self.tuning.connect_timeout_ms / 1000)
        while not self.links.enough:
            self._connected.clear()
            try:
                async with asyncio.timeout_at(until):
                    await self._connected.wait()
            except TimeoutError:
                # On a busy machine both may have come at once: the time's end, and the last connection.
                if not self.links.enough:
                    error = Unreachable(len(self.links.up), self.trust.acceptance, self.links.causes())
                    raise error from None

    async def vouched(self, attestations: Attestations, deadline: float) -> bool:
        """Collect attestations for one block until it is believed.

        Returns `False` where another block is believed at its height, or `deadline` (loop time, s) passes.
        Raises `ForkDetected`.
        """
        height = attestations.height
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        while not self.witnesses.believed(attestations):
            if self._contradicted(height, attestations.block_hash) or loop.time() >= deadline:
                return False
            patience = min(self.tuning.answer_ms / 1000, deadline - loop.time())
            missing = [link for link in self.links.up if link.member not in attestations]
            asks = [link.ask(lambda request: AskAttestation(request, height), patience) for link in missing]
            await first_to_satisfy(asks, lambda: self._decided(attestations))
            self.require_one_chain()
            if not self._decided(attestations):
                # The others may not have executed this block yet.
                await asyncio.sleep(min(pause, max(deadline - loop.time(), 0.0)))
                pause = longer(pause)
        return True

    def _decided(self, attestations: Attestations) -> bool:
        return self.witnesses.believed(attestations) or self._contradicted(
            attestations.height, attestations.block_hash
        )

    def _contradicted(self, height: Height, block_hash: Digest) -> bool:
        return self.witnesses.hash_at(height) not in (None, block_hash)

    async def ask(self, link: Link, question: Callable[[int], Frame], patience: float) -> object:
        """Ask one replica; after silence, another one is asked first from now on. Raises `ForkDetected`."""
        answer = await link.ask(question, patience)
        self.links.heard(link, answered=answer is not None)
        self.require_one_chain()
        return answer

    def distrust(self, link: Link, fault: ReplicaFault) -> None:
        """Part for a while with a replica that answered wrongly."""
        link.distrust(fault.check, fault.what)

    def shortfall(self, got: int, need: int, why: str = "") -> TetrarchError:
        """Return what to raise where too little came in time."""
        if not self.links.enough:
            return Unreachable(len(self.links.up), self.trust.acceptance, self.links.causes())
        return NotEnoughReplies(got, need, why)


class Turns:
    """One usable replica after the other until a deadline, with a pause after each round."""

    def __init__(self, session: Session, deadline: float) -> None:
        self._session = session
        self._deadline = deadline
        self._round: list[Link] = []
        self._pause = 0.0

    async def next(self) -> tuple[Link, float] | None:
        """Return the next replica and for how many seconds to wait for it; `None` when the time is up.

        Raises `Unreachable` where too few can be used for too long, `ForkDetected`.
        """
        loop = asyncio.get_running_loop()
        while True:
            while self._round:
                link = self._round.pop(0)
                patience = min(self._session.tuning.answer_ms / 1000, self._deadline - loop.time())
                if patience <= 0:
                    return None
                if link.up:
                    return link, patience
            if loop.time() + self._pause >= self._deadline:
                return None
            await asyncio.sleep(self._pause)
            self._pause = longer(self._pause)
            await self._session.connect(self._deadline)
            self._round = self._session.links.in_turn()


async def first_to_satisfy(
    questions: list[Coroutine[Any, Any, object]], satisfied: Callable[[], bool]
) -> list[object]:
    """Run `questions` until `satisfied()` or all are done; return the answers so far, `None` left out."""
    tasks = {asyncio.ensure_future(question) for question in questions}
    answers: list[object] = []
    try:
        while tasks and not satisfied():
            done, tasks = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            answers += [answer for answer in (task.result() for task in done) if answer is not None]
    finally:
        for task in tasks:
            task.cancel()
    return answers
