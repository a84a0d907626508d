"""Attacks by up to f members and any number of clients, one test each, named by what must hold."""

from msgspec import structs

from consensus.contract import Decision, FetchBlocks, FetchBodies
from crypto.attestation import ATTESTATION, Height
from crypto.batch import Millis
from crypto.roster import MemberId
from crypto.signed import Envelope, Signed
from pbft import Limits, Tuning
from pbft.certificates import commit_certificate
from pbft.messages import (
    VIEW_CHANGE,
    Commit,
    FetchProposal,
    NewView,
    Prepare,
    PrePrepare,
    Proposal,
    Stable,
    Status,
    Suspect,
    View,
    ViewChange,
    kinds,
)
from tests.pbft.bench import BLOCK, Bench
from tests.pbft.cluster import WALL, Cluster, request


def test_a_deposed_primarys_invented_bodies_do_not_keep_its_successors_proposals_out() -> None:
    b = Bench(me=2, limits=Limits(checkpoint_interval=16, window=32))
    for sequence in range(1, 22):
        b.propose(sequence, *range(sequence * 1000, sequence * 1000 + 1000))
    b.hear(b.new_view(1, *(b.view_change(m, 1) for m in (0, 1, 3))))
    b.submit(7)
    p = b.propose(1, 7, view=1)
    assert b.said(Prepare) == [Prepare(View(1), Height(1), p.digest)]


def test_what_a_replica_voted_for_is_kept_for_later_views_though_nothing_was_proposed_again() -> None:
    b = Bench(me=3)
    b.submit(7)
    p = b.propose(1, 7)
    b.hear(b.new_view(1, *(b.view_change(m, 1) for m in (0, 1, 2))))
    b.engine.settled([request(7).id])
    b.hear(b.new_view(2, b.view_change(0, 2), b.view_change(1, 2), b.view_change(2, 2, b.proof(p, 1, 2))))
    assert [(vote.view, vote.digest) for vote in b.said(Prepare)] == [(0, p.digest), (2, p.digest)]


def test_a_batch_with_more_bytes_than_agreed_gets_no_prepare() -> None:
    size = len(request(1).body)
    b = Bench(me=2, limits=Limits(checkpoint_interval=4, window=8, max_batch_bytes=2 * size))
    b.submit(1, 2, 3, 4, 5)
    b.propose(1, 1, 2, 3)
    assert not b.said(Prepare)
    fitting = b.propose(2, 4, 5)
    assert [vote.digest for vote in b.said(Prepare)] == [fitting.digest]


def test_a_batch_of_one_large_transaction_gets_its_prepare_as_primaries_propose_it() -> None:
    b = Bench(me=2, limits=Limits(checkpoint_interval=4, window=8, max_batch_bytes=5))
    b.submit(1)
    b.propose(1, 1)
    assert len(b.said(Prepare)) == 1


def test_a_status_of_a_member_far_behind_costs_no_search_through_the_whole_chain() -> None:
    top = 2**40
    b = Bench(me=2, height=top)
    b.hear(b.sign(0, Stable(b.checkpoint(top))))
    b.submit(7)
    b.propose(top + 1, 7)
    b.sent.clear()
    b.status(3, executed=Height(0))
    assert [(to, vote.sequence) for to, vote, _ in b.sent if isinstance(vote, Prepare)] == [((3,), top + 1)]


def sealed(cluster: Cluster, member: int, message: object) -> Envelope:
    """What a liar says: signed with its own key."""
    return kinds.seal(cluster.roster, MemberId(member), cluster.keys[member], message).envelope


def laggard_that_leads_view_1() -> tuple[Bench, PrePrepare]:
    """Member 1 is far below the checkpoint from which it starts view 1, which proposes sequence 41 again."""
    b = Bench(me=1)
    p = b.proposal(41, 7)
    for member in (0, 2):
        b.hear(b.view_change(member, 1, b.proof(p, 2, 3), stable=40))
    return b, p


def test_a_laggard_shown_the_proposals_of_its_own_new_view_is_not_taken_for_an_old_disk() -> None:
    b, _ = laggard_that_leads_view_1()
    (new_view,) = b.said(NewView)
    (again,) = new_view.pre_prepares
    b.hear(structs.replace(again, beside=request(7).id))
    assert "older than its votes" not in b.engine.status().waiting_for


def test_a_laggard_votes_on_what_a_new_view_proposed_again_far_ahead_once_it_caught_up() -> None:
    b, p = laggard_that_leads_view_1()
    b.submit(7)
    for height in range(1, 41):
        b.engine.learn(Decision(Height(height), BLOCK, Millis(1), (), b""), b.now)
        b.drain()
    assert b.engine.status().low == 40
    b.hear(b.sign(2, Proposal(p.sequence, p.timestamp, p.root), request(7).id))
    for member in (2, 3):
        b.hear(b.sign(member, Prepare(View(1), p.sequence, p.digest)))
    assert b.said(Commit) == [Commit(View(1), p.sequence, p.digest)]


def test_a_replica_that_missed_the_view_change_of_one_who_went_on_waits_for_no_quorum_for_ever() -> None:
    b = Bench(me=1)
    b.suspect(0)
    b.suspect(3)
    b.suspect(0, 1)
    b.suspect(3, 1)
    b.hear(b.view_change(2, 2))
    b.hear(b.view_change(0, 3))
    assert b.engine.status().view == 2
    b.wait(10_000)
    assert b.own_suspicions(2)
    b.suspect(2, 2)
    assert [change.view for change in b.said(ViewChange)][-1] == 3


def test_a_liar_cannot_leave_honest_members_in_different_views_for_ever() -> None:
    """Member 3 shows its suspicions to one at a time, and falls silent once member 0 is a view ahead."""
    cut = True
    c = Cluster(tuning=Tuning(request_timeout_ms=Millis(500)), drop=lambda source, to, envelope: cut)
    first, second, third, liar = c.members
    liar.crash()
    c.submit([1], to=[0, 1, 2])
    c.run(limit=3000)
    for member in (first, second, third):
        member.take(sealed(c, 3, Suspect(View(0), Height(0))))
    first.take(sealed(c, 3, ViewChange(View(1), Height(0), None, ())))
    first.take(next(e for _, source, _, e in c.trace if source == 1 and e.kind == VIEW_CHANGE))
    c.run(limit=3000)
    first.take(sealed(c, 3, Suspect(View(1), Height(0))))
    assert [member.engine.status().view for member in c.members[:3]] == [2, 1, 1]
    cut = False
    assert c.run(c.all_executed([1], [0, 1, 2]))


def test_a_power_cut_where_the_window_ends_leaves_a_network_that_goes_on() -> None:
    lost = {ATTESTATION}
    c = Cluster(
        limits=Limits(checkpoint_interval=4, window=8),
        drop=lambda source, to, envelope: envelope is not None and envelope.kind in lost,
    )
    for number in range(8):
        c.submit([number])
        c.run(limit=100)
    assert [len(member.disk.chain) for member in c.members] == [8, 8, 8, 8]
    for member in c.members:
        member.crash()
    lost.clear()
    for member in c.members[:3]:
        member.start()
    c.submit([8], to=[0, 1, 2])
    assert c.run(c.all_executed([8], [0, 1, 2]))


def test_attestations_that_clients_got_for_any_height_make_no_checkpoint_there() -> None:
    b = Bench(me=2)
    for sequence in range(1, 4):
        b.decide(b.propose(sequence), 0, 1, 3)
    b.hear(b.sign(0, Stable(b.checkpoint(3))))
    assert b.engine.status().low == 0
    b.hear(b.view_change(3, 1, stable=3))
    b.hear(b.new_view(1, b.view_change(0, 1), b.view_change(1, 1), b.view_change(3, 1, stable=3)))
    status = b.engine.status()
    assert (status.view, status.low) == (0, 0)
    assert dict(status.ignored) == {"no checkpoint height": 3}


def test_a_restarted_primary_proposes_above_the_checkpoint_that_its_view_started_from() -> None:
    b = Bench(me=1)
    for member in (0, 2):
        b.hear(b.view_change(member, 1, stable=8))
    assert b.said(NewView)
    again = b.restarted()
    again.submit(7)
    assert not again.said(PrePrepare)
    for height in range(1, 9):
        again.engine.learn(Decision(Height(height), BLOCK, Millis(1), (), b""), again.now)
        again.drain()
    again.hear(again.sign(2, Stable(again.checkpoint(8))))
    again.submit(8)
    assert [(p.view, p.sequence) for p in again.said(PrePrepare)] == [(1, 9)]


def test_a_restarted_backup_votes_on_nothing_below_the_checkpoint_that_its_view_started_from() -> None:
    b = Bench(me=2)
    b.hear(b.new_view(1, b.view_change(0, 1), b.view_change(1, 1), b.view_change(3, 1, stable=8)))
    again = b.restarted()
    again.submit(7)
    again.propose(5, 7, view=1)
    assert not again.said(Prepare)


def test_a_client_that_asks_all_but_the_primary_for_time_to_move_deposes_nobody() -> None:
    c = Cluster()
    c.submit([1])
    assert c.run(c.all_executed([1]))
    c.run(limit=60_000)
    past = Millis(WALL + c.time - 20_000)
    for member in c.members[1:]:
        member.engine.advance(past, c.now(member.id))
        member.turn()
    assert c.run(lambda: all(m.disk.chain[-1][0].timestamp > past for m in c.members), limit=5000)
    assert [member.engine.status().view for member in c.members] == [0, 0, 0, 0]


def test_a_primary_that_orders_no_empty_block_when_time_must_move_is_suspected() -> None:
    b = Bench(me=2)
    b.engine.advance(Millis(WALL - 20_000), b.now)
    b.wait(3000)
    assert [status.wants for status in b.said(Status)][-1] == WALL - 20_000
    assert b.own_suspicions(0)


def test_a_member_that_always_wants_time_to_move_gets_one_empty_block_in_a_while() -> None:
    b = Bench(me=0)
    for _ in range(100):
        b.wait(50)
        b.status(3, wants=Millis(b.wall - 1))
        for p in b.said(PrePrepare)[b.height :]:
            b.decide(p, 1, 2, 3)
    assert 3 <= b.height <= 6


def test_an_old_status_shown_again_neither_hides_a_members_newest_nor_uses_up_its_answer() -> None:
    b = Bench(me=2)
    old = b.sign(3, Status(View(0), True, Height(0), Height(0), True, Height(0), Millis(0), Millis(WALL)))
    b.hear(old)
    b.time += 1000
    b.wall += 1000
    b.sent.clear()
    b.hear(old)
    b.status(3, executed=Height(3))
    b.hear(old)
    b.wait(1000)
    asked = [fetch for fetch in b.fetches if isinstance(fetch, FetchBlocks)]
    assert {(fetch.first, fetch.last) for fetch in asked} == {(1, 3)}


def test_messages_kept_for_a_view_are_taken_when_it_starts_and_a_liars_for_no_view_stay_bounded() -> None:
    b = Bench(me=2)
    b.submit(7)
    for sequence in range(1, 200):
        b.hear(b.sign(3, Prepare(View(2**50), Height(sequence), BLOCK)))
    p = b.propose(1, 7, view=1)
    assert not b.said(Prepare)
    b.hear(b.new_view(1, *(b.view_change(m, 1) for m in (0, 1, 3))))
    assert b.said(Prepare) == [Prepare(View(1), Height(1), p.digest)]
    later = b.propose(1, view=2)
    b.hear(b.new_view(3, *(b.view_change(m, 3) for m in (0, 1, 3))))
    assert later.digest not in [vote.digest for vote in b.said(Prepare)]


def test_a_request_named_far_ahead_by_a_primary_that_takes_its_time_makes_it_suspected() -> None:
    b = Bench(me=2, limits=Limits(checkpoint_interval=16, window=32), request_timeout_ms=1000)
    b.submit(7)
    b.propose(40, 7)
    for sequence in range(1, 5):
        b.wait(900)
        b.decide(b.propose(sequence), 0, 1, 3)
    assert b.said(Suspect)


def test_bodies_that_came_with_a_served_block_are_not_fetched_again() -> None:
    other, b = Bench(me=1), Bench(me=2)
    other.submit(7)
    p = other.propose(1, 7)
    other.decide(p, 0, 2, 3)
    b.propose(1, 7, at=p.timestamp)
    b.engine.learn(other.decisions[0], b.now)
    b.drain()
    b.wait(1000)
    assert not [fetch for fetch in b.fetches if isinstance(fetch, FetchBodies)]


def test_a_body_fetched_for_an_executed_batch_that_is_proposed_again_does_not_wait_to_be_ordered() -> None:
    b = Bench(me=2, height=1)
    p = b.proposal(1, 7)
    b.hear(b.new_view(1, b.view_change(0, 1, b.proof(p, 1, 3)), b.view_change(1, 1), b.view_change(3, 1)))
    b.hear(b.sign(3, Proposal(p.sequence, p.timestamp, p.root), request(7).id))
    b.submit(7)
    assert [(vote.view, vote.digest) for vote in b.said(Prepare)] == [(1, p.digest)]
    assert b.engine.status().pending == 0


def test_a_request_that_a_liar_names_in_a_batch_that_lost_still_waits_to_be_ordered() -> None:
    b = Bench(me=2)
    b.propose(1, 7)
    other = b.proposal(1, at=b.wall + 1)
    b.decide(other, 0, 1, 3)
    b.wait(500)
    b.hear(b.sign(3, Proposal(other.sequence, other.timestamp, other.root)))
    assert b.height == 1
    b.submit(7)
    assert b.engine.status().pending == 1


def test_a_members_question_shown_again_by_a_liar_uses_up_no_answers_to_its_other_questions() -> None:
    b = Bench(me=2)
    b.submit(1, 2)
    first, second = b.propose(1, 1), b.propose(2, 2)
    question = b.sign(1, FetchProposal(first.sequence, first.digest))
    for _ in range(100):
        b.hear(question)
    b.hear(b.sign(1, FetchProposal(second.sequence, second.digest)))
    assert [answer.sequence for answer in b.said(Proposal)] == [1, 2]


def test_a_request_named_only_in_proposals_that_the_others_never_saw_makes_its_primary_suspected() -> None:
    """Each backup in turn is shown a batch with the request where the others decide on another."""
    b = Bench(me=2, limits=Limits(checkpoint_interval=64, window=128), request_timeout_ms=1000)
    b.submit(7)
    for sequence in range(1, 40):
        for ahead in range(sequence, sequence + 16):
            if ahead % 3 == 0:
                b.propose(ahead, 7, at=WALL + ahead)
        decided = b.proposal(sequence, at=b.wall)
        if sequence % 3 != 0:
            b.propose(sequence, at=b.wall)
        b.decide(decided, 0, 1, 3)
        b.hear(b.sign(1, Proposal(decided.sequence, decided.timestamp, decided.root)))
        b.wait(250)
    assert b.height == 39
    assert b.own_suspicions(0)


def test_who_was_shown_what_others_decided_suspects_nobody() -> None:
    b = Bench(me=2, request_timeout_ms=1000)
    for sequence in range(1, 4):
        b.decide(b.propose(sequence), 0, 1, 3)
    b.wait(500)
    assert not b.said(Suspect)


def cut_off_and_lured_away(restart: bool = False) -> Cluster:
    """Member 2, cut off and far behind, leaves the view alone: only the liar, 3, joins its suspicion."""
    cut = True
    c = Cluster(
        limits=Limits(checkpoint_interval=4, window=8),
        tuning=Tuning(request_timeout_ms=Millis(500)),
        drop=lambda source, to, envelope: cut and 2 in (source, to),
    )
    for number in range(12):
        c.submit([number], to=[0, 1, 3])
        c.run(limit=100)
    lured = c.members[2]
    c.submit([50], to=[2])
    c.run(limit=1000)
    lured.take(sealed(c, 3, Suspect(View(0), Height(0))))
    assert [member.engine.status().view for member in c.members] == [0, 0, 1, 0]
    if restart:
        lured.crash()
        lured.start()
    cut = False
    return c


def all_together(c: Cluster) -> bool:
    statuses = [member.engine.status() for member in c.members]
    return all(status.active for status in statuses) and len({status.view for status in statuses}) == 1


def test_a_member_far_behind_that_a_liar_lured_out_of_the_view_comes_together_with_the_others_again() -> None:
    c = cut_off_and_lured_away()
    assert c.run(lambda: all_together(c) and len(c.members[2].disk.chain) >= 12, limit=20_000)


def test_a_member_that_left_a_view_and_crashed_comes_together_with_the_others_again() -> None:
    c = cut_off_and_lured_away(restart=True)
    assert c.run(lambda: all_together(c) and len(c.members[2].disk.chain) >= 12, limit=20_000)


def test_a_member_that_knows_itself_far_behind_suspects_nobody() -> None:
    b = Bench(me=2, limits=Limits(checkpoint_interval=4, window=8), request_timeout_ms=500)
    b.submit(7)
    b.status(0, executed=Height(9))
    b.wait(2000)
    assert b.own_suspicions(0)
    b.sent.clear()
    b.status(1, executed=Height(10))
    b.wait(2000)
    assert not b.own_suspicions(0)


def test_a_deceiver_that_was_left_already_makes_nobody_suspect_its_successor() -> None:
    """The liar could else time its COMMITs so that member 2, with the liar's help, left view upon view."""
    b = Bench(me=2, request_timeout_ms=1000)
    b.submit(7)
    b.propose(1, 7, at=WALL + 1)
    decided = b.proposal(1)
    for member in (1, 3):
        b.hear(b.commit(member, decided))
    b.suspect(0)
    b.suspect(3)
    assert b.engine.status().view == 1
    b.hear(b.commit(0, decided))
    b.hear(b.sign(1, Proposal(decided.sequence, decided.timestamp, decided.root)))
    b.wait(500)
    assert b.height == 1
    assert not b.own_suspicions(1)


def learnt_and_proposed_otherwise(decided_in: int) -> Bench:
    """Member 2 learns what was decided in one view, and then enters view 3, which proposed something else."""
    b = Bench(me=2)
    proposed = b.proposal(1, 7)
    decided = b.proposal(1, 8, view=decided_in)
    commits = [
        Signed(Commit(decided.view, decided.sequence, decided.digest), b.commit(m, decided))
        for m in (0, 1, 3)
    ]
    certificate = commit_certificate(commits)
    b.engine.learn(Decision(Height(1), decided.digest, decided.timestamp, (request(8),), certificate), b.now)
    b.wait(50)
    assert b.height == 1
    changes = [b.view_change(0, 3, b.proof(proposed, 1, 3)), b.view_change(1, 3), b.view_change(3, 3)]
    b.hear(b.new_view(3, *changes))
    return b


def test_a_late_new_view_halts_nobody_who_learnt_what_a_later_view_decided() -> None:
    """What was prepared, proposed again and decided by nobody may be dropped by the next view."""
    b = learnt_and_proposed_otherwise(decided_in=5)
    status = b.engine.status()
    assert (status.view, status.active, status.halted) == (3, True, None)
    b.hear(b.new_view(5, *(b.view_change(m, 5) for m in (0, 1, 3))))
    b.submit(9)
    p = b.propose(2, 9, view=5)
    assert Prepare(View(5), Height(2), p.digest) in b.said(Prepare)


def test_a_new_view_that_contradicts_what_was_decided_before_it_halts_whoever_holds_that() -> None:
    for view in (0, 3):
        assert "another batch for 1" in (learnt_and_proposed_otherwise(view).engine.status().halted or "")
