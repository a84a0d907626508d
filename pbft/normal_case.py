"""The normal case (section 4.2): pre-prepare, prepare, commit, and delivery in order.

What lives here: the primary's proposing, a backup's two votes, and the one path by which decisions
leave the engine (rule 14). Leaving a view, checkpoints and resending live elsewhere.
"""

from msgspec import structs

from consensus.contract import Decision, Now, Request
from consensus.pool import BatchLimits
from crypto.attestation import Height
from crypto.batch import Millis, TxId, batch_digest, transaction_root
from crypto.digest import Digest
from crypto.signed import Signed
from pbft import batches
from pbft.certificates import commit_certificate
from pbft.messages import Commit, Prepare, PreparedProof, PrePrepare, View, primary_of
from pbft.records import ACCEPTED, PREPARED, encode_record, slot_key
from pbft.state import Content, Ignored, Slot, State

FILLER_INTERVAL_MS = 20
"""Between two empty blocks that a rejoining member needs: fast, yet no burden beside real work."""


def propose(state: State, now: Now) -> None:
    """As primary, propose what is due: at once when nothing is in flight, else fuller batches."""
    while state.leads and state.next_sequence <= state.high:
        in_flight = state.next_sequence - 1 - state.delivered
        empty = in_flight == 0 and _wants_empty_block(state, now)
        if not empty and not _batch_is_due(state, in_flight, now):
            return
        limits = BatchLimits(
            state.limits.max_batch_transactions, state.limits.max_batch_bytes, state.limits.horizon_ms
        )
        requests = state.pool.take(now.wall, limits)
        state.queued_since = now.monotonic if state.pool.waiting else None
        if not requests and not empty:
            return
        _send_pre_prepare(state, requests, now)


def _batch_is_due(state: State, in_flight: int, now: Now) -> bool:
    waiting = state.pool.waiting
    if waiting == 0:
        state.queued_since = None
        return False
    if state.queued_since is None:
        state.queued_since = now.monotonic
    if in_flight == 0:
        return True
    if in_flight >= state.tuning.pipeline_depth:
        return False
    waited = now.monotonic - state.queued_since
    return waiting >= state.tuning.batch_target or waited >= state.tuning.batch_delay_ms


def time_must_move(state: State, now: Now) -> bool:
    """Whether somebody waits for the ledger's time to pass a moment that the own clock has passed."""
    return state.wanted_time >= state.block_time and now.wall > state.wanted_time


def _wants_empty_block(state: State, now: Now) -> bool:
    """Time must move past what a client waits for, or a rejoining member needs blocks to rejoin."""
    if time_must_move(state, now) and now.monotonic - state.filled_at >= state.tuning.request_timeout_ms // 2:
        return True
    return _fillers_wanted(state) and now.monotonic - state.filled_at >= FILLER_INTERVAL_MS


def _fillers_wanted(state: State) -> bool:
    """Whether a rejoining member waits for a height that is not reached yet."""
    return any(standing.filled_to > state.delivered for standing in state.standings.values())


def _send_pre_prepare(state: State, requests: list[Request], now: Now) -> None:
    sequence = state.next_sequence
    ids = tuple(request.id for request in requests)
    root = transaction_root(ids)
    digest = batch_digest(state.roster.chain_id, sequence, now.wall, root)
    slot = state.slot(sequence)
    content = Content(now.wall, root, ids, list(requests), 0, since=now.monotonic)
    slot.contents[digest] = content
    state.next_sequence = Height(sequence + 1)
    state.filled_at = now.monotonic
    message = PrePrepare(state.view, sequence, digest, now.wall, root)
    accept(state, slot, state.broadcast(message, b"".join(ids)))


def on_pre_prepare(state: State, signed: Signed[PrePrepare], now: Now) -> Ignored | None:
    """A backup's first step: is this what the primary of this view may propose here?"""
    message = signed.message
    if signed.signer == state.member:
        return Ignored.OWN
    slot = _present_slot(state, message.view, message.sequence)
    if isinstance(slot, Ignored):
        return slot
    if slot.pre_prepare is not None:
        if slot.pre_prepare.message == message:
            return _take_ids(state, slot, signed, now)
        state.accuse("two proposals for one sequence", slot.pre_prepare.envelope, signed.envelope)
        state.timers.deceived = True
        return Ignored.CONFLICTING
    if message.sequence <= state.proposed_until:
        return Ignored.NOT_REPROPOSED
    if abs(message.timestamp - now.wall) > state.limits.clock_bound_ms:
        return Ignored.CLOCK
    if len(state.awaited) >= batches.MAX_AWAITED:
        return Ignored.TOO_MUCH_MISSING
    batches.open_content(
        state, slot, message.digest, message.timestamp, message.root, signed.envelope.beside, now
    )
    accept(state, slot, signed)
    return None


def _take_ids(state: State, slot: Slot, signed: Signed[PrePrepare], now: Now) -> Ignored | None:
    """The same proposal again: of use only if its ids were not known (a NEW-VIEW brings none)."""
    message = signed.message
    if message.digest in slot.contents:
        return Ignored.REPEATED
    batches.open_content(
        state, slot, message.digest, message.timestamp, message.root, signed.envelope.beside, now
    )
    advance_slot(state, slot)
    return None


def _present_slot(state: State, view: View, sequence: Height) -> Slot | Ignored:
    """Return the slot of a message for the present view, or why it is not acted on."""
    if view < state.view or (view == state.view and view < state.log_view):
        return Ignored.OLD_VIEW
    if view > state.log_view:
        return Ignored.LATER_VIEW
    if not state.active:
        return Ignored.NOT_ACTIVE
    return bounded_slot(state, sequence)


def bounded_slot(state: State, sequence: Height) -> Slot | Ignored:
    """Return the slot of `sequence` if it lies where messages are kept, or why it is ignored."""
    if sequence <= state.low:
        return Ignored.BELOW_WATERMARK
    if sequence > state.horizon:
        return Ignored.ABOVE_WATERMARK
    return state.slot(sequence)


def accept(state: State, slot: Slot, signed: Signed[PrePrepare]) -> None:
    """Take `signed` as the proposal for its slot in this view, and go as far as that allows."""
    slot.pre_prepare = signed
    state.highest_accepted = max(state.highest_accepted, slot.sequence)
    advance_slot(state, slot)


def on_prepare(state: State, signed: Signed[Prepare], _now: Now) -> Ignored | None:
    """Count a backup's PREPARE."""
    message = signed.message
    if signed.signer == state.member:
        return Ignored.OWN
    if signed.signer == primary_of(message.view, state.quorums.n):
        return Ignored.PRIMARY_PREPARE
    slot = _present_slot(state, message.view, message.sequence)
    if isinstance(slot, Ignored):
        return slot
    earlier = slot.prepares.add(signed)
    if earlier is not None:
        state.accuse("two PREPAREs for one sequence", earlier.envelope, signed.envelope)
        return Ignored.CONFLICTING
    _show_other_proposal(state, slot, signed)
    advance_slot(state, slot)
    return None


def _show_other_proposal(state: State, slot: Slot, vote: Signed[Prepare]) -> None:
    """Send a backup that prepares another batch what the primary proposed here, once.

    Primary or backup lied: the primary, whose two proposals are then held together by those who were shown
    one each, or the backup, who learns nothing by it.
    """
    proposal, content = slot.pre_prepare, slot.content
    if proposal is None or content is None or proposal.message.digest == vote.message.digest:
        return
    if vote.signer not in slot.shown:
        slot.shown.add(vote.signer)
        state.send(structs.replace(proposal.envelope, beside=b"".join(content.ids)), vote.signer)


def on_commit(state: State, signed: Signed[Commit], _now: Now) -> Ignored | None:
    """Count a COMMIT. A quorum of them suffices to execute, also while the view is being changed."""
    message = signed.message
    if signed.signer == state.member:
        return Ignored.OWN
    if message.view < state.log_view:
        return Ignored.OLD_VIEW
    if message.view > state.log_view:
        return Ignored.LATER_VIEW
    slot = bounded_slot(state, message.sequence)
    if isinstance(slot, Ignored):
        return slot
    earlier = slot.commits.add(signed)
    if earlier is not None:
        state.accuse("two COMMITs for one sequence", earlier.envelope, signed.envelope)
        return Ignored.CONFLICTING
    _try_committed(state, slot)
    deliver(state)
    return None


def redundant(state: State, message: object) -> bool:
    """Whether a vote is for what is settled here already, or below the watermark.

    A vote for another digest than the settled one is not: it may be evidence.
    """
    if not isinstance(message, Prepare | Commit):
        return False
    if message.sequence <= state.low or message.view < state.log_view:
        return True
    slot = state.slots.get(message.sequence)
    if slot is None or message.view != state.log_view:
        return False
    if isinstance(message, Commit):
        return slot.committed == message.digest
    return slot.voted_commit and slot.prepared_digest == message.digest


def advance_slot(state: State, slot: Slot) -> None:
    """Cast the votes that `slot` allows now, and deliver what is committed."""
    _try_prepare(state, slot)
    _try_commit(state, slot)
    _try_committed(state, slot)
    deliver(state)


def _ready_content(state: State, slot: Slot) -> Digest | None:
    """Return the digest proposed in this view if its batch is complete, valid and inside the window."""
    if slot.pre_prepare is None or slot.refused or not (state.low < slot.sequence <= state.high):
        return None
    digest = slot.pre_prepare.message.digest
    content = slot.contents.get(digest)
    if content is None or content.missing:
        return None
    again = slot.sequence <= state.proposed_until
    if not again and not slot.voted_prepare and not batches.is_acceptable(state, content):
        slot.refused = True
        return None
    return digest


def _try_prepare(state: State, slot: Slot) -> None:
    """Vote for the proposal once every body is here and all of it is durable (rules 6 and 16)."""
    if slot.voted_prepare or not state.active or not state.may_vote:
        return
    digest = _ready_content(state, slot)
    if digest is None or slot.pre_prepare is None:
        return
    slot.voted_prepare = True
    batches.make_durable(state, slot, digest)
    state.persist(slot_key(ACCEPTED, slot.sequence), encode_record(slot.pre_prepare.envelope.bare))
    if state.primary != state.member:
        slot.prepares.add(state.broadcast(Prepare(state.view, slot.sequence, digest)))


def _try_commit(state: State, slot: Slot) -> None:
    """Once prepared (a PRE-PREPARE and a quorum less one of PREPAREs by others), vote COMMIT."""
    if slot.voted_commit or not slot.voted_prepare or slot.pre_prepare is None or not state.active:
        return
    need = state.quorums.quorum - 1
    if len(slot.prepares) < need or not state.may_vote:
        return
    message = slot.pre_prepare.message
    prepares = slot.prepares.matching(Prepare(message.view, message.sequence, message.digest))
    if len(prepares) < need:
        return
    slot.voted_commit = True
    slot.prepared = PreparedProof(slot.pre_prepare.envelope.bare, tuple(prepare.vote for prepare in prepares))
    slot.prepared_view, slot.prepared_digest = message.view, message.digest
    state.persist(slot_key(PREPARED, slot.sequence), encode_record(slot.prepared))
    slot.commits.add(state.broadcast(Commit(message.view, message.sequence, message.digest)))


def _try_committed(state: State, slot: Slot) -> None:
    """A quorum of matching COMMITs decides the slot, whatever this replica prepared (rule 30)."""
    if slot.committed is not None:
        return
    commits = slot.commits.leading(state.quorums.quorum)
    if commits:
        slot.committed = commits[0].message.digest
        slot.certificate = commit_certificate(commits)


def deliver(state: State) -> None:
    """Hand over committed batches in sequence order, each once."""
    while True:
        slot = state.slots.get(Height(state.delivered + 1))
        if slot is None or slot.committed is None:
            return
        content = slot.contents.get(slot.committed)
        if content is None or content.missing or content.requests is None:
            return
        requests = tuple(batches.present(content))
        hand_over(
            state,
            Decision(slot.sequence, slot.committed, content.timestamp, requests, slot.certificate),
        )


def hand_over(state: State, decision: Decision) -> None:
    """The one path by which a decision leaves the engine.

    A primary that proposed another batch here than was decided has shown different ones to different members:
    by that it could keep a request in proposals that come to nothing, and seem to order it for ever. Once its
    view is left that says nothing of the view that is being entered.
    """
    slot = state.slots.get(decision.height)
    if state.active and slot is not None and slot.pre_prepare is not None:
        state.timers.deceived |= slot.pre_prepare.message.digest != decision.digest
    state.delivered = decision.height
    state.next_sequence = Height(max(state.next_sequence, decision.height + 1))
    state.timers.stalled_since = None
    state.out.decisions.append(decision)


def learn(state: State, decision: Decision, now: Now) -> None:
    """Take a decision that another member's store proves: the next one, or none."""
    if decision.height != state.delivered + 1:
        return
    if state.low < decision.height <= state.horizon:
        slot = state.slot(decision.height)
        if slot.committed is None:
            slot.committed, slot.certificate = decision.digest, decision.certificate
        ids = tuple(request.id for request in decision.requests)
        held = slot.contents.get(decision.digest)
        if held is None or held.missing:
            root = transaction_root(ids)
            requests: list[Request | None] = list(decision.requests)
            slot.contents[decision.digest] = Content(
                decision.timestamp, root, ids, requests, 0, since=now.monotonic
            )
            batches.stop_awaiting(state, slot.sequence, decision.digest, ids)
    hand_over(state, decision)
    deliver(state)


def note_executed(state: State, height: Height) -> None:
    """The block of `height` is stored: its bodies need not stay in memory."""
    slot = state.slots.get(height)
    if slot is not None and slot.committed is not None:
        content = slot.contents.get(slot.committed)
        if content is not None and content.missing == 0:
            content.requests = None


def in_flight_ids(state: State, last: Height | None = None) -> list[TxId]:
    """Return the ids in proposals of this view that are not delivered, up to the sequence `last`."""
    ids: list[TxId] = []
    for sequence, slot in state.slots.items():
        ahead = sequence > state.delivered and (last is None or sequence <= last)
        if ahead and slot.content is not None:
            ids += slot.content.ids
    return ids


def lowest_proposal_waits(state: State) -> bool:
    """Whether a proposal of this view, or a committed batch, is not executed yet."""
    return state.highest_accepted > state.delivered


def batch_due_at(state: State) -> Millis | None:
    """Return when a waiting, not yet full batch must go out, or an empty block, in monotonic ms."""
    if not state.leads or state.next_sequence > state.high:
        return None
    in_flight = state.next_sequence - 1 - state.delivered
    if state.queued_since is None and in_flight == 0 and _fillers_wanted(state):
        return Millis(state.filled_at + FILLER_INTERVAL_MS)
    if state.queued_since is None or in_flight >= state.tuning.pipeline_depth:
        return None
    return Millis(state.queued_since + state.tuning.batch_delay_ms)
