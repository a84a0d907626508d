"""`Pbft`: the engine, composed of its phases.

Every message is handled flat: guard, change the one state, emit. Which handler takes which message is
the table below: `on_...`. One that does not act returns why, and that is counted. No handler calls another
message's handler.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from consensus.contract import Decision, Now, Ready, Record, Request
from consensus.contract import Status as EngineStatus
from consensus.pool import Pool
from consensus.quorum import Quorums
from crypto.attestation import Attestation, Height
from crypto.batch import Millis, TxId
from crypto.digest import Digest
from crypto.keys import Signer
from crypto.roster import MemberId, Roster
from crypto.signed import Signed
from pbft import batches, checkpoints, normal_case, restart, synchronize, timing, view_change
from pbft.limits import Limits, Tuning
from pbft.messages import (
    Commit,
    FetchProposal,
    NewView,
    Prepare,
    PrePrepare,
    Proposal,
    Stable,
    Status,
    Suspect,
    ViewChange,
)
from pbft.state import MAX_EVIDENCE, MAX_STASH, Ignored, State

LAGGING_STATUS_MS = 50
"""A message far above the window shows that this replica lags: it says where it stands so soon, not at once,
since such messages come in numbers."""

Handler = Callable[[State, Signed[Any], Now], Ignored | None]

HANDLERS: dict[type, Handler] = {
    PrePrepare: normal_case.on_pre_prepare,
    Prepare: normal_case.on_prepare,
    Commit: normal_case.on_commit,
    Attestation: checkpoints.on_attestation,
    Suspect: view_change.on_suspect,
    ViewChange: view_change.on_view_change,
    NewView: view_change.on_new_view,
    Status: synchronize.on_status,
    FetchProposal: synchronize.on_fetch_proposal,
    Proposal: synchronize.on_proposal,
    Stable: synchronize.on_stable,
}


class Pbft:
    """One replica of signed PBFT, behind `consensus.contract.Engine`.

    Raises nothing for what others send. `restore` raises `EngineFault` for records of its own that do
    not decode or contradict the chain.
    """

    def __init__(
        self,
        member: MemberId,
        roster: Roster,
        signer: Signer,
        limits: Limits,
        tuning: Tuning | None = None,
        marked: bool = False,
    ) -> None:
        tuning = tuning or Tuning()
        quorums = Quorums.byzantine(roster.n)
        self._state = State(member, roster, quorums, signer, limits, tuning, Pool(tuning.pool))
        self._mark_at_start = marked
        self.acceptance = quorums.weak

    def restore(self, records: Iterable[Record], executed: Height, block_hash: Digest, now: Now) -> None:
        """Start from durable records and a stored chain that ends at `executed`. Called once, first."""
        state = self._state
        state.started = now.wall
        restart.restore(state, records, executed)
        checkpoints.attest(state, executed, block_hash)
        if self._mark_at_start and not state.marked:
            checkpoints.mark(state, Height(0))
        if state.leads:
            state.pool.lead(normal_case.in_flight_ids(state))
        for sequence in sorted(state.slots):
            normal_case.advance_slot(state, state.slots[sequence])
        timing.tick(state, now)

    def submit(self, request: Request, now: Now, relayed_by: MemberId | None = None) -> bool:
        """Offer a verified request. `False`: the pool is full, and no proposal waits for it."""
        state = self._state
        awaited = request.id in state.awaited
        settled = awaited and batches.is_settled(state, request.id)
        if awaited:
            for slot in batches.supply(state, request):
                normal_case.advance_slot(state, slot)
        return settled or state.pool.add(request, relayed_by) or awaited

    def receive(self, message: Signed[Any], now: Now) -> None:
        """Take a message that the door opened and whose signatures were all verified."""
        state = self._state
        reason = self._handle(message, now)
        if reason is Ignored.LATER_VIEW:
            view_change.stash(state, message)
        if reason is Ignored.ABOVE_WATERMARK:
            state.timers.status_at = min(state.timers.status_at, Millis(now.monotonic + LAGGING_STATUS_MS))
        if reason is not None:
            state.ignored[reason] += 1
        for kept in view_change.due_from_stash(state):
            self._handle(kept, now)

    def redundant(self, message: Signed[Any]) -> bool:
        """Whether an unverified vote comes too late to change anything here."""
        return normal_case.redundant(self._state, message.message)

    def _handle(self, message: Signed[Any], now: Now) -> Ignored | None:
        state = self._state
        if state.halted is not None:
            return Ignored.HALTED
        if message.signer == state.member and not state.marked:
            if synchronize.shows_a_forgotten_vote(state, message):
                checkpoints.mark(state, Height(0))
            return Ignored.OWN
        return HANDLERS[type(message.message)](state, message, now)

    def learn(self, decision: Decision, now: Now) -> None:
        """Take the next decision out of another member's store, its certificate and bodies verified."""
        normal_case.learn(self._state, decision, now)

    def tick(self, now: Now) -> None:
        """Do what is due. The node calls this after each turn's inputs, and at `deadline`."""
        timing.tick(self._state, now)

    def settled(self, ids: Iterable[TxId]) -> None:
        """Forget these requests: executed, or expired."""
        self._state.pool.discard(ids)

    def executed(self, height: Height, block_hash: Digest, block_time: Millis, now: Now) -> None:
        """The decision for `height` was executed and its block stored."""
        checkpoints.note_stored(self._state, height, block_hash, block_time)

    def advance(self, past: Millis, now: Now) -> None:
        """Have an empty block ordered if the ledger's time does not pass `past` by itself."""
        state = self._state
        if past < now.wall:
            state.wanted_time = Millis(max(state.wanted_time, past))
            state.timers.status_at = now.monotonic

    def deadline(self) -> Millis | None:
        """Return when `tick` must be called next, in monotonic ms."""
        return timing.deadline(self._state)

    def take_ready(self) -> Ready:
        """Return what is to be done, in the contract's order, and forget it."""
        return self._state.out.take()

    def body(self, tx_id: TxId) -> bytes | None:
        """Return the body of a request held in the pool or in a proposal."""
        state = self._state
        request = state.pool.get(tx_id)
        if request is not None:
            return request.body
        for slot in state.slots.values():
            for content in slot.contents.values():
                if content.requests is not None and tx_id in content.ids:
                    held = content.requests[content.ids.index(tx_id)]
                    return held.body if held else None
        return None

    def halt(self, reason: str) -> None:
        """Stop voting and proposing for good."""
        self._state.halt(reason)

    def status(self) -> EngineStatus:
        """Return what this replica is doing."""
        state = self._state
        return EngineStatus(
            view=state.view,
            leader=state.primary if state.active else None,
            active=state.active,
            low=state.low,
            high=state.high,
            executed=state.executed,
            waiting_for=_waiting_for(state),
            pending=len(state.pool),
            last_vote=max((s for s, slot in state.slots.items() if slot.voted_prepare), default=state.low),
            halted=state.halted,
            marked=state.marked,
            ignored=tuple(sorted((reason.value, count) for reason, count in state.ignored.items())),
        )

    def sizes(self) -> Mapping[str, tuple[int, int]]:
        """Return how much of each kind is held, and how much that may be at most."""
        state, n, window = self._state, self._state.quorums.n, self._state.limits.window
        contents = max((len(slot.contents) for slot in state.slots.values()), default=0)
        return {
            "slots": (len(state.slots), 3 * window),
            # One for each view that voted for it, and what this view's primary and a decision name.
            "batches of one slot": (contents, n + state.view),
            "bodies awaited": (len(state.awaited), batches.MAX_AWAITED + state.limits.max_batch_transactions),
            "VIEW-CHANGEs": (len(state.view_changes), n),
            "suspicions": (len(state.suspects), n),
            "messages of later views": (max(map(len, state.stash.values()), default=0), MAX_STASH),
            "attestations ahead": (len(state.ahead), n),
            "checkpoints": (len(state.attestations), 2 * window // state.limits.checkpoint_interval + 1),
            "evidence": (max(state.convicted.values(), default=0), MAX_EVIDENCE),
            "requests": (len(state.pool), state.tuning.pool.max_requests + n * state.tuning.pool.lane_quota),
        }


def _waiting_for(state: State) -> str:
    """Say in words what this replica waits for."""
    if state.halted is not None:
        return "nothing: it has stopped"
    if state.marked:
        where = f"checkpoint {state.needs}" if state.needs else "the others' checkpoints"
        return f"{where}, before it votes again (its disk is older than its votes)"
    if not state.active:
        return f"the NEW-VIEW of view {state.view} from member {state.primary}"
    if state.target is not None:
        return f"blocks up to the certified checkpoint {state.target_height}"
    if state.awaited:
        return f"{len(state.awaited)} transactions' bodies"
    if normal_case.lowest_proposal_waits(state):
        return f"votes on sequence {state.delivered + 1}"
    return "transactions" if not len(state.pool) else "a proposal"
