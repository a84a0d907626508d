"""Checkpoints, timers, catching up and resending, broken."""

from byzantine.mutants.edit import Edit, Mutant

_CHECKPOINTS, _SYNCHRONIZE, _TIMING = "pbft.checkpoints", "pbft.synchronize", "pbft.timing"

MUTANTS = (
    Mutant(
        "certify-another-checkpoint",
        (8,),
        "A VIEW-CHANGE may name a stable checkpoint of any height, with the certificate of another one.",
        (
            Edit(
                "pbft.door",
                "Door._certified_stable",
                "if attested(message.checkpoint).height != message.stable or message.stable == 0:",
                "if message.stable == 0:",
            ),
        ),
    ),
    Mutant(
        "stable-at-a-weak-quorum",
        (9,),
        "f+1 attestations make a checkpoint stable, and the log below it is cut.",
        (
            Edit(
                _CHECKPOINTS,
                "_try_stable",
                "leading(state.quorums.quorum)",
                "leading(state.quorums.weak)",
            ),
        ),
    ),
    Mutant(
        "cut-the-log-before-executing",
        (9,),
        "A certified checkpoint cuts the log of a replica that has not executed up to there.",
        (
            Edit(
                _CHECKPOINTS,
                "take_certificate",
                "if state.executed >= attestation.height:\n        _reach(state, attestation.height)",
                "_make_stable(state, attestation.height, certificate)",
            ),
        ),
    ),
    Mutant(
        "let-the-stall-timer-run-on",
        (12,),
        "The timer for the lowest proposal that waits does not start anew when that one is executed.",
        (Edit("pbft.normal_case", "hand_over", "state.timers.stalled_since = None", "pass"),),
    ),
    Mutant(
        "keep-timers-in-a-new-view",
        (12,),
        "A new primary inherits the timers of the one before, and is suspected for what that one did.",
        (
            Edit(
                "pbft.view_change",
                "_reset_timers",
                "timers.tracked = timers.relay_at = timers.request_deadline = None",
                "pass",
            ),
        ),
    ),
    Mutant(
        "deliver-what-was-learnt-again",
        (14,),
        "A block that catch-up brings is delivered though the votes have delivered it meanwhile.",
        (
            Edit(
                "pbft.normal_case",
                "learn",
                "if decision.height != state.delivered + 1:",
                "if decision.height > state.delivered + 1:",
            ),
            Edit("tetrarch.node.heart", "Heart._learn", "if decision.height <= height:", "if False:"),
        ),
    ),
    Mutant(
        "catch-up-without-the-view",
        (15,),
        "Whoever missed a NEW-VIEW gets blocks, but never that NEW-VIEW.",
        (Edit(_SYNCHRONIZE, "_resend_view", "state.send(state.new_view, member)", "pass"),),
    ),
    Mutant(
        "wait-for-whom-others-overtook",
        (15,),
        "A silent source of the lowest blocks is waited for to the end, though all that lies above has come.",
        (
            Edit(
                "tetrarch.node.catch_up",
                "_Ask.overtaken",
                "if other.member != self.member and other.asked >= self.asked:",
                "if False:",
            ),
        ),
    ),
    Mutant(
        "say-nothing-while-idle",
        (15,),
        "On an idle ledger nobody says where it stands, so nobody learns that it has fallen behind.",
        (
            Edit(
                _TIMING,
                "_status",
                "if (quiet or idle) and timers.quiet < state.tuning.quiet_periods and state.awake:",
                "if state.awake and (idle or (quiet and timers.quiet < state.tuning.quiet_periods)):",
            ),
        ),
    ),
    Mutant(
        "forget-evidence",
        (24,),
        "Two statements that convict a member are told of, and not kept.",
        (
            Edit(
                "pbft.state",
                "State.accuse",
                "self.out.archive.append(Record(evidence_key(value), value))",
                "pass",
            ),
        ),
    ),
    Mutant(
        "show-nobody-the-other-proposal",
        (24,),
        "Who votes for another batch is not sent this one: nobody ever holds both of a primary's proposals.",
        (Edit("pbft.normal_case", "on_prepare", "_show_other_proposal(state, slot, signed)", "pass"),),
    ),
    Mutant(
        "believe-a-new-views-view-changes",
        (24,),
        "Whose VIEW-CHANGE is shown by a NEW-VIEW is not asked whether it told others the same.",
        (Edit("pbft.view_change", "on_new_view", "_judge_shown(state, message)", "pass"),),
    ),
    Mutant(
        "forget-new-views",
        (24,),
        "NEW-VIEWs are not archived, so nobody can be blamed for what a VIEW-CHANGE in one of them hid.",
        (
            Edit(
                "pbft.view_change",
                "enter",
                "state.out.archive.append(Record(archive_key(NEW_VIEWS, state.view), "
                "encode_record(signed.envelope)))",
                "pass",
            ),
        ),
    ),
    Mutant(
        "forget-checkpoints",
        (24,),
        "The certificate of a stable checkpoint goes when the next one comes.",
        (
            Edit(
                _CHECKPOINTS,
                "_make_stable",
                "state.out.archive.append(Record(archive_key(CHECKPOINTS, height), value))",
                "pass",
            ),
        ),
    ),
    Mutant(
        "chance-in-timers",
        (28,),
        "When a replica says where it stands depends on the process' own random numbers.",
        (
            Edit(
                _TIMING,
                "_status",
                "now.monotonic + state.tuning.status_period_ms",
                'now.monotonic + state.tuning.status_period_ms - __import__("random").randrange(100)',
            ),
        ),
    ),
    Mutant(
        "time-what-may-have-expired",
        (33,),
        "A timer runs for a request that has expired already by the clock of an honest primary.",
        (Edit(_TIMING, "_counts", "return earliest <= request", "return now.wall <= request"),),
    ),
    Mutant(
        "time-what-lies-too-far-ahead",
        (33,),
        "A timer runs for a request that lies beyond the horizon by the clock of an honest primary.",
        (
            Edit(
                _TIMING,
                "_counts",
                "now.wall + state.limits.horizon_ms - bound",
                "now.wall + state.limits.horizon_ms + bound",
            ),
        ),
    ),
)
