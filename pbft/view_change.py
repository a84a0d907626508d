"""Changing the view (section 4.4): suspecting, leaving, and entering.

Suspicion comes before leaving: a timer that fires makes a replica say SUSPECT, which binds it to
nothing. It leaves a view at f+1 suspicions, which it passes on, or when f+1 members changed to later
views. After VIEW-CHANGE(v+1) it never votes in a lower view again, restarts included (rule 29).
"""

from collections import deque
from typing import Any

from consensus.contract import Now, Record, Relay, Send
from crypto.attestation import Height
from crypto.batch import Millis
from crypto.signed import Signed
from pbft import batches, checkpoints, normal_case
from pbft.certificates import deciding_view
from pbft.messages import NewView, PreparedProof, PrePrepare, Suspect, View, ViewChange
from pbft.new_view import NULL_ROOT, Implied, decode_pre_prepare, decode_view_change, implied
from pbft.records import NEW_VIEWS, VIEW_KEY, ViewRecord, archive_key, encode_record
from pbft.state import MAX_STASH, Ignored, State

SUSPICION_PERIODS = 5
"""A suspicion that is not repeated for so many status periods has been withdrawn."""


def timeout(state: State) -> Millis:
    """Return how long to wait in the present view, in ms: doubled for every view that failed."""
    doublings = min(state.failed_views, state.tuning.max_timeout_doublings)
    return Millis(state.tuning.request_timeout_ms << doublings)


def suspect(state: State, now: Now) -> None:
    """Say that this view goes on too slowly, and show what is waited for."""
    state.timers.suspected_at = now.monotonic
    if not state.may_vote or _is_far_behind(state):
        return
    own = state.broadcast(Suspect(state.view, state.executed))
    state.suspects[state.member] = (own, now.monotonic)
    oldest = [request.body for request, _ in zip(state.pool, range(state.tuning.relay_count), strict=False)]
    if oldest:
        state.out.relay += [Relay(member, tuple(oldest)) for member in state.others()]
    _leave_if_suspected(state, now)


def _is_far_behind(state: State) -> bool:
    """Whether f+1 others executed more than a window beyond this replica: it waits for itself.

    Whoever does not know that of itself may suspect all the same, and is heard: else a liar could lure it
    out of the view alone, and nobody would follow.
    """
    claims = sorted(s.status.executed for s in state.standings.values() if s.status is not None)
    weak = state.quorums.weak
    return len(claims) >= weak and claims[-weak] > state.executed + state.limits.window


def on_suspect(state: State, signed: Signed[Suspect], now: Now) -> Ignored | None:
    """Count another member's suspicion: the latest of each."""
    message = signed.message
    if signed.signer == state.member:
        return Ignored.OWN
    if message.view < state.view:
        return Ignored.OLD_VIEW
    earlier = state.suspects.get(signed.signer)
    if earlier is not None and earlier[0].message.view > message.view:
        return Ignored.OLD_VIEW
    state.suspects[signed.signer] = (signed, now.monotonic)
    _leave_if_suspected(state, now)
    return None


def _leave_if_suspected(state: State, now: Now) -> None:
    """Leave at f+1 suspicions of this view or later ones: one of them is a correct member's."""
    oldest = now.monotonic - SUSPICION_PERIODS * state.tuning.status_period_ms
    live = [
        signed
        for signed, received in state.suspects.values()
        if signed.message.view >= state.view and received >= oldest
    ]
    if len(live) < state.quorums.weak or not state.may_vote:
        return
    live.sort(key=lambda signed: (-signed.message.view, signed.signer))
    proof = live[: state.quorums.weak]
    state.leave_proof = tuple(signed.envelope for signed in proof)
    state.out.send += [Send(envelope) for envelope in state.leave_proof if envelope.signer != state.member]
    leave_to(state, View(proof[-1].message.view + 1), now)


def leave_to(state: State, view: View, now: Now) -> None:
    """Change to `view`: stop voting in lower ones, and say what is prepared here."""
    state.view, state.active = view, False
    state.failed_views += 1
    state.pool.follow()
    state.suspects = {m: s for m, s in state.suspects.items() if s[0].message.view >= view}
    _reset_timers(state, now)
    proofs = tuple(_prepared_above(state))
    own = state.broadcast(ViewChange(view, state.low, state.checkpoint, proofs))
    state.own_view_change = own
    state.view_changes[state.member] = own
    _persist_view(state)
    _try_new_view(state, now)


def _prepared_above(state: State) -> list[PreparedProof]:
    return [slot.prepared for _, slot in sorted(state.slots.items()) if slot.prepared is not None]


def _persist_view(state: State) -> None:
    own = state.own_view_change.envelope if state.own_view_change else None
    record = ViewRecord(state.view, state.active, own, state.new_view, state.leave_proof)
    state.persist(VIEW_KEY, encode_record(record))


def _reset_timers(state: State, now: Now) -> None:
    timers = state.timers
    timers.tracked = timers.relay_at = timers.request_deadline = None
    timers.stalled_since = timers.time_wanted_since = None
    timers.view_change_deadline = timers.suspected_at = None
    timers.deceived = False
    timers.status_at = Millis(now.monotonic + state.tuning.status_period_ms)


def on_view_change(state: State, signed: Signed[ViewChange], now: Now) -> Ignored | None:
    """Keep the latest VIEW-CHANGE of each member; join at f+1; start the view as its primary."""
    message = signed.message
    if signed.signer == state.member:
        return Ignored.OWN
    if message.view < state.view or (message.view == state.view and state.active):
        return Ignored.OLD_VIEW
    if not checkpoints.is_checkpoint(state, message.stable):
        return Ignored.NOT_A_CHECKPOINT
    earlier = state.view_changes.get(signed.signer)
    if earlier is not None and earlier.message.view >= message.view:
        return _judge_repeated(state, earlier, signed)
    state.view_changes[signed.signer] = signed
    _join(state, now)
    _try_new_view(state, now)
    return None


def _judge_repeated(state: State, earlier: Signed[ViewChange], signed: Signed[ViewChange]) -> Ignored:
    if earlier.message.view > signed.message.view:
        return Ignored.OLD_VIEW
    if earlier.envelope.body == signed.envelope.body:
        return Ignored.REPEATED
    state.accuse("two VIEW-CHANGEs for one view", earlier.envelope, signed.envelope)
    return Ignored.CONFLICTING


def _join(state: State, now: Now) -> None:
    """f+1 members changed to later views: join the smallest of these (rule 10)."""
    later = sorted(s.message.view for s in state.view_changes.values() if s.message.view > state.view)
    if len(later) >= state.quorums.weak and state.may_vote:
        leave_to(state, later[0], now)


def _for_this_view(state: State) -> list[Signed[ViewChange]]:
    changes = [signed for signed in state.view_changes.values() if signed.message.view == state.view]
    return sorted(changes, key=lambda signed: signed.signer)


def _try_new_view(state: State, now: Now) -> None:
    """At a quorum of VIEW-CHANGEs the timer starts, and the new primary sends NEW-VIEW.

    The timer counts those who are in later views already too: only the latest VIEW-CHANGE of each member is
    kept and resent, so whoever missed an earlier one of theirs would else wait for a quorum for ever.
    """
    if state.active:
        return
    reached = sum(signed.message.view >= state.view for signed in state.view_changes.values())
    if reached >= state.quorums.quorum and state.timers.view_change_deadline is None:
        state.timers.view_change_deadline = Millis(now.monotonic + timeout(state))
    changes = _for_this_view(state)
    if len(changes) < state.quorums.quorum or state.primary != state.member or not state.may_vote:
        return
    chosen = changes[: state.quorums.quorum]
    start = implied(state.roster.chain_id, [signed.message for signed in chosen])
    proposals = [
        state.seal(PrePrepare(state.view, p.sequence, p.digest, p.timestamp, p.root)) for p in start.proposals
    ]
    message = NewView(
        state.view,
        tuple(signed.envelope for signed in chosen),
        tuple(signed.envelope for signed in proposals),
    )
    enter(state, state.broadcast(message), start, proposals, now)


def on_new_view(state: State, signed: Signed[NewView], now: Now) -> Ignored | None:
    """Enter the view that a primary starts. The door has recomputed all of it (rule 3)."""
    message = signed.message
    if message.view < state.view or message.view == 0:
        return Ignored.OLD_VIEW
    if message.view == state.view and state.active:
        if state.new_view is not None and state.new_view.body != signed.envelope.body:
            state.accuse("two NEW-VIEWs for one view", state.new_view, signed.envelope)
            return Ignored.CONFLICTING
        return Ignored.REPEATED
    changes = [decode_view_change(envelope) for envelope in message.view_changes]
    if not all(checkpoints.is_checkpoint(state, change.stable) for change in changes):
        return Ignored.NOT_A_CHECKPOINT
    _judge_shown(state, message)
    start = implied(state.roster.chain_id, changes)
    proposals = [Signed(decode_pre_prepare(bare), bare) for bare in message.pre_prepares]
    enter(state, signed, start, proposals, now)
    return None


def _judge_shown(state: State, message: NewView) -> None:
    """What a NEW-VIEW rests on counts; whose VIEW-CHANGE for this view was another one here said two."""
    for shown in message.view_changes:
        held = state.view_changes.get(shown.signer)
        if held is None or shown.signer == state.member or held.message.view != message.view:
            continue
        if held.envelope.body != shown.body:
            state.accuse("two VIEW-CHANGEs for one view", held.envelope, shown)


def enter(
    state: State, signed: Signed[NewView], start: Implied, proposals: list[Signed[PrePrepare]], now: Now
) -> None:
    """Start the new view here: what it proposes again is voted on again (rules 4 and 5)."""
    state.view = state.log_view = signed.message.view
    state.active = True
    state.new_view = signed.envelope
    state.own_view_change = None
    state.leave_proof = ()
    state.view_changes = {m: s for m, s in state.view_changes.items() if s.message.view > state.view}
    state.suspects = {m: s for m, s in state.suspects.items() if s[0].message.view >= state.view}
    _reset_timers(state, now)
    _persist_view(state)
    state.out.archive.append(Record(archive_key(NEW_VIEWS, state.view), encode_record(signed.envelope)))
    for slot in state.slots.values():
        slot.forget_view()
    if start.checkpoint is not None:
        checkpoints.take_certificate(state, start.checkpoint)
    state.proposed_until = Height(start.stable + len(proposals))
    state.highest_accepted = state.delivered
    _propose_again(state, proposals, now)
    batches.forget_unbound(state)
    state.next_sequence = Height(max(state.proposed_until, state.delivered, state.low) + 1)
    if state.leads:
        state.pool.lead(normal_case.in_flight_ids(state))
    state.timers.relay_at = state.timers.blocks_at = now.monotonic


def _propose_again(state: State, proposals: list[Signed[PrePrepare]], now: Now) -> None:
    """Take up what the NEW-VIEW proposes: at most a window, so all of it, however far ahead of a laggard.

    It is said only once; and a laggard that leads the view must know every proposal that it signed. Only what
    was decided in this view or before binds it: a laggard may learn a decision of a later view first.
    """
    for proposal in proposals:
        message = proposal.message
        if message.sequence <= state.low:
            continue
        slot = state.slot(message.sequence)
        if slot.committed not in (None, message.digest) and deciding_view(slot.certificate) <= message.view:
            state.halt(f"view {state.view} proposes another batch for {message.sequence} than was decided")
            return
        if message.root == NULL_ROOT:
            batches.open_content(state, slot, message.digest, message.timestamp, message.root, b"", now)
        normal_case.accept(state, slot, proposal)


def stash(state: State, signed: Signed[Any]) -> Ignored:
    """Keep a message of a later view until that view starts here; bounded per member."""
    state.stash.setdefault(signed.signer, deque(maxlen=MAX_STASH)).append(signed)
    return Ignored.LATER_VIEW


def due_from_stash(state: State) -> list[Signed[Any]]:
    """Take out the kept messages of a view that has just become active; forget older ones.

    Once a view: while it is active only messages of later ones are kept, and a liar's cost no look at them.
    """
    if not state.active or state.unstashed == state.view:
        return []
    state.unstashed = state.view
    due: list[Signed[Any]] = []
    for member in sorted(state.stash):
        kept = state.stash.pop(member)
        due += [signed for signed in kept if signed.message.view == state.view]
        later = [signed for signed in kept if signed.message.view > state.view]
        if later:
            state.stash[member] = deque(later, maxlen=MAX_STASH)
    return due
