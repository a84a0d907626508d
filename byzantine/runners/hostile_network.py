"""A hostile network between real members: what it sees of them, and the links that it can cut.

What lives here: what an adversary of the network is given (`byzantine.liars.adversary.Wires`). What must not
be known here: what it does with it, and how links are cut.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from byzantine.culprits import NETWORK, Deeds
from byzantine.liars import broker, cutting  # noqa: F401  # define their adversaries
from byzantine.liars.adversary import Standing, require_elsewhere
from byzantine.runners.clock import RunClock
from byzantine.runners.links import MemberLinks, between
from crypto.errors import CodecError
from crypto.keys import Signer
from crypto.roster import MemberId, Roster
from crypto.signed import Envelope
from ledger.genesis import Genesis
from pbft.messages import kinds
from tetrarch.client.transport import Dialer
from tetrarch.decoding import FrameDecoder
from tetrarch.survey import MAX_ANSWER_BYTES
from tetrarch.wire import TO_CLIENTS, AskStatus, StatusReply, pack

LOOK_SECONDS = 0.02
"""How often members are asked where they stand."""

_frames = FrameDecoder(TO_CLIENTS, MAX_ANSWER_BYTES)


class Lookout:
    """Follows where members stand, over a client's connection to each of them, made anew when it ends."""

    def __init__(self, members: Iterable[int], dialer: Dialer) -> None:
        self.seen: dict[int, Standing] = {}
        """What each member that runs said last."""
        self._members, self._dialer = tuple(members), dialer
        self._watching: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Begin to ask."""
        loop = asyncio.get_running_loop()
        self._watching = [loop.create_task(self._watch(member)) for member in self._members]

    async def close(self) -> None:
        """Ask no more."""
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)

    async def _watch(self, member: int) -> None:
        while True:
            with suppress(OSError):
                connection = await self._dialer.dial(
                    MemberId(member), lambda frame: self._take(member, frame)
                )
                closed = asyncio.ensure_future(connection.wait_closed())
                try:
                    while not closed.done():
                        connection.send(pack(AskStatus(1)))
                        await asyncio.wait((closed,), timeout=LOOK_SECONDS)
                finally:
                    closed.cancel()
                    connection.close()
                    self.seen.pop(member, None)
            await asyncio.sleep(LOOK_SECONDS)

    def _take(self, member: int, frame: bytes) -> None:
        with suppress(CodecError):
            reply = _frames.decode(frame)
            if isinstance(reply, StatusReply):
                self.seen[member] = Standing(reply.view, reply.active)


class RealWires:
    """All links of one real network."""

    def __init__(
        self,
        genesis: Genesis,
        links: MemberLinks,
        lookout: Lookout,
        clock: RunClock,
        signers: Mapping[int, Signer],
        deeds: Deeds,
    ) -> None:
        """`signers`: what members sign with, where adversaries show what members said elsewhere. `deeds` is
        added to."""
        self.healed = False
        self._deeds = deeds
        self._roster = genesis.roster()
        self._links, self._lookout, self._clock, self._signers = links, lookout, clock, signers

    @property
    def roster(self) -> Roster:
        """Of the network."""
        return self._roster

    def now_ms(self) -> int:
        """Return the ms since the run began, in the scenario's time."""
        return self._clock.now_ms()

    def on_lied(self, behaviour: str) -> None:
        """A behaviour fired."""
        self._deeds.note(NETWORK, behaviour)

    def after(self, delay_ms: int, action: Callable[[], object]) -> None:
        """Call `action` later."""
        self._clock.after(delay_ms, action)

    def standings(self) -> Iterable[Standing]:
        """Where the honest replicas that run stood a moment ago."""
        return tuple(self._lookout.seen.values())

    def cut_off(self, member: int) -> None:
        """Let nothing pass between a member and any other."""
        self._links.cut(self._around(member))

    def let_back(self, member: int) -> None:
        """Let everything pass between a member and all others."""
        self._links.mend(self._around(member))

    def recorded(self, roster: Roster, member: MemberId, message: Any) -> Envelope:
        """Return what a member said elsewhere. Raises `ValueError` for a roster of this network's."""
        require_elsewhere(self.roster, roster)
        return kinds.seal(roster, member, self._signers[member], message).envelope

    def _around(self, member: int) -> list[tuple[int, int]]:
        return between([[member], [other for other in self._roster.members if other != member]])
