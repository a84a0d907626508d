"""What clients may ask, and what they may rely on in the answers."""

from consensus.contract import Request
from crypto import merkle
from crypto.attestation import Height, attested
from crypto.batch import Millis
from crypto.digest import digest
from crypto.keys import InlineChecker, SigningKey
from crypto.signed import envelope_check
from ledger.block import block_hash, result_leaf
from ledger.result import ResultCode, results
from ledger.transaction import transaction_id
from tests.tetrarch.node.support import (
    WALL,
    Solo,
    now_at,
    put,
    spoiled,
    to_client,
    transaction,
)
from tetrarch.node.effects import ConnectionId
from tetrarch.node.limits import NodeLimits
from tetrarch.wire import (
    AskAttestation,
    AskBlocks,
    AskOutcome,
    AskRead,
    AskReceipt,
    AskStatus,
    Attested,
    Blocks,
    Expired,
    Pending,
    ReadReply,
    Refusals,
    Refused,
    Results,
    StatusReply,
    Submit,
    Unknown,
    pack,
    statement_kinds,
)

ONE, TWO = ConnectionId(1), ConnectionId(2)


def verify_results(solo: Solo, reply: Results) -> None:
    """What any client checks before it believes."""
    roster = solo.genesis.roster()
    assert InlineChecker().check([envelope_check(roster, reply.attestation)]) == [True]
    statement = attested(reply.attestation)
    assert statement.block_hash == block_hash(reply.header)
    assert statement.height == reply.header.height
    entries = [
        (entry.position, merkle.leaf_hash(result_leaf(entry.tx_id, entry.result))) for entry in reply.entries
    ]
    proof = merkle.Multiproof(reply.proof)
    merkle.verify_multiproof(reply.header.result_root, reply.size, entries, proof)


def submit(solo: Solo, connection: ConnectionId, *raws: bytes, full: bool = True) -> None:
    solo.heart.client_frame(connection, pack(Submit(full, raws)))


def ask(solo: Solo, connection: ConnectionId, question: object) -> list[object]:
    solo.heart.client_frame(connection, pack(question))  # type: ignore[arg-type]
    return list(solo.frames(connection))


def test_one_frame_per_connection_and_block_proves_all_results() -> None:
    solo = Solo()
    raws = [transaction(solo.genesis, number) for number in range(5)]
    submit(solo, ONE, *raws[:3])
    submit(solo, TWO, *raws[2:])
    effects = solo.turn()
    (first,) = to_client(effects, ONE)
    (second,) = to_client(effects, TWO)
    assert isinstance(first, Results)
    assert isinstance(second, Results)
    assert [entry.tx_id for entry in first.entries] == [transaction_id(raw) for raw in raws[:3]]
    assert [entry.tx_id for entry in second.entries] == [transaction_id(raw) for raw in raws[2:]]
    for reply in (first, second):
        verify_results(solo, reply)
        assert all(results.decode(entry.result).code is ResultCode.OK for entry in reply.entries)


def test_a_client_that_wants_no_results_gets_the_attestation_alone() -> None:
    solo = Solo()
    submit(solo, ONE, transaction(solo.genesis, 1), full=False)
    (reply,) = to_client(solo.turn(), ONE)
    assert isinstance(reply, Attested)
    assert attested(reply.attestation).block_hash == solo.ledger.head_hash


def test_nothing_leaves_without_a_sync_when_the_engine_wrote() -> None:
    solo = Solo()
    submit(solo, ONE, transaction(solo.genesis, 1))
    assert solo.turn().sync
    assert not solo.turn().sync


def test_all_refusals_of_one_frame_are_signed_once_and_name_the_exact_bytes() -> None:
    solo = Solo()
    good = transaction(solo.genesis, 1)
    other_chain = transaction(Solo(n=2).genesis, 1)
    raws = [b"nonsense", spoiled(good), other_chain, transaction(solo.genesis, 2, b"[]"), good]
    submit(solo, ONE, *raws)
    frames = to_client(solo.turn(), ONE)
    (refused,) = [frame for frame in frames if isinstance(frame, Refused)]
    assert InlineChecker().check([envelope_check(solo.genesis.roster(), refused.refusals)]) == [True]
    statement = statement_kinds.decode(refused.refusals)
    assert isinstance(statement, Refusals)
    codes = {refusal.digest: refusal.code for refusal in statement.refusals}
    assert codes == {
        digest("received", raws[0]): "malformed",
        digest("received", raws[1]): "bad_signature",
        digest("received", raws[2]): "wrong_chain",
        digest("received", raws[3]): "invalid",
    }
    assert len(refused.reasons) == 4
    assert [frame for frame in frames if isinstance(frame, Results)], "the good one is not held up"


def test_a_bad_signature_on_ones_id_does_not_keep_the_good_one_out() -> None:
    solo = Solo()
    good = transaction(solo.genesis, 1)
    submit(solo, ONE, spoiled(good))
    submit(solo, TWO, good)
    effects = solo.turn()
    assert isinstance(to_client(effects, ONE)[0], Refused)
    assert isinstance(to_client(effects, TWO)[0], Results)


def test_invalidity_is_not_remembered_by_id() -> None:
    solo = Solo()
    good = transaction(solo.genesis, 1)
    submit(solo, ONE, spoiled(good))
    solo.turn()
    submit(solo, ONE, good)
    assert isinstance(to_client(solo.turn(), ONE)[0], Results)


def test_the_same_bytes_from_two_clients_are_verified_once() -> None:
    solo = Solo()
    raw = transaction(solo.genesis, 1)
    submit(solo, ONE, raw, raw)
    submit(solo, TWO, raw)
    effects = solo.turn()
    assert len(solo.checker.asked) == 1
    assert isinstance(to_client(effects, ONE)[0], Results)
    assert isinstance(to_client(effects, TWO)[0], Results)
    assert len(to_client(effects, ONE)) == 1


def test_a_pooled_transaction_is_not_verified_again_and_every_asker_is_told() -> None:
    solo = Solo(automatic=False)
    raw = transaction(solo.genesis, 1)
    submit(solo, ONE, raw)
    solo.turn()
    submit(solo, TWO, raw)
    solo.turn()
    assert len(solo.checker.asked) == 1
    solo.engine.automatic = True
    effects = solo.turn()
    assert isinstance(to_client(effects, ONE)[0], Results)
    assert isinstance(to_client(effects, TWO)[0], Results)


def test_an_executed_transaction_is_answered_at_once_and_not_ordered_again() -> None:
    solo = Solo()
    raw = transaction(solo.genesis, 1)
    submit(solo, ONE, raw)
    (first,) = to_client(solo.turn(), ONE)
    submit(solo, TWO, raw)
    (again,) = solo.frames(TWO)
    assert isinstance(first, Results)
    assert again == first
    assert solo.ledger.height == 1
    submit(solo, TWO, raw, full=False)
    (light,) = solo.frames(TWO)
    assert isinstance(light, Attested)


def test_a_full_pool_is_a_retryable_refusal() -> None:
    solo = Solo(automatic=False, capacity=1)
    submit(solo, ONE, transaction(solo.genesis, 1), transaction(solo.genesis, 2))
    (refused,) = to_client(solo.turn(), ONE)
    assert isinstance(refused, Refused)
    statement = statement_kinds.decode(refused.refusals)
    assert isinstance(statement, Refusals)
    assert [refusal.code for refusal in statement.refusals] == ["overloaded"]


def test_one_connection_has_its_share_of_what_waits_and_no_more() -> None:
    solo = Solo(automatic=False, limits=NodeLimits(coming_per_connection=2, coming=3))
    submit(solo, ONE, *[transaction(solo.genesis, number) for number in range(4)])
    submit(solo, TWO, *[transaction(solo.genesis, number) for number in range(10, 12)])
    effects = solo.turn()
    for connection, count in ((ONE, 2), (TWO, 1)):
        (refused,) = to_client(effects, connection)
        assert isinstance(refused, Refused)
        statement = statement_kinds.decode(refused.refusals)
        assert isinstance(statement, Refusals)
        assert len(statement.refusals) == count
    assert len(solo.engine.pool) == 3


def test_the_work_of_one_turn_is_bounded() -> None:
    solo = Solo(automatic=False, limits=NodeLimits(checks_per_turn=10))
    submit(solo, ONE, *[transaction(solo.genesis, number) for number in range(25)])
    pooled = []
    more = True
    while more:
        more = solo.turn().more
        pooled.append(len(solo.engine.pool))
    assert pooled == [10, 20, 25]
    assert len(solo.checker.asked) == 25


def test_an_open_outcome_is_pending_and_then_pushed() -> None:
    solo = Solo(automatic=False)
    raw = transaction(solo.genesis, 1)
    (reply,) = ask(solo, ONE, AskOutcome(7, raw))
    assert reply == Pending(7)
    assert ask(solo, ONE, AskOutcome(8, raw)) == [Pending(8)]
    solo.engine.automatic = True
    (pushed,) = solo.frames(ONE)
    assert isinstance(pushed, Results)
    assert pushed.request == 0
    (asked,) = ask(solo, ONE, AskOutcome(9, raw))
    assert isinstance(asked, Results)
    assert asked.request == 9


def test_the_outcome_of_nonsense_is_a_refusal() -> None:
    solo = Solo()
    (reply,) = ask(solo, ONE, AskOutcome(7, b"nonsense"))
    assert isinstance(reply, Refused)
    assert reply.request == 7


def test_expired_is_signed_once_the_ledgers_time_has_passed() -> None:
    solo = Solo(automatic=False)
    raw = transaction(solo.genesis, 1, valid_until=WALL + 100)
    solo.at = 200
    assert ask(solo, ONE, AskOutcome(1, raw)) == [Pending(1)]
    assert solo.engine.advanced == [], "within the clock bound others may still execute it"
    solo.at = 20_000
    assert ask(solo, ONE, AskOutcome(2, raw)) == [Pending(2)]
    assert ask(solo, ONE, AskOutcome(3, raw)) == [Pending(3)]
    assert solo.engine.advanced == [WALL + 100], "at most one empty block in a second"
    solo.engine.decide([], WALL + solo.at)
    solo.turns()
    (reply,) = ask(solo, ONE, AskOutcome(4, raw))
    assert isinstance(reply, Expired)
    assert InlineChecker().check([envelope_check(solo.genesis.roster(), reply.statement)]) == [True]


def test_a_receipt_is_proven_by_id() -> None:
    solo = Solo()
    raw = transaction(solo.genesis, 1)
    assert ask(solo, ONE, AskReceipt(5, transaction_id(raw))) == [Unknown(5, Height(0))]
    submit(solo, ONE, raw)
    solo.turn()
    (reply,) = ask(solo, TWO, AskReceipt(6, transaction_id(raw)))
    assert isinstance(reply, Results)
    assert reply.request == 6
    verify_results(solo, reply)


def test_old_blocks_are_proven_from_the_store() -> None:
    solo = Solo(limits=NodeLimits(proven_bytes=1, attestations=1))
    raws = [transaction(solo.genesis, number) for number in range(6)]
    for raw in raws:
        submit(solo, ONE, raw)
        solo.turn()
    for number, raw in enumerate(raws):
        (reply,) = ask(solo, TWO, AskReceipt(number, transaction_id(raw)))
        assert isinstance(reply, Results)
        assert reply.header.height == number + 1
        verify_results(solo, reply)


def test_any_executed_height_is_attested_again() -> None:
    solo = Solo(limits=NodeLimits(attestations=1))
    for number in range(3):
        submit(solo, ONE, transaction(solo.genesis, number))
        solo.turn()
    for height in (1, 2, 3):
        (reply,) = ask(solo, ONE, AskAttestation(height, Height(height)))
        assert isinstance(reply, Attested)
        header = solo.ledger.header(Height(height))
        assert header is not None
        assert attested(reply.attestation).block_hash == block_hash(header)
    assert ask(solo, ONE, AskAttestation(9, Height(4))) == [Unknown(9, Height(3))]
    assert ask(solo, ONE, AskAttestation(9, Height(0))) == [Unknown(9, Height(3))]


def test_a_read_shows_the_value_at_an_attested_head() -> None:
    solo = Solo()
    assert ask(solo, ONE, AskRead(1, b"colour", Height(0))) == [Unknown(1, Height(0))]
    submit(solo, ONE, transaction(solo.genesis, 1, put("colour", "red")))
    solo.turn()
    (reply,) = ask(solo, ONE, AskRead(2, b"colour", Height(1)))
    assert isinstance(reply, ReadReply)
    assert reply.value == b'"red"'
    assert attested(reply.attestation).block_hash == block_hash(reply.header)
    (absent,) = ask(solo, ONE, AskRead(3, b"shape", Height(0)))
    assert isinstance(absent, ReadReply)
    assert absent.value is None
    assert ask(solo, ONE, AskRead(4, b"colour", Height(2))) == [Unknown(4, Height(1))]


def test_blocks_are_held_until_there_is_one() -> None:
    solo = Solo()
    assert ask(solo, ONE, AskBlocks(1, Height(1), True)) == []
    assert ask(solo, TWO, AskBlocks(2, Height(1), False)) == []
    submit(solo, ConnectionId(3), transaction(solo.genesis, 1))
    effects = solo.turns()
    (full,) = [frame for effect in effects for frame in to_client(effect, ONE)]
    (light,) = [frame for effect in effects for frame in to_client(effect, TWO)]
    assert isinstance(full, Blocks)
    assert [block.header.height for block in full.blocks] == [1]
    assert full.blocks[0].certificate == b""
    assert isinstance(light, Blocks)
    assert [attested(envelope).height for envelope in light.attestations] == [1]


def test_a_held_question_is_answered_empty_in_the_end() -> None:
    solo = Solo(limits=NodeLimits(poll_ms=500))
    assert ask(solo, ONE, AskBlocks(1, Height(1), True)) == []
    assert solo.heart.deadline() == now_at(501).monotonic
    assert solo.frames(ONE, after_ms=499) == []
    assert solo.frames(ONE, after_ms=1) == [Blocks(1, (), ())]
    assert solo.heart.deadline() is None


def test_held_questions_are_bounded() -> None:
    solo = Solo(limits=NodeLimits(polls_per_connection=2))
    for number in (1, 2):
        assert ask(solo, ONE, AskBlocks(number, Height(1), True)) == []
    assert ask(solo, ONE, AskBlocks(3, Height(1), True)) == [Blocks(3, (), ())]
    assert ask(solo, ONE, AskBlocks(2, Height(1), True)) == [Blocks(2, (), ())]


def test_a_connection_that_goes_is_forgotten_wholly() -> None:
    solo = Solo(automatic=False)
    submit(solo, ONE, transaction(solo.genesis, 1))
    solo.turn()
    ask(solo, ONE, AskBlocks(1, Height(1), True))
    submit(solo, ONE, b"nonsense")
    solo.heart.client_frame(ONE, pack(AskStatus(3)))
    solo.heart.client_gone(ONE)
    solo.engine.automatic = True
    assert solo.frames(ONE) == []
    assert solo.ledger.height == 1
    assert solo.heart.deadline() is None


def test_a_frame_that_makes_no_sense_ends_the_connection() -> None:
    solo = Solo()
    for data in (b"", b"\x01", b"\xff\x00", b"\x20\x90"):
        solo.heart.client_frame(ONE, data)
        assert solo.turn().closes == [ONE]


def test_questions_without_end_are_dropped_and_counted() -> None:
    solo = Solo(limits=NodeLimits(asks_per_connection=3))
    for number in range(5):
        solo.heart.client_frame(ONE, pack(AskStatus(number)))
    assert len(solo.frames(ONE)) == 3
    assert dict(solo.heart.counters.all())["client: too many questions"] == 2


def test_the_status_says_what_the_replica_does() -> None:
    solo = Solo()
    submit(solo, ONE, transaction(solo.genesis, 1))
    solo.turn()
    (reply,) = ask(solo, ONE, AskStatus(1))
    assert isinstance(reply, StatusReply)
    assert (reply.member, reply.name, reply.height, reply.role) == (0, "replica-0", 1, "primary")
    assert reply.head == solo.ledger.head_hash
    assert reply.peers == (True,)


def test_a_transaction_that_dies_in_the_pool_is_forgotten() -> None:
    solo = Solo(automatic=False)
    raw = transaction(solo.genesis, 1, valid_until=WALL + 1_000)
    submit(solo, ONE, raw)
    solo.turn()
    assert len(solo.engine.pool) == 1
    solo.turn(10_000)
    assert len(solo.engine.pool) == 1, "a proposal within the clock bound may still hold it in time"
    solo.turn(10_000)
    assert solo.engine.pool == {}
    assert solo.engine.settled_ids == [transaction_id(raw)]


def test_a_transaction_executed_while_it_waits_for_its_check_is_answered_and_not_ordered_again() -> None:
    solo = Solo(automatic=False, limits=NodeLimits(checks_per_turn=1))
    raw = transaction(solo.genesis, 1)
    submit(solo, ONE, transaction(solo.genesis, 2), raw)
    solo.engine.decide([Request(transaction_id(raw), Millis(WALL + 60_000), raw)], WALL)
    frames = solo.frames(ONE)
    (proven,) = [frame for frame in frames if isinstance(frame, Results)]
    assert [entry.tx_id for entry in proven.entries] == [transaction_id(raw)]
    assert transaction_id(raw) not in solo.engine.pool


def test_a_key_of_low_order_may_not_send() -> None:
    solo = Solo()

    class LowOrder:
        public_key = bytes(32)

        def sign(self, message: bytes) -> bytes:
            return SigningKey(bytes(32)).sign(message)

    submit(solo, ONE, transaction(solo.genesis, 1, signer=LowOrder()))  # type: ignore[arg-type]
    (refused,) = to_client(solo.turn(), ONE)
    assert isinstance(refused, Refused)
    statement = statement_kinds.decode(refused.refusals)
    assert isinstance(statement, Refusals)
    assert statement.refusals[0].code == "bad_key"
