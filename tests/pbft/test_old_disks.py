"""Members whose disks are older than their votes: how they notice, and what they do then."""

from consensus.contract import Decision
from crypto.attestation import Height
from crypto.batch import Millis
from pbft import Limits
from pbft.messages import NewView, Prepare, PrePrepare, Stable, View, ViewChange
from pbft.normal_case import FILLER_INTERVAL_MS
from tests.pbft.bench import BLOCK, Bench
from tests.pbft.cluster import WALL, Cluster, Disk, request


def test_a_primary_whose_mark_ends_while_it_leads_proposes_again() -> None:
    b = Bench(me=0)
    b.hear(b.sign(0, b.proposal(1, 7), request(7).id))
    assert "older than its votes" in b.engine.status().waiting_for
    for member in (1, 2, 3):
        b.status(member, at=Millis(WALL + 15_000))
    for height in range(1, 17):
        b.engine.learn(Decision(Height(height), BLOCK, Millis(1), (), b""), b.now)
        b.drain()
    b.hear(b.sign(1, Stable(b.checkpoint(16, 1, 2, 3))))
    b.submit(8)
    assert [(p.view, p.sequence) for p in b.said(PrePrepare)] == [(0, 17)]


def test_a_marked_replica_counts_no_status_from_before_its_start() -> None:
    b = Bench(me=0, n=7)
    b.hear(b.sign(0, b.proposal(1, 7), request(7).id))
    for member in range(1, 7):
        b.status(member, at=Millis(WALL - 60_000))
    assert "the others' checkpoints, before it votes again" in b.engine.status().waiting_for
    for member in range(1, 6):
        b.status(member, at=Millis(WALL + 15_000), stable=Height(0))
    assert "checkpoint 16, before it votes again" in b.engine.status().waiting_for


def test_empty_blocks_for_a_rejoining_member_wait_for_no_other_timer() -> None:
    c = Cluster(limits=Limits(checkpoint_interval=32, window=64))
    c.submit([1])
    assert c.run(c.all_executed([1]))
    rejoining = c.members[3]
    rejoining.crash()
    rejoining.disk = Disk()
    rejoining.start(marked=True)
    wait_for_fresh_status = c.limits.clock_bound_ms + 4 * c.tuning.status_period_ms
    fillers = 2 * c.limits.window * 2 * FILLER_INTERVAL_MS
    assert c.run(lambda: not rejoining.engine.status().marked, limit=wait_for_fresh_status + fillers)


def test_a_primary_shown_its_own_new_view_that_its_disk_lacks_is_marked_and_enters_that_view() -> None:
    """It would else never enter the view that it leads, or start it a second time, in another way."""
    b = Bench(me=1)
    for member in (0, 2):
        b.hear(b.view_change(member, 1))
    (started,) = [envelope for _, message, envelope in b.sent if isinstance(message, NewView)]
    older = Bench(me=1)
    older.suspect(0)
    older.suspect(3)
    assert older.engine.status().view == 1
    older.hear(started)
    assert older.engine.status().marked
    older.hear(started)
    assert older.engine.status().active
    b.hear(started)
    assert not b.engine.status().marked


def test_a_marked_member_repeats_neither_its_view_change_nor_its_votes() -> None:
    b = Bench(me=2)
    b.submit(7)
    b.propose(1, 7)
    b.suspect(0)
    b.suspect(3)
    assert b.said(ViewChange)
    b.hear(b.sign(2, Prepare(View(0), Height(2), BLOCK)))
    assert b.engine.status().marked
    b.sent.clear()
    b.wait(2000)
    b.status(1, view=View(0))
    assert not b.said(ViewChange)
    b.hear(b.new_view(1, *(b.view_change(member, 1) for member in (0, 1, 3))))
    b.time += 1000
    b.status(1, view=View(1))
    assert not b.said(Prepare)


def test_a_member_marked_in_a_running_view_repeats_no_vote() -> None:
    b = Bench(me=2)
    b.submit(7)
    b.propose(1, 7)
    b.hear(b.sign(2, Prepare(View(0), Height(2), BLOCK)))
    b.sent.clear()
    b.status(1)
    assert b.engine.status().marked
    assert not b.said(Prepare)
