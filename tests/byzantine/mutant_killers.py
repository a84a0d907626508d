"""What notices each mutant: a test that exists already, or a small scene of this module. Plain functions.

A test of a rule may be written anew without a mutant in mind: here is seen whether it can still fail.
"""

from collections.abc import Callable, Mapping
from functools import partial

import pytest
from msgspec import structs

from crypto.attestation import Height
from crypto.errors import CertificateError, CryptoError
from crypto.signed import Signed
from ledger.result import ResultCode
from pbft.certificates import CommitVerifier, commit_certificate
from pbft.messages import Commit, Prepare, Suspect, ViewChange
from tests.consensus import test_votes as votes
from tests.crypto import test_ed25519_vectors as vectors
from tests.crypto import test_roster as rosters
from tests.ledger import test_block as blocks
from tests.ledger import test_executor as executor
from tests.ledger.disks import MemoryDisk
from tests.ledger.executing import START, Chain, put, read_results
from tests.pbft import test_checklist as rules
from tests.pbft.bench import Bench, decode
from tests.pbft.cluster import request
from tests.tetrarch.client import replicas as doubles
from tests.tetrarch.client import test_querying as querying
from tests.tetrarch.client import test_reading as reading
from tests.tetrarch.node import test_catch_up as catch_up
from tests.tetrarch.node import test_durability as durability
from tests.tetrarch.node import test_gateway as gateway
from tests.tetrarch.node.network import CLIENT, Network
from tetrarch.wire import AskRead, ReadReply, pack


def a_proposal_is_refused_whose_digest_is_not_that_of_its_timestamp() -> None:
    b = Bench(me=2)
    p = b.proposal(1, 7)
    b.refuses(b.sign(0, structs.replace(p, timestamp=p.timestamp + 1), request(7).id), "the digest is not")


def a_batch_with_a_transaction_beyond_the_horizon_gets_no_prepare() -> None:
    b = Bench(me=2)
    far = request(7, valid_for=b.limits.horizon_ms + 1)
    b.engine.submit(far, b.now)
    b.propose(1, 7)
    assert not b.said(Prepare)


def what_is_executed_and_not_covered_by_a_checkpoint_is_still_shown() -> None:
    b = Bench(me=2)
    b.submit(7)
    p = b.propose(1, 7)
    b.hear(b.prepare(1, p))
    b.decide(p, 0, 1, 3)
    b.suspect(0)
    b.suspect(1)
    assert b.height == 1
    assert [decode(proof.pre_prepare).digest for proof in b.said(ViewChange)[-1].prepared] == [p.digest]


def whoever_waits_for_blocks_that_a_liar_claims_changes_the_view() -> None:
    b = Bench(me=2)
    b.status(0, executed=Height(1000))
    b.wait(1000)
    b.suspect(1)
    b.suspect(3)
    assert b.said(ViewChange)


def nobody_is_suspected_for_a_request_that_may_have_expired_by_the_primarys_clock() -> None:
    b = Bench(me=2)
    b.engine.submit(request(7, valid_for=b.limits.clock_bound_ms - 1000), b.now)
    b.wait(5000)
    assert not b.said(Suspect)


def a_certificate_of_one_batch_proves_no_other() -> None:
    b = Bench(me=2)
    p, other = b.proposal(1, 7), b.proposal(2, 8)
    commits = [Signed(Commit(p.view, p.sequence, p.digest), b.commit(member, p)) for member in (0, 1, 3)]
    with pytest.raises(CertificateError, match="not for this batch"):
        CommitVerifier(b.roster).checks(other.sequence, other.digest, commit_certificate(commits))


def a_header_holds_the_state_that_its_block_left() -> None:
    chain = Chain(MemoryDisk())
    executed = chain.execute([chain.transaction(put("a", "1"))])
    assert executed.header.state_root == chain.ledger.state_root


def a_transaction_is_executed_once_and_only_in_its_time() -> None:
    chain = Chain(MemoryDisk())
    late, twice = chain.transaction(put("a", "1"), valid_until=START), chain.transaction(put("b", "1"))
    codes = [read_results(chain.execute([late, twice]))[0].code, read_results(chain.execute([twice]))[0].code]
    assert codes == [ResultCode.EXPIRED, ResultCode.REPEATED]


def every_replica_answers_reads() -> None:
    network = Network()
    network.submit(*network.transactions(0, 1))
    network.run(2000, until=1)
    for member in range(4):
        network.heart(member).client_frame(CLIENT, pack(AskRead(1, b"key-0", Height(1))))
        network.replicas[member].more = True
    network.run(5)
    assert sum(isinstance(frame, ReadReply) for _, frame in network.replies) == 4


def asking_first(member: int, test: Callable[[type[doubles.Replica], int], None], liar: type) -> None:
    """Run a test in which the client asks the liar first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tetrarch.client.links.random.randrange", lambda _: member)
        test(liar, member)


def failing(error: type[Exception], test: Callable[[], object]) -> Callable[[], object]:
    """Count an error that `test` does not expect as its failure."""

    def killer() -> None:
        try:
            test()
        except error as found:
            pytest.fail(f"{type(found).__name__}: {found}")

    return killer


NORMAL_CASE: Mapping[str, Callable[[], object]] = {
    "skip-null-requests": rules.test_rule_04_a_null_request_is_decided_like_any_batch,
    "prepare-without-bodies": rules.test_rule_06_no_prepare_before_every_body_is_here,
    "drop-above-the-high-watermark": rules.test_rule_07_a_pre_prepare_just_above_the_high_watermark_is_kept,
    "keep-all-above-the-high-watermark": rules.test_rule_07_a_pre_prepare_far_above_the_watermarks_is_dropped,
    "prepare-before-the-proposal-is-durable": (
        rules.test_rule_16_after_a_restart_a_replica_never_votes_for_another_digest
    ),
    "prepare-before-the-bodies-are-durable": (
        rules.test_rule_16_a_vote_and_what_backs_it_are_in_one_ready_to_be_made_durable_first
    ),
    "commit-before-the-certificate-is-durable": (
        rules.test_rule_16_after_a_restart_the_prepared_certificate_is_still_shown
    ),
    "believe-the-named-digest": a_proposal_is_refused_whose_digest_is_not_that_of_its_timestamp,
    "order-any-validity": a_batch_with_a_transaction_beyond_the_horizon_gets_no_prepare,
    "count-the-primarys-prepare": rules.test_rule_25_the_primarys_own_prepare_never_counts,
    "believe-any-timestamp": partial(
        rules.test_rule_27_a_first_proposal_outside_the_clock_bound_gets_no_prepare, 20_000
    ),
    "commit-without-being-prepared": rules.test_rule_25_the_primarys_own_prepare_never_counts,
    "execute-on-a-weak-quorum": rules.test_rule_30_two_commits_of_four_do_not_execute,
    "leave-relayed-requests-outside": rules.test_rule_33_what_backups_relay_is_proposed_before_a_full_pool,
}

VIEW_CHANGE: Mapping[str, Callable[[], object]] = {
    "prepared-by-2f": partial(
        rules.test_rule_01_a_prepared_proof_needs_a_quorum_less_one_of_prepares_not_2f, 6
    ),
    "accept-short-proofs": partial(
        rules.test_rule_01_a_prepared_proof_needs_a_quorum_less_one_of_prepares_not_2f, 5
    ),
    "forget-prepared-certificates": rules.test_rule_02_prepared_certificates_are_kept_across_views,
    "forget-the-certificate-of-what-is-executed": (
        what_is_executed_and_not_covered_by_a_checkpoint_is_still_shown
    ),
    "lowest-view-wins": (rules.test_rule_03_new_view_takes_the_highest_view_per_sequence_and_nulls_for_holes),
    "null-a-prepared-slot": rules.test_rule_03_backups_refuse_a_new_view_that_nulls_a_prepared_slot,
    "start-from-the-lowest-checkpoint": (
        rules.test_rule_03_new_view_starts_above_the_highest_certified_checkpoint
    ),
    "trust-the-new-view": rules.test_rule_03_backups_refuse_a_new_view_that_nulls_a_prepared_slot,
    "start-on-a-weak-quorum": (
        rules.test_rule_03_backups_refuse_a_new_view_without_a_quorum_of_distinct_view_changes
    ),
    "leave-holes-in-a-new-view": (
        rules.test_rule_03_new_view_takes_the_highest_view_per_sequence_and_nulls_for_holes
    ),
    "execute-what-is-proposed-again": (
        rules.test_rule_26_a_view_change_while_catching_up_ends_and_so_does_the_catch_up
    ),
    "time-the-new-view-at-once": rules.test_rule_10_without_a_quorum_of_view_changes_no_timer_runs,
    "never-double-timeouts": (
        rules.test_rule_10_the_new_view_timer_runs_from_a_quorum_of_view_changes_and_doubles
    ),
    "double-timeouts-without-end": (
        rules.test_rule_10_however_long_views_fail_a_healed_network_goes_on_within_the_longest_timeout
    ),
    "join-the-highest-view": (rules.test_rule_10_f_plus_1_view_changes_for_later_views_join_the_smallest),
    "join-a-single-member": rules.test_rule_10_f_plus_1_view_changes_for_later_views_join_the_smallest,
    "say-view-change-once": rules.test_rule_11_view_change_is_resent_until_the_view_is_active,
    "stay-for-what-is-committed": (
        rules.test_rule_13_a_committed_slot_does_not_keep_a_replica_from_changing_the_view
    ),
    "vote-before-the-view-is-durable": (
        rules.test_rule_29_after_a_view_change_there_is_no_vote_in_a_lower_view_restarts_included
    ),
    "stay-while-catching-up": whoever_waits_for_blocks_that_a_liar_claims_changes_the_view,
    "hold-old-batches-to-the-clock": (
        rules.test_rule_27_a_re_proposed_batch_keeps_its_timestamp_and_is_exempt_from_the_clock_bound
    ),
    "stamp-old-batches-anew": failing(
        CryptoError, rules.test_rule_15_catching_up_works_on_an_idle_ledger_and_brings_the_view
    ),
    "vote-in-a-view-that-was-left": (
        rules.test_rule_29_after_a_view_change_there_is_no_vote_in_a_lower_view_restarts_included
    ),
    "leave-on-one-suspicion": rules.test_rule_29_one_suspicion_alone_makes_nobody_leave,
}

STAYING_TOGETHER: Mapping[str, Callable[[], object]] = {
    "certify-another-checkpoint": rules.test_rule_08_a_checkpoint_certificate_is_for_its_height_only,
    "stable-at-a-weak-quorum": failing(
        CryptoError, rules.test_rule_26_a_view_change_while_catching_up_ends_and_so_does_the_catch_up
    ),
    "cut-the-log-before-executing": (
        rules.test_rule_09_the_log_is_cut_only_when_ones_own_state_has_reached_the_checkpoint
    ),
    "let-the-stall-timer-run-on": (
        rules.test_rule_33_a_slow_primary_that_proposes_and_progresses_is_not_suspected_for_what_it_has_proposed
    ),
    "keep-timers-in-a-new-view": rules.test_rule_12_timers_restart_with_a_new_primary,
    "deliver-what-was-learnt-again": (
        rules.test_rule_14_what_catch_up_delivered_the_votes_do_not_deliver_again
    ),
    "catch-up-without-the-view": (rules.test_rule_15_catching_up_works_on_an_idle_ledger_and_brings_the_view),
    "wait-for-whom-others-overtook": failing(
        ValueError, catch_up.test_a_source_that_others_overtook_is_not_waited_for_to_the_end
    ),
    "say-nothing-while-idle": (
        rules.test_a_replica_with_an_old_disk_votes_again_after_empty_blocks_up_to_its_checkpoint
    ),
    "forget-evidence": rules.test_rule_24_certificates_and_evidence_outlive_the_log,
    "show-nobody-the-other-proposal": (
        rules.test_whoever_prepares_another_batch_is_shown_the_primarys_proposal_once
    ),
    "believe-a-new-views-view-changes": (
        rules.test_new_view_evidence_of_a_view_change_that_was_another_one_here
    ),
    "forget-new-views": rules.test_rule_24_certificates_and_evidence_outlive_the_log,
    "forget-checkpoints": rules.test_rule_24_certificates_and_evidence_outlive_the_log,
    "chance-in-timers": rules.test_rule_28_the_same_inputs_give_the_same_bytes,
    "time-what-may-have-expired": (
        nobody_is_suspected_for_a_request_that_may_have_expired_by_the_primarys_clock
    ),
    "time-what-lies-too-far-ahead": rules.test_rule_33_transactions_at_the_edge_of_validity_depose_nobody,
}

SIGNATURES: Mapping[str, Callable[[], object]] = {
    "count-signatures": rules.test_rule_17_repeated_signers_are_refused_in_every_certificate,
    "count-votes": rules.test_rule_17_one_member_that_repeats_its_commit_counts_once,
    "sign-without-the-kind": partial(rules.test_rule_18_an_envelope_binds_kind_epoch_signer_and_body, "kind"),
    "sign-without-the-chain": rules.test_rule_18_an_envelope_binds_the_chain,
    "certify-another-batch": a_certificate_of_one_batch_proves_no_other,
    "sign-without-the-epoch": rules.test_rule_21_messages_of_another_epoch_are_refused_at_the_door,
    "fall-over-another-epoch": failing(
        LookupError, rules.test_rule_21_messages_of_another_epoch_are_refused_at_the_door
    ),
    "register-any-key": rosters.test_a_key_of_low_order_is_refused_when_registered,
    "accept-malleable-signatures": vectors.test_a_signature_with_the_group_order_added_to_s_is_refused,
    "accept-any-encoding": rules.test_rule_23_bytes_that_are_not_canonical_are_refused,
    "keep-votes-in-order-of-arrival": (
        votes.test_a_quorum_counts_distinct_members_that_say_the_same_in_ascending_order
    ),
}

NODE_AND_LEDGER: Mapping[str, Callable[[], object]] = {
    "attest-the-state-before": a_header_holds_the_state_that_its_block_left,
    "send-before-the-sync": durability.test_a_turn_that_wrote_waits_for_a_sync_that_began_after_it,
    "answer-reads-as-primary-alone": every_replica_answers_reads,
    "execute-repeated-ids": a_transaction_is_executed_once_and_only_in_its_time,
    "execute-expired-transactions": a_transaction_is_executed_once_and_only_in_its_time,
    "let-block-time-go-back": (
        blocks.test_block_time_is_the_proposals_where_it_moves_on_and_a_millisecond_more_where_not
    ),
    "stop-at-a-failing-application": failing(
        ValueError,
        partial(
            executor.test_whatever_is_raised_becomes_one_fixed_result_and_its_writes_are_dropped, ValueError()
        ),
    ),
    "keep-what-a-failing-transaction-wrote": partial(
        executor.test_whatever_is_raised_becomes_one_fixed_result_and_its_writes_are_dropped, ValueError()
    ),
    "remember-invalid-ids": gateway.test_invalidity_is_not_remembered_by_id,
}

CLIENT_SIDE: Mapping[str, Callable[[], object]] = {
    "believe-one-attestation": partial(
        asking_first, 0, reading.test_no_replica_that_is_asked_first_can_mislead_a_reader, reading.OtherState
    ),
    "believe-values-without-proof": partial(
        asking_first, 0, reading.test_no_replica_that_is_asked_first_can_mislead_a_reader, reading.OtherKey
    ),
    "read-any-height": partial(
        asking_first, 0, reading.test_no_replica_that_is_asked_first_can_mislead_a_reader, reading.TooOld
    ),
    "believe-one-answer": partial(
        asking_first, 2, querying.test_no_one_replica_misleads_or_stops_who_asks, querying.OtherAnswer
    ),
}

KILLERS: Mapping[str, Callable[[], object]] = {
    **NORMAL_CASE,
    **VIEW_CHANGE,
    **STAYING_TOGETHER,
    **SIGNATURES,
    **NODE_AND_LEDGER,
    **CLIENT_SIDE,
}
