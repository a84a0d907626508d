"""Following the chain: every block, in order, checked, whoever serves them."""

import asyncio

import msgspec
import pytest

import tetrarch
from crypto.attestation import Height
from crypto.digest import digest
from ledger.block import Block
from ledger.result import ok_result
from tests.tetrarch.client import replicas as liars
from tests.tetrarch.client.replicas import FAST, Network, Pipe, Replica, Silent
from tests.tetrarch.client.running import put, run
from tetrarch import AsyncClient
from tetrarch.client.following import BlockEvent
from tetrarch.wire import AskBlocks, Blocks


async def grown(blocks: int) -> Network:
    network = Network()
    async with network.client() as client:
        for number in range(blocks):
            await client.submit(put(f"k{number}", str(number)))
    return network


async def followed(client: AsyncClient, first: int, count: int) -> list[BlockEvent]:
    events: list[BlockEvent] = []
    stream = client.subscribe(first)
    async for event in stream:
        events.append(event)
        if len(events) == count:
            break
    await stream.aclose()
    return events


@run
async def test_every_block_comes_once_in_order_with_what_was_executed() -> None:
    network = await grown(150)
    async with network.client() as client:
        events = await followed(client, 1, 150)
    assert [event.height for event in events] == list(range(1, 151))
    assert [event.transactions[0].value["key"] for event in events] == [f"k{i}" for i in range(150)]
    assert {event.transactions[0].result.code for event in events} == {"ok"}
    assert all(len(event.signers) >= network.trust.acceptance for event in events)


@run
async def test_a_subscription_may_begin_anywhere() -> None:
    network = await grown(10)
    async with network.client() as client:
        assert [event.height for event in await followed(client, 7, 3)] == [7, 8, 9]


@run
async def test_blocks_to_come_are_waited_for() -> None:
    network = await grown(2)
    async with network.client() as reader, network.client() as writer:
        waiting = asyncio.ensure_future(followed(reader, 1, 6))
        for number in range(4):
            await writer.submit(put("a", str(number)))
        assert [event.height for event in await waiting] == [1, 2, 3, 4, 5, 6]


class Changes(Replica):
    """Serves changed blocks."""

    def change(self, block: Block) -> Block:
        raise AssertionError

    def blocks(self, first: Height) -> list[Block]:
        return [self.change(block) for block in super().blocks(first)]


class ChangesResult(Changes):
    def change(self, block: Block) -> Block:
        return msgspec.structs.replace(block, results=(ok_result(b"9"),))


class DropsTransaction(Changes):
    def change(self, block: Block) -> Block:
        return msgspec.structs.replace(block, transactions=(), results=())


class ChangesPayload(Changes):
    def change(self, block: Block) -> Block:
        [raw] = block.transactions
        return msgspec.structs.replace(block, transactions=(raw[:-1] + bytes([raw[-1] ^ 1]),))


class ChangesState(Changes):
    def change(self, block: Block) -> Block:
        header = msgspec.structs.replace(block.header, state_root=digest("test-other"))
        return msgspec.structs.replace(block, header=header)


class ChangesOne(ChangesState):
    """Serves one block at a time, so that no link to the next one gives the change away."""

    def blocks(self, first: Height) -> list[Block]:
        return super().blocks(first)[:1]


class ChangesParent(Changes):
    def change(self, block: Block) -> Block:
        header = msgspec.structs.replace(block.header, parent=digest("test-other"))
        return msgspec.structs.replace(block, header=header)


class Skips(Replica):
    """Leaves every other block out."""

    def blocks(self, first: Height) -> list[Block]:
        return super().blocks(first)[::2]


class StartsLater(Replica):
    """Begins with a later block than it was asked for."""

    def blocks(self, first: Height) -> list[Block]:
        return super().blocks(Height(min(first + 1, self.head)))


class Empty(Replica):
    """Says at once that there is nothing."""

    def on_ask_blocks(self, pipe: Pipe, frame: AskBlocks) -> None:
        pipe.answer(Blocks(frame.request, (), ()))


@pytest.mark.parametrize(
    "liar",
    [
        ChangesResult,
        DropsTransaction,
        ChangesPayload,
        ChangesState,
        ChangesOne,
        ChangesParent,
        Skips,
        StartsLater,
        Empty,
        Silent,
        liars.Stale,
        liars.WrongSignature,
        liars.OtherChain,
        liars.Garbage,
    ],
)
def test_no_replica_that_serves_first_can_change_or_hide_a_block(liar: type[Replica], first: int) -> None:
    async def follow() -> None:
        network = await grown(8)
        asked = network.replace(first, liar)
        async with network.client() as client:
            events = await followed(client, 1, 8)
        assert [event.height for event in events] == list(range(1, 9))
        values = [event.transactions[0].value["value"] for event in events]
        assert values == [str(number) for number in range(8)]
        assert {event.transactions[0].result.value for event in events} == {b"true"}
        true = [network.proven[event.height].block_hash for event in events]
        assert [event.block_hash for event in events] == true
        assert all(len(event.signers) >= network.trust.acceptance for event in events)
        assert asked.took(AskBlocks)

    run(follow)()


def test_a_subscription_begins_where_it_was_asked_to_whoever_serves(first: int) -> None:
    async def follow() -> None:
        network = await grown(6)
        network.replace(first, StartsLater)
        async with network.client() as client:
            assert [event.height for event in await followed(client, 3, 2)] == [3, 4]

    run(follow)()


@run
async def test_a_subscriber_without_a_network_is_told() -> None:
    network = await grown(1)
    for replica in network.replicas:
        replica.stop()
    async with network.client(tuning=msgspec.structs.replace(FAST, connect_timeout_ms=20)) as client:
        with pytest.raises(tetrarch.Unreachable):
            await followed(client, 1, 1)
