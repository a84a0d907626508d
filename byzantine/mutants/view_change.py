"""Changing the view, broken: what is shown, what is concluded from it, and when a view is left."""

from byzantine.mutants.edit import Edit, Mutant

_HERE = "pbft.view_change"

MUTANTS = (
    Mutant(
        "prepared-by-2f",
        (1,),
        "2f PREPAREs prepare a batch, also where n is not 3f + 1: with six members two batches in one view.",
        (
            Edit(
                "pbft.normal_case",
                "_try_commit",
                "need = state.quorums.quorum - 1",
                "need = 2 * state.quorums.f",
            ),
            Edit("pbft.door", "Door.prepared", "self._quorums.quorum - 1", "2 * self._quorums.f"),
        ),
    ),
    Mutant(
        "accept-short-proofs",
        (1,),
        "A VIEW-CHANGE may show a prepared certificate with one PREPARE too few.",
        (Edit("pbft.door", "Door.prepared", "self._quorums.quorum - 1", "self._quorums.quorum - 2"),),
    ),
    Mutant(
        "forget-prepared-certificates",
        (2,),
        "Whoever enters a view forgets what it prepared in earlier ones.",
        (
            Edit(
                "pbft.state",
                "Slot.forget_view",
                "self.prepares.clear()",
                "self.prepared = self.prepared_digest = None; self.prepares.clear()",
            ),
        ),
    ),
    Mutant(
        "forget-the-certificate-of-what-is-executed",
        (2,),
        "A prepared certificate is dropped once the own block is stored, before a checkpoint covers it.",
        (
            Edit(
                "pbft.normal_case",
                "note_executed",
                "content.requests = None",
                "content.requests = slot.prepared = None",
            ),
        ),
    ),
    Mutant(
        "lowest-view-wins",
        (3,),
        "Of several prepared certificates for one sequence the oldest is proposed again.",
        (
            Edit(
                "pbft.new_view",
                "_outranks",
                "(candidate.view, candidate.digest) > (winner.view, winner.digest)",
                "(candidate.view, candidate.digest) < (winner.view, winner.digest)",
            ),
        ),
    ),
    Mutant(
        "null-a-prepared-slot",
        (3,),
        "A new view begins with a null request, whatever was prepared for that sequence.",
        (
            Edit(
                "pbft.new_view",
                "implied",
                "if winner is None:",
                "if winner is None or sequence == best.stable + 1:",
            ),
        ),
    ),
    Mutant(
        "start-from-the-lowest-checkpoint",
        (3,),
        "A new view begins above the lowest checkpoint shown, and nulls all up to the highest.",
        (
            Edit(
                "pbft.new_view",
                "implied",
                "best = max(view_changes, key=lambda change: change.stable)",
                "best = min(view_changes, key=lambda change: change.stable)",
            ),
        ),
    ),
    Mutant(
        "trust-the-new-view",
        (3,),
        "Backups take what NEW-VIEW proposes again, without computing it from its VIEW-CHANGEs.",
        (
            Edit(
                "pbft.door",
                "Door._new_view",
                "or not repeats(proposal, message.view, pre_prepare)",
                "or pre_prepare.sequence != proposal.sequence",
            ),
        ),
    ),
    Mutant(
        "start-on-a-weak-quorum",
        (3,),
        "f+1 VIEW-CHANGEs make a NEW-VIEW, so all who prepared something may be left out of it.",
        (
            Edit(
                "pbft.door",
                "Door._view_changes",
                "self._roster.require(signers, self._quorums.quorum)",
                "self._roster.require(signers, self._quorums.weak)",
            ),
        ),
    ),
    Mutant(
        "leave-holes-in-a-new-view",
        (3, 4),
        "No null request fills the sequence numbers for which nothing was prepared.",
        (
            Edit(
                "pbft.new_view",
                "implied",
                "proposals.append(null_request(chain_id, Height(sequence)))",
                "continue",
            ),
        ),
    ),
    Mutant(
        "execute-what-is-proposed-again",
        (5,),
        "A new view sets the last executed height back to the checkpoint that it starts from.",
        (
            Edit(
                _HERE,
                "enter",
                "state.highest_accepted = state.delivered",
                "state.highest_accepted = state.delivered = Height(min(state.delivered, start.stable))",
            ),
        ),
    ),
    Mutant(
        "time-the-new-view-at-once",
        (10,),
        "The new-view timer runs from one's own VIEW-CHANGE, though no quorum of them is there.",
        (
            Edit(
                _HERE,
                "_try_new_view",
                "if reached >= state.quorums.quorum and state.timers.view_change_deadline is None:",
                "if reached and state.timers.view_change_deadline is None:",
            ),
        ),
    ),
    Mutant(
        "never-double-timeouts",
        (10,),
        "Every view gets the same time, so a network that is slower than that never gets anything done.",
        (
            Edit(
                _HERE,
                "timeout",
                "state.tuning.request_timeout_ms << doublings",
                "state.tuning.request_timeout_ms",
            ),
        ),
    ),
    Mutant(
        "double-timeouts-without-end",
        (10,),
        "Timeouts double for ever: a network that was hurt for long stands still for longer.",
        (
            Edit(
                _HERE,
                "timeout",
                "min(state.failed_views, state.tuning.max_timeout_doublings)",
                "state.failed_views",
            ),
        ),
    ),
    Mutant(
        "join-the-highest-view",
        (10,),
        "f+1 VIEW-CHANGEs for later views make one join the highest of these, which a liar chose.",
        (Edit(_HERE, "_join", "leave_to(state, later[0], now)", "leave_to(state, later[-1], now)"),),
    ),
    Mutant(
        "join-a-single-member",
        (10, 29),
        "One member's VIEW-CHANGE is enough to follow it into a later view.",
        (Edit(_HERE, "_join", "if len(later) >= state.quorums.weak and", "if later and"),),
    ),
    Mutant(
        "say-view-change-once",
        (11,),
        "VIEW-CHANGE and the suspicions behind it are sent once, and lost where they are lost.",
        (
            Edit(
                "pbft.synchronize",
                "send_status",
                "if not state.active and state.may_vote and state.own_view_change is not None:",
                "if False:",
            ),
            Edit(
                "pbft.synchronize",
                "_resend_view",
                "elif behind and not state.active and state.may_vote and state.own_view_change is not None:",
                "elif False:",
            ),
        ),
    ),
    Mutant(
        "stay-for-what-is-committed",
        (13,),
        "Whoever holds a committed batch that it cannot execute yet does not leave the view.",
        (
            Edit(
                _HERE,
                "_leave_if_suspected",
                "if len(live) < state.quorums.weak or",
                "if any(s.committed and s.sequence > state.delivered for s in state.slots.values()) or "
                "len(live) < state.quorums.weak or",
            ),
        ),
    ),
    Mutant(
        "vote-before-the-view-is-durable",
        (16, 29),
        "VIEW-CHANGE and votes in a new view leave while the disk still knows the view before alone.",
        (Edit(_HERE, "_persist_view", "state.persist(VIEW_KEY, encode_record(record))", "pass"),),
    ),
    Mutant(
        "stay-while-catching-up",
        (26,),
        "Whoever fetches blocks takes part in no view change, and a liar can claim blocks that nobody has.",
        (
            Edit(
                _HERE,
                "_leave_if_suspected",
                "or not state.may_vote:",
                "or state.catching_up or not state.may_vote:",
            ),
            Edit(_HERE, "_join", "and state.may_vote:", "and state.may_vote and not state.catching_up:"),
        ),
    ),
    Mutant(
        "hold-old-batches-to-the-clock",
        (27,),
        "What a new view proposes again is refused where its timestamp lies outside the clock bound by now.",
        (
            Edit(
                _HERE,
                "_propose_again",
                "if message.sequence <= state.low:",
                "late = now.wall - message.timestamp > state.limits.clock_bound_ms\n"
                "        if message.sequence <= state.low or (late and message.root != NULL_ROOT):",
            ),
        ),
    ),
    Mutant(
        "stamp-old-batches-anew",
        (27,),
        "A new primary gives what it proposes again the time of its own clock.",
        (Edit(_HERE, "_try_new_view", "p.digest, p.timestamp, p.root", "p.digest, now.wall, p.root"),),
    ),
    Mutant(
        "vote-in-a-view-that-was-left",
        (29,),
        "After its VIEW-CHANGE a replica goes on voting in the view that it left, until the next one starts.",
        (
            Edit(
                "pbft.normal_case",
                "_present_slot",
                "if view < state.view or (view == state.view and view < state.log_view):",
                "if view < state.log_view:",
            ),
            Edit("pbft.normal_case", "_present_slot", "if not state.active:", "if False:"),
            Edit("pbft.normal_case", "_try_prepare", "or not state.active or", "or"),
            Edit(
                "pbft.normal_case",
                "_try_prepare",
                "if state.primary != state.member:",
                "if primary_of(state.log_view, state.quorums.n) != state.member:",
            ),
            Edit("pbft.normal_case", "_try_prepare", "Prepare(state.view,", "Prepare(state.log_view,"),
            Edit(
                "pbft.normal_case",
                "_try_commit",
                "or slot.pre_prepare is None or not state.active:",
                "or slot.pre_prepare is None:",
            ),
        ),
    ),
    Mutant(
        "leave-on-one-suspicion",
        (29,),
        "A single suspicion, one's own or a liar's, is enough to leave a view.",
        (
            Edit(
                _HERE,
                "_leave_if_suspected",
                "if len(live) < state.quorums.weak or",
                "if not live or",
            ),
        ),
    ),
)
