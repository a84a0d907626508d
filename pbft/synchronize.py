"""Staying together: status, resending, fetching, so that lost messages never leave anyone behind.

Everything a correct member sent once it sends again to whoever says, in a STATUS, that it stands
where that message is needed. An idle network exchanges a STATUS now and then, so that a member that
missed the last messages of a burst learns of it.
"""

from typing import Any

from msgspec import structs

from consensus.contract import FetchBlocks, FetchBodies, Now, Send
from crypto.attestation import Height
from crypto.batch import Millis, batch_digest
from crypto.digest import Digest
from crypto.roster import MemberId
from crypto.signed import Envelope, Signed
from pbft import batches, checkpoints, normal_case
from pbft.messages import (
    PRE_PREPARE,
    Commit,
    FetchProposal,
    NewView,
    Prepare,
    PrePrepare,
    Proposal,
    Stable,
    Status,
    View,
    ViewChange,
)
from pbft.state import Ignored, Slot, Standing, State

RESEND_SLOTS = 16
"""Slots whose messages are resent at a time: one status period later the next ones follow."""

SHOWN_VOTES = 32
"""Of its own votes, how many a member that has just started is shown by each other one."""

FETCH_AHEAD = 4096
"""Blocks asked for at a time; the node fetches them in pieces."""

FILL_REACH = 4
"""Windows above the stable checkpoint up to which blocks are filled in. Who rejoins needs two of them above
what a quorum shows."""

FILL_DISTANCE = 8
"""Windows between two fillings for one member: a liar that always claims to need blocks gets few."""

MEMORY_PERIODS = 20
"""Status periods after which an older STATUS is believed again: several of the longest silences."""

ANSWERS_PER_PERIOD = 32
"""Proposals sent to one member on its asking, per status period; each of them once."""

SOURCES = 3
"""Members asked for the same bodies at a time."""


def own_status(state: State, now: Now) -> Status:
    """Return where this replica stands."""
    needs = state.needs if state.marked else Height(0)
    wants = state.wanted_time if normal_case.time_must_move(state, now) else Millis(0)
    return Status(state.view, state.active, state.low, state.executed, state.awake, needs, wants, now.wall)


def send_status(state: State, now: Now) -> None:
    """Say to all where this replica stands, and repeat what a view change waits for."""
    state.broadcast(own_status(state, now))
    state.timers.quiet = 0
    if not state.active and state.may_vote and state.own_view_change is not None:
        state.out.send.append(Send(state.own_view_change.envelope))
        state.out.send += [Send(envelope) for envelope in state.leave_proof]


def on_status(state: State, signed: Signed[Status], now: Now) -> Ignored | None:
    """Note where another member stands, and resend what it lacks; at most so often per member."""
    member, status = signed.signer, signed.message
    if member == state.member:
        return Ignored.OWN
    standing = state.standing(member)
    if _is_outdated(state, standing, status, now):
        return Ignored.REPEATED
    standing.status = status
    _fill_for(state, member, status)
    if state.leads and 0 < status.wants < now.wall:
        state.wanted_time = max(state.wanted_time, status.wants)
    answered = standing.answered_at
    if answered is not None and now.monotonic - answered < state.tuning.status_period_ms // 2:
        return Ignored.TOO_SOON
    standing.answered_at = now.monotonic
    if status.executed < state.executed or status.view < state.view:
        state.send(state.seal(own_status(state, now)).envelope, member)
    if not status.awake:
        _show_own_votes(state, member)
    _resend_view(state, member, status)
    _resend_checkpoint(state, member, status)
    if status.view == state.log_view and state.active and status.active and state.may_vote:
        _resend_slots(state, member, status)
    return None


def _is_outdated(state: State, standing: Standing, status: Status, now: Now) -> bool:
    """Whether `status` is shown again, by a liar, though its sender said something later since.

    A sender whose clock was set back is believed again when nothing later came from it for some periods.
    """
    if standing.status is None or status.at > standing.status.at:
        standing.heard_at = now.monotonic
        return False
    forgotten = standing.heard_at + MEMORY_PERIODS * state.tuning.status_period_ms <= now.monotonic
    return status.at < standing.status.at and not forgotten


def _fill_for(state: State, member: MemberId, status: Status) -> None:
    """A member with an old disk needs blocks up to a checkpoint: order empty ones, within reason."""
    standing, window = state.standing(member), state.limits.window
    near = status.needs <= state.low + FILL_REACH * window
    spaced = standing.filled_to == 0 or status.needs >= standing.filled_to + FILL_DISTANCE * window
    if near and spaced:
        standing.filled_to = status.needs


def _show_own_votes(state: State, member: MemberId) -> None:
    """Show a member that has just started its own latest votes: a disk that lacks them is an old one."""
    shown = 0
    for sequence in sorted(state.slots, reverse=True):
        slot = state.slots[sequence]
        votes: list[Signed[Any] | None] = [slot.prepares.of(member), slot.commits.of(member)]
        if slot.pre_prepare is not None and slot.pre_prepare.signer == member:
            votes.append(slot.pre_prepare)
        for vote in votes:
            if vote is not None and shown < SHOWN_VOTES:
                _send_with_ids(state, slot, vote.envelope, member)
                shown += 1
    change = state.view_changes.get(member)
    if change is not None:
        state.send(change.envelope, member)


def _resend_view(state: State, member: MemberId, status: Status) -> None:
    """Whoever is not in this view yet gets the NEW-VIEW, or this replica's part towards one."""
    behind = status.view < state.view or (status.view == state.view and not status.active)
    if behind and state.active and state.new_view is not None:
        state.send(state.new_view, member)
    elif behind and not state.active and state.may_vote and state.own_view_change is not None:
        state.send(state.own_view_change.envelope, member)


def _resend_checkpoint(state: State, member: MemberId, status: Status) -> None:
    if status.stable < state.low and state.checkpoint is not None:
        state.send(state.seal(Stable(state.checkpoint)).envelope, member)
    for height in sorted(state.attestations):
        own = state.attestations[height].of(state.member)
        if own is not None and height > status.stable:
            state.send(own.envelope, member)


def _resend_slots(state: State, member: MemberId, status: Status) -> None:
    """Resend this replica's own messages of this view for the first slots that `member` has not executed."""
    resent = 0
    for sequence in sorted(state.slots):
        slot = state.slots[sequence]
        if sequence <= status.executed or slot.pre_prepare is None:
            continue
        _resend_slot(state, slot, member)
        resent += 1
        if resent >= RESEND_SLOTS:
            return


def _resend_slot(state: State, slot: Slot, member: MemberId) -> None:
    if slot.pre_prepare is not None and slot.pre_prepare.signer == state.member:
        _send_with_ids(state, slot, slot.pre_prepare.envelope, member)
    for vote in (slot.prepares.of(state.member), slot.commits.of(state.member)):
        if vote is not None:
            state.send(vote.envelope, member)


def _send_with_ids(state: State, slot: Slot, envelope: Envelope, member: MemberId) -> None:
    """Send a PRE-PREPARE with its ids beside it, also where a NEW-VIEW or a restart left it bare."""
    if envelope.kind == PRE_PREPARE:
        if slot.content is None:
            return
        envelope = structs.replace(envelope, beside=b"".join(slot.content.ids))
    state.send(envelope, member)


def on_stable(state: State, signed: Signed[Stable], _now: Now) -> Ignored | None:
    """A certified checkpoint, passed on by anyone."""
    return checkpoints.take_certificate(state, signed.message.checkpoint)


def on_fetch_proposal(state: State, signed: Signed[FetchProposal], now: Now) -> Ignored | None:
    """Answer with the ids of a batch that is known here."""
    message = signed.message
    slot = state.slots.get(message.sequence)
    content = slot.contents.get(message.digest) if slot else None
    if content is None:
        return Ignored.UNKNOWN
    standing = state.standing(signed.signer)
    period = now.monotonic // state.tuning.status_period_ms
    if standing.answers_in != period:
        standing.answers_in, standing.answers = Millis(period), set()
    if message.digest in standing.answers or len(standing.answers) >= ANSWERS_PER_PERIOD:
        return Ignored.TOO_SOON
    standing.answers.add(message.digest)
    answer = Proposal(message.sequence, content.timestamp, content.root)
    state.send(state.seal(answer, b"".join(content.ids)).envelope, signed.signer)
    return None


def on_proposal(state: State, signed: Signed[Proposal], now: Now) -> Ignored | None:
    """Take the ids of a batch that was asked for: its digest says whether they are the right ones."""
    message = signed.message
    digest = batch_digest(state.roster.chain_id, message.sequence, message.timestamp, message.root)
    slot = state.slots.get(message.sequence)
    if slot is None or not _wanted(slot, digest):
        return Ignored.UNASKED
    batches.open_content(state, slot, digest, message.timestamp, message.root, signed.envelope.beside, now)
    normal_case.advance_slot(state, slot)
    return None


def _wanted(slot: Slot, digest: Digest) -> bool:
    proposed = slot.pre_prepare is not None and slot.pre_prepare.message.digest == digest
    return digest not in slot.contents and (proposed or slot.committed == digest)


def fetch_what_is_missing(state: State, now: Now) -> None:
    """Ask for bodies, ids and blocks that are overdue, of other members in turn."""
    moment, timers = now.monotonic, state.timers
    if state.awaited and timers.fetch_at is None:
        timers.fetch_at = Millis(moment + state.tuning.fetch_delay_ms)
    blocks_due = timers.blocks_at <= moment
    if blocks_due or (timers.fetch_at is not None and timers.fetch_at <= moment):
        timers.fetch_at = Millis(moment + state.tuning.fetch_retry_ms) if state.awaited else None
        bodies = batches.missing_bodies(state, moment)
        if bodies:
            state.out.fetch.append(FetchBodies(tuple(bodies), _sources(state, moment)))
        for proposal in batches.missing_proposals(state):
            state.broadcast(proposal)
    if blocks_due:
        timers.blocks_at = Millis(moment + state.tuning.fetch_retry_ms)
        _fetch_blocks(state, moment)


def _sources(state: State, moment: Millis) -> tuple[MemberId, ...]:
    """The primary first, then the others in an order that turns with time, so that no liar stays first."""
    others = list(state.others())
    if not others:
        return ()
    turn = moment // max(1, state.tuning.fetch_retry_ms) % len(others)
    turned = others[turn:] + others[:turn]
    turned.sort(key=lambda member: member != state.primary)
    return tuple(turned[:SOURCES])


def _fetch_blocks(state: State, moment: Millis) -> None:
    """Ask for stored blocks where others executed more, and this replica does not move by itself."""
    claims = {
        member: standing.status.executed
        for member, standing in sorted(state.standings.items())
        if standing.status is not None and standing.status.executed > state.delivered
    }
    best = max(max(claims.values(), default=Height(0)), state.target_height)
    moved = state.delivered > state.fetched_from
    state.fetched_from = state.delivered
    if best <= state.delivered or (moved and best <= state.high and not state.catching_up):
        state.catching_up = False
        return
    state.catching_up = True
    turn = moment // max(1, state.tuning.fetch_retry_ms)
    sources = sorted(claims, key=lambda member: (member + turn) % state.roster.n) or list(state.others())
    last = Height(min(best, state.delivered + FETCH_AHEAD))
    state.out.fetch.append(FetchBlocks(Height(state.delivered + 1), last, tuple(sources)))


def shows_a_forgotten_vote(state: State, signed: Signed[Any]) -> bool:
    """Whether a message that this very member signed is not held here: its disk is an old one."""
    message = signed.message
    if isinstance(message, ViewChange):
        return message.view > state.view
    if isinstance(message, NewView):
        return message.view > state.view or (message.view == state.view and not state.active)
    if not isinstance(message, PrePrepare | Prepare | Commit) or message.sequence <= state.low:
        return False
    if message.view != state.log_view:
        return message.view > View(max(state.view, state.log_view))
    slot = state.slots.get(message.sequence)
    if slot is None or slot.pre_prepare is None or slot.pre_prepare.message.digest != message.digest:
        return True
    return isinstance(message, Commit) and slot.prepared_digest != message.digest


def learn_from_where_to_vote(state: State) -> None:
    """A marked replica waits for a stable checkpoint above every sequence that it may have voted for.

    A correct member of the quorum that certified this replica's last stable checkpoint stands at most
    a window below it; this replica's votes lay at most a window above it. So two windows above the
    highest checkpoint that a quorum of others shows are enough. What they said before this replica started
    shows nothing: a liar could pass on STATUS from the ledger's first days.
    """
    if not state.marked or state.needs:
        return
    since = state.started + state.limits.clock_bound_ms
    certified = max(state.low, state.target_height)
    shown = [
        member
        for member, standing in state.standings.items()
        if standing.status is not None and standing.status.at >= since and standing.status.stable <= certified
    ]
    if len(shown) >= min(state.quorums.quorum, state.roster.n - 1):
        checkpoints.mark(state, Height(certified + 2 * state.limits.window))
