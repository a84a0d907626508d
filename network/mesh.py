"""One connection to every other member of a roster, kept up.

What lives here: who dials whom, the queue of each peer, heartbeats, reconnecting. What must not be known
here: what frames mean.

The rules, all kept here and in `network.peer_link`:

- of each pair the lower id dials; a connection from a higher id is refused, so there is never more than one;
- a peer is the member whose certificate it showed, whatever it says; its hello must say the same;
- when a member dials anew, the new connection counts: only the dialler knows that the old one is dead;
- each peer has a queue of its own; when it is full the oldest frames go. What must arrive is resent by
  whoever wants it to arrive, so frames may also be lost when a connection ends;
- a peer that sends nothing for a stated time is down. Time is counted in heartbeats of our own, so that a
  process that was stopped for a while does not take everyone else for dead.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Protocol

from crypto.roster import MemberId
from network.acceptor import AcceptLimits, Acceptor, report_fault
from network.address import Address
from network.backoff import Backoff
from network.bounds import Budget, ChannelLimits, Ending
from network.channel import HEARTBEAT, Channel
from network.errors import said
from network.framing import check_payload
from network.hello import HELLO_BYTES, Hello
from network.peer_link import PeerLink, Terms
from network.queue import FrameQueue
from network.session import Session
from network.tally import Report, Tally, log_line


class PeerHandler(Protocol):
    """Who gets what the other members send."""

    def peer_frame(self, member: MemberId, frame: bytes, /) -> None:
        """Take a frame. May raise `MalformedFrame`, which is counted; the connection stays."""
        ...

    def peer_up(self, member: MemberId, /) -> None:
        """`member` is connected, and has proven who it is."""
        ...

    def peer_down(self, member: MemberId, /) -> None:
        """The connection to `member` is gone. What was sent last may not have arrived."""
        ...


@dataclass(frozen=True, slots=True)
class MeshLimits:
    """Bounds of a mesh, in bytes, counts and ms."""

    frame_bytes: int = 48 * 1024 * 1024
    """The largest frame: above the largest block and the largest set of view-change certificates."""
    queue_bytes: int = 16 * 1024 * 1024
    queue_frames: int = 16_384
    """What waits for one peer: some seconds of a slow link. Older than that, resending is better."""
    absent_bytes: int = 1024 * 1024
    absent_frames: int = 1_024
    """What waits for a peer that is not connected: enough for a connection that broke just now. A member that
    was away for long fetches what it missed, and should not begin with votes of long ago."""
    held_bytes: int = 1024 * 1024
    """What is still read from a peer whose frames are not wanted at present."""
    received_bytes: int = 128 * 1024 * 1024
    """Unfinished and held frames of all peers together; beyond, the one with most is disconnected."""
    connect_ms: int = 3_000
    """To resolve a name and connect."""
    handshake_ms: int = 5_000
    """From the connection to the end of the TLS handshake."""
    hello_ms: int = 5_000
    """From there to the peer's hello."""
    heartbeat_ms: int = 1_000
    """Whoever has sent nothing for so long sends a heartbeat."""
    silent_heartbeats: int = 5
    """A peer that sent nothing during so many heartbeats is down: longer than the pauses that an overloaded
    Python process makes."""
    backoff: Backoff = field(default_factory=Backoff)
    steady_ms: int = 5_000
    """A connection that lasted so long ends the count of failures."""
    accept: AcceptLimits = field(default_factory=AcceptLimits)


@dataclass(slots=True, eq=False)
class _Peer:
    """What is kept of a member whether it is connected or not."""

    member: MemberId
    queue: FrameQueue
    channel: Channel | None = None
    silent: int = 0
    """Heartbeats of ours since it was last heard."""
    paused: bool = False


class PeerMesh:
    """The connections of `member` to all others. All calls from the event loop's thread.

    `chain_id`: 32 bytes; members of another chain are refused. `listen`: where members with lower ids connect
    to. `addresses`: where members with higher ids are; others are not looked at. `fingerprints`: SHA-256 of
    each member's certificate (DER), by id; nobody else is taken, whatever the contexts trust.
    `server_context`, `client_context`: from `crypto.tls`, certificates on both sides. `random`: spreads
    reconnecting; seeded with the own id by default.

    Raises `ValueError` for two members with one certificate, or one without an address.
    """

    def __init__(
        self,
        member: MemberId,
        chain_id: bytes,
        listen: Address,
        addresses: Mapping[MemberId, Address],
        fingerprints: Mapping[MemberId, bytes],
        server_context: ssl.SSLContext,
        client_context: ssl.SSLContext,
        handler: PeerHandler,
        *,
        limits: MeshLimits | None = None,
        random: Random | None = None,
        report: Report = log_line,
    ) -> None:
        limits = limits or MeshLimits()
        self._limits = limits
        self._handler = handler
        self._random = random or Random(member)
        self._tally = Tally(report)
        self._client_context = client_context
        by_fingerprint = {bytes(shown): other for other, shown in fingerprints.items()}
        if len(by_fingerprint) != len(fingerprints):
            raise ValueError("two members have one certificate")
        self._terms = Terms(
            Hello(chain_id, member),
            fingerprints,
            by_fingerprint,
            limits.hello_ms,
            self._tally,
            self._up,
            self._down,
        )
        others = sorted(other for other in fingerprints if other != member)
        self._peers = {other: _Peer(other, self._absent_queue()) for other in others}
        self._dialled = {other: _known_address(other, addresses) for other in others if other > member}
        self._budget = Budget(limits.received_bytes, self._relieve)
        self._channel_limits = ChannelLimits(
            limits.frame_bytes, HELLO_BYTES, limits.held_bytes, limits.handshake_ms
        )
        accepting = partial(self._make_channel, server_context, None)
        self._acceptor = Acceptor(listen, accepting, limits.accept, self._tally)
        self._dialling: list[asyncio.Task[None]] = []
        self._heart: asyncio.TimerHandle | None = None

    # What the node calls.

    @property
    def address(self) -> Address:
        """Where it listens; with the port that was found where port 0 was asked for."""
        return self._acceptor.address

    @property
    def counts(self) -> dict[str, int]:
        """How often things went wrong, by reason."""
        return self._tally.counts

    async def start(self) -> None:
        """Listen, and begin to dial. Raises `ListenError`."""
        await self._acceptor.start()
        for member, address in self._dialled.items():
            task = asyncio.create_task(self._keep_dialling(member, address), name=f"dialling member {member}")
            task.add_done_callback(report_fault)
            self._dialling.append(task)
        self._beat_later()

    async def close(self) -> None:
        """Send what is queued as far as peers read it, and end all connections; within seconds."""
        if self._heart is not None:
            self._heart.cancel()
        for task in self._dialling:
            task.cancel()
        if self._dialling:
            await asyncio.wait(self._dialling)
        await self._acceptor.close()

    def send(self, member: MemberId, payload: bytes) -> None:
        """Queue a frame for `member`; all of one loop turn leave in one write. Never blocks and never fails:
        a full queue drops its oldest frames. Raises `ValueError` for a frame that nobody may send."""
        if not 0 < len(payload) <= self._limits.frame_bytes or payload == HEARTBEAT:
            check_payload(payload, self._limits.frame_bytes)
            raise ValueError("a single zero byte is a heartbeat, not a message")
        peer = self._peers[member]
        dropped = peer.queue.push(payload)
        if dropped:
            self._tally.count("dropped_oldest", dropped)
        if peer.channel is not None:
            peer.channel.flush_soon()

    def connected(self, member: MemberId) -> bool:
        """Whether `member` is up."""
        return self._peers[member].channel is not None

    def queued(self, member: MemberId) -> int:
        """Bytes that wait for `member`."""
        return self._peers[member].queue.size

    def pause(self, member: MemberId) -> None:
        """Deliver no frames of `member` until `resume`; soon none are read either, and its queue fills."""
        peer = self._peers[member]
        peer.paused = True
        if peer.channel is not None:
            peer.channel.pause()

    def resume(self, member: MemberId) -> None:
        """Deliver frames of `member` again."""
        peer = self._peers[member]
        peer.paused = False
        peer.silent = 0
        if peer.channel is not None:
            peer.channel.resume()

    # Connecting.

    def _make_channel(self, context: ssl.SSLContext, dialled: MemberId | None) -> Channel:
        link = PeerLink(self._terms, dialled)
        session = Session(context, server_side=dialled is None)
        return Channel(link, session, FrameQueue(0, 0), self._channel_limits, self._tally, self._budget)

    async def _keep_dialling(self, member: MemberId, address: Address) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            channel = await self._dial(member, address)
            if channel is not None:
                begun = loop.time()
                await _until_gone(channel)
                if loop.time() - begun >= self._limits.steady_ms / 1000:
                    failures = 0
            failures += 1
            await asyncio.sleep(self._limits.backoff.delay_ms(failures, self._random) / 1000)

    async def _dial(self, member: MemberId, address: Address) -> Channel | None:
        make = partial(self._make_channel, self._client_context, member)
        try:
            async with asyncio.timeout(self._limits.connect_ms / 1000):
                loop = asyncio.get_running_loop()
                _, channel = await loop.create_connection(make, address.host, address.port)
        except OSError as error:
            slow = isinstance(error, TimeoutError) and error.errno is None
            reason = f"no connection within {self._limits.connect_ms} ms" if slow else said(error)
            self._tally.note("dial_failed", member=member, address=str(address), why=reason)
            return None
        return channel

    def _up(self, link: PeerLink) -> None:
        """A link knows its peer: from now on it is the connection to that member."""
        peer = self._peer(link)
        if peer.channel is not None:
            replaced, peer.channel = peer.channel, None
            replaced.abort(Ending.REPLACED)
            self._leave(peer)
        peer.channel = link.channel
        peer.silent = 0
        peer.queue.limit(self._limits.queue_bytes, self._limits.queue_frames)
        link.channel.queue = peer.queue
        link.channel.deliver = partial(self._handler.peer_frame, peer.member)
        if peer.paused:
            link.channel.pause()
        self._handler.peer_up(peer.member)
        link.channel.flush_soon()

    def _down(self, link: PeerLink) -> None:
        peer = self._peer(link)
        if peer.channel is link.channel:
            peer.channel = None
            self._leave(peer)

    def _leave(self, peer: _Peer) -> None:
        peer.queue.forget_rest()
        dropped = peer.queue.limit(self._limits.absent_bytes, self._limits.absent_frames)
        if dropped:
            self._tally.count("dropped_oldest", dropped)
        self._handler.peer_down(peer.member)

    def _peer(self, link: PeerLink) -> _Peer:
        if link.member is None:
            raise RuntimeError("a link without a member was reported as known")
        return self._peers[link.member]

    # Keeping watch.

    def _beat_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._heart = loop.call_later(self._limits.heartbeat_ms / 1000, self._beat)

    def _beat(self) -> None:
        for peer in self._peers.values():
            channel = peer.channel
            if channel is None:
                continue
            # What is not read cannot be heard: silence counts only while we listen.
            peer.silent = 0 if channel.heard or channel.paused else peer.silent + 1
            if peer.silent >= self._limits.silent_heartbeats:
                channel.abort(Ending.SILENT, f"nothing for {peer.silent * self._limits.heartbeat_ms} ms")
                continue
            if not channel.spoke and not peer.queue:
                channel.send(HEARTBEAT)
            channel.heard = channel.spoke = False
        self._beat_later()

    def _relieve(self) -> None:
        """End the connection that keeps the most memory."""
        channels = [peer.channel for peer in self._peers.values() if peer.channel is not None]
        heaviest = max(channels, key=lambda channel: channel.weight, default=None)
        if heaviest is not None:
            heaviest.abort(Ending.BUDGET, f"it keeps {heaviest.weight} bytes here")

    def _absent_queue(self) -> FrameQueue:
        return FrameQueue(self._limits.absent_bytes, self._limits.absent_frames)


def _known_address(member: MemberId, addresses: Mapping[MemberId, Address]) -> Address:
    address = addresses.get(member)
    if address is None:
        raise ValueError(f"member {member} has no address")
    return address


async def _until_gone(channel: Channel) -> None:
    """Wait until `channel` is gone; close it where the wait is ended."""
    try:
        await channel.gone.wait()
    except asyncio.CancelledError:
        channel.close(Ending.ASKED)
        await channel.gone.wait()
        raise
