"""Questions to the application: how many must say the same, who is asked, and when it is given up."""

import asyncio
from typing import Any

import msgspec
import pytest

import tetrarch
from crypto.attestation import Height
from ledger.application import MAX_QUESTION_BYTES
from tests.tetrarch.client import replicas as doubles
from tests.tetrarch.client.replicas import FAST, Network, Pipe, Replica, Silent
from tests.tetrarch.client.running import put, run, until
from tetrarch.wire import AskQuery, NoAnswer, QueryReply, Unknown

GET_A = {"op": "get", "key": "a"}


def asked(network: Network) -> list[int]:
    return [replica.took(AskQuery) for replica in network.replicas]


@run
async def test_an_answer_is_believed_from_as_many_as_are_needed_and_no_more_are_asked() -> None:
    network = Network()
    async with network.client() as client:
        receipt = await client.submit(put("a", "7"))
        answered = await client.query(GET_A, min_height=receipt.height)
        assert (answered.value, answered.raw, answered.height) == ("7", b'"7"', 1)
        assert sum(asked(network)) == network.trust.acceptance
        assert [asked(network)[member] for member in answered.members] == [1, 1]
        assert (await client.query(b'{"key":"b","op":"get"}')).value is None


@run
async def test_before_the_first_block_the_empty_state_is_asked() -> None:
    network = Network()
    async with network.client() as client:
        answered = await client.query(GET_A)
    assert (answered.value, answered.height) == (None, 0)


class OtherAnswer(Replica):
    """Says what is not so."""

    def on_query(self, pipe: Pipe, frame: AskQuery) -> None:
        pipe.answer(QueryReply(frame.request, self.head, b'"9"'))


class Boastful(Replica):
    """Says what is not so, as of a block that nobody has."""

    def on_query(self, pipe: Pipe, frame: AskQuery) -> None:
        pipe.answer(QueryReply(frame.request, Height(2**53 - 1), b'"9"'))


class TooOld(Replica):
    """Says what is so, as of a block before the one asked for."""

    def on_query(self, pipe: Pipe, frame: AskQuery) -> None:
        pipe.answer(QueryReply(frame.request, Height(frame.min_height - 1), b'"7"'))


class SaysInvalid(Replica):
    """Finds every question invalid."""

    def on_query(self, pipe: Pipe, frame: AskQuery) -> None:
        pipe.answer(NoAnswer(frame.request, self.head, "invalid", "so it says"))


class SaysError(Replica):
    """Fails at every question."""

    def on_query(self, pipe: Pipe, frame: AskQuery) -> None:
        pipe.answer(NoAnswer(frame.request, self.head, "error", "so it says"))


class Lagging(Replica):
    """Never has the block that is asked for."""

    def on_query(self, pipe: Pipe, frame: AskQuery) -> None:
        pipe.answer(Unknown(frame.request, Height(0)))


class OutOfPlace(Replica):
    """Answers with what was not asked for."""

    def on_query(self, pipe: Pipe, frame: AskQuery) -> None:
        pipe.answer(self.status(frame.request))


LIARS = [
    OtherAnswer,
    Boastful,
    TooOld,
    SaysInvalid,
    SaysError,
    Lagging,
    OutOfPlace,
    Silent,
    doubles.Garbage,
]


@pytest.mark.parametrize("liar", LIARS)
def test_no_one_replica_misleads_or_stops_who_asks(liar: type[Replica], first: int) -> None:
    async def ask() -> None:
        network = Network()
        async with network.client() as client:
            receipt = await client.submit(put("a", "7"))
        network.replace(2, liar)
        async with network.client() as client:
            for _ in range(3):
                answered = await client.query(GET_A, min_height=receipt.height)
                assert (answered.value, answered.height, len(answered.members)) == ("7", 1, 2)
                # One that tells the truth of an older block is not counted for it.
                assert 2 not in answered.members

    run(ask)()


@run
async def test_f_that_lie_alike_are_too_few() -> None:
    network = Network(7)
    async with network.client() as client:
        receipt = await client.submit(put("a", "7"))
        for member in (1, 4):
            network.replace(member, OtherAnswer)
    async with network.client() as client:
        for _ in range(10):
            answered = await client.query(GET_A, min_height=receipt.height)
            assert (answered.value, len(answered.members)) == ("7", 3)


@run
async def test_a_replica_that_repeats_itself_is_one() -> None:
    network = Network()
    for member in (0, 1, 2):
        network.replace(member, Lagging)
    network.replace(3, OtherAnswer)
    async with network.client() as client:
        with pytest.raises(tetrarch.NotEnoughReplies) as caught:
            await client.query(GET_A, timeout=0.3)
    assert (caught.value.got, caught.value.need) == (1, 2)
    assert "4 replied" in caught.value.why
    assert asked(network)[3] > 1


class LateOnce(Replica):
    """Has not yet got the block when it is asked for the first time."""

    def on_query(self, pipe: Pipe, frame: AskQuery) -> None:
        if self.took(AskQuery) == 1:
            pipe.answer(Unknown(frame.request, Height(0)))
        else:
            super().on_query(pipe, frame)


@run
async def test_where_the_first_round_settled_nothing_all_are_asked_again_at_once() -> None:
    network = Network()
    for member in range(4):
        network.replace(member, LateOnce)
    async with network.client() as client:
        await client.status()  # after which all are connected
        assert (await client.query(GET_A)).value is None
    assert asked(network) == [2, 2, 2, 2]


class Scripted(Replica):
    """Answers as of one head after the other."""

    heads: tuple[int, ...] = ()

    def on_query(self, pipe: Pipe, frame: AskQuery) -> None:
        head, *rest = self.heads
        self.heads = tuple(rest) or self.heads
        pipe.answer(QueryReply(frame.request, Height(head), b"%d" % head))


@run
async def test_heads_that_move_meet_in_what_was_said_before() -> None:
    network = Network()
    heads = ((1, 5, 9), (2, 6, 10), (3, 4, 11), (4, 8, 12))
    for member, its in enumerate(heads):
        network.replace(member, Scripted).heads = its  # type: ignore[attr-defined]
    async with network.client() as client:
        answered = await client.query(b"?", min_height=1)
    assert (answered.value, answered.height, answered.members) == (4, 4, (2, 3))


class SameAtAll(Scripted):
    """Answers the same as of every head."""

    def on_query(self, pipe: Pipe, frame: AskQuery) -> None:
        pipe.answer(QueryReply(frame.request, Height(self.heads[0]), b"true"))


@run
async def test_the_height_is_the_lowest_of_those_that_are_believed() -> None:
    network = Network()
    for member, head in enumerate((5, 3, 9, 7)):
        network.replace(member, SameAtAll).heads = (head,)  # type: ignore[attr-defined]
    async with network.client() as client:
        answered = await client.query(b"?", min_height=3)
    assert answered.height == min((5, 3, 9, 7)[member] for member in answered.members)


@run
async def test_a_height_that_nobody_has_yet_is_waited_for() -> None:
    network = Network()
    async with network.client() as client:
        await client.submit(put("a", "1"))
        asking = asyncio.ensure_future(client.query(GET_A, min_height=2))
        await until(lambda: sum(asked(network)) > 0)
        await client.submit(put("a", "2"))
        answered = await asking
    assert (answered.value, answered.height) == ("2", 2)


@pytest.mark.parametrize("after", [0, 1])
def test_a_silent_replica_is_waited_for_once_and_then_asked_last(after: int, first: int) -> None:
    async def ask() -> None:
        network = Network()
        silent = network.replace((first + after) % 4, Silent)
        async with network.client() as client:
            await client.status()  # after which all are connected
            for _ in range(8):
                await client.query(GET_A)
        assert silent.took(AskQuery) == 1

    run(ask)()


@run
async def test_a_question_that_enough_find_invalid_is_rejected_with_their_reason() -> None:
    network = Network()
    async with network.client() as client:
        with pytest.raises(tetrarch.Rejected) as caught:
            await client.query({"op": "nonsense"})
    assert (caught.value.code, caught.value.tx_id) == ("invalid", b"")
    assert "nonsense" in caught.value.reason
    assert sum(asked(network)) == network.trust.acceptance


@run
async def test_a_question_at_which_the_application_fails_is_given_up_at_once() -> None:
    network = Network()
    for member in range(4):
        network.replace(member, SaysError)
    async with network.client() as client:
        with pytest.raises(tetrarch.NotEnoughReplies, match="the application fails at this question"):
            await client.query(GET_A)
    assert sum(asked(network)) == network.trust.acceptance


@run
async def test_replicas_that_never_agree_are_asked_until_the_time_is_up() -> None:
    network = Network()
    for member in range(4):
        network.replace(member, Scripted).heads = (member,)  # type: ignore[attr-defined]
    async with network.client() as client:
        with pytest.raises(tetrarch.NotEnoughReplies) as caught:
            await client.query(b"?", timeout=0.3)
    assert (caught.value.got, caught.value.need) == (1, 2)
    assert min(asked(network)) > 1


@run
async def test_without_enough_replicas_it_is_unreachable() -> None:
    network = Network()
    for replica in network.replicas[:3]:
        replica.stop()
    async with network.client(tuning=msgspec.structs.replace(FAST, connect_timeout_ms=30)) as client:
        with pytest.raises(tetrarch.Unreachable):
            await client.query(GET_A)


@pytest.mark.parametrize(
    ("question", "min_height", "error", "what"),
    [
        ("text", 0, TypeError, "a JSON object or bytes, not str"),
        ([1], 0, TypeError, "a JSON object or bytes, not list"),
        (None, 0, TypeError, "a JSON object or bytes, not NoneType"),
        ({"a": object()}, 0, TypeError, "object"),
        ({"a": float("nan")}, 0, ValueError, "NaN"),
        (bytes(MAX_QUESTION_BYTES + 1), 0, ValueError, "at most 16384 bytes, not 16385"),
        ({"a": "b" * MAX_QUESTION_BYTES}, 0, ValueError, "at most 16384 bytes"),
        (GET_A, -1, ValueError, "min_height is from 0"),
        (GET_A, 2**53, ValueError, "min_height is from 0"),
        (GET_A, 1.0, TypeError, "min_height is a whole number"),
        (GET_A, True, TypeError, "min_height is a whole number"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anybody_is_asked(
    question: Any, min_height: Any, error: type[Exception], what: str
) -> None:
    async def ask() -> None:
        network = Network()
        async with network.client() as client:
            await client.query(GET_A)
            before = [len(replica.taken) for replica in network.replicas]
            with pytest.raises(error, match=what):
                await client.query(question, min_height)
            assert [len(replica.taken) for replica in network.replicas] == before
            # A replica takes the longest question, and finds this one invalid.
            with pytest.raises(tetrarch.Rejected):
                await client.query(bytes(MAX_QUESTION_BYTES))

    run(ask)()
