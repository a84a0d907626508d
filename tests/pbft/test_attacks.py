"""Attacks by up to f members and any number of clients, one test each, named by what must hold."""

from crypto.attestation import Height
from pbft import Limits
from pbft.messages import Prepare, Stable, View
from tests.pbft.bench import Bench
from tests.pbft.cluster import request


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
