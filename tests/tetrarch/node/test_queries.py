"""Questions to the application as a replica answers them: at its head, within a budget, never a crash."""

import pytest

from crypto.attestation import Height
from ledger.application import MAX_ANSWER_BYTES, MAX_QUESTION_BYTES, Invalid, StateReader
from ledger.applications.kv import KeyValueMap
from ledger.errors import CorruptStore
from ledger.keyvalue import Family
from ledger.state.nodes import VALUE_PREFIX, path_of
from tests.tetrarch.node.support import Solo, put, to_client, transaction
from tetrarch.node.effects import ConnectionId, Effects, Event, Level
from tetrarch.node.limits import NodeLimits
from tetrarch.wire import (
    AskQuery,
    AskStatus,
    Frame,
    NoAnswer,
    QueryReply,
    StatusReply,
    Submit,
    Unknown,
    pack,
)

ONE, TWO = ConnectionId(1), ConnectionId(2)
GET_A = b'{"key":"a","op":"get"}'


class Moody(KeyValueMap):
    """The map, whose queries fail in the way that the question names, and are counted."""

    def __init__(self) -> None:
        super().__init__({})
        self.asked = 0

    def query(self, question: bytes, state: StateReader) -> bytes:
        self.asked += 1
        match question:
            case b"raise":
                raise ZeroDivisionError("a secret of this machine")
            case b"leave":
                raise SystemExit
            case b"long":
                return bytes(MAX_ANSWER_BYTES + 1)
            case b"longest":
                return bytes(MAX_ANSWER_BYTES)
            case b"invalid":
                raise Invalid("\ud800" * 999)
        return super().query(question, state)


def written(value: str = "1", **arguments: object) -> Solo:
    """A replica with one block, in which the key a has this value."""
    solo = Solo(application=Moody(), **arguments)  # type: ignore[arg-type]
    solo.heart.client_frame(TWO, pack(Submit(True, (transaction(solo.genesis, 1, put("a", value)),))))
    solo.turns()
    return solo


def ask(solo: Solo, question: bytes, min_height: int = 0) -> tuple[Frame, list[Event]]:
    solo.heart.client_frame(ONE, pack(AskQuery(7, question, Height(min_height))))
    turns = solo.turns()
    (reply,) = [frame for effects in turns for frame in to_client(effects, ONE)]
    return reply, [event for effects in turns for event in effects.events]


def test_a_question_is_answered_at_the_head_and_before_the_first_block() -> None:
    solo = Solo()
    assert ask(solo, GET_A)[0] == QueryReply(7, Height(0), b"null")
    solo = written("red")
    assert ask(solo, GET_A, min_height=1)[0] == QueryReply(7, Height(1), b'"red"')


def test_a_question_about_a_height_that_is_to_come_is_not_put_to_the_application() -> None:
    application = Moody()
    solo = Solo(application=application)
    assert ask(solo, GET_A, min_height=1)[0] == Unknown(7, Height(0))
    assert application.asked == 0


def test_an_invalid_question_is_told_so_with_a_bounded_reason_and_nothing_is_logged() -> None:
    solo = written()
    reply, events = ask(solo, b"[]")
    assert isinstance(reply, NoAnswer)
    assert (reply.height, reply.code) == (1, "invalid")
    assert "Expected `object`" in reply.reason
    assert ask(solo, b"invalid")[0] == NoAnswer(7, Height(1), "invalid", "?" * 200)
    assert events == []


@pytest.mark.parametrize(
    ("question", "what"),
    [
        (b"raise", "ZeroDivisionError: a secret of this machine"),
        (b"leave", "SystemExit"),
        (b"long", f"an answer of {MAX_ANSWER_BYTES + 1} bytes"),
    ],
)
def test_an_application_that_fails_stops_nothing_and_is_told_in_the_log_alone(
    question: bytes, what: str
) -> None:
    solo = written()
    reply, events = ask(solo, question)
    assert reply == NoAnswer(7, Height(1), "error", "the application failed at this question")
    (event,) = events
    facts = dict(event.facts)
    assert (event.name, event.level, facts["question"]) == ("application_error", Level.ERROR, repr(question))
    assert what in str(facts["what"])
    assert ask(solo, GET_A)[0] == QueryReply(7, Height(1), b'"1"')
    assert solo.heart.failure is None


def test_the_longest_answer_and_the_longest_question_fit() -> None:
    solo = written()
    assert ask(solo, b"longest")[0] == QueryReply(7, Height(1), bytes(MAX_ANSWER_BYTES))
    reply, _ = ask(solo, b" " * MAX_QUESTION_BYTES)
    assert isinstance(reply, NoAnswer)
    solo.heart.client_frame(ONE, pack(AskQuery(7, b" " * (MAX_QUESTION_BYTES + 1), Height(0))))
    assert solo.turn().closes == [ONE]


def test_failures_without_end_are_counted_and_few_of_them_told() -> None:
    solo = written(limits=NodeLimits(query_fault_ms=1_000))
    told = [ask(solo, b"raise")[1] for _ in range(20)]
    assert [len(events) for events in told] == [1] + [0] * 19
    assert dict(solo.heart.counters.all())["client: the application failed at a question"] == 20
    solo.turn(after_ms=1_000)
    assert len(ask(solo, b"raise")[1]) == 1


def test_queries_have_a_budget_of_their_own_and_hold_up_one_turn_at_most_by_that() -> None:
    solo = written(limits=NodeLimits(queries_per_turn=2))
    for number in range(5):
        solo.heart.client_frame(ONE, pack(AskQuery(number, GET_A, Height(0))))
    solo.heart.client_frame(ONE, pack(AskStatus(9)))
    turns: list[Effects] = solo.turns()
    answered = [[type(frame) for frame in to_client(effects, ONE)] for effects in turns]
    assert answered == [[QueryReply] * 2, [QueryReply] * 2, [QueryReply, StatusReply]]


def test_queries_count_as_questions_of_their_connection() -> None:
    solo = written(limits=NodeLimits(asks_per_connection=3))
    for number in range(5):
        solo.heart.client_frame(ONE, pack(AskQuery(number, GET_A, Height(0))))
    assert len(solo.frames(ONE)) == 3
    assert dict(solo.heart.counters.all())["client: too many questions"] == 2


def test_what_a_connection_asked_before_it_went_is_not_put_to_the_application() -> None:
    application = Moody()
    solo = Solo(application=application)
    solo.heart.client_frame(ONE, pack(AskQuery(1, GET_A, Height(0))))
    solo.heart.client_gone(ONE)
    assert solo.frames(ONE) == []
    assert application.asked == 0


def test_a_store_that_does_not_verify_is_a_fault_of_the_replica_and_no_answer() -> None:
    solo = written("1")
    place = VALUE_PREFIX + path_of(b"a")
    stored = solo.disk.get(Family.STATE, place)
    assert stored is not None
    solo.disk.write([(Family.STATE, place, stored.replace(b'"1"', b'"2"'))])
    with pytest.raises(CorruptStore, match="corrupt at height 1"):
        ask(solo, GET_A)
