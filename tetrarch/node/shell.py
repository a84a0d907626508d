"""The asyncio shell around the heart: sockets, clocks, the group fsync, signals.

Everything that is decided is decided in the heart. The shell gathers the frames of one loop turn, calls
`Heart.turn` once for all of them, and sends what comes back as soon as what it rests on is durable. A disk
that syncs quickly is waited for; on a slow one the sync runs in a thread while further turns go on.

A fault of our own (records that do not decode, a corrupt store, a bug) stops the node loudly; nothing that
a peer or a client sends may do that.
"""

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from consensus.contract import Now
from crypto.batch import Millis
from crypto.keys import InlineChecker
from crypto.roster import MemberId
from ledger.errors import DiskFull
from ledger.keyvalue import KeyValue, RocksKeyValue
from tetrarch.errors import ConfigurationError
from tetrarch.event_loop import run
from tetrarch.node.composition import HONEST, Parts, compose
from tetrarch.node.durability import GroupSync
from tetrarch.node.effects import ChecksWanted, ConnectionId, Effects
from tetrarch.node.heart import Heart
from tetrarch.node.logs import Log
from tetrarch.node.resources import resident_bytes
from tetrarch.node.settings import NodeSettings
from tetrarch.node.sockets import Handler, Network
from tetrarch.node.watching import TraceWriter, Watch, open_monitor
from tetrarch.node.workers import CheckingProcesses

QUICK_SYNC_S = 0.001
"""A disk whose syncs take no longer on average is waited for: to hand a sync to a thread and hear of its end
costs more than the 0.3 ms of an ordinary disk, and what waits for it would wait for whole turns besides
(docs/adr/0002)."""

SYNCS_AVERAGED = 8
"""Over how many syncs, about: one that was held up by a neighbour makes no slow disk."""

HOUSEKEEPING_S = 1.0
"""How often memory is measured for the status, and refusals are summed up for the log."""

COLLECT_AFTER = 50_000
"""Containers made before the collector looks at the young ones. Transactions live through several of its
default rounds, none of them in cycles: measured, a twentieth of all CPU goes into looking at them."""

COUNTS_EVERY = 30
"""A line with the counters at most every so many housekeepings, and only if they moved."""


def clocks() -> Now:
    """Return both clocks, in whole ms."""
    return Now(Millis(time.monotonic_ns() // 1_000_000), Millis(time.time_ns() // 1_000_000))


class Node:
    """One running replica. `run` returns the exit code: 0 after a stop as asked for, 1 after a fault."""

    def __init__(
        self,
        settings: NodeSettings,
        disk: KeyValue,
        heart: Heart,
        open_network: Callable[[Handler], Network],
        log: Log,
        clock: Callable[[], Now] = clocks,
        watch: Watch | None = None,
        reread: Callable[[], str] | None = None,
    ) -> None:
        """`watch`: what `heart` was composed with. `reread`: returns which transactions are to be followed by
        now; called for SIGUSR2, and may raise `ConfigurationError`."""
        self._settings = settings
        self._disk = disk
        self._heart = heart
        self._log = log
        self._clock = clock
        self._watch = watch = watch or Watch()
        self._traces = TraceWriter(settings, watch.trace, log)
        self._reread = reread
        self._network = open_network(self)
        heart.reporter.connections = lambda: self._network.counts
        self._order = GroupSync()
        self._syncer = ThreadPoolExecutor(1, "sync")
        self._checking = (
            CheckingProcesses(settings.checking_processes) if settings.checking_processes else None
        )
        self._turn_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = Millis(0)
        """When the timer rings, monotonic ms, while there is one."""
        self._sync_s = 0.0
        """How long syncs take, on average of the last ones."""
        self._no_sync = asyncio.Event()
        """Set unless a sync runs in the thread, or its end is not seen to yet."""
        self._no_sync.set()
        self._counted: tuple[tuple[str, int], ...] = ()
        self._housekeepings = 0
        self._stopping = False
        self.started = asyncio.Event()
        """Set once members and clients can connect."""
        self.monitor = open_monitor(settings, heart, watch, self._network, log, self.started.is_set)

    # What the network calls.

    def peer_frame(self, member: MemberId, frame: bytes) -> None:
        """A member's frame came."""
        self._heart.peer_frame(member, frame)
        self._schedule()

    def peer_up(self, member: MemberId) -> None:
        """A member is connected."""
        self._heart.peer_up(member)
        self._schedule()

    def peer_down(self, member: MemberId) -> None:
        """A member's connection is gone."""
        self._heart.peer_down(member)
        self._schedule()

    def client_frame(self, connection: int, frame: bytes) -> None:
        """A client's frame came."""
        self._heart.client_frame(ConnectionId(connection), frame)
        self._schedule()

    def client_up(self, connection: int) -> None:
        """A client is connected: of no interest before its first frame."""

    def client_gone(self, connection: int) -> None:
        """A client's connection is gone."""
        self._heart.client_gone(ConnectionId(connection))

    # Running.

    async def run(self) -> int:
        """Run until a signal, `stop`, or a fault of our own."""
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._end: asyncio.Future[int] = loop.create_future()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGUSR2, self._follow)
        loop.set_exception_handler(self._on_unhandled)
        try:
            if self.monitor is not None:
                await self.monitor.start()
            self._heart.start(self._clock())
            await self._network.start()
            self._schedule()
            self._housekeep()
            self._log.info("listening", member=self._settings.member, height=self._heart.ledger.height)
            self.started.set()
            return await self._end
        finally:
            await self._close()

    def stop(self) -> None:
        """Stop cleanly."""
        if not self._end.done():
            self._log.info("stopping")
            self._end.set_result(0)

    async def _close(self) -> None:
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        await self._no_sync.wait()
        if self._end.done() and self._end.result() == 0 and self._heart.failure is None:
            await self._sync_once_more()
        if self.monitor is not None:
            await self.monitor.close()
        await self._network.close()
        self._log_counts()
        self._traces.close()
        if self._checking is not None:
            self._checking.close()
        self._syncer.shutdown()

    async def _sync_once_more(self) -> None:
        """Make the last blocks durable, so that the next start has nothing to fetch again."""
        try:
            await self._loop.run_in_executor(self._syncer, self._disk.sync)
        except (DiskFull, OSError) as error:
            self._log.error("last_sync_failed", reason=str(error))

    def _schedule(self) -> None:
        """Have one turn for everything that comes in this loop turn."""
        if not self._turn_scheduled and not self._stopping:
            self._turn_scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turn_scheduled = False
        if self._stopping:
            return
        effects = self._heart.turn(self._clock())
        for event in effects.events:
            self._log.event(event)
        for wanted in effects.checks:
            self._hand_out(wanted)
        for connection in effects.closes:
            self._network.close_client(connection)
            self._heart.client_gone(connection)
        self._send(self._order.add(effects))
        self._sync_if_wanted()
        if effects.more:
            self._schedule()
        else:
            self._arm()

    def _send(self, released: list[Effects]) -> None:
        for effects in released:
            for member, frame in effects.to_members:
                self._network.send_member(member, frame)
            for connection, frame in effects.to_clients:
                self._network.send_client(connection, frame)
            if effects.blocks:
                self._watch.replied(effects.blocks)
        if self._watch.trace.on:
            self._traces.write()

    def _arm(self) -> None:
        """See to a turn at the heart's deadline; an alarm that comes too early only costs a turn."""
        deadline = self._heart.deadline()
        if deadline is None:
            return
        if self._timer is not None:
            if self._rings_at <= deadline:
                return
            self._timer.cancel()
        self._rings_at = deadline
        delay = max(0, deadline - self._clock().monotonic) / 1000
        self._timer = self._loop.call_later(delay, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self._schedule()

    # Durability.

    def _sync_if_wanted(self) -> None:
        if not self._order.wanted or self._stopping:
            return
        self._order.begin()
        if self._sync_s <= QUICK_SYNC_S:
            self._sync_in_place()
        else:
            loop, sync = self._loop, self._syncer.submit(self._timed_sync)
            # Only now: where no thread can be had, nobody may wait for its end.
            self._no_sync.clear()
            sync.add_done_callback(lambda done: loop.call_soon_threadsafe(self._synced, done))

    def _sync_in_place(self) -> None:
        try:
            self._timed_sync()
        except (DiskFull, OSError) as error:
            self._sync_failed(error)
        else:
            self._send(self._order.finished())

    def _timed_sync(self) -> None:
        """Sync. Of all here this alone may run in the thread, one at a time."""
        began = time.monotonic()
        self._disk.sync()
        took = time.monotonic() - began
        self._watch.fsyncs.observe(took)
        self._sync_s += (took - self._sync_s) / SYNCS_AVERAGED

    def _synced(self, sync: "Future[None]") -> None:
        self._no_sync.set()
        error = sync.exception()
        if error is None:
            self._send(self._order.finished())
            self._sync_if_wanted()
        elif isinstance(error, DiskFull | OSError):
            self._sync_failed(error)
        else:
            self._fault(error)

    def _sync_failed(self, error: Exception) -> None:
        self._order.failed()
        self._heart.store_failed(str(error))
        self._schedule()

    # Checks in other processes.

    def _hand_out(self, wanted: ChecksWanted) -> None:
        if self._checking is not None:
            loop, results = self._loop, self._checking.submit(wanted.checks)
            results.add_done_callback(lambda done: loop.call_soon_threadsafe(self._checked, wanted, done))

    def _checked(self, wanted: ChecksWanted, results: "Future[list[bool]]") -> None:
        if self._stopping or results.cancelled():
            return
        error = results.exception()
        if error is None:
            self._heart.checked(wanted.number, results.result())
        else:
            self._log.error("checking_process_failed", reason=f"{type(error).__name__}: {error}")
            self._heart.checked(wanted.number, InlineChecker().check(wanted.checks))
        self._schedule()

    # Looking after oneself.

    def _follow(self) -> None:
        """Follow the transactions that the configuration names by now."""
        try:
            if self._reread is not None:
                self._traces.follow(self._reread())
        except ConfigurationError as error:
            self._log.error("trace_unchanged", reason=str(error))

    def _housekeep(self) -> None:
        if self._stopping:
            return
        self._heart.reporter.resident_bytes = resident_bytes()
        self._housekeepings += 1
        if self._housekeepings % COUNTS_EVERY == 0:
            self._log_counts()
        self._loop.call_later(HOUSEKEEPING_S, self._housekeep)

    def _log_counts(self) -> None:
        """Write what was refused, dropped and remembered since the last such line, if anything was."""
        verified = self._heart.verified
        counted = (
            *self._heart.counters.all(),
            *self._network.counts.items(),
            ("signatures of members verified", verified.misses),
            ("signatures of members known", verified.hits),
        )
        if counted != self._counted:
            before = dict(self._counted)
            moved = {name: count - before.get(name, 0) for name, count in counted}
            self._log.counts("counters", {name: count for name, count in moved.items() if count})
            self._counted = counted

    def _on_unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Whatever a callback raised and nobody caught is a fault of our own."""
        error = context.get("exception")
        if isinstance(error, BaseException):
            self._fault(error)
        else:
            self._log.error("event_loop", message=str(context.get("message")))

    def _fault(self, error: BaseException) -> None:
        if self._end.done():
            return
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where is not None else ""
        self._log.error("fault", error=type(error).__name__, reason=str(error), place=place)
        name = self._settings.name
        print(f"tetrarch: {name} stops: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        self._end.set_result(1)


def run_node(settings: NodeSettings, around: Parts = HONEST, reread: Callable[[], str] | None = None) -> int:
    """Run one replica in the foreground until it is stopped; returns the exit code. `reread`: as in `Node`.

    Raises `StoreError`, `TlsError`, `UnusableGenesis`, `ApplicationError` or `OSError` where it cannot start.
    """
    log = Log(settings.name, settings.log)
    try:
        disk = RocksKeyValue.open(settings.store)
        try:
            watch = Watch(settings.trace)
            heart = compose(settings, disk, around, watch)

            def open_network(handler: Handler) -> Network:
                return around.network(settings, handler, log.warning)

            def make() -> Node:
                return Node(settings, disk, heart, open_network, log, watch=watch, reread=reread)

            return run(_run(make))
        finally:
            disk.close()
    finally:
        log.close()


async def _run(make: Callable[[], Node]) -> int:
    """Make a node in the event loop, and run it."""
    node = make()
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER)
    return await node.run()
