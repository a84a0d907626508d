"""Transactions that clients and members send: whose are checked, in which order, and what becomes of them."""

import pytest

from consensus.contract import FetchBodies
from crypto.keys import InlineChecker
from crypto.roster import MemberId
from ledger.transaction import transaction_id
from tests.tetrarch.node.support import WALL, Solo, request, spoiled, tell, to_member
from tetrarch.node.effects import ChecksWanted, ConnectionId
from tetrarch.node.limits import NodeLimits
from tetrarch.wire import AskBodies, Bodies, Submit, pack

TWO, THREE = MemberId(2), MemberId(3)
CLIENT = ConnectionId(1)


def test_relayed_transactions_are_verified_and_submitted_in_their_members_name() -> None:
    solo = Solo(n=4, automatic=False)
    good, bad = request(solo, 1), spoiled(request(solo, 2).body)
    tell(solo, TWO, Bodies(True, (good.body, bad)))
    solo.turn()
    assert solo.engine.submitted == [(good.id, TWO)]


def test_relayed_transactions_that_are_known_or_executed_cost_no_check() -> None:
    solo = Solo(n=4)
    raw = request(solo, 1).body
    solo.heart.client_frame(CLIENT, pack(Submit(True, (raw,))))
    solo.turn()
    checked = len(solo.checker.asked)
    tell(solo, TWO, Bodies(True, (raw,)))
    solo.turn()
    assert len(solo.checker.asked) == checked
    assert solo.ledger.height == 1


def test_bodies_that_nobody_asked_for_are_dropped() -> None:
    solo = Solo(n=4, automatic=False)
    tell(solo, TWO, Bodies(False, (request(solo, 1).body,)))
    solo.turn()
    assert solo.engine.submitted == []


def test_a_proposed_body_is_taken_though_it_has_expired() -> None:
    solo = Solo(n=4, automatic=False)
    expired = request(solo, 1, valid_until=WALL - 5_000)
    solo.engine.fetch = [FetchBodies((expired.id,), (TWO,))]
    solo.turn()
    tell(solo, TWO, Bodies(False, (expired.body,)))
    solo.turn()
    assert solo.engine.submitted == [(expired.id, None)]


def test_a_proposed_body_that_was_executed_before_comes_from_ones_own_store() -> None:
    solo = Solo(n=4, automatic=False)
    done = request(solo, 1)
    solo.engine.decide([done], WALL)
    solo.turns()
    solo.engine.fetch = [FetchBodies((done.id,), (TWO,))]
    effects = solo.turn()
    assert effects.to_members == []
    assert solo.engine.submitted == [(done.id, None)]


def test_a_body_that_waits_for_its_check_is_checked_next_instead_of_being_fetched() -> None:
    solo = Solo(n=4, automatic=False, limits=NodeLimits(checks_per_turn=4))
    requests = [request(solo, number) for number in range(20)]
    solo.heart.client_frame(CLIENT, pack(Submit(True, tuple(each.body for each in requests))))
    solo.turn()
    last = requests[-1]
    solo.engine.fetch = [FetchBodies((last.id,), (TWO,))]
    assert to_member(solo.turn(), TWO) == []
    solo.turn()
    assert (last.id, None) in solo.engine.submitted
    assert len(solo.engine.submitted) < 20


def test_bad_bytes_that_wait_do_not_keep_a_body_from_being_fetched() -> None:
    solo = Solo(n=4, automatic=False, limits=NodeLimits(checks_per_turn=1))
    wanted = request(solo, 1)
    bodies = [request(solo, number).body for number in range(10, 20)]
    solo.heart.client_frame(CLIENT, pack(Submit(True, (*bodies, spoiled(wanted.body)))))
    solo.turn()
    for _ in range(2):
        solo.engine.fetch = [FetchBodies((wanted.id,), (TWO,))]
        frames = to_member(solo.turn(), TWO)
    assert frames == [AskBodies((wanted.id,))]
    tell(solo, TWO, Bodies(False, (wanted.body,)))
    solo.turns()
    assert (wanted.id, None) in solo.engine.submitted


def test_a_known_transaction_that_is_relayed_enters_its_members_lane() -> None:
    solo = Solo(n=4, automatic=False)
    known = request(solo, 1)
    solo.heart.client_frame(CLIENT, pack(Submit(True, (known.body,))))
    solo.turn()
    tell(solo, TWO, Bodies(True, (known.body,)))
    solo.turn()
    assert solo.engine.submitted == [(known.id, None), (known.id, TWO)]
    assert len(solo.checker.asked) == 1


def test_relayed_transactions_are_checked_before_the_queue_and_leave_clients_a_share() -> None:
    solo = Solo(n=4, automatic=False, limits=NodeLimits(checks_per_turn=4))
    queued = [request(solo, number) for number in range(20)]
    solo.heart.client_frame(CLIENT, pack(Submit(True, tuple(each.body for each in queued))))
    solo.turn()
    relayed = [*queued[10:13], request(solo, 100)]
    tell(solo, TWO, Bodies(True, tuple(each.body for each in relayed)))
    solo.engine.submitted.clear()
    solo.turn()
    assert list(dict.fromkeys(tx_id for tx_id, _ in solo.engine.submitted)) == [
        *[each.id for each in queued[10:13]],
        queued[4].id,
    ]
    assert (queued[10].id, TWO) in solo.engine.submitted, "in the lane of the member that relayed it"
    solo.turns()
    assert len(solo.checker.asked) == 21, "nothing is verified twice"


def test_what_was_executed_while_it_waited_costs_no_check() -> None:
    solo = Solo(n=4, automatic=False, limits=NodeLimits(checks_per_turn=1))
    first, second = request(solo, 1), request(solo, 2)
    solo.heart.client_frame(CLIENT, pack(Submit(True, (first.body, second.body))))
    solo.engine.decide([second], WALL)
    solo.turns()
    assert len(solo.checker.asked) == 1


def test_checks_may_be_answered_later_and_still_take_effect_in_order() -> None:
    solo = Solo(n=4, automatic=False, deferred=True, limits=NodeLimits(checks_per_turn=2))
    raws = [request(solo, number).body for number in range(4)]
    solo.heart.client_frame(CLIENT, pack(Submit(True, tuple(raws))))
    handed = [wanted for effects in solo.turns() for wanted in effects.checks]
    assert [len(wanted.checks) for wanted in handed] == [2, 2]
    solo.heart.checked(handed[1].number, [True, True])
    solo.turns()
    assert solo.engine.submitted == [], "the first chunk is not back yet"
    solo.heart.checked(handed[0].number, [True, False])
    solo.turns()
    assert [tx_id for tx_id, _ in solo.engine.submitted] == [
        transaction_id(raw) for raw in (raws[0], raws[2], raws[3])
    ]


def test_good_bytes_that_wait_behind_bad_ones_of_their_id_are_not_ordered_after_that_was_executed() -> None:
    """The last bytes that came with an id are checked when it is wanted; those before them still wait."""
    solo = Solo(n=4, automatic=False, limits=NodeLimits(checks_per_turn=1))
    wanted = request(solo, 1)
    junk = [request(solo, number).body for number in range(10, 20)]
    solo.heart.client_frame(CLIENT, pack(Submit(True, (*junk, wanted.body, spoiled(wanted.body)))))
    solo.turn()
    solo.engine.fetch = [FetchBodies((wanted.id,), (TWO,))]
    solo.turn()
    solo.turn()
    solo.engine.decide([wanted], WALL)
    solo.turns()
    assert solo.ledger.height == 1
    assert wanted.id not in [tx_id for tx_id, _ in solo.engine.submitted]


def test_what_is_noted_of_executed_transactions_goes_with_the_bytes_that_wait() -> None:
    solo = Solo(n=4, automatic=False, limits=NodeLimits(checks_per_turn=1))
    for number in range(0, 40, 2):
        bodies = (request(solo, number).body, request(solo, number + 1).body)
        solo.heart.client_frame(CLIENT, pack(Submit(True, bodies)))
        solo.engine.decide([request(solo, number)], WALL + number)
        solo.turn()
        solo.turn()
    assert solo.heart._admission.noted <= 2


def checked_elsewhere(limits: NodeLimits) -> Solo:
    """A replica whose clients sent ten transactions, of which none was checked yet."""
    solo = Solo(n=4, automatic=False, limits=limits, deferred=True)
    bodies = [request(solo, number).body for number in range(10, 20)]
    solo.heart.client_frame(CLIENT, pack(Submit(True, tuple(bodies))))
    return solo


def answer_checks(solo: Solo, out: list[ChecksWanted]) -> None:
    """Answer these checks, and those that follow."""
    for _ in range(20):
        out += solo.turn().checks
        while out:
            wanted = out.pop(0)
            solo.heart.checked(wanted.number, InlineChecker().check(wanted.checks))


@pytest.mark.parametrize("limits", [NodeLimits(coming=4), NodeLimits(coming_bytes=1000)])
def test_a_queue_full_of_clients_transactions_keeps_no_relayed_one_out(limits: NodeLimits) -> None:
    """Else its member would hold the primary for a censor, and whoever floods a primary depose it."""
    solo = checked_elsewhere(limits)
    out = solo.turn().checks
    assert sum(len(wanted.checks) for wanted in out) < 10
    relayed = request(solo, 1)
    tell(solo, TWO, Bodies(True, (relayed.body,)))
    answer_checks(solo, out)
    assert (relayed.id, TWO) in solo.engine.submitted


def test_one_members_bodies_that_wait_are_bounded_in_bytes() -> None:
    size = len(request(Solo(n=4), 10).body)
    solo = Solo(n=4, automatic=False, limits=NodeLimits(coming_bytes_per_member=3 * size), deferred=True)
    tell(solo, TWO, Bodies(True, tuple(request(solo, number).body for number in range(10, 20))))
    tell(solo, THREE, Bodies(True, (request(solo, 1).body,)))
    assert len(solo.turn().checks[0].checks) == 4


def test_a_transaction_that_many_clients_sent_is_still_counted_as_relayed() -> None:
    solo = Solo(n=4, automatic=False, limits=NodeLimits(checks_per_turn=1))
    relayed = request(solo, 1)
    junk = tuple(request(solo, number).body for number in range(10, 20))
    solo.heart.client_frame(CLIENT, pack(Submit(True, junk)))
    for connection in range(2, 40):
        solo.heart.client_frame(ConnectionId(connection), pack(Submit(True, (relayed.body,))))
    solo.turn()
    for _ in range(40):
        tell(solo, TWO, Bodies(True, (relayed.body,)))
    solo.turn()
    assert solo.engine.submitted.count((relayed.id, TWO)) == 1


def test_a_body_out_of_ones_own_store_does_not_wait_to_be_ordered_again() -> None:
    solo = Solo(n=4, automatic=False)
    done = request(solo, 1)
    solo.engine.decide([done], WALL)
    solo.turns()
    solo.engine.fetch = [FetchBodies((done.id,), (TWO,))]
    solo.turn()
    assert solo.engine.submitted == [(done.id, None)]
    assert done.id not in solo.engine.pool


def test_an_executed_body_that_a_member_brings_does_not_wait_to_be_ordered_again() -> None:
    solo = Solo(n=4, automatic=False, limits=NodeLimits(body_blocks=0))
    done = request(solo, 1)
    solo.engine.decide([done], WALL)
    solo.turns()
    solo.engine.fetch = [FetchBodies((done.id,), (TWO,))]
    solo.turn()
    tell(solo, TWO, Bodies(False, (done.body,)))
    solo.turns()
    assert solo.engine.submitted == [(done.id, None)]
    assert done.id not in solo.engine.pool
