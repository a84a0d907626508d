"""What members may send, and what they are given."""

from consensus.contract import FetchBodies, Relay
from crypto.attestation import Height
from crypto.roster import MemberId
from tests.tetrarch.node.support import WALL, Solo, chain, request, tell, to_member
from tetrarch.node.effects import ConnectionId
from tetrarch.node.limits import NodeLimits
from tetrarch.wire import AskBodies, AskRange, Bodies, Range, Submit, pack

ONE, TWO, THREE = MemberId(1), MemberId(2), MemberId(3)
CLIENT = ConnectionId(1)


def test_frames_that_make_no_sense_are_dropped_and_counted() -> None:
    solo = Solo(n=4)
    for data in (b"", b"\x00", b"\x40\x91\x01", bytes([67]) + b"\x92\x00\x00\x00"):
        solo.heart.peer_frame(ONE, data)
    solo.turn()
    assert dict(solo.heart.counters.all())["member frame: not decodable"] == 4


def test_missing_bodies_are_asked_for_of_one_source_after_the_other() -> None:
    solo = Solo(n=4, automatic=False)
    missing = request(solo, 1)
    for source in (TWO, THREE, TWO):
        solo.engine.fetch = [FetchBodies((missing.id,), (TWO, THREE))]
        assert to_member(solo.turn(), source) == [AskBodies((missing.id,))]
    tell(solo, THREE, Bodies(False, (missing.body,)))
    solo.turn()
    assert solo.engine.submitted == [(missing.id, None)]


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
