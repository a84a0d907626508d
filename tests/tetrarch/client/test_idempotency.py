"""Idempotency keys: one key, one transaction, whatever is lost, restarted or repeated."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

import tetrarch
from crypto.batch import Millis
from ledger.outbox import Outbox
from tests.ledger.chain_maker import START, key_of
from tests.tetrarch.client.replicas import FAST, Dialling, Network
from tests.tetrarch.client.running import put, run, until
from tetrarch import AsyncClient, Submission
from tetrarch.wire import Submit

BRIEF = msgspec.structs.replace(FAST, timeout_ms=60)


def keeping(network: Network, path: Path, **named: Any) -> AsyncClient:
    return network.client(outbox=Outbox.open(path / "outbox", network.genesis.chain_id), **named)


def sent(network: Network) -> set[bytes]:
    frames = [frame for replica in network.replicas for frame in replica.taken if isinstance(frame, Submit)]
    return {raw for frame in frames for raw in frame.transactions}


@pytest.fixture
def network() -> Network:
    return Network()


@run
async def test_the_same_call_again_executes_nothing_twice(network: Network, tmp_path: Path) -> None:
    async with keeping(network, tmp_path) as client:
        first = await client.submit(put("a"), idempotency_key="order-17")
        again = await client.submit(put("a"), idempotency_key="order-17")
    assert again.tx_id == first.tx_id
    assert again.verify(network.trust).height == first.height
    assert network.ledger.height == 1


@run
async def test_bytes_are_on_the_disk_before_any_replica_gets_them(network: Network, tmp_path: Path) -> None:
    kept: list[bool] = []
    path = tmp_path / "outbox"

    def look(raw: bytes) -> Any:
        other = Outbox.open(path, network.genesis.chain_id)
        kept.append(raw in {entry.raw for entry in other.open_entries(10)})
        other.close()
        return network.parse(raw)

    network.replicas[1].admit = look  # type: ignore[method-assign]
    async with keeping(network, tmp_path) as client:
        await client.submit(put("a"), idempotency_key="order-17")
        await until(lambda: bool(kept))
    assert kept == [True]


@run
async def test_a_retry_after_a_restart_sends_the_same_bytes(network: Network, tmp_path: Path) -> None:
    network.ordering = False
    async with keeping(network, tmp_path, tuning=BRIEF) as client:
        with pytest.raises(tetrarch.OutcomeUnknown) as caught:
            await client.submit(put("a"), idempotency_key="order-17")
    network.wall = Millis(START + 1000)
    network.ordering = True
    async with keeping(network, tmp_path) as client:
        receipt = await client.submit(put("a"), idempotency_key="order-17")
    assert receipt.tx_id == caught.value.tx_id
    assert len(sent(network)) == 1
    assert network.ledger.height == 1


@run
async def test_the_outcome_is_known_after_a_restart_and_the_receipt_is_fetched(
    network: Network, tmp_path: Path
) -> None:
    async with keeping(network, tmp_path) as client:
        first = await client.submit(put("a"), idempotency_key="order-17")
    before = sum(replica.took(Submit) for replica in network.replicas)
    async with keeping(network, tmp_path) as client:
        again = await client.submit(put("a"), idempotency_key="order-17")
        assert (await client.outcome("order-17")).status == "committed"
        assert (await client.outcome(first.tx_id)).height == first.height
        with pytest.raises(KeyError):
            await client.outcome("order-18")
    assert again.verify(network.trust) == first.verify(network.trust)
    assert sum(replica.took(Submit) for replica in network.replicas) == before


@run
async def test_a_key_with_another_payload_is_a_conflict_and_nothing_is_sent(
    network: Network, tmp_path: Path
) -> None:
    async with keeping(network, tmp_path) as client:
        await client.submit(put("a"), idempotency_key="order-17")
        with pytest.raises(tetrarch.IdempotencyConflict, match="order-17"):
            await client.submit(put("a", "2"), idempotency_key="order-17")
        items = [Submission(put("b"), "k"), Submission(put("c"), "k"), Submission(put("d"), "other")]
        found = {outcome.index: outcome async for outcome in client.submit_many(items)}
    assert [found[place].status for place in range(3)] == ["committed", "refused", "committed"]
    assert isinstance(found[1].error, tetrarch.IdempotencyConflict)


@run
async def test_a_key_belongs_to_its_sender(network: Network, tmp_path: Path) -> None:
    async with keeping(network, tmp_path) as client:
        await client.submit(put("a"), idempotency_key="order-17")
    outbox = Outbox.open(tmp_path / "outbox", network.genesis.chain_id)
    other = AsyncClient(
        network.trust, key_of(77), Dialling(network), outbox=outbox, tuning=FAST, wall=network.clock
    )
    async with other as client:
        with pytest.raises(tetrarch.IdempotencyConflict, match="another sender"):
            await client.submit(put("a"), idempotency_key="order-17")


@run
async def test_a_refused_or_expired_key_stays_so(network: Network, tmp_path: Path) -> None:
    async with keeping(network, tmp_path) as client:
        with pytest.raises(tetrarch.Rejected):
            await client.submit({"op": "nonsense"}, idempotency_key="bad")
        network.ordering = False
        late = asyncio.ensure_future(client.submit(put("a"), "late", START + 50))
        await until(lambda: len(sent(network)) == 2)
        network.wall = Millis(START + 100)
        network.execute([])
        with pytest.raises(tetrarch.Expired):
            await late
    network.ordering = True
    async with keeping(network, tmp_path) as client:
        with pytest.raises(tetrarch.Rejected, match="invalid"):
            await client.submit({"op": "nonsense"}, idempotency_key="bad")
        with pytest.raises(tetrarch.Expired):
            await client.submit(put("a"), "late")
        assert network.ledger.height == 1


@run
async def test_what_a_crash_left_open_is_recovered(network: Network, tmp_path: Path) -> None:
    network.ordering = False
    async with keeping(network, tmp_path, tuning=BRIEF) as client:
        items = [Submission(put(f"k{number}"), f"line-{number}") for number in range(30)]
        lost = [outcome.status async for outcome in client.submit_many(items)]
    assert lost == ["unknown"] * 30
    network.ordering = True
    async with keeping(network, tmp_path) as client:
        found = [outcome async for outcome in client.recover()]
        assert sorted(outcome.idempotency_key or "" for outcome in found) == sorted(
            f"line-{number}" for number in range(30)
        )
        assert {outcome.status for outcome in found} == {"committed"}
    async with keeping(network, tmp_path) as client:
        assert [outcome async for outcome in client.recover()] == []
    assert len(sent(network)) == 30


@run
async def test_a_file_submitted_twice_is_executed_once(network: Network, tmp_path: Path) -> None:
    items = [Submission(put(f"k{number}"), f"line-{number}") for number in range(300)]
    async with keeping(network, tmp_path) as client:
        first = {outcome.index: outcome.tx_id async for outcome in client.submit_many(items[:200])}
    async with keeping(network, tmp_path) as client:
        second = {outcome.index: outcome async for outcome in client.submit_many(items)}
    assert {second[place].tx_id for place in range(200)} == set(first.values())
    assert all(outcome.status == "committed" for outcome in second.values())
    assert len(sent(network)) == 300


@run
async def test_two_clients_on_one_outbox_agree_on_a_key(network: Network, tmp_path: Path) -> None:
    async with keeping(network, tmp_path) as one, keeping(network, tmp_path) as two:
        receipts = await asyncio.gather(*(client.submit(put("a"), "shared") for client in (one, two) * 5))
    assert len({receipt.tx_id for receipt in receipts}) == 1
    assert len(sent(network)) == 1


@run
async def test_without_an_outbox_key_and_time_make_the_same_transaction_again(network: Network) -> None:
    async with network.client() as client:
        first = await client.submit(put("a"), "order-17", START + 1000)
    async with network.client() as client:
        again = await client.submit(put("a"), "order-17", START + 1000)
    assert again.tx_id == first.tx_id
    assert network.ledger.height == 1


@run
async def test_transactions_without_a_key_are_distinct(network: Network) -> None:
    async with network.client() as client:
        one, two = await client.submit(put("a")), await client.submit(put("a"))
    assert one.tx_id != two.tx_id


@run
async def test_an_outbox_that_fails_is_reported_and_nothing_is_sent(network: Network, tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox", network.genesis.chain_id)
    async with network.client(outbox=outbox) as client:
        outbox.close()
        with pytest.raises(tetrarch.ConfigurationError, match="outbox"):
            await client.submit(put("a"), idempotency_key="order-17")
        assert not sent(network)
