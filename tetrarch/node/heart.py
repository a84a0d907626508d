"""The heart of a replica: frames and time in, effects out. Synchronous, deterministic, without sockets.

What lives here: the one order in which a turn does things, and the treatment of the engine's `Ready` that
`consensus.contract` states. What must not be known here: sockets, threads, clocks, files; which engine and
which application run. The simulated network runs exactly this class.

One turn:

1. engine messages whose signatures hold go to the engine;
2. transactions: offered, verified as one chunk, submitted;
3. served blocks of a catch-up: verified as a chunk, learnt one by one;
4. the engine ticks; its Readys are drained: records written, messages queued, decisions executed and
   stored, bodies and blocks fetched, until it has nothing left;
5. questions of clients and members are answered, within a budget.

What has nothing to do is not entered: an idle ledger's block costs few turns, and each of them little.

Everything that leaves is in the `Effects` of the turn; the shell holds it back until what the turn wrote is
durable. A disk that is full halts the engine: nothing unsynced is ever spoken of, and reading goes on.
"""

from collections.abc import Mapping, Sequence

from consensus.contract import (
    Decision,
    Engine,
    EngineFault,
    FetchBlocks,
    FetchBodies,
    Now,
    Ready,
    Record,
)
from crypto.attestation import Height
from crypto.batch import Millis
from crypto.keys import SignatureChecker
from crypto.roster import MemberId
from ledger.certificates import CertificateVerifier
from ledger.errors import BlockError, DiskFull
from ledger.genesis import Genesis
from ledger.ledger import Ledger
from ledger.transaction import ParsedTransaction, parse_transaction
from tetrarch.engines import Door
from tetrarch.node.admission import Admission
from tetrarch.node.catch_up import CatchUp
from tetrarch.node.certified import BlockJudge, Candidate, unverified
from tetrarch.node.chunks import Chunks
from tetrarch.node.effects import ChunkNumber, ConnectionId, Counters, Effects, Level
from tetrarch.node.gateway import Gateway, Identity
from tetrarch.node.inbox import Inbox
from tetrarch.node.limits import NodeLimits
from tetrarch.node.origins import Passed, Share
from tetrarch.node.report import Reporter
from tetrarch.node.serving import Serving, slices, stored_bodies
from tetrarch.node.trace import Trace
from tetrarch.node.verified import VerifiedSignatures
from tetrarch.node.waits import Waits
from tetrarch.wire import AskBodies, AskRange, Bodies, EngineMessage, Range, pack

EXPIRE_MS = 250
"""How often to look for transactions whose time has passed."""

MAX_ROUNDS = 1000
"""Readys taken in one turn; an engine that never ends has a fault."""


class Heart:
    """One replica. Construct, `start`, then frames and `turn`s, all from one thread.

    `deferred`: checks of transactions and blocks are handed out in `Effects.checks` and answered through
    `checked`; otherwise `checker` verifies them within the turn. Votes are always verified within it: they
    are few, and a hand-off would cost more time than it saves.

    Raises `EngineFault`, `StoreError` and whatever else is a fault of this replica's own: the caller must
    stop it. Nothing that comes from outside raises.
    """

    def __init__(
        self,
        genesis: Genesis,
        identity: Identity,
        engine: Engine,
        door: Door,
        verifier: CertificateVerifier,
        ledger: Ledger,
        checker: SignatureChecker,
        limits: NodeLimits | None = None,
        deferred: bool = False,
        trace: Trace | None = None,
    ) -> None:
        members, limits, counters = identity.roster.n, limits or NodeLimits(), Counters()
        self._trace = trace = trace or Trace()
        self.limits = limits
        self.counters = counters
        self.engine = engine
        self.ledger = ledger
        self.failure: str | None = None
        """Why nothing is written any more, if so."""
        self._others = tuple(MemberId(m) for m in identity.roster.members if m != identity.member)
        self._genesis = genesis
        self._judge = BlockJudge(
            genesis.chain_id, genesis.max_transaction_bytes, genesis.max_batch_transactions, verifier
        )
        self.verified = VerifiedSignatures(checker, limits.verified_signatures)
        self._inbox = Inbox(door, self.verified, members, limits, counters)
        self._waits = waits = Waits(limits, counters)
        self._admission = admission = Admission(genesis, ledger, engine, waits, limits, counters, trace)
        self._catch_up = CatchUp(limits, counters)
        self._serving = Serving(ledger, engine, admission.pooled, members, limits, counters)
        self.reporter = Reporter(genesis, identity.member, engine, ledger, self._catch_up, counters)
        status = self.reporter.reply
        self._gateway = Gateway(genesis, identity, ledger, engine, admission, waits, status, limits, counters)
        self._shares = tuple(Share() for _ in range(members))
        self._bodies: list[tuple[MemberId, Bodies]] = []
        self._ranges: list[tuple[MemberId, Range]] = []
        self._chunks = Chunks(checker, deferred)
        self._learnt: dict[Height, Candidate] = {}
        self._effects = Effects()
        self._moved = True
        """Whether the engine may want something else than when it was last asked. Votes that came too late,
        a third of all, change nothing."""
        self._due: Millis | None = None
        """The engine's deadline when it was last asked."""
        self._expire_at = Millis(0)

    def start(self, now: Now) -> None:
        """Restore the engine from the store. Called once, before anything else."""
        records = [Record(key, value) for key, value in self.ledger.engine_records()]
        self.reporter.started_at = now.monotonic
        self.engine.restore(records, self.ledger.height, self.ledger.head_hash, now)

    def peer_frame(self, member: MemberId, data: bytes) -> None:
        """Take one frame of a member's. It is decoded now, and acted on in the next turn."""
        frame = self._inbox.receive(member, data)
        if frame is None:
            return
        match frame:
            case Bodies() as bodies:
                self._bodies.append((member, bodies))
            case AskBodies() | AskRange() as question:
                self._serving.ask(member, question)
            case Range() as answer:
                self._ranges.append((member, answer))

    def peer_up(self, member: MemberId) -> None:
        """A connection to `member` stands."""
        self.reporter.peers[member] = True
        self._effects.tell("peer_up", member=member)

    def peer_down(self, member: MemberId) -> None:
        """The connection to `member` is gone."""
        self.reporter.peers[member] = False
        self._effects.tell("peer_down", Level.WARNING, member=member)

    def client_frame(self, connection: ConnectionId, data: bytes) -> None:
        """Take one frame of a client's. One that makes no sense ends the connection."""
        if not self._gateway.receive(connection, data):
            self._effects.closes.append(connection)
            self._gateway.gone(connection)

    def client_gone(self, connection: ConnectionId) -> None:
        """Forget a client's connection."""
        self._gateway.gone(connection)

    def checked(self, number: ChunkNumber, results: Sequence[bool]) -> None:
        """Take the results of checks that were handed out. They take effect in a later turn, in order."""
        self._chunks.checked(number, results)

    def deadline(self) -> Millis | None:
        """Return when `turn` must be called next, in monotonic ms, or `None`."""
        due = self._due
        for other in (self._catch_up.deadline(), self._serving.deadline(), self._gateway.deadline()):
            if other is not None and (due is None or other < due):
                due = other
        return due

    def sizes(self) -> Mapping[str, tuple[int, int]]:
        """Return, by name, how much is held in memory for others' sake and how much that may be at most."""
        return {
            **self.engine.sizes(),
            **self._inbox.sizes(),
            **self._serving.sizes(),
            **self._catch_up.sizes(),
            **self._admission.sizes(),
        }

    def store_failed(self, reason: str) -> None:
        """A sync failed: stop voting for good. What waited for that sync must not leave."""
        self._fail(reason)

    def turn(self, now: Now) -> Effects:
        """Do all that is due, within the budgets of one turn, and return what it wants done outside."""
        if self._inbox.waiting:
            for message in self._inbox.take(self.engine.redundant):
                self.engine.receive(message, now)
                self._moved = True
        else:
            self._moved = True
        if self._bodies or self._gateway.submitted or now.monotonic >= self._expire_at:
            self._offer(now)
        if self._ranges:
            self._take_ranges(now)
        if self._admission.waiting or self._catch_up.waiting:
            self._verify(now)
        if self._chunks.waiting:
            self._apply_chunks(now)
        if self._moved or (self._due is not None and self._due <= now.monotonic):
            self._drain(now)
        self._answer(now)
        effects, self._effects = self._effects, Effects()
        effects.more = self._has_more()
        return effects

    def _answer(self, now: Now) -> None:
        """Answer questions, ask for blocks, and note what a log should know."""
        if self._gateway.asked:
            self._gateway.answer(now, self._effects)
            # Answering may have asked the engine for a block that moves time.
            self._moved = True
        if self._admission.completed:
            self._gateway.finish(self._effects)
        if self._serving.asked:
            self._serving.answer(self._effects, now.monotonic)
        if self._catch_up.active:
            self._catch_up.ask(now.monotonic, self._effects)
        if now.monotonic >= self.reporter.look_at:
            self.reporter.watch(now.monotonic, self._effects)
            if self._gateway.closed is None:
                self._gateway.closed = self.reporter.halted

    def _has_more(self) -> bool:
        return bool(
            self._inbox.waiting
            or self._gateway.waiting
            or self._serving.waiting
            or ((self._admission.waiting or self._catch_up.waiting) and self._chunks.room)
        )

    def _offer(self, now: Now) -> None:
        """Offer for admission what came since the last turn, members' bodies first."""
        self._moved = True
        bodies, self._bodies = self._bodies, []
        for member, frame in bodies:
            origin = Passed(member, self._shares[member], frame.relayed)
            self._admission.offer(frame.transactions, origin, now)
        if self._gateway.submitted:
            self._gateway.offer(now)
        if now.monotonic >= self._expire_at:
            self._expire_at = Millis(now.monotonic + EXPIRE_MS)
            expired = self._admission.expire(now.wall)
            if expired:
                self.engine.settled(expired)
                self._waits.forget(expired)

    def _take_ranges(self, now: Now) -> None:
        ranges, self._ranges = self._ranges, []
        for member, answer in ranges:
            self._catch_up.receive(member, answer, now.monotonic)

    def _verify(self, now: Now) -> None:
        """Make the next chunk of checks: transactions first, then blocks, within the turn's budget."""
        if not self._chunks.room:
            return
        budget = self.limits.checks_per_turn
        # Clients' load must not keep a laggard from catching up.
        transactions = self._admission.take(budget // 4 if self._catch_up.waiting else budget)
        checks = [coming.parsed.check for coming in transactions]
        blocks: list[tuple[Candidate, int]] = []
        for block, member in self._catch_up.take(budget - len(checks)):
            try:
                candidate = self._judge.judge(block, member)
            except BlockError as error:
                self._reject(member, str(error), now)
                break
            own = unverified(candidate, self._verified_before, self.verified.unknown)
            blocks.append((candidate, len(own)))
            checks += own
        if transactions or blocks:
            self._chunks.add(transactions, blocks, checks, self._effects)

    def _verified_before(self, parsed: ParsedTransaction) -> bool:
        held = self._admission.pooled.get(parsed.id)
        return held is not None and held.raw == parsed.raw

    def _apply_chunks(self, now: Now) -> None:
        """Let chunks whose results are known take effect, in the order in which they were made."""
        for chunk, results in self._chunks.ready():
            self._moved = True
            count = len(chunk.transactions)
            self._admission.settle(chunk.transactions, results[:count], now)
            for candidate, own in chunk.blocks:
                valid = all(results[count : count + own])
                count += own
                if not self._learn(candidate, valid, now):
                    break

    def _learn(self, candidate: Candidate, valid: bool, now: Now) -> bool:
        """Give the engine a verified block. Returns whether those after it can be used."""
        decision, height = candidate.decision, self.ledger.height
        if decision.height <= height:
            return True
        if decision.height > height + 1:
            return False
        if not valid:
            self._reject(candidate.source, f"a signature in block {decision.height} does not verify", now)
            return False
        self._learnt = {decision.height: candidate}
        self.engine.learn(decision, now)
        self._drain(now)
        self._learnt.clear()
        if self.ledger.height < decision.height:
            self._catch_up.stop(self.ledger.height)
            return False
        return True

    def _reject(self, source: MemberId, why: str, now: Now) -> None:
        self._catch_up.rejected(source, why, self.ledger.height, now.monotonic, self._effects)

    def _drain(self, now: Now) -> None:
        """Do what the engine wants until it wants nothing more."""
        for _ in range(MAX_ROUNDS):
            self._moved = False
            self.engine.tick(now)
            ready = self.engine.take_ready()
            if ready and self.failure is None:
                try:
                    self._treat(ready, now)
                except (DiskFull, OSError) as error:
                    self._fail(str(error))
            if not self._moved or self.failure is not None:
                self._due = self.engine.deadline()
                return
        raise EngineFault(f"the engine was not done after {MAX_ROUNDS} rounds of one turn")

    def _treat(self, ready: Ready, now: Now) -> None:
        """Treat one Ready, in the order that the contract states."""
        self._persist(ready)
        to_members = self._effects.to_members
        for send in ready.send:
            frame = pack(EngineMessage(send.message))
            to_members += [(member, frame) for member in (self._others if send.to is None else send.to)]
        for relay in ready.relay:
            for bodies in slices(relay.bodies, self.limits.bodies_bytes):
                to_members.append((relay.to, pack(Bodies(True, bodies))))
        for decision in ready.decisions:
            self._execute(decision, now)
        for fetch in ready.fetch:
            if isinstance(fetch, FetchBlocks):
                self._catch_up.want(fetch, self.ledger.height, self._effects)
            else:
                self._fetch_bodies(fetch, now)

    def _persist(self, ready: Ready) -> None:
        archive = [(record.key, record.value) for record in ready.archive if record.value is not None]
        if ready.persist or archive:
            self.ledger.write_engine_records(
                [(record.key, record.value) for record in ready.persist], archive
            )
            self._effects.sync = True
        for evidence in ready.evidence:
            self.counters.count("evidence")
            self._effects.tell("evidence", Level.ERROR, member=evidence.member, what=evidence.what)

    def _execute(self, decision: Decision, now: Now) -> None:
        """Execute one decision, store its block, and tell everyone concerned."""
        self._moved = True
        learnt = self._learnt.get(decision.height)
        if learnt is not None and learnt.decision.requests is decision.requests:
            parsed = learnt.parsed
        else:
            parsed = self._admission.pooled.parse(decision.requests)
        executed = self.ledger.execute(
            decision.height, decision.digest, decision.timestamp, parsed, decision.certificate
        )
        if learnt is not None and learnt.header != executed.header:
            self._effects.tell(
                "block_differs",
                Level.ERROR,
                height=decision.height,
                member=learnt.source,
                ours=executed.block_hash.hex(),
            )
        for tx_id, what in executed.faults:
            self._effects.tell("application_error", Level.ERROR, tx_id=tx_id.hex(), what=what)
        self.reporter.transactions += len(executed.ids)
        self._effects.blocks.append(decision.height)
        if self._trace.on:
            self._trace.executed(decision.height, executed.ids, executed.results, self._waits.waiting)
        self._admission.executed(executed.ids, decision.height)
        self._gateway.executed(executed, self._effects)
        self._catch_up.reached(decision.height, self._effects)
        self.engine.executed(decision.height, executed.block_hash, executed.header.time, now)
        self.engine.settled(executed.ids)

    def _fetch_bodies(self, fetch: FetchBodies, now: Now) -> None:
        """Find bodies in the pool or in stored blocks, and ask another member for the rest."""
        self._moved = True
        missing, source = self._admission.want(fetch, now)
        stored = stored_bodies(self.ledger, missing, self.limits.body_blocks)
        for raw in stored.values():
            parsed = parse_transaction(raw, self._genesis.chain_id, self._genesis.max_transaction_bytes)
            self._admission.supply(parsed, now)
        rest = tuple(tx_id for tx_id in missing if tx_id not in stored)
        if rest and source is not None and not self._catch_up.waiting:
            self._effects.to_members.append((source, pack(AskBodies(rest))))

    def _fail(self, reason: str) -> None:
        """Stop voting: the store takes nothing more. What this turn would have sent stays here."""
        if self.failure is not None:
            return
        self.failure = reason
        self.engine.halt(reason)
        self._moved = True
        self._gateway.closed = reason
        self._effects.forget_sends()
        self._effects.sync = False
        self._effects.tell("halted", Level.ERROR, reason=reason)
