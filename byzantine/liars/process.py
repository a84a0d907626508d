"""A liar's hand in a real process: its surroundings on the event loop, its network, its disk, and what it
still knows after a crash.

What lives here: what the simulated world is to a liar there. What must not be known here: behaviours, and
what the command line is.
"""

import asyncio
import os
import pickle
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from byzantine.liars.liar import Hand
from byzantine.liars.report import Line, Report
from crypto.roster import MemberId
from ledger.keyvalue import Change, Family, KeyValue
from network.tally import Report as Tell
from tetrarch.node.effects import ConnectionId
from tetrarch.node.settings import NodeSettings
from tetrarch.node.sockets import Handler, Network, NetworkLoad, OpenNetwork
from tetrarch.node.transports import open_network as open_transports


class ProcessSurroundings:
    """Time and ways to send (`byzantine.liars.liar.Surroundings`). The scenario's time passes `slowdown`
    times slower than the clock's."""

    def __init__(self, report: Report, slowdown: float) -> None:
        self._report = report
        self._slowdown = slowdown
        self.network: Network | None = None
        self.began_ms: int | None = None
        """When the run began, by the monotonic clock; `None`: it has not yet."""
        self.about_to_crash: Callable[[], object] = lambda: None

    def now_ms(self) -> int:
        """Return the ms since the run began; before it does, a time at which no lie may be told."""
        if self.began_ms is None:
            return -1
        return int((time.monotonic_ns() // 1_000_000 - self.began_ms) / self._slowdown)

    def wall_ms(self) -> int:
        """Return the wall clock."""
        return time.time_ns() // 1_000_000

    def after(self, delay_ms: int, action: Callable[[], object]) -> None:
        """Call `action` later."""
        asyncio.get_running_loop().call_later(delay_ms * self._slowdown / 1000, action)

    def send_member(self, member: MemberId, frame: bytes) -> None:
        """Send a frame to a member."""
        if self.network is not None:
            # What the network does not take, being none of its frames, stays unsaid.
            with suppress(ValueError):
                self.network.send_member(member, frame)

    def send_client(self, connection: ConnectionId, frame: bytes) -> None:
        """Send a frame to a client."""
        if self.network is not None:
            with suppress(ValueError):
                self.network.send_client(connection, frame)

    def crash_for(self, delay_ms: int) -> None:
        """End the process, once what was said before in this turn is on its way."""
        loop = asyncio.get_running_loop()
        # Connections write at the end of the loop's turn: what is called after the next one comes later.
        loop.call_soon(loop.call_soon, self._crash, delay_ms)

    def _crash(self, delay_ms: int) -> None:
        self.about_to_crash()
        self._report.write(Line(self.now_ms(), crashed_for_ms=delay_ms))
        os.kill(os.getpid(), signal.SIGKILL)

    def on_lied(self, behaviour: str) -> None:
        """A behaviour fired."""
        self._report.write(Line(self.now_ms(), behaviour))


class Mind:
    """What a liar knows, kept in a file over a crash of its own choice."""

    def __init__(self, hand: Hand, path: Path) -> None:
        self._hand, self._path = hand, path

    def keep(self) -> None:
        """Write it down."""
        hand = self._hand
        known = (hand.memory, hand.executed, hand.hashes, [vars(each) for each in hand.behaviours])
        with self._path.open("wb") as file:
            pickler = pickle.Pickler(file)
            pickler.persistent_id = lambda item: "hand" if item is hand else None  # type: ignore[method-assign]
            pickler.dump(known)

    def recall(self, report: Report) -> None:
        """Know it again. A liar that was ended by others knows only how often it has lied."""
        hand = self._hand
        with suppress(FileNotFoundError):
            with self._path.open("rb") as file:
                unpickler = pickle.Unpickler(file)
                unpickler.persistent_load = lambda _name: hand  # type: ignore[method-assign]
                hand.memory, hand.executed, hand.hashes, behaviours = unpickler.load()
            for behaviour, known in zip(hand.behaviours, behaviours, strict=True):
                vars(behaviour).update(known)
            self._path.unlink()
            return
        fired = report.fired()
        for behaviour in hand.behaviours:
            behaviour.fired = fired[behaviour.name]


class NodeDisk:
    """What a liar may do to its own disk while its process is down (`byzantine.simulation.disk`)."""

    def __init__(self, disk: KeyValue) -> None:
        self._disk = disk

    def forget_votes(self, tally_key: bytes) -> None:
        """Lose the engine's records, and the tally that would show it."""
        changes: list[Change] = [
            (family, key, None)
            for family in (Family.VOTES, Family.ARCHIVE)
            for key, _ in self._disk.scan(family)
        ]
        self._disk.write([*changes, (Family.META, tally_key, None)])
        self._disk.sync()


class _Listening:
    """Lets the hand hear what members and clients say, and passes everything on."""

    def __init__(self, handler: Handler, hand: Hand) -> None:
        self._handler, self._hand = handler, hand

    def peer_frame(self, member: MemberId, frame: bytes) -> None:
        """A member's frame came."""
        self._hand.on_frame_heard(member, frame)
        self._handler.peer_frame(member, frame)

    def client_frame(self, connection: int, frame: bytes) -> None:
        """A client's frame came."""
        self._hand.on_client_frame(ConnectionId(connection), frame)
        self._handler.client_frame(connection, frame)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handler, name)


class LyingNetwork:
    """The network of the replica, all that leaves being passed through the hand."""

    def __init__(self, network: Network, hand: Hand, surroundings: ProcessSurroundings) -> None:
        self._network, self._hand, self._surroundings = network, hand, surroundings
        surroundings.network = network

    @property
    def counts(self) -> Mapping[str, int]:
        """How often something was wrong with connections."""
        return self._network.counts

    @property
    def load(self) -> NetworkLoad:
        """What the network holds."""
        return self._network.load

    async def start(self) -> None:
        """Listen and connect, and begin to speak when time begins."""
        if self._surroundings.began_ms is None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._begin)
        else:
            self._hand.begin()
        await self._network.start()

    def _begin(self) -> None:
        if self._surroundings.began_ms is None:
            self._surroundings.began_ms = time.monotonic_ns() // 1_000_000
            self._hand.begin()

    def send_member(self, member: MemberId, frame: bytes) -> None:
        """A frame that the honest replica would send to a member."""
        self._hand.pass_on(member, frame)

    def send_client(self, connection: ConnectionId, frame: bytes) -> None:
        """A frame that the honest replica would send to a client."""
        self._hand.answer(connection, frame)

    def close_client(self, connection: ConnectionId) -> None:
        """End a client's connection."""
        self._network.close_client(connection)

    async def close(self) -> None:
        """End everything."""
        await self._network.close()


def lying_network(hand: Hand, surroundings: ProcessSurroundings) -> OpenNetwork:
    """Return what opens a replica's network with the hand on it."""

    def open_network(settings: NodeSettings, handler: Handler, report: Tell) -> Network:
        network = open_transports(settings, _Listening(handler, hand), report)
        return LyingNetwork(network, hand, surroundings)

    return open_network
