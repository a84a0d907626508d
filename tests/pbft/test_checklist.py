"""The rules that implementations of PBFT get wrong, one test each, at the engine and its door.

The number in a test's name is the rule's in docs/protocol.md. Rules about applications, stores, clients
and reads have their tests beside those modules.
"""

import pytest
from msgspec import structs

from consensus.contract import FetchBlocks, FetchBodies
from consensus.pool import PoolLimits
from crypto.attestation import Attestation, Height
from crypto.batch import Millis
from crypto.digest import Digest
from crypto.keys import SigningKey
from crypto.roster import Epoch, MemberId, Roster
from crypto.signed import Vote
from pbft import Limits, Tuning
from pbft.messages import Commit, NewView, Prepare, PrePrepare, Proposal, Suspect, View, ViewChange, kinds
from pbft.new_view import implied, null_request
from tests.pbft.bench import BLOCK, Bench, decode
from tests.pbft.cluster import CHAIN, WALL, Cluster, request


@pytest.mark.parametrize("n", [5, 6])
def test_rule_01_a_prepared_proof_needs_a_quorum_less_one_of_prepares_not_2f(n: int) -> None:
    b = Bench(me=1, n=n)
    p = b.proposal(1, 7)
    b.refuses(b.view_change(2, 1, b.proof(p, 1, 2)), "distinct members")
    b.hear(b.view_change(2, 1, b.proof(p, 1, 2, 3)))


def test_rule_01_a_prepared_proof_without_its_pre_prepare_is_refused() -> None:
    b = Bench()
    p = b.proposal(1, 7)
    proof = structs.replace(b.proof(p, 1, 2), pre_prepare=b.prepare(2, p))
    b.refuses(b.view_change(2, 1, proof), "bare PRE-PREPARE")


def test_rule_02_prepared_certificates_are_kept_across_views() -> None:
    b = Bench(me=3)
    b.submit(7)
    p = b.propose(1, 7)
    b.hear(b.prepare(1, p))
    assert b.said(Commit)
    b.hear(b.new_view(1, *(b.view_change(m, 1) for m in (0, 1, 2))))
    b.suspect(0, 1)
    b.suspect(2, 1)
    change = b.said(ViewChange)[-1]
    assert change.view == 2
    assert [decode(proof.pre_prepare).digest for proof in change.prepared] == [p.digest]


def test_rule_03_new_view_takes_the_highest_view_per_sequence_and_nulls_for_holes() -> None:
    b = Bench()
    old, new = b.proposal(3, 7), b.proposal(3, 8, view=1)
    changes = [
        b.view_change(0, 2, b.proof(old, 1, 2)),
        b.view_change(2, 2, b.proof(new, 2, 3)),
        b.view_change(3, 2),
    ]
    start = implied(CHAIN, [decode(change) for change in changes])
    assert [p.digest for p in start.proposals] == [
        null_request(CHAIN, Height(1)).digest,
        null_request(CHAIN, Height(2)).digest,
        new.digest,
    ]


def test_rule_03_new_view_starts_above_the_highest_certified_checkpoint() -> None:
    b = Bench()
    low, high = b.proposal(2, 7), b.proposal(5, 8)
    changes = [b.view_change(0, 1, b.proof(low, 1, 2)), b.view_change(2, 1, b.proof(high, 1, 2), stable=4)]
    start = implied(CHAIN, [decode(change) for change in changes])
    assert (start.stable, [p.sequence for p in start.proposals]) == (4, [5])


def test_rule_03_backups_refuse_a_new_view_that_nulls_a_prepared_slot() -> None:
    b = Bench(me=2)
    p = b.proposal(1, 7)
    changes = [b.view_change(0, 1), b.view_change(1, 1, b.proof(p, 1, 2)), b.view_change(3, 1)]
    honest = decode(b.new_view(1, *changes))
    null = null_request(CHAIN, Height(1))
    other = b.sign(1, PrePrepare(View(1), Height(1), null.digest, null.timestamp, null.root))
    b.refuses(b.sign(1, structs.replace(honest, pre_prepares=(other,))), "changes what sequence 1 must be")
    b.refuses(b.sign(1, structs.replace(honest, pre_prepares=())), "other sequences")
    b.hear(b.sign(1, honest))
    assert b.engine.status().view == 1


def test_rule_03_backups_refuse_a_new_view_without_a_quorum_of_distinct_view_changes() -> None:
    b = Bench(me=2)
    changes = [b.view_change(m, 1) for m in (0, 1, 3)]
    b.refuses(b.new_view(1, *changes[:2]), "distinct members")
    b.refuses(b.new_view(1, changes[0], changes[1], changes[1]), "repeated or out of order")
    b.refuses(b.new_view(1, changes[0], changes[1], b.view_change(3, 2)), "for another view")


def test_rule_04_a_null_request_is_decided_like_any_batch() -> None:
    b = Bench(me=2)
    p = b.proposal(2, 7)
    b.submit(7)
    b.hear(b.new_view(1, b.view_change(0, 1), b.view_change(1, 1), b.view_change(3, 1, b.proof(p, 1, 3))))
    b.hear(b.sign(3, Proposal(p.sequence, p.timestamp, p.root), request(7).id))
    again = b.said(Prepare)
    assert [prepare.sequence for prepare in again] == [1, 2]
    for sequence, prepare in enumerate(again, 1):
        for member in (0, 1, 3):
            b.hear(b.sign(member, Commit(View(1), Height(sequence), prepare.digest)))
    assert [(d.height, d.timestamp == 0, len(d.requests)) for d in b.decisions] == [
        (1, True, 0),
        (2, False, 1),
    ]


def test_rule_05_an_executed_slot_is_voted_on_again_but_not_executed_again() -> None:
    b = Bench(me=2)
    b.submit(7)
    p = b.propose(1, 7)
    b.decide(p, 0, 1, 3)
    assert b.height == 1
    b.hear(b.new_view(1, b.view_change(0, 1, b.proof(p, 1, 2)), b.view_change(1, 1), b.view_change(3, 1)))
    assert [(v.view, v.sequence) for v in b.said(Prepare)] == [(0, 1), (1, 1)]
    for member in (0, 1, 3):
        b.hear(b.sign(member, Commit(View(1), Height(1), p.digest)))
    assert len(b.decisions) == 1


def test_rule_06_no_prepare_before_every_body_is_here() -> None:
    b = Bench(me=2)
    b.submit(7)
    b.propose(1, 7, 8)
    assert not b.said(Prepare)
    b.wait(500)
    asked = [fetch for fetch in b.fetches if isinstance(fetch, FetchBodies)]
    assert asked[0].ids == (request(8).id,)
    b.submit(8)
    assert len(b.said(Prepare)) == 1


def test_rule_07_a_pre_prepare_just_above_the_high_watermark_is_kept() -> None:
    b = Bench(me=2)
    b.submit(7)
    above = b.propose(9, 7)
    assert not b.said(Prepare)
    for sequence in range(1, 9):
        b.decide(b.propose(sequence), 0, 1, 3)
    for member in (0, 1, 3):
        b.hear(b.sign(member, Attestation(Height(4), BLOCK)))
    assert [p.sequence for p in b.said(Prepare)][-1] == above.sequence


def test_rule_07_a_pre_prepare_far_above_the_watermarks_is_dropped() -> None:
    b = Bench(me=2)
    b.submit(7)
    b.propose(1000, 7)
    assert dict(b.engine.status().ignored) == {"too far above the high watermark": 1}


def test_rule_08_a_checkpoint_certificate_is_for_its_height_only() -> None:
    b = Bench()
    change = decode(b.view_change(2, 1, stable=4))
    b.refuses(b.sign(2, structs.replace(change, stable=Height(8))), "another checkpoint")


def test_rule_09_the_log_is_cut_only_when_ones_own_state_has_reached_the_checkpoint() -> None:
    b = Bench(me=2)
    for member in (0, 1, 3):
        b.hear(b.sign(member, Attestation(Height(4), BLOCK)))
    assert b.engine.status().low == 0
    for sequence in range(1, 5):
        b.decide(b.propose(sequence), 0, 1, 3)
    assert b.engine.status().low == 4
    assert not [key for key in b.records if key[:1] in b"acq" and int.from_bytes(key[1:9], "big") <= 4]


def test_rule_09_a_replica_whose_block_differs_from_a_certified_one_stops_voting_and_says_so() -> None:
    b = Bench(me=2)
    b.block_hash = Digest(b"X" * 32)
    for sequence in range(1, 5):
        b.decide(b.propose(sequence), 0, 1, 3)
    for member in (0, 1, 3):
        b.hear(b.sign(member, Attestation(Height(4), BLOCK)))
    assert "differs" in (b.engine.status().halted or "")
    b.sent.clear()
    b.submit(7)
    b.propose(5, 7)
    assert not b.said(Prepare)


def test_rule_10_the_new_view_timer_runs_from_a_quorum_of_view_changes_and_doubles() -> None:
    b = Bench(me=3, request_timeout_ms=1000)
    b.hear(b.view_change(0, 1))
    b.hear(b.view_change(2, 1))
    waits = []
    for view in (1, 2):
        b.sent.clear()
        if view == 2:
            b.hear(b.view_change(0, 2))
            b.hear(b.view_change(1, 2))
        started = b.time
        while not b.own_suspicions(view):
            b.wait(50)
        waits.append(b.time - started)
        b.suspect(0, view)
        b.suspect(1, view)
    assert waits == [2000, 4000]


def test_rule_10_however_long_views_fail_a_healed_network_goes_on_within_the_longest_timeout() -> None:
    c = Cluster(tuning=Tuning(request_timeout_ms=Millis(500), max_timeout_doublings=3))
    longest = 500 << 3
    hurt = True
    leader = lambda: max(member.engine.status().view for member in c.members) % 4  # noqa: E731
    c.drop = lambda source, to, _: hurt and leader() in (source, to)
    c.submit([1])
    # Many more views fail than the timeout doubles; the last of them has only just begun.
    assert c.run(lambda: min(member.engine.status().view for member in c.members) == 9, limit=100_000)
    assert not any(member.disk.chain for member in c.members)
    hurt = False
    c.members[leader()].crash()
    up = [member.id for member in c.members if member.up]
    assert c.run(c.all_executed([1], up), limit=longest + 4 * c.tuning.status_period_ms)


def test_rule_10_without_a_quorum_of_view_changes_no_timer_runs() -> None:
    b = Bench(me=3, request_timeout_ms=1000)
    b.suspect(0)
    b.suspect(1)
    assert b.said(ViewChange)
    b.wait(20_000)
    assert not b.own_suspicions(1)


def test_rule_10_f_plus_1_view_changes_for_later_views_join_the_smallest() -> None:
    b = Bench(me=3)
    b.hear(b.view_change(0, 9))
    assert not b.said(ViewChange)
    b.hear(b.view_change(1, 5))
    assert [change.view for change in b.said(ViewChange)] == [5]


def test_rule_11_view_change_is_resent_until_the_view_is_active() -> None:
    b = Bench(me=3)
    b.suspect(0)
    b.suspect(1)
    b.sent.clear()
    b.wait(2000)
    assert len(b.said(ViewChange)) >= 4
    b.hear(b.new_view(1, *(b.view_change(m, 1) for m in (0, 1, 2))))
    b.sent.clear()
    b.wait(2000)
    assert not b.said(ViewChange)


def test_rule_12_no_timer_runs_for_what_is_executed() -> None:
    b = Bench(me=2)
    b.submit(7)
    b.decide(b.propose(1, 7), 0, 1, 3)
    b.wait(30_000)
    assert not b.said(Suspect)


def test_rule_12_timers_restart_with_a_new_primary() -> None:
    b = Bench(me=2, request_timeout_ms=1000)
    b.submit(7)
    b.wait(1000)
    b.hear(b.new_view(1, *(b.view_change(m, 1) for m in (0, 1, 3))))
    assert [relay.to for relay in b.relays][-1] == 1
    b.wait(900)
    assert not b.said(Suspect)
    b.wait(600)
    assert b.said(Suspect)


def test_rule_13_a_committed_slot_does_not_keep_a_replica_from_changing_the_view() -> None:
    b = Bench(me=2)
    b.decide(b.propose(2), 0, 1, 3)
    b.suspect(0)
    b.suspect(1)
    assert [change.view for change in b.said(ViewChange)] == [1]


def test_rule_14_what_catch_up_delivered_the_votes_do_not_deliver_again() -> None:
    other, b = Bench(me=1), Bench(me=2)
    other.submit(7)
    p = other.propose(1, 7)
    other.decide(p, 0, 2, 3)
    b.submit(7)
    b.propose(1, 7, at=p.timestamp)
    b.engine.learn(other.decisions[0], b.now)
    b.drain()
    b.decide(p, 0, 1, 3)
    b.engine.learn(other.decisions[0], b.now)
    b.drain()
    assert [decision.height for decision in b.decisions] == [1]


def test_rule_15_catching_up_works_on_an_idle_ledger_and_brings_the_view() -> None:
    c = Cluster()
    c.members[3].crash()
    c.members[0].crash()
    c.members[0].start()
    c.submit(range(20), to=[0, 1, 2])
    assert c.run(c.all_executed(range(20), [0, 1, 2]))
    c.members[0].crash()
    c.members[3].start()
    c.submit([20], to=[1, 2, 3])
    assert c.run(c.all_executed(range(21), [1, 2, 3]))
    c.members[0].start()
    assert c.run(c.all_executed(range(21)))
    assert len({member.engine.status().view for member in c.members}) == 1


def test_rule_16_a_vote_and_what_backs_it_are_in_one_ready_to_be_made_durable_first() -> None:
    b = Bench(me=2)
    b.engine.submit(request(7), b.now)
    p = b.proposal(1, 7)
    signed, _ = b.door.open(b.sign(0, p, request(7).id))
    b.engine.receive(signed, b.now)
    ready = b.engine.take_ready()
    assert [decode(send.message) for send in ready.send] == [Prepare(p.view, p.sequence, p.digest)]
    bodies = [record for record in ready.persist if record.value and request(7).body in record.value]
    assert bodies
    assert any(record.key[:1] == b"a" for record in ready.persist)


def test_rule_16_after_a_restart_a_replica_never_votes_for_another_digest() -> None:
    b = Bench(me=2)
    b.submit(7, 8)
    b.propose(1, 7)
    again = b.restarted()
    again.submit(7, 8)
    again.propose(1, 8)
    assert not again.said(Prepare)
    assert again.evidence


def test_rule_16_after_a_restart_the_prepared_certificate_is_still_shown() -> None:
    b = Bench(me=2)
    b.submit(7)
    p = b.propose(1, 7)
    b.hear(b.prepare(1, p))
    again = b.restarted()
    again.suspect(0)
    again.suspect(1)
    assert [decode(x.pre_prepare).digest for x in again.said(ViewChange)[-1].prepared] == [p.digest]


def test_rule_17_repeated_signers_are_refused_in_every_certificate() -> None:
    b = Bench()
    p = b.proposal(1, 7)
    b.refuses(b.view_change(2, 1, b.proof(p, 1, 1)), "repeated")
    proof = b.proof(p, 1, 2)
    swapped = structs.replace(proof, prepares=(proof.prepares[1], proof.prepares[0]))
    b.refuses(b.view_change(2, 1, swapped), "out of order")


def test_rule_17_one_member_that_repeats_its_commit_counts_once() -> None:
    b = Bench(me=2)
    p = b.propose(1)
    for _ in range(3):
        b.hear(b.commit(3, p))
    assert not b.decisions


@pytest.mark.parametrize("field", ["kind", "epoch", "signer", "body"])
def test_rule_18_an_envelope_binds_kind_epoch_signer_and_body(field: str) -> None:
    b = Bench(me=2)
    vote = b.prepare(1, b.proposal(1, 7))
    changed = {
        "kind": "pbft/commit",
        "epoch": Epoch(1),
        "signer": MemberId(3),
        "body": b.prepare(1, b.proposal(2, 7)).body,
    }
    b.refuses(structs.replace(vote, **{field: changed[field]}), "signature|epoch")


def test_rule_18_an_envelope_binds_the_chain() -> None:
    b = Bench(me=2)
    strange = Roster.register(
        type(CHAIN)(b"other chain".ljust(32)), Epoch(0), [key.public_key for key in b.keys]
    )
    p = b.proposal(1, 7)
    vote = kinds.seal(strange, MemberId(1), b.keys[1], Prepare(p.view, p.sequence, p.digest)).envelope
    b.refuses(vote, "signature")


def test_rule_21_messages_of_another_epoch_are_refused_at_the_door() -> None:
    b = Bench(me=2)
    b.refuses(structs.replace(b.prepare(1, b.proposal(1, 7)), epoch=Epoch(3)), "epoch 3")


def test_rule_23_bytes_that_are_not_canonical_are_refused() -> None:
    b = Bench(me=2)
    vote = b.prepare(1, b.proposal(1, 7))
    padded = vote.body[:1] + b"\xd0\x00" + vote.body[2:]
    signature = b.keys[1].sign(b.roster.signing_bytes(vote.kind, padded))
    b.refuses(structs.replace(vote, body=padded, signature=signature), "canonical")


def test_rule_24_certificates_and_evidence_outlive_the_log() -> None:
    b = Bench(me=2)
    b.submit(7, 8)
    b.propose(1, 7)
    b.propose(1, 8)
    b.hear(b.new_view(1, *(b.view_change(m, 1) for m in (0, 1, 3))))
    for sequence in range(1, 5):
        b.decide(b.propose(sequence, view=1), 0, 1, 3)
    for member in (0, 1, 3):
        b.hear(b.sign(member, Attestation(Height(4), BLOCK)))
    assert sorted({key.split(b"/")[0] for key in b.archive}) == [b"checkpoint", b"evidence", b"new-view"]


def test_rule_25_the_primarys_own_prepare_never_counts() -> None:
    b = Bench(me=2)
    b.submit(7)
    p = b.propose(1, 7)
    b.hear(b.prepare(0, p))
    assert not b.said(Commit)
    b.hear(b.prepare(1, p))
    assert b.said(Commit)


def test_rule_25_a_proof_that_leans_on_the_primarys_prepare_is_refused() -> None:
    b = Bench()
    b.refuses(b.view_change(2, 1, b.proof(b.proposal(1, 7), 0, 1)), "never counts")


def test_rule_26_a_view_change_while_catching_up_ends_and_so_does_the_catch_up() -> None:
    c = Cluster()
    c.members[3].crash()
    for number in range(30):
        c.submit([number], to=[0, 1, 2])
        c.run(limit=40)
    assert c.run(c.all_executed(range(30), [0, 1, 2]))
    c.members[3].start()
    c.run(limit=3)
    c.members[0].crash()
    c.submit([30], to=[1, 2, 3])
    assert c.run(c.all_executed(range(31), [1, 2, 3]))
    c.check_agreement()


def test_rule_27_a_re_proposed_batch_keeps_its_timestamp_and_is_exempt_from_the_clock_bound() -> None:
    b = Bench(me=2)
    b.submit(7)
    old = b.proposal(1, 7, at=WALL - 3_600_000)
    b.hear(b.new_view(1, b.view_change(0, 1), b.view_change(1, 1), b.view_change(3, 1, b.proof(old, 1, 3))))
    b.hear(b.sign(3, Proposal(old.sequence, old.timestamp, old.root), request(7).id))
    assert [(p.view, p.digest) for p in b.said(Prepare)] == [(1, old.digest)]


@pytest.mark.parametrize("off", [-20_000, 20_000])
def test_rule_27_a_first_proposal_outside_the_clock_bound_gets_no_prepare(off: int) -> None:
    b = Bench(me=2)
    b.submit(7)
    b.propose(1, 7, at=WALL + off)
    assert not b.said(Prepare)


def test_rule_28_the_same_inputs_give_the_same_bytes() -> None:
    traces = []
    for _ in range(2):
        c = Cluster(seed=5)
        c.submit(range(30))
        c.run(limit=5000)
        traces.append(list(c.trace))
    assert traces[0] == traces[1]


def test_rule_29_after_a_view_change_there_is_no_vote_in_a_lower_view_restarts_included() -> None:
    b = Bench(me=2)
    b.submit(7)
    b.suspect(0)
    b.suspect(1)
    again = b.restarted()
    for bench in (b, again):
        bench.submit(7)
        p = bench.propose(1, 7)
        bench.hear(bench.prepare(1, p))
        bench.hear(bench.prepare(3, p))
        assert not bench.said(Prepare)
        assert not bench.said(Commit)


def test_rule_29_one_suspicion_alone_makes_nobody_leave() -> None:
    b = Bench(me=2, request_timeout_ms=500)
    b.submit(7)
    b.wait(3000)
    assert b.said(Suspect)
    assert not b.said(ViewChange)
    p = b.propose(1, 7)
    assert b.said(Prepare) == [Prepare(View(0), Height(1), p.digest)]


def test_rule_29_suspicions_are_passed_on_when_leaving() -> None:
    b = Bench(me=2)
    b.suspect(0)
    b.suspect(3)
    passed = [envelope.signer for _, message, envelope in b.sent if isinstance(message, Suspect)]
    assert sorted(passed) == [0, 3]


def test_rule_30_a_quorum_of_commits_executes_also_where_nothing_was_prepared() -> None:
    b = Bench(me=2)
    b.submit(7)
    b.decide(b.propose(1, 7), 0, 1, 3)
    assert [decision.height for decision in b.decisions] == [1]
    assert not b.said(Commit)


def test_rule_30_two_commits_of_four_do_not_execute() -> None:
    b = Bench(me=2)
    b.submit(7)
    b.decide(b.propose(1, 7), 0, 1)
    assert not b.decisions


def test_rule_33_transactions_at_the_edge_of_validity_depose_nobody() -> None:
    b = Bench(me=2)
    for number, valid_for in ((1, 1000), (2, 600_000)):
        b.engine.submit(request(number, valid_for), b.now)
    b.wait(10_000)
    assert not b.said(Suspect)


def test_rule_33_a_long_queue_deposes_nobody_while_the_oldest_requests_execute() -> None:
    b = Bench(me=2, request_timeout_ms=1000)
    b.submit(*range(200))
    for sequence in range(1, 21):
        b.wait(600)
        b.decide(b.propose(sequence, *range(sequence * 10 - 10, sequence * 10)), 0, 1, 3)
        if sequence % 4 == 0:
            for member in (0, 1, 3):
                b.hear(b.sign(member, Attestation(Height(sequence), BLOCK)))
    assert b.height == 20
    assert not b.said(Suspect)


def test_rule_33_what_backups_relay_is_proposed_before_a_full_pool() -> None:
    b = Bench(
        me=0, pool=PoolLimits(max_requests=10, lane_quota=4), batch_delay_ms=Millis(10_000), batch_target=3
    )
    for number in range(12):
        b.engine.submit(request(number), b.now)
    assert b.engine.submit(request(99), b.now, MemberId(3))
    b.engine.tick(b.now)
    b.drain()
    first = b.sent[0][2]
    assert first.beside.startswith(request(99).id)


def test_an_old_disk_is_recognised_by_a_vote_that_it_does_not_hold() -> None:
    b = Bench(me=2)
    p = b.proposal(1, 7)
    b.hear(b.prepare(2, p))
    assert "older than its votes" in b.engine.status().waiting_for
    b.submit(7)
    b.propose(1, 7)
    assert not b.said(Prepare)


def test_a_replica_with_an_old_disk_votes_again_after_empty_blocks_up_to_its_checkpoint() -> None:
    c = Cluster()
    c.submit(range(10))
    assert c.run(c.all_executed(range(10)))
    c.members[3].crash()
    c.members[3].disk = type(c.members[3].disk)()
    c.members[3].start(marked=True)
    assert c.run(lambda: "older" not in c.members[3].engine.status().waiting_for, limit=60_000)
    c.check_agreement()
    c.members[1].crash()
    c.submit([50], to=[0, 2, 3])
    assert c.run(c.all_executed([50], [0, 2, 3]))


def test_a_view_number_out_of_bounds_does_not_decode() -> None:
    b = Bench()
    b.refuses(b.sign(2, ViewChange(View(2**60), Height(0), None, ())), "ViewChange")


def test_a_primary_that_names_bodies_without_end_cannot_fill_the_memory() -> None:
    b = Bench(me=2, limits=Limits(checkpoint_interval=16, window=32))
    for sequence in range(1, 26):
        b.propose(sequence, *range(sequence * 1000, sequence * 1000 + 1000))
    assert dict(b.engine.status().ignored) == {"too many bodies are missing already": 5}


def test_the_key_of_a_stranger_opens_nothing() -> None:
    b = Bench()
    message = Commit(View(0), Height(1), BLOCK)
    stranger = kinds.seal(b.roster, MemberId(2), SigningKey(b"s" * 32), message)
    b.refuses(stranger.envelope, "signature")
    b.refuses(structs.replace(stranger.envelope, signer=MemberId(200)), "not in the roster")


def test_a_member_alone_is_a_network_for_development() -> None:
    b = Bench(me=0, n=1)
    b.submit(7)
    assert [decision.height for decision in b.decisions] == [1]


def test_blocks_are_fetched_from_those_who_claim_them_in_turn() -> None:
    b = Bench(me=2)
    b.status(0, executed=Height(3))
    b.status(3, executed=Height(3))
    b.wait(1200)
    asked = [fetch for fetch in b.fetches if isinstance(fetch, FetchBlocks)]
    assert {(fetch.first, fetch.last) for fetch in asked} == {(1, 3)}
    assert {fetch.sources[0] for fetch in asked} == {0, 3}


def test_new_view_evidence_of_two_from_one_primary() -> None:
    b = Bench(me=2)
    changes = [b.view_change(m, 1) for m in (0, 1, 2, 3)]
    b.hear(b.new_view(1, *changes[:3]))
    b.hear(b.new_view(1, *changes[1:]))
    assert [(piece.member, piece.what) for piece in b.evidence] == [(1, "two NEW-VIEWs for one view")]
    assert isinstance(decode(b.evidence[0].first), NewView)


def test_new_view_evidence_of_a_view_change_that_was_another_one_here() -> None:
    b = Bench(me=2)
    shown, told = b.view_change(3, 1), b.view_change(3, 1, b.proof(b.proposal(1, 7), 2, 3))
    b.hear(told)
    b.hear(b.new_view(1, b.view_change(0, 1), b.view_change(1, 1), shown))
    assert [(piece.member, piece.what) for piece in b.evidence] == [(3, "two VIEW-CHANGEs for one view")]
    assert (b.evidence[0].first, b.evidence[0].second) == (told, shown)


def test_a_view_change_for_an_earlier_view_contradicts_none_in_a_new_view() -> None:
    b = Bench(me=3)
    b.hear(b.view_change(0, 1, b.proof(b.proposal(1, 7), 1, 2)))
    b.hear(b.new_view(2, *(b.view_change(member, 2) for member in (0, 1, 2))))
    assert b.evidence == []


def test_votes_are_never_taken_without_a_signature_of_their_member() -> None:
    b = Bench()
    vote = b.prepare(3, b.proposal(1, 7))
    forged = structs.replace(vote, signature=Vote(MemberId(3), b.keys[2].sign(b"x")).signature)
    b.refuses(forged, "signature")


def test_a_vote_for_what_is_settled_is_redundant_and_one_against_it_is_not() -> None:
    b = Bench(me=2)
    b.submit(7, 8)
    p, other = b.propose(1, 7), b.proposal(1, 8)
    late = b.door.open(b.commit(3, p))[0]
    against = b.door.open(b.commit(3, other))[0]
    assert not b.engine.redundant(late)
    for member in (0, 1, 3):
        b.hear(b.commit(member, p))
    assert b.engine.redundant(late)
    assert not b.engine.redundant(against)


def test_rule_33_a_slow_primary_that_proposes_and_progresses_is_not_suspected_for_what_it_has_proposed() -> (
    None
):
    b = Bench(me=2, request_timeout_ms=1000)
    b.submit(*range(8))
    proposals = [b.propose(sequence, sequence - 1) for sequence in range(1, 9)]
    for p in proposals:
        b.wait(900)
        b.decide(p, 0, 1, 3)
        if p.sequence == 4:
            for member in (0, 1, 3):
                b.hear(b.sign(member, Attestation(Height(4), BLOCK)))
    assert b.height == 8
    assert not b.said(Suspect)


def test_rule_33_a_request_that_is_passed_over_for_others_makes_its_primary_suspected() -> None:
    b = Bench(me=2, request_timeout_ms=1000)
    b.submit(*range(20))
    for sequence in range(1, 8):
        b.decide(b.propose(sequence, sequence), 0, 1, 3)
        b.wait(400)
    assert b.said(Suspect)


def test_whoever_prepares_another_batch_is_shown_the_primarys_proposal_once() -> None:
    b = Bench(me=2)
    b.submit(7, 8)
    p = b.propose(1, 7)
    other = b.proposal(1, 8)
    b.hear(b.prepare(3, other))
    b.hear(b.prepare(3, other))
    shown = [(to, envelope) for to, message, envelope in b.sent if isinstance(message, PrePrepare)]
    assert [(to, decode(envelope), envelope.signer) for to, envelope in shown] == [((3,), p, 0)]
    b.open(shown[0][1])  # with its ids: the door of the other lets it in
    b.hear(b.prepare(1, p))
    assert len([to for to, message, _ in b.sent if isinstance(message, PrePrepare)]) == 1


def test_a_primary_that_is_shown_to_have_equivocated_is_convicted_and_suspected_at_once() -> None:
    b = Bench(me=2)
    b.submit(7, 8)
    b.propose(1, 7)
    b.propose(1, 8)
    assert [(piece.member, piece.what) for piece in b.evidence] == [(0, "two proposals for one sequence")]
    assert b.own_suspicions(0)
