"""A relay that sees all frames between the members of a real network, as a broker does: for hostile networks
that act on frames.

What lives here: a connection of each pair of members that ends in the relay and goes on from there. What must
not be known here: what adversaries do with frames, and any member's signing key.

TLS shows the network no frames. So this one holds what protects it, every member's TLS key (not the one by
which it signs), and stands towards each of two members as the other: what is left to stop it are signatures.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

from byzantine.liars.adversary import Carried
from byzantine.runners.clock import RunClock
from byzantine.runners.links import LOOPBACK, UNDELAYED_US, delay_us
from byzantine.scenario import Links
from crypto.tls import client_context, server_context
from network.address import Address
from network.bounds import Budget, ChannelLimits, Ending
from network.channel import HEARTBEAT, Channel
from network.mesh import MeshLimits
from network.queue import FrameQueue
from network.session import Session
from network.tally import Tally

BEAT_SECONDS = 1.0
"""How often members are sent a heartbeat: theirs end here."""

MEMBERS = MeshLimits()
LIMITS = ChannelLimits(MEMBERS.frame_bytes, MEMBERS.frame_bytes, MEMBERS.held_bytes, MEMBERS.handshake_ms)

Through = Callable[[int, int, bytes], Iterable[Carried]]
"""What arrives of a frame from one member to another."""


class TlsIdentity(NamedTuple):
    """By which TLS knows one member, and whom it lets that member trust."""

    certificate: Path
    private_key: Path
    trusted: Sequence[bytes]


class FrameRelay:
    """All links of one network (`byzantine.runners.links.MemberLinks`).

    `peers`: where each member listens for others. `identities`: by which TLS knows each. `through`: what the
    network does.
    """

    def __init__(
        self,
        peers: Sequence[Address],
        identities: Sequence[TlsIdentity],
        policy: Links,
        seed: int,
        clock: RunClock,
        through: Through,
    ) -> None:
        self.ports: dict[tuple[int, int], int] = {}
        self._through = through
        self.out: dict[tuple[int, int], Channel] = {}
        """By which channel somebody is told something as another, by source and target."""
        self._peers, self._policy, self._clock = peers, policy, clock
        self._random = Random(f"relay {seed}")
        self._cut: set[tuple[int, int]] = set()
        self._lost = self._delayed = 0
        self._servers: list[asyncio.Server] = []
        self._crossings: set[_Crossing] = set()
        self._beat: asyncio.TimerHandle | None = None
        self.accepts_as = [server_context(*each) for each in identities]
        self.dials_as = [client_context(*each) for each in identities]

    @property
    def done(self) -> Counter[str]:
        """What was done to links, and how often."""
        return +Counter({"cut": self._lost, "delayed": self._delayed})

    async def start(self) -> None:
        """Listen. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        for one in range(len(self._peers)):
            for other in range(one + 1, len(self._peers)):
                server = await loop.create_server(partial(self._accept, one, other), LOOPBACK, 0)
                self._servers.append(server)
                self.ports[one, other] = server.sockets[0].getsockname()[1]
        self._beat_later()

    async def close(self) -> None:
        """End everything."""
        if self._beat is not None:
            self._beat.cancel()
        for server in self._servers:
            server.close()
        for crossing in tuple(self._crossings):
            await crossing.end()

    def cut(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Let nothing pass from the first to the second of each pair."""
        self._cut.update(pairs)

    def mend(self, pairs: Iterable[tuple[int, int]] | None = None) -> None:
        """Let everything pass again, of these pairs or of all."""
        self._cut.difference_update(tuple(self._cut) if pairs is None else pairs)

    def set_policy(self, policy: Links) -> None:
        """Delay by another policy from now on."""
        self._policy = policy

    def gone(self, crossing: "_Crossing") -> None:
        """A connection has ended."""
        self._crossings.discard(crossing)

    def carry(self, source: int, to: int, frame: bytes) -> None:
        """Carry a frame, or what the network makes of it."""
        for each in self._through(source, to, frame):
            said = source if each.source is None else int(each.source)
            if (source, to) in self._cut:
                self._lost += 1
                continue
            link_us = delay_us(self._policy, self._random)
            self._delayed += link_us > UNDELAYED_US
            delay_ms = each.delay_ms + link_us / 1000
            if delay_ms:
                self._clock.after(delay_ms, partial(self._tell, said, to, each.frame))
            else:
                self._tell(said, to, each.frame)

    def _tell(self, said: int, to: int, frame: bytes) -> None:
        channel = self.out.get((said, to))
        if channel is not None and frame and frame != HEARTBEAT:
            channel.send(frame)

    def _accept(self, one: int, other: int) -> Channel:
        crossing = _Crossing(self, one, other, self._peers[other])
        self._crossings.add(crossing)
        return crossing.near

    def _beat_later(self) -> None:
        self._beat = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._send_beats)

    def _send_beats(self) -> None:
        for channel in self.out.values():
            channel.send(HEARTBEAT)
        self._beat_later()


class _Crossing:
    """One connection from a member to a higher one, with the relay in the middle: the owner of both its
    channels."""

    def __init__(self, relay: FrameRelay, one: int, other: int, there: Address) -> None:
        self._relay, self._one, self._other, self._there = relay, one, other, there
        self._greeted: set[int] = set()
        self.near = self._channel(Session(relay.accepts_as[other], server_side=True))
        self._far = self._channel(Session(relay.dials_as[one], server_side=False))
        self._dialling: asyncio.Task[None] | None = None

    def opened(self, channel: Channel) -> None:
        """One half has shaken hands."""
        if channel is self.near:
            channel.deliver = partial(self._take, self._one, self._other)
            channel.pause()
            self._dialling = asyncio.get_running_loop().create_task(self._dial())
            return
        channel.deliver = partial(self._take, self._other, self._one)
        self._relay.out[self._one, self._other] = self._far
        self._relay.out[self._other, self._one] = self.near
        self.near.resume()

    def closed(self, channel: Channel) -> None:
        """One half has ended, and so has the other."""
        for pair, half in (((self._one, self._other), self._far), ((self._other, self._one), self.near)):
            if self._relay.out.get(pair) is half:
                del self._relay.out[pair]
        (self._far if channel is self.near else self.near).abort(Ending.ASKED)
        self._relay.gone(self)

    async def end(self) -> None:
        """End both halves."""
        for half in (self.near, self._far):
            half.abort(Ending.ASKED)
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.gather(self._dialling, return_exceptions=True)

    async def _dial(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: self._far, self._there.host, self._there.port)
        except OSError:
            self.near.abort(Ending.ASKED)

    def _take(self, source: int, to: int, frame: bytes) -> None:
        if source in self._greeted:
            self._relay.carry(source, to, frame)
            return
        # A hello names its speaker's certificate's owner: the network wants to be let in.
        self._greeted.add(source)
        (self._far if source == self._one else self.near).send(frame)

    def _channel(self, session: Session) -> Channel:
        queue = FrameQueue(4 * MEMBERS.queue_bytes, 4 * MEMBERS.queue_frames)
        budget = Budget(MEMBERS.received_bytes, _nothing)
        return Channel(self, session, queue, LIMITS, Tally(_untold), budget)


def _nothing() -> None:
    """A relay keeps what it must."""


def _untold(_name: str, /, **_facts: str | int) -> None:
    """Why connections end is in members' logs."""
