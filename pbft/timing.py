"""Time: which timers run, when they are due, and what each does. All in monotonic ms.

A timer runs for the oldest request that both sides must find admissible, counted from when it was
relayed to the primary, and for the lowest proposal that is not executed, which also watches over the
requests in proposals. When the tracked request is settled, or is in a proposal, another one is tracked: so
a censored request is the oldest one sooner or later, and neither a long queue in an honest primary's pool
nor a slow machine deposes anybody (rules 12 and 33). A primary that is seen to lie is suspected at once.
"""

from consensus.contract import Now, Relay, Request
from crypto.attestation import Height
from crypto.batch import Millis, TxId
from pbft import normal_case, synchronize, view_change
from pbft.state import State

WATCHED_PROPOSALS = 16
"""Proposals above the last decision whose requests need no timer of their own: a few pipelines. Further
ahead a primary could name the requests that it delays, and take its time up to there."""

SWEEP_PERIOD_MS = 1000
"""How often expired requests are looked for."""


def tick(state: State, now: Now) -> None:
    """Do all that is due at `now`."""
    if state.halted is None:
        _sweep(state, now)
        _watch_requests(state, now)
        _watch_progress(state, now)
        _suspect_if_overdue(state, now)
        normal_case.propose(state, now)
        synchronize.learn_from_where_to_vote(state)
        synchronize.fetch_what_is_missing(state, now)
    _status(state, now)


def _sweep(state: State, now: Now) -> None:
    if state.timers.sweep_at <= now.monotonic:
        state.timers.sweep_at = Millis(now.monotonic + SWEEP_PERIOD_MS)
        state.pool.discard(state.pool.expired(Millis(now.wall - state.limits.clock_bound_ms)))


def _watch_requests(state: State, now: Now) -> None:
    """Track the oldest request that may count against a primary; relay it; then count."""
    timers = state.timers
    if not state.active:
        return
    tracked = state.pool.get(timers.tracked) if timers.tracked is not None else None
    if (tracked is None or tracked.valid_until < now.wall) and timers.track_at <= now.monotonic:
        after_view = timers.tracked is None and timers.relay_at is not None
        tracked = next((request for request in state.pool if _counts(state, request, now)), None)
        _track(state, tracked, Millis(0) if after_view else state.tuning.relay_delay_ms, now)
    due = timers.relay_at if timers.request_deadline is None else timers.request_deadline
    if tracked is None or due is None or due > now.monotonic:
        return
    if not _pass_over_if_proposed(state, tracked, now) and timers.request_deadline is None:
        _relay_oldest(state, now)
        timers.request_deadline = Millis(now.monotonic + view_change.timeout(state))


def _track(state: State, request: Request | None, delay: Millis, now: Now) -> None:
    """Wait for `request` from now on; where there is none, look again a little later."""
    timers = state.timers
    timers.tracked = request.id if request else None
    timers.request_deadline = None
    timers.relay_at = Millis(now.monotonic + delay) if request else None
    if request is None and len(state.pool):
        timers.track_at = Millis(now.monotonic + state.tuning.relay_delay_ms)


def _pass_over_if_proposed(state: State, tracked: Request, now: Now) -> bool:
    """A request that is in a proposal is watched with the proposal: no slow but steady primary is suspected
    for it. Its timer goes to the oldest request that nobody has proposed."""
    proposed = _proposed(state)
    if tracked.id not in proposed:
        return False
    waiting = (r for r in state.pool if r.id not in proposed and _counts(state, r, now))
    _track(state, next(waiting, None), state.tuning.relay_delay_ms, now)
    return True


def _proposed(state: State) -> set[TxId]:
    """Return the ids in the next few proposals: those whose turn comes soon."""
    return set(normal_case.in_flight_ids(state, Height(state.delivered + WATCHED_PROPOSALS)))


def _counts(state: State, request: Request, now: Now) -> bool:
    """Whether any honest primary, whatever its clock, must find `request` admissible in time."""
    bound = state.limits.clock_bound_ms
    earliest = now.wall + state.tuning.request_timeout_ms + bound
    return earliest <= request.valid_until <= now.wall + state.limits.horizon_ms - bound


def _relay_oldest(state: State, now: Now) -> None:
    """Pass the oldest requests on to the primary, which may not have them."""
    if state.primary == state.member:
        return
    oldest: list[bytes] = []
    proposed = _proposed(state)
    for request in state.pool:
        if len(oldest) >= state.tuning.relay_count:
            break
        if request.id not in proposed and _counts(state, request, now):
            oldest.append(request.body)
    if oldest:
        state.out.relay.append(Relay(state.primary, tuple(oldest)))


def _watch_progress(state: State, now: Now) -> None:
    timers = state.timers
    if not (state.active and normal_case.lowest_proposal_waits(state)):
        timers.stalled_since = None
    elif timers.stalled_since is None:
        timers.stalled_since = now.monotonic
    if not (state.active and normal_case.time_must_move(state, now)):
        timers.time_wanted_since = None
    elif timers.time_wanted_since is None:
        timers.time_wanted_since = now.monotonic


def _suspicion_at(state: State) -> Millis | None:
    """Return the first moment at which this replica would suspect its view."""
    timers = state.timers
    if timers.deceived:
        return Millis(0)
    first = timers.request_deadline
    if timers.view_change_deadline is not None and (first is None or timers.view_change_deadline < first):
        first = timers.view_change_deadline
    for since in (timers.stalled_since, timers.time_wanted_since):
        if since is not None:
            due = Millis(since + view_change.timeout(state))
            first = due if first is None or due < first else first
    return first


def _suspect_if_overdue(state: State, now: Now) -> None:
    """Suspect when a deadline has passed, and again every status period while it stays so."""
    timers = state.timers
    due = _suspicion_at(state)
    if due is None or due > now.monotonic:
        timers.suspected_at = None
    elif timers.suspected_at is None or now.monotonic - timers.suspected_at >= state.tuning.status_period_ms:
        view_change.suspect(state, now)


def _status(state: State, now: Now) -> None:
    """Say where one stands: at every period in which nothing moved, else every few periods."""
    timers = state.timers
    if timers.status_at > now.monotonic:
        return
    timers.status_at = Millis(now.monotonic + state.tuning.status_period_ms)
    quiet = state.active and state.delivered > state.told_delivered
    idle = state.active and not len(state.pool) and not normal_case.lowest_proposal_waits(state)
    idle = idle and not normal_case.time_must_move(state, now)
    state.told_delivered = state.delivered
    timers.quiet += 1
    if (quiet or idle) and timers.quiet < state.tuning.quiet_periods and state.awake:
        return
    synchronize.send_status(state, now)
    state.awake = True


def deadline(state: State) -> Millis | None:
    """Return when `tick` is due next."""
    timers = state.timers
    moments = [timers.status_at]
    if state.halted is not None:
        return timers.status_at
    if timers.suspected_at is not None:
        moments.append(Millis(timers.suspected_at + state.tuning.status_period_ms))
    elif (suspicion := _suspicion_at(state)) is not None:
        moments.append(suspicion)
    if timers.relay_at is not None and timers.request_deadline is None:
        moments.append(timers.relay_at)
    if timers.fetch_at is not None:
        moments.append(timers.fetch_at)
    batch = normal_case.batch_due_at(state)
    if batch is not None:
        moments.append(batch)
    return min(moments)
