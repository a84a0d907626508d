"""What members may send, and what they are given."""

import pytest

from consensus.contract import FetchBlocks, FetchBodies, Relay, Request
from crypto.attestation import Height
from crypto.batch import Millis, TxId
from crypto.keys import InlineChecker
from crypto.roster import MemberId
from ledger.block import Block
from ledger.transaction import transaction_id
from tests.tetrarch.node.support import WALL, Solo, spoiled, to_member, transaction
from tetrarch.node.effects import ChecksWanted, ConnectionId
from tetrarch.node.limits import NodeLimits
from tetrarch.wire import AskBodies, AskRange, Bodies, Frame, Range, Submit, pack

ONE, TWO, THREE = MemberId(1), MemberId(2), MemberId(3)
CLIENT = ConnectionId(1)


def tell(solo: Solo, member: MemberId, frame: Frame) -> None:
    solo.heart.peer_frame(member, pack(frame))


def request(solo: Solo, number: int, valid_until: int = WALL + 60_000) -> Request:
    raw = transaction(solo.genesis, number, valid_until=valid_until)
    return Request(TxId(transaction_id(raw)), Millis(valid_until), raw)


def chain(blocks: int, **arguments: object) -> tuple[Solo, list[Block]]:
    """A source, and its blocks with certificates."""
    solo = Solo(n=4, automatic=False)
    for number in range(blocks):
        solo.engine.decide([request(solo, number)], WALL + number)
        solo.turns()
    return solo, solo.ledger.blocks_from(Height(1), Height(blocks), 10**9)


def asked_ranges(solo: Solo) -> list[tuple[MemberId, AskRange]]:
    effects = solo.turns()
    return [
        (member, frame)
        for member in (ONE, TWO, THREE)
        for effect in effects
        for frame in to_member(effect, member)
        if isinstance(frame, AskRange)
    ]


def test_frames_that_make_no_sense_are_dropped_and_counted() -> None:
    solo = Solo(n=4)
    for data in (b"", b"\x00", b"\x40\x91\x01", bytes([67]) + b"\x92\x00\x00\x00"):
        solo.heart.peer_frame(ONE, data)
    solo.turn()
    assert dict(solo.heart.counters.all())["member frame: not decodable"] == 4


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


def test_missing_bodies_are_asked_for_of_one_source_after_the_other() -> None:
    solo = Solo(n=4, automatic=False)
    missing = request(solo, 1)
    for source in (TWO, THREE, TWO):
        solo.engine.fetch = [FetchBodies((missing.id,), (TWO, THREE))]
        assert to_member(solo.turn(), source) == [AskBodies((missing.id,))]
    tell(solo, THREE, Bodies(False, (missing.body,)))
    solo.turn()
    assert solo.engine.submitted == [(missing.id, None)]


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


def test_relays_carry_the_bodies_to_their_member() -> None:
    solo = Solo(n=4, automatic=False)
    body = request(solo, 1).body
    solo.engine.relay = [Relay(THREE, (body,))]
    assert to_member(solo.turn(), THREE) == [Bodies(True, (body,))]


def test_bodies_are_given_from_the_pool_and_from_stored_blocks() -> None:
    solo = Solo(n=4, automatic=False)
    stored, pooled, unknown = request(solo, 1), request(solo, 2), request(solo, 3)
    solo.engine.decide([stored], WALL)
    solo.turns()
    solo.heart.client_frame(CLIENT, pack(Submit(True, (pooled.body,))))
    solo.turn()
    tell(solo, TWO, AskBodies((stored.id, pooled.id, unknown.id)))
    (answer,) = to_member(solo.turn(), TWO)
    assert isinstance(answer, Bodies)
    assert not answer.relayed
    assert sorted(answer.transactions) == sorted([stored.body, pooled.body])


def test_answers_with_bodies_are_cut_by_bytes() -> None:
    solo = Solo(n=4, automatic=False, limits=NodeLimits(bodies_bytes=500, bodies_frames=2))
    requests = [request(solo, number) for number in range(10)]
    solo.heart.client_frame(CLIENT, pack(Submit(True, tuple(each.body for each in requests))))
    solo.turn()
    tell(solo, TWO, AskBodies(tuple(each.id for each in requests)))
    frames = to_member(solo.turn(), TWO)
    assert [len(frame.transactions) for frame in frames if isinstance(frame, Bodies)] == [2, 2]


def test_a_range_is_served_within_its_bytes_and_never_past_the_head() -> None:
    source, blocks = chain(6)
    tell(source, ONE, AskRange(Height(2), Height(50)))
    (answer,) = to_member(source.turn(), ONE)
    assert isinstance(answer, Range)
    assert answer.blocks == tuple(blocks[1:])
    tell(source, ONE, AskRange(Height(7), Height(9)))
    assert to_member(source.turn(), ONE) == [Range(Height(7), ())]


def test_a_member_is_served_blocks_at_a_bounded_rate() -> None:
    limits = NodeLimits(range_burst_bytes=1, range_bytes_per_second=1_000)
    solo = Solo(n=4, automatic=False, limits=limits)
    solo.engine.decide([request(solo, 1)], WALL)
    solo.turns()
    for _ in range(2):
        tell(solo, ONE, AskRange(Height(1), Height(1)))
    assert len(to_member(solo.turn(), ONE)) == 1
    assert to_member(solo.turn(), ONE) == []
    assert solo.heart.deadline() is not None
    assert len(to_member(solo.turn(10_000), ONE)) == 1


def test_a_members_questions_are_bounded() -> None:
    solo = Solo(n=4, limits=NodeLimits(asks_per_member=2))
    for _ in range(5):
        tell(solo, ONE, AskRange(Height(1), Height(1)))
    solo.turns()
    assert dict(solo.heart.counters.all())["member: too many questions"] == 3


def test_served_blocks_are_verified_executed_and_lead_to_the_same_head() -> None:
    source, blocks = chain(5)
    solo = Solo(n=4, automatic=False)
    solo.engine.fetch = [FetchBlocks(Height(1), Height(5), (ONE, TWO))]
    ((member, question),) = asked_ranges(solo)
    assert (question.first, question.last) == (1, 5)
    tell(solo, member, Range(Height(1), tuple(blocks)))
    solo.turns()
    assert solo.engine.learnt == [1, 2, 3, 4, 5]
    assert solo.ledger.head_hash == source.ledger.head_hash
    assert len(solo.checker.asked) == 5, "every client's signature"


def wrong_blocks(blocks: list[Block]) -> dict[str, Block]:
    first = blocks[0]
    header = first.header
    other = type(header)
    fields = {name: getattr(header, name) for name in header.__struct_fields__}
    return {
        "a spoiled signature": Block(
            header, (spoiled(first.transactions[0]),), first.results, first.certificate
        ),
        "no transaction": Block(header, (), (), first.certificate),
        "no certificate": Block(header, first.transactions, first.results, b""),
        "another's certificate": Block(header, first.transactions, first.results, blocks[1].certificate),
        "not a transaction": Block(header, (b"nonsense" * 20,), first.results, first.certificate),
        "another timestamp": Block(
            other(**{**fields, "proposed": header.proposed + 1}),
            first.transactions,
            first.results,
            first.certificate,
        ),
    }


def test_a_wrong_block_is_never_executed_and_another_source_is_asked() -> None:
    _, blocks = chain(3)
    for what, wrong in wrong_blocks(blocks).items():
        solo = Solo(n=4, automatic=False)
        solo.engine.fetch = [FetchBlocks(Height(1), Height(3), (ONE, TWO))]
        ((liar, _),) = asked_ranges(solo)
        tell(solo, liar, Range(Height(1), (wrong, *blocks[1:])))
        ((honest, question),) = asked_ranges(solo)
        assert solo.ledger.height == 0, what
        assert honest != liar, what
        tell(solo, honest, Range(question.first, tuple(blocks)))
        solo.turns()
        assert solo.ledger.height == 3, what


def test_a_header_that_was_changed_in_the_serving_is_noticed_loudly() -> None:
    _, blocks = chain(1)
    header = blocks[0].header
    fields = {name: getattr(header, name) for name in header.__struct_fields__}
    lie = type(header)(**{**fields, "state_root": bytes(32)})
    solo = Solo(n=4, automatic=False)
    solo.engine.fetch = [FetchBlocks(Height(1), Height(1), (ONE,))]
    solo.turn()
    tell(
        solo,
        ONE,
        Range(Height(1), (Block(lie, blocks[0].transactions, blocks[0].results, blocks[0].certificate),)),
    )
    effects = solo.turns()
    assert solo.ledger.height == 1, "what was agreed is right, and that alone is believed"
    assert "block_differs" in [event.name for effect in effects for event in effect.events]


def test_a_silent_source_is_left_for_another() -> None:
    _, blocks = chain(2)
    solo = Solo(n=4, automatic=False, limits=NodeLimits(range_timeout_ms=100))
    solo.engine.fetch = [FetchBlocks(Height(1), Height(2), (ONE, TWO))]
    ((silent, _),) = asked_ranges(solo)
    assert solo.heart.deadline() is not None
    solo.at += 100
    ((other, question),) = asked_ranges(solo)
    assert other != silent
    tell(solo, silent, Range(Height(1), tuple(blocks)))
    solo.turns()
    assert solo.ledger.height == 0, "too late: another was asked"
    tell(solo, other, Range(question.first, tuple(blocks)))
    solo.turns()
    assert solo.ledger.height == 2


def test_blocks_that_no_source_has_are_not_asked_for_without_end() -> None:
    solo = Solo(n=4, automatic=False)
    solo.engine.fetch = [FetchBlocks(Height(1), Height(10**9), (ONE, TWO))]
    asked = 0
    for _ in range(50):
        for member, question in asked_ranges(solo):
            asked += 1
            tell(solo, member, Range(question.first, ()))
    assert 1 <= asked <= 8
    assert solo.heart.deadline() is None, "given up, until the engine asks again"


def test_a_source_without_the_blocks_does_not_keep_others_from_being_asked() -> None:
    _, blocks = chain(2)
    solo = Solo(n=4, automatic=False)
    solo.engine.fetch = [FetchBlocks(Height(1), Height(2), (ONE, TWO))]
    ((empty, question),) = asked_ranges(solo)
    tell(solo, empty, Range(question.first, ()))
    ((other, again),) = asked_ranges(solo)
    assert other != empty
    tell(solo, other, Range(again.first, tuple(blocks)))
    solo.turns()
    assert solo.ledger.height == 2


def test_blocks_that_nobody_asked_for_are_dropped() -> None:
    _, blocks = chain(2)
    solo = Solo(n=4, automatic=False)
    tell(solo, ONE, Range(Height(1), tuple(blocks)))
    solo.turns()
    assert solo.ledger.height == 0


def test_several_ranges_travel_at_once_and_are_applied_in_order() -> None:
    _, blocks = chain(12)
    solo = Solo(n=4, automatic=False, limits=NodeLimits(range_blocks=3))
    solo.engine.fetch = [FetchBlocks(Height(1), Height(12), (ONE, TWO, THREE))]
    questions = asked_ranges(solo)
    assert sorted(question.first for _, question in questions) == [1, 4, 7, 10]
    assert len({member for member, _ in questions}) == 3
    for member, question in sorted(questions, key=lambda each: -each[1].first):
        tell(solo, member, Range(question.first, tuple(blocks[question.first - 1 : question.last])))
        solo.turns()
    assert solo.ledger.height == 12


def test_a_short_answer_is_completed_by_another_question() -> None:
    _, blocks = chain(6)
    solo = Solo(n=4, automatic=False)
    solo.engine.fetch = [FetchBlocks(Height(1), Height(6), (ONE,))]
    ((_, first),) = asked_ranges(solo)
    tell(solo, ONE, Range(first.first, tuple(blocks[:2])))
    ((_, second),) = asked_ranges(solo)
    assert (second.first, second.last) == (3, 6)
    tell(solo, ONE, Range(second.first, tuple(blocks[2:])))
    solo.turns()
    assert solo.ledger.height == 6


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


def test_blocks_that_lie_here_behind_a_gap_keep_no_body_from_being_fetched() -> None:
    """A liar that serves all but the next block of a chain that only it claims."""
    solo = Solo(n=4, automatic=False, limits=NodeLimits(range_blocks=1))
    _, blocks = chain(3)
    solo.engine.fetch = [FetchBlocks(Height(1), Height(3), (ONE,))]
    solo.turn()
    for block in blocks[1:]:
        tell(solo, ONE, Range(block.header.height, (block,)))
    solo.turn()
    missing = request(solo, 50)
    solo.engine.fetch = [FetchBodies((missing.id,), (TWO,))]
    assert to_member(solo.turn(), TWO) == [AskBodies((missing.id,))]


def test_few_stored_blocks_are_read_for_one_members_questions_about_bodies() -> None:
    """Each may be a full one, and naming one of its transactions costs the member next to nothing."""
    limits = NodeLimits(body_blocks=4, body_blocks_per_turn=2, body_blocks_per_second=1)
    solo = Solo(n=4, automatic=False, limits=limits)
    requests = [request(solo, number) for number in range(20)]
    for number, each in enumerate(requests):
        solo.engine.decide([each], WALL + number)
        solo.turns()
    question = AskBodies(tuple(each.id for each in requests))

    def brought(after_ms: int) -> int:
        tell(solo, ONE, question)
        frames = [frame for effects in solo.turns(after_ms) for frame in to_member(effects, ONE)]
        return sum(len(frame.transactions) for frame in frames if isinstance(frame, Bodies))

    assert [brought(1) for _ in range(4)] == [2, 2, 0, 0]
    assert sum(brought(100) for _ in range(20)) == 2
