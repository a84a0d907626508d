"""One simulated replica: the production heart on a simulated disk, clock and network.

What lives here: what the asyncio shell does in a real process: turns, group sync, alarms, and stopping
loudly. What must not be known here: what is right or wrong with what the replica does.
"""

from collections import Counter
from typing import TYPE_CHECKING

from byzantine.liars.engine import LyingEngine
from byzantine.liars.liar import Hand
from byzantine.simulation.application_faults import WatchedApplication
from byzantine.simulation.disk import SimulatedDisk
from consensus.contract import Now
from crypto.attestation import Height
from crypto.batch import Millis
from crypto.digest import Digest
from crypto.roster import MemberId
from ledger.application import load_application
from ledger.errors import DiskFull
from ledger.ledger import Ledger
from network.simulated import MILLISECOND, Endpoint, Timer, VirtualClock
from tetrarch.node.durability import GroupSync
from tetrarch.node.effects import ConnectionId, Effects
from tetrarch.node.gateway import Identity
from tetrarch.node.heart import Heart

if TYPE_CHECKING:
    from byzantine.simulation.world import World

TURN_US = 300
"""From the first frame that comes to the turn that takes all of them: what a busy event loop does."""

SYNC_US = (100, 2_000)
"""How long a disk takes to sync."""

MONOTONIC_START_MS = 1_000


class SimulatedReplica:
    """One member: its disk and clock always, its heart while it runs.

    `hand` is what a liar's frames go through; `None` for an honest member.
    """

    def __init__(self, world: "World", member: int, endpoint: Endpoint, hand: Hand | None = None) -> None:
        self.world, self.member, self.endpoint, self.hand = world, MemberId(member), endpoint, hand
        random = world.random
        skew = random.randint(-200, 200) * MILLISECOND
        self.clock = VirtualClock(world.scheduler, skew, random.randint(-100, 100), world.wall_ms())
        self.disk = SimulatedDisk()
        self.heart: Heart | None = None
        self.stopped: str | None = None
        """Why it stopped by itself, if it did: a fault of its own, which no input from outside may cause."""
        self.marked = False
        """Whether its next start is one on an old disk, as its operator says."""
        self.lost_disk = False
        """Whether its disk was lost, put back, or damaged at any time."""
        self.watched: WatchedApplication | None = None
        """The application of an honest replica, since its last start."""
        self.turns = 0
        """Done so far, in all its lives."""
        self.accused = False
        """Whether it told of evidence since it started."""
        self.ended: Counter[str] = Counter()
        """Clients' connections that its listener has ended in this life, by reason."""
        self._order = GroupSync()
        self._alarm: Timer | None = None
        self._scheduled = False
        self._height = Height(0)
        world.network.attach(endpoint, self.deliver)

    @property
    def honest(self) -> bool:
        """Whether it does not lie."""
        return self.hand is None

    @property
    def now(self) -> Now:
        """Both clocks."""
        return Now(Millis(MONOTONIC_START_MS + self.clock.monotonic_ms), Millis(self.clock.wall_ms))

    # Life and death.

    def start(self) -> None:
        """Begin, or begin again, from what the disk holds."""
        try:
            self.heart = self._composed()
            # An alarm of the last life never rings: while it counts as pending, no other is set before it.
            self._order, self._scheduled, self._alarm = GroupSync(), False, None
            self.ended = ended = Counter[str]()
            self.heart.reporter.connections = lambda: ended
            self.heart.start(self.now)
        except Exception as error:  # noqa: BLE001  # whatever a start raises ends a real process as well
            self._stop(error)
            return
        self.marked = False
        for other in range(self.world.n):
            if other != self.member:
                self.heart.peer_up(MemberId(other))
        self._schedule()

    def _composed(self) -> Heart:
        world = self.world
        application = load_application(world.genesis.application, dict(world.genesis.parameters))
        if self.hand is not None:
            application = self.hand.application(application)
        else:
            application = self.watched = WatchedApplication(application)
        ledger = Ledger.open(world.genesis, application, self.disk)
        self._height = ledger.height
        signer = world.signatures.member(self.member)
        engine = world.parts.make(self.member, signer, world.tuning, self.marked)
        if self.hand is not None:
            engine = LyingEngine(engine, self.hand)
        identity = Identity(world.roster, self.member, signer)
        return Heart(
            world.genesis,
            identity,
            engine,
            world.parts.door,
            world.parts.verifier,
            ledger,
            world.signatures,
            world.limits,
        )

    def crash(self, surviving: int = 0) -> None:
        """Lose the process, and what was not synced but for the first `surviving` writes."""
        self.world.on_crashing(self)
        self.world.network.crash(self.endpoint)
        self.heart, self.accused = None, False
        self.disk.crash(surviving)

    def restart(self) -> None:
        """Run again."""
        self.world.network.restart(self.endpoint)
        if self.hand is not None:
            self.hand.on_restart(self.disk)
        self.stopped = None
        self.start()

    def _stop(self, error: BaseException) -> None:
        self.stopped = f"{type(error).__name__}: {error}"
        self.world.network.crash(self.endpoint)
        self.heart = None
        self.disk.crash()
        self.world.on_stopped(self, error)

    # Running.

    def deliver(self, source: Endpoint, frame: bytes) -> None:
        """Take a frame from the network."""
        heart = self.heart
        if heart is None:
            return
        connection = self.world.connections.get(source)
        if connection is None:
            member = self.world.member_at[source]
            if self.hand is not None:
                self.hand.on_frame_heard(member, frame)
            heart.peer_frame(member, frame)
            self._schedule()
        else:
            self.deliver_client(connection, frame)

    def deliver_client(self, connection: ConnectionId, frame: bytes) -> None:
        """Take a frame that came over a client's connection."""
        if self.heart is not None:
            if self.hand is not None:
                self.hand.on_client_frame(connection, frame)
            self.heart.client_frame(connection, frame)
            self._schedule()

    def _schedule(self, delay_us: int = TURN_US) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.world.network.timer(self.endpoint, delay_us, self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        heart = self.heart
        if heart is None:
            return
        try:
            effects = heart.turn(self.now)
        except Exception as error:  # noqa: BLE001  # as in a real process: the replica stops, loudly
            self._stop(error)
            return
        self.world.on_turn(self, effects)
        if heart.ledger.height != self._height:
            self._note_blocks(heart.ledger)
        for _ in effects.closes:
            self.world.on_client_closed(self)
        self._send(self._order.add(effects))
        self._sync()
        if effects.more:
            self._schedule()
        else:
            self._arm(heart)

    def _note_blocks(self, ledger: Ledger) -> None:
        for height in range(self._height + 1, ledger.height + 1):
            self.world.on_executed(self, ledger, Height(height))
        self._height = ledger.height

    def _arm(self, heart: Heart) -> None:
        deadline = heart.deadline()
        if deadline is None:
            return
        due_us = max(self.world.scheduler.now_us + TURN_US, (deadline - MONOTONIC_START_MS) * MILLISECOND)
        if self._alarm is not None and self._alarm.pending:
            if self._alarm.due_us <= due_us:
                return
            self._alarm.cancel()
        delay = due_us - self.world.scheduler.now_us
        self._alarm = self.world.network.timer(self.endpoint, delay, self._ring)

    def _ring(self) -> None:
        self._schedule(0)

    def _sync(self) -> None:
        """A disk takes its time; what it is asked to sync is durable early or late within it."""
        if not self._order.wanted:
            return
        self._order.begin()
        if self.world.random.random() < 0.5:
            self._sync_disk()
        self.world.network.timer(self.endpoint, self.world.random.randint(*SYNC_US), self._synced)

    def _sync_disk(self) -> bool:
        try:
            self.disk.sync()
        except (DiskFull, OSError) as error:
            self._order.failed()
            if self.heart is not None:
                self.heart.store_failed(str(error))
            return False
        return True

    def _synced(self) -> None:
        if self._order.running and self._sync_disk():
            self._send(self._order.finished())
            self._sync()

    def _send(self, released: list[Effects]) -> None:
        world, hand = self.world, self.hand
        for effects in released:
            if hand is None:
                last = b""
                for member, frame in effects.to_members:
                    if frame is not last:
                        world.on_sent(self, frame)
                        last = frame
                    world.send_member(self.endpoint, member, frame)
                for connection, frame in effects.to_clients:
                    world.send_client(self.endpoint, connection, frame)
            else:
                for member, frame in effects.to_members:
                    hand.pass_on(member, frame)
                for connection, frame in effects.to_clients:
                    hand.answer(connection, frame)


def block_hash_at(ledger: Ledger, height: int) -> Digest:
    """Return the hash of the block at `height` of a ledger that reaches so far."""
    if height == ledger.height:
        return ledger.head_hash
    header = ledger.header(Height(height + 1))
    if header is None:
        raise LookupError(f"no header at {height + 1} below the head {ledger.height}")
    return header.parent


__all__ = ["ConnectionId", "SimulatedReplica", "block_hash_at"]
