"""Submitting: what is believed, from whom, and what a caller is told where nothing can be."""

import asyncio
from typing import Any

import msgspec
import pytest

import tetrarch
from crypto.attestation import Height
from crypto.batch import Millis
from crypto.digest import digest
from ledger.transaction import sign_transaction, transaction_id
from tests.ledger.chain_maker import CLIENT_KEY, START
from tests.tetrarch.client import replicas as liars
from tests.tetrarch.client.replicas import FAST, Network, Overloaded, Pipe, Replica, Silent
from tests.tetrarch.client.running import put, run, until
from tetrarch import AsyncClient, Outcome, Submission
from tetrarch.wire import AskOutcome, Expired, NotExecuted, Submit


async def outcomes(client: AsyncClient, payloads: Any, **named: Any) -> list[Outcome]:
    return [outcome async for outcome in client.submit_many(payloads, **named)]


@run
async def test_a_number_that_json_does_not_have_is_refused_and_not_signed_as_null() -> None:
    network = Network()
    wrong: list[dict[str, Any]] = [
        {"v": float("nan")},
        {"v": [1, {"w": float("inf")}]},
        {"v": (-float("inf"),)},
    ]
    async with network.client() as client:
        for payload in wrong:
            with pytest.raises(ValueError, match="NaN and infinite"):
                await client.submit(payload)
        found = await outcomes(client, [*wrong, put("null"), {"op": "get", "key": None}])
    assert [outcome.error.code for outcome in found if isinstance(outcome.error, tetrarch.Rejected)] == [
        "malformed",
        "malformed",
        "malformed",
        "invalid",
    ]
    assert [outcome.index for outcome in found if outcome.status == "committed"] == [3]


async def submit_until_failure(client: AsyncClient) -> None:
    for number in range(1000):
        await client.submit(put("a", str(number)))


@run
async def test_a_submitted_transaction_comes_back_with_a_receipt_that_verifies() -> None:
    network = Network()
    async with network.client() as client:
        receipt = await client.submit(put("a"))
    assert receipt.result.code == "ok"
    assert receipt.height == 1
    assert receipt.verify(network.trust).tx_id == receipt.tx_id
    assert len(receipt.signers) >= network.trust.acceptance


@run
async def test_a_refusal_at_execution_is_a_receipt_too() -> None:
    network = Network()
    async with network.client() as client:
        receipt = await client.submit({"op": "cas", "key": "a", "expected": "1", "value": "2"})
    assert receipt.result.code == "failed"
    assert receipt.result.reason == "the key is absent"
    receipt.verify(network.trust)


@run
async def test_one_replica_sends_the_result_and_all_get_the_transaction() -> None:
    network = Network()
    patient = msgspec.structs.replace(FAST, silence_ms=5_000, resend_ms=5_000)
    async with network.client(tuning=patient) as client:
        await client.submit(put("a"))
        await until(lambda: all(replica.took(Submit) for replica in network.replicas))
    frames = [frame for replica in network.replicas for frame in replica.taken if isinstance(frame, Submit)]
    assert [frame.full for frame in frames].count(True) == 1
    assert len({frame.transactions for frame in frames}) == 1


@run
async def test_signers_that_come_after_acceptance_join_the_receipt() -> None:
    network = Network()
    async with network.client() as client:
        receipt = await client.submit(put("a"))
        await until(lambda: len(receipt.signers) == 4)
    assert receipt.verify(network.trust, quorum=True).signers == (0, 1, 2, 3)


@pytest.mark.parametrize("n", [1, 4, 5, 6, 7])
def test_networks_of_every_size_believe_at_one_correct_member(n: int) -> None:
    async def submit() -> None:
        network = Network(n)
        async with network.client() as client:
            receipt = await client.submit(put("a"))
            assert len(receipt.signers) >= (n - 1) // 3 + 1

    run(submit)()


LIARS = [
    Silent,
    liars.WithoutResults,
    liars.WrongResult,
    liars.OtherHeader,
    liars.WrongPath,
    liars.WrongSignature,
    liars.Impostor,
    liars.OtherChain,
    liars.RefusingAlone,
    liars.Garbage,
]


@pytest.mark.parametrize("liar", LIARS)
def test_no_designated_liar_can_make_a_client_believe_or_wait_for_ever(
    liar: type[Replica], first: int
) -> None:
    async def submit() -> None:
        network = Network()
        asked = network.replace(first, liar)
        async with network.client() as client:
            for number in range(3):
                receipt = await client.submit(put("a", str(number)))
                assert receipt.value is True
                receipt.verify(network.trust)
            found = await outcomes(client, [put(f"k{number}") for number in range(20)])
            assert {outcome.status for outcome in found} == {"committed"}
            for outcome in found:
                assert outcome.receipt is not None
                outcome.receipt.verify(network.trust)
        assert any(isinstance(frame, Submit) and frame.full for frame in asked.taken)

    run(submit)()


@pytest.mark.parametrize("liar", LIARS)
def test_no_liar_beside_the_designated_replica_is_noticed_by_callers(liar: type[Replica], first: int) -> None:
    async def submit() -> None:
        network = Network()
        network.replace((first + 1) % 4, liar)
        async with network.client() as client:
            receipt = await client.submit(put("a"))
            assert receipt.value is True
            receipt.verify(network.trust)

    run(submit)()


@pytest.mark.parametrize(
    ("liar", "check"),
    [
        (liars.WrongResult, "result path"),
        (liars.WrongPath, "result path"),
        (liars.OtherHeader, "block hash"),
        (liars.WrongSignature, "signature"),
        (liars.Garbage, "frame"),
    ],
)
def test_a_wrong_answer_parts_the_client_from_its_replica_for_a_while(
    liar: type[Replica], check: str, first: int
) -> None:
    async def submit() -> None:
        network = Network()
        network.replace(first, liar)
        async with network.client() as client:
            await client.submit(put("a"))
            state = (await client.status())[first]
        assert not state.reachable
        assert f"distrusted: {check}" in state.cause
        assert client.wrong_answers() == {check: 1}

    run(submit)()


@pytest.mark.parametrize("first", [0, 2], indirect=True)
def test_an_impostor_is_found_by_its_signature(first: int) -> None:
    async def submit() -> None:
        network = Network()
        network.replace(2, liars.Impostor)
        async with network.client() as client:
            receipt = await client.submit(put("a"))
            await until(lambda: len(receipt.signers) == 3)
            assert receipt.signers == (0, 1, 3)
            assert "distrusted: signer" in (await client.status())[2].cause

    run(submit)()


@run
async def test_two_replicas_that_agree_on_a_lie_are_not_enough_against_f_plus_one() -> None:
    network = Network(7)
    for member in (1, 5):
        network.replace(member, liars.OtherChain)
    async with network.client() as client:
        for number in range(4):
            receipt = await client.submit(put("a", str(number)))
            assert receipt.header.state_root != liars.OtherChain.mark


@run
async def test_more_than_f_liars_who_agree_are_a_fork_and_nothing_is_believed_any_more() -> None:
    network = Network()
    for member in (1, 3):
        network.replace(member, liars.OtherChain)
    async with network.client() as client:
        with pytest.raises(tetrarch.ForkDetected) as caught:
            await submit_until_failure(client)
        evidence = caught.value.evidence
        assert evidence.first.body != evidence.second.body
        assert {len(evidence.first.votes), len(evidence.second.votes)} == {2}
        with pytest.raises(tetrarch.ForkDetected):
            await client.get("a")
        with pytest.raises(tetrarch.ForkDetected):
            await client.submit(put("b"))


@run
async def test_a_final_refusal_by_f_plus_one_is_a_rejection_with_its_code() -> None:
    network = Network()
    async with network.client() as client:
        with pytest.raises(tetrarch.Rejected) as caught:
            await client.submit({"op": "no such operation"})
    assert caught.value.code == "invalid"
    assert caught.value.reason


@run
async def test_a_transaction_that_is_too_large_is_refused_before_it_is_sent() -> None:
    network = Network()
    async with network.client() as client:
        with pytest.raises(tetrarch.Rejected) as caught:
            await client.submit(put("a", "x" * 20_000))
    assert caught.value.code == "too_large"
    assert not any(replica.took(Submit) for replica in network.replicas)


@run
async def test_overloaded_replicas_are_tried_again() -> None:
    network = Network()
    full = [network.replace(member, Overloaded) for member in range(4)]
    async with network.client() as client:
        waiting = asyncio.ensure_future(client.submit(put("a")))
        await until(lambda: all(replica.took(Submit) >= 2 for replica in full))
        assert not waiting.done()
        for replica in full:
            replica.full = False  # type: ignore[attr-defined]
        assert (await waiting).result.code == "ok"


@run
async def test_an_outcome_that_does_not_come_in_time_is_unknown_and_a_timeout() -> None:
    network = Network()
    network.ordering = False
    async with network.client() as client:
        with pytest.raises(tetrarch.OutcomeUnknown) as caught:
            await client.submit(put("a"), timeout=0.1)
        assert isinstance(caught.value, TimeoutError)
        assert len(caught.value.tx_id) == 32
        assert any(replica.took(Submit) for replica in network.replicas)


@run
async def test_too_few_reachable_replicas_are_unreachable_and_nobody_was_sent_anything() -> None:
    network = Network()
    for member in (0, 1, 3):
        network.replicas[member].stop()
    async with network.client(tuning=msgspec.structs.replace(FAST, connect_timeout_ms=30)) as client:
        with pytest.raises(tetrarch.Unreachable) as caught:
            await client.submit(put("a"))
    error = caught.value
    assert isinstance(error, ConnectionError)
    assert (error.reached, error.need) == (1, 2)
    assert "replica-3: replica-3 is down" in str(error)
    assert not network.replicas[2].took(Submit)


@run
async def test_f_plus_one_reachable_replicas_are_enough() -> None:
    network = Network()
    network.replicas[0].stop()
    network.replicas[3].stop()
    async with network.client() as client:
        assert (await client.submit(put("a"))).signers == (1, 2)


@run
async def test_what_was_sent_is_sent_again_after_connections_were_lost() -> None:
    network = Network()
    network.ordering = False
    async with network.client() as client:
        waiting = asyncio.ensure_future(client.submit(put("a")))
        await until(lambda: all(replica.took(Submit) for replica in network.replicas))
        for replica in network.replicas:
            replica.stop()
            replica.reachable = True
        network.ordering = True
        network.order_soon()
        receipt = await waiting
        receipt.verify(network.trust)
        await until(lambda: all(replica.dials >= 2 for replica in network.replicas))


@run
async def test_a_transaction_whose_time_passed_unexecuted_has_expired_by_the_word_of_f_plus_one() -> None:
    network = Network()
    network.ordering = False
    async with network.client() as client:
        waiting = asyncio.ensure_future(client.submit(put("a"), valid_until=START + 50))
        await until(lambda: all(replica.took(Submit) for replica in network.replicas))
        network.wall = Millis(START + 100)
        await until(lambda: any(replica.took(AskOutcome) for replica in network.replicas))
        assert not waiting.done()
        network.execute([])
        with pytest.raises(tetrarch.Expired):
            await waiting


@run
async def test_who_attests_another_chain_is_counted_whether_it_was_heard_first_or_last() -> None:
    network = Network()
    network.replace(1, liars.OtherChain)
    async with network.client() as client:
        await client.submit(put("a"))
        await until(lambda: client.wrong_answers()["attestation"] == 1)


@run
async def test_one_replica_alone_cannot_make_a_transaction_expire() -> None:
    class Hasty(Replica):
        def on_ask_outcome(self, pipe: Pipe, frame: AskOutcome) -> None:
            parsed = self.network.parse(frame.transaction)
            said = NotExecuted(parsed.id, Height(9), Millis(START + 10**6))
            pipe.answer(Expired(frame.request, self.seal(said)))

    network = Network()
    network.ordering = False
    network.replace(1, Hasty)
    async with network.client() as client:
        waiting = asyncio.ensure_future(client.submit(put("a"), valid_until=START + 50))
        await until(lambda: all(replica.took(Submit) for replica in network.replicas))
        network.wall = Millis(START + 100)
        await until(lambda: network.replicas[1].took(AskOutcome) >= 2)
        assert not waiting.done()
        network.ordering = True
        network.execute(list(network._pool.values()), timestamp=START + 40)
        assert (await waiting).result.code == "ok"
        assert client.wrong_answers() == {"denial": 1}


@run
async def test_not_executed_before_its_time_is_up_does_not_make_a_transaction_expire() -> None:
    class Early(Replica):
        def on_ask_outcome(self, pipe: Pipe, frame: AskOutcome) -> None:
            parsed = self.network.parse(frame.transaction)
            said = NotExecuted(parsed.id, Height(9), parsed.transaction.valid_until)
            pipe.answer(Expired(frame.request, self.seal(said)))

    network = Network()
    network.ordering = False
    for member in range(4):
        network.replace(member, Early)
    async with network.client() as client:
        waiting = asyncio.ensure_future(client.submit(put("a"), valid_until=START + 50))
        await until(lambda: all(replica.took(Submit) for replica in network.replicas))
        network.wall = Millis(START + 100)
        await until(lambda: all(replica.took(AskOutcome) >= 2 for replica in network.replicas))
        assert not waiting.done()
        network.execute(list(network._pool.values()), timestamp=START + 40)
        assert (await waiting).result.code == "ok"
        assert client.wrong_answers() == {}


def test_another_replica_is_asked_for_the_results_that_a_silent_one_owes(first: int) -> None:
    async def submit() -> None:
        network = Network()
        network.replace(first, liars.WithoutResults)
        async with network.client(tuning=msgspec.structs.replace(FAST, resend_ms=100_000)) as client:
            await client.submit(put("a"))
            before = network.replicas[first].took(Submit)
            await client.submit(put("a"))
        last = [frame for frame in network.replicas[first].taken if isinstance(frame, Submit)][-1]
        assert network.replicas[first].took(Submit) == before + 1
        assert not last.full

    run(submit)()


@run
async def test_a_transaction_that_every_replica_lost_is_sent_to_all_again() -> None:
    class Forgetful(Replica):
        def on_submit(self, pipe: Pipe, frame: Submit) -> None:
            if self.took(Submit) > 1:
                super().on_submit(pipe, frame)

    network = Network()
    for member in range(4):
        network.replace(member, Forgetful)
    tuning = msgspec.structs.replace(FAST, silence_ms=100_000, resend_ms=30)
    async with network.client(tuning=tuning) as client:
        assert (await client.submit(put("a"))).result.code == "ok"
        await until(lambda: all(replica.took(Submit) == 2 for replica in network.replicas))


@run
async def test_an_expired_marker_in_a_block_is_proof_enough() -> None:
    network = Network()
    network.ordering = False
    async with network.client() as client:
        waiting = asyncio.ensure_future(client.submit(put("a"), valid_until=START + 50))
        await until(lambda: all(replica.took(Submit) for replica in network.replicas))
        network.execute(list(network._pool.values()), timestamp=START + 60)
        with pytest.raises(tetrarch.Expired) as caught:
            await waiting
    assert caught.value.receipt is not None
    caught.value.receipt.verify(network.trust)


@run
async def test_a_repeated_marker_is_followed_to_the_first_execution() -> None:
    network = Network()
    network.ordering = False
    valid_until = START + 1000
    async with network.client() as client:
        waiting = asyncio.ensure_future(client.submit(put("a"), valid_until=valid_until))
        await until(lambda: all(replica.took(Submit) for replica in network.replicas))
        [parsed] = network._pool.values()
        # The first execution happens unseen; what the client is told of is the repetition.
        pipes = [(replica, set(replica.pipes)) for replica in network.replicas]
        for replica, _ in pipes:
            replica.pipes = set()
        network.execute([parsed])
        for replica, open_pipes in pipes:
            replica.pipes = open_pipes
        network.execute([parsed])
        receipt = await waiting
    assert (receipt.height, receipt.result.code) == (1, "ok")


@run
async def test_thousands_of_transactions_have_one_outcome_each() -> None:
    network = Network()
    tuning = msgspec.structs.replace(FAST, window=300, silence_ms=2000, resend_ms=4000)
    async with network.client(tuning=tuning) as client:
        found = await outcomes(client, (put(f"k{number}") for number in range(1500)))
    assert sorted(outcome.index for outcome in found) == list(range(1500))
    assert {outcome.status for outcome in found} == {"committed"}
    assert len({outcome.tx_id for outcome in found}) == 1500


@run
async def test_no_more_than_the_window_is_taken_before_outcomes_come() -> None:
    network = Network()
    network.ordering = False
    taken: list[int] = []

    def payloads() -> Any:
        for number in range(100):
            taken.append(number)
            yield put(f"k{number}")

    async with network.client(tuning=msgspec.structs.replace(FAST, window=10)) as client:
        stream = client.submit_many(payloads())
        first = asyncio.ensure_future(anext(stream))
        await until(lambda: all(replica.took(Submit) for replica in network.replicas))
        assert len(taken) == 10
        network.ordering = True
        network.order_soon()
        assert (await first).status == "committed"
        rest = [outcome async for outcome in stream]
    assert len(rest) == 99


@run
async def test_bad_lines_among_good_ones_are_refused_one_by_one() -> None:
    network = Network()
    payloads = [put("a"), {"op": "nonsense"}, {"op": object()}, put("b", "x" * 20_000), put("c"), b"\xff"]
    async with network.client() as client:
        found = {outcome.index: outcome for outcome in await outcomes(client, payloads)}
    codes = {index: outcome.error.code for index, outcome in found.items() if outcome.error is not None}  # type: ignore[attr-defined]
    assert codes == {1: "invalid", 2: "malformed", 3: "too_large", 5: "invalid"}
    assert [index for index in found if found[index].status == "committed"] == [0, 4]


@run
async def test_outcomes_that_are_unknown_say_why() -> None:
    network = Network()
    for member in range(4):
        network.replace(member, Overloaded)
    async with network.client() as client:
        [outcome] = await outcomes(client, [put("a")], timeout=0.1)
    assert outcome.status == "unknown"
    assert isinstance(outcome.error, tetrarch.OutcomeUnknown)
    assert "overloaded" in outcome.error.why


@run
async def test_the_same_transaction_twice_at_once_has_one_outcome_for_both() -> None:
    network = Network()
    same = Submission(put("a"), idempotency_key="k", valid_until=Millis(START + 1000))
    async with network.client() as client:
        one, two = await outcomes(client, [same, same])
    assert {one.index, two.index} == {0, 1}
    assert one.tx_id == two.tx_id
    assert network.ledger.height == 1


@run
async def test_closing_ends_what_is_open_as_unknown() -> None:
    network = Network()
    network.ordering = False
    client = network.client()
    waiting = asyncio.ensure_future(client.submit(put("a")))
    await until(lambda: any(replica.took(Submit) for replica in network.replicas))
    await client.close()
    with pytest.raises(tetrarch.OutcomeUnknown, match="closed"):
        await waiting
    with pytest.raises(ValueError, match="closed"):
        await client.submit(put("a"))


@run
async def test_the_outcome_of_an_open_transaction_can_be_waited_for_by_its_id() -> None:
    network = Network()
    network.ordering = False
    async with network.client() as client:
        waiting = asyncio.ensure_future(client.submit(put("a")))
        await until(lambda: all(replica.took(Submit) for replica in network.replicas))
        [parsed] = network._pool.values()
        asked = asyncio.ensure_future(client.outcome(parsed.id))
        await asyncio.sleep(0)
        network.ordering = True
        network.order_soon()
        assert (await asked).status == "committed"
        assert (await waiting).tx_id == parsed.id


@run
async def test_the_outcome_of_anybodys_executed_transaction_is_proven_by_its_id() -> None:
    network = Network()
    payload = msgspec.json.encode(put("a"), order="sorted")
    raw = sign_transaction(CLIENT_KEY, network.genesis.chain_id, bytes(16), Millis(START + 9), payload)
    network.execute([network.parse(raw)])
    async with network.client() as client:
        outcome = await client.outcome(transaction_id(raw))
        assert (outcome.status, outcome.height) == ("committed", 1)
        assert outcome.receipt is not None
        assert outcome.receipt.verify(network.trust).signers
        with pytest.raises(tetrarch.OutcomeUnknown, match="no replica has executed it"):
            await client.outcome(digest("test-absent"))  # type: ignore[arg-type]


@run
async def test_arguments_that_cannot_be_are_refused_at_once() -> None:
    network = Network()
    async with network.client() as client:
        with pytest.raises(TypeError):
            await client.submit({"op": {1, 2}.__iter__()})
        with pytest.raises(ValueError, match="valid_until"):
            await client.submit(put("a"), valid_until=START + 10**9)
        with pytest.raises(ValueError, match="needs an outbox"):
            await client.submit(put("a"), idempotency_key="k")
        with pytest.raises(ValueError, match="idempotency key"):
            await client.submit(put("a"), idempotency_key="", valid_until=START + 1)
