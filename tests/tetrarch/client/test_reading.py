"""Verified reads and receipts by id: what is proven, how fresh it is, and who is asked next."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

import tetrarch
from crypto.attestation import Height
from crypto.batch import Millis
from crypto.keys import Signature
from crypto.roster import MemberId
from ledger.block import Block
from ledger.transaction import sign_transaction
from tests.ledger.chain_maker import CLIENT_KEY, START
from tests.tetrarch.client import replicas as liars
from tests.tetrarch.client.replicas import FAST, Dialling, Network, Pipe, Replica, Silent
from tests.tetrarch.client.running import put, run
from tetrarch import AsyncClient
from tetrarch.wire import AskAttestation, AskRead, Attested, ReadReply


@run
async def test_a_value_is_proven_and_so_is_an_absence() -> None:
    network = Network()
    async with network.client() as client:
        receipt = await client.submit(put("a", "7"))
        there = await client.get("a", min_height=receipt.height)
        absent = await client.get("b")
    assert (there.present, there.value, there.raw, there.height) == (True, "7", b'"7"', 1)
    assert len(there.signers) >= network.trust.acceptance
    assert (absent.present, absent.value) == (False, None)


@run
async def test_a_question_that_no_replica_answers_is_refused_here_and_costs_no_connection() -> None:
    network = Network()
    async with network.client() as client:
        await client.submit(put("a"))
        for key in ("k" * 257, "\ud800"):
            with pytest.raises(ValueError, match="a key"):
                await client.get(key)
        with pytest.raises(TypeError, match="a key is a text, not bytes"):
            await client.get(b"a")  # type: ignore[arg-type]
        for height in (-1, 2**53):
            with pytest.raises(ValueError, match="min_height"):
                await client.get("a", min_height=height)
        for number in (1.0, True, "1"):
            with pytest.raises(TypeError, match="min_height is a whole number"):
                await client.get("a", min_height=number)  # type: ignore[arg-type]
            with pytest.raises(TypeError, match="from_height is a whole number"):
                await anext(client.subscribe(number))  # type: ignore[arg-type]
        for wrong in (b"short", "00" * 32):
            with pytest.raises(ValueError, match="32 bytes"):
                await client.receipt(wrong)  # type: ignore[arg-type]
        assert all(state.reply is not None for state in await client.status())
        assert (await client.get("k" * 256)).present is False


@run
async def test_a_height_that_nobody_has_reached_is_counted_in_replies() -> None:
    network = Network()
    async with network.client() as client:
        with pytest.raises(tetrarch.NotEnoughReplies) as caught:
            await client.get("a", min_height=9, timeout=0.3)
    assert str(caught.value).startswith("1 replies, 2 are needed")


class Slow(Dialling):
    """Holds up the event loop for longer than a connection may take, as a busy machine does."""

    async def dial(self, member: MemberId, receive: Callable[[bytes], None]) -> Pipe:
        for _ in range(5):  # until the client waits
            await asyncio.sleep(0)
        time.sleep(0.04)  # noqa: ASYNC251  # that is the point
        return await super().dial(member, receive)


@run
async def test_replicas_that_are_there_when_the_time_is_up_are_used() -> None:
    network = Network()
    async with network.client() as client:
        await client.submit(put("a"))
    tuning = msgspec.structs.replace(FAST, connect_timeout_ms=20)
    async with AsyncClient(network.trust, CLIENT_KEY, Slow(network), tuning=tuning) as client:
        assert (await client.get("a")).value == "1"


class OtherValue(Replica):
    """Changes the value and keeps the proof."""

    def on_read(self, pipe: Pipe, frame: AskRead) -> None:
        value, proof = self.network.ledger.read(frame.key)
        header = self.header(self.head)
        wrong = None if value is not None else b'"9"'
        pipe.answer(ReadReply(frame.request, self.attestation(self.head), header, wrong, proof))


class OtherKey(Replica):
    """Proves the value of another key."""

    def on_read(self, pipe: Pipe, frame: AskRead) -> None:
        value, proof = self.network.ledger.read(b"b")
        header = self.header(self.head)
        pipe.answer(ReadReply(frame.request, self.attestation(self.head), header, value, proof))


class BrokenProof(Replica):
    """Sends a proof that is none."""

    def on_read(self, pipe: Pipe, frame: AskRead) -> None:
        value, _ = self.network.ledger.read(frame.key)
        header = self.header(self.head)
        pipe.answer(ReadReply(frame.request, self.attestation(self.head), header, value, b"\x92"))


class OtherState(Replica):
    """Keeps a chain of its own, in which every key has another value, and proves its values flawlessly."""

    def __init__(self, network: Network, member: int) -> None:
        super().__init__(network, member)
        self.own = Network()

    def executed(self, height: Height) -> None:
        payload = msgspec.json.encode(put("a", "9"), order="sorted")
        nonce = height.to_bytes(16, "big")
        raw = sign_transaction(CLIENT_KEY, self.own.genesis.chain_id, nonce, Millis(START + 1000), payload)
        self.own.execute([self.own.parse(raw)])
        super().executed(height)

    def on_read(self, pipe: Pipe, frame: AskRead) -> None:
        ledger = self.own.ledger
        assert ledger.head is not None
        value, proof = ledger.read(frame.key)
        attestation = self.attest(ledger.height, ledger.head_hash)
        pipe.answer(ReadReply(frame.request, attestation, ledger.head, value, proof))


class TooOld(Replica):
    """Answers with what was true, and proven, at its first block, whatever was asked for."""

    def __init__(self, network: Network, member: int) -> None:
        super().__init__(network, member)
        self.old: dict[bytes, tuple[bytes | None, bytes]] = {}

    def executed(self, height: Height) -> None:
        if height == 1:
            self.old = {key: self.network.ledger.read(key) for key in (b"a", b"absent")}
        super().executed(height)

    def on_read(self, pipe: Pipe, frame: AskRead) -> None:
        value, proof = self.old[frame.key]
        header = self.header(Height(1))
        pipe.answer(ReadReply(frame.request, self.attestation(Height(1)), header, value, proof))


@pytest.mark.parametrize(
    "liar",
    [
        Silent,
        OtherValue,
        OtherKey,
        BrokenProof,
        TooOld,
        OtherState,
        liars.WrongSignature,
        liars.OtherChain,
        liars.Garbage,
    ],
)
def test_no_replica_that_is_asked_first_can_mislead_a_reader(liar: type[Replica], first: int) -> None:
    async def read() -> None:
        network = Network()
        asked = network.replace(first, liar)
        async with network.client() as client:
            await client.submit(put("b", "2"))
            await client.submit(put("a", "1"))
            receipt = await client.submit(put("a", "7"))
            asked.taken.clear()
        async with network.client() as client:
            for _ in range(2):
                assert (await client.get("a", min_height=receipt.height)).value == "7"
            assert not (await client.get("absent", min_height=receipt.height)).present
        assert asked.took(AskRead)

    run(read)()


def test_a_replica_that_lags_is_passed_over_for_a_fresh_read(first: int) -> None:
    async def read() -> None:
        network = Network()
        network.replace(first, liars.Stale)
        async with network.client() as client:
            await client.submit(put("a", "1"))
            receipt = await client.submit(put("a", "2"))
            assert (await client.get("a", min_height=receipt.height)).value == "2"

    run(read)()


@run
async def test_a_height_that_nobody_has_yet_is_waited_for() -> None:
    network = Network()
    async with network.client() as client:
        await client.submit(put("a", "1"))
        reading = asyncio.ensure_future(client.get("a", min_height=2))
        await asyncio.sleep(0)
        await client.submit(put("a", "2"))
        assert (await reading).value == "2"


@run
async def test_a_read_that_cannot_be_served_in_time_says_how_many_replied() -> None:
    network = Network()
    async with network.client() as client:
        await client.submit(put("a", "1"))
        with pytest.raises(tetrarch.NotEnoughReplies) as caught:
            await client.get("a", min_height=1000, timeout=0.05)
    assert (caught.value.got, caught.value.need) == (1, 2)


@run
async def test_a_read_without_enough_replicas_is_unreachable() -> None:
    network = Network()
    for replica in network.replicas[:3]:
        replica.stop()
    tuning = msgspec.structs.replace(FAST, connect_timeout_ms=30)
    async with network.client(tuning=tuning) as client:
        with pytest.raises(tetrarch.Unreachable):
            await client.get("a")


class AttestsAnything(Replica):
    """Attests whatever header it sends with a reading, and nothing else."""

    def on_frame(self, pipe: Pipe, frame: Any) -> None:
        if isinstance(frame, AskAttestation):
            pipe.answer(Attested(frame.request, self.attest(frame.height, liars.OtherChain.mark)))
        else:
            super().on_frame(pipe, frame)


@run
async def test_f_wrong_attestations_do_not_stop_a_reader() -> None:
    network = Network(7)
    network.replace(2, AttestsAnything)
    network.replace(5, liars.WrongSignature)
    async with network.client() as client:
        await client.submit(put("a", "1"))
        for _ in range(10):
            assert (await client.get("a")).value == "1"


class OtherSignatures(Replica):
    """Serves blocks in which the senders' signatures were exchanged: ids and roots stay the same."""

    def blocks(self, first: Height) -> list[Block]:
        return [
            msgspec.structs.replace(
                block, transactions=tuple(Signature(bytes(64)) + raw[64:] for raw in block.transactions)
            )
            for block in super().blocks(first)
        ]


class OtherBlock(Replica):
    """Serves no transactions."""

    def blocks(self, first: Height) -> list[Block]:
        empty: Sequence[Block] = [
            msgspec.structs.replace(block, transactions=(), results=()) for block in super().blocks(first)
        ]
        return list(empty)


@pytest.mark.parametrize(
    "liar", [Silent, OtherSignatures, OtherBlock, liars.WrongResult, liars.WrongPath, liars.OtherChain]
)
def test_a_receipt_by_id_verifies_whoever_is_asked_first(liar: type[Replica], first: int) -> None:
    async def fetch() -> None:
        network = Network()
        async with network.client() as client:
            receipt = await client.submit(put("a"))
        network.replace(first, liar)
        async with network.client() as client:
            fetched = await client.receipt(receipt.tx_id)
        assert fetched.transaction == receipt.transaction
        assert fetched.verify(network.trust).height == receipt.height

    run(fetch)()


@run
async def test_status_tells_of_every_replica_and_why_one_is_missing() -> None:
    network = Network()
    network.replicas[2].stop()
    network.replace(3, Silent)
    async with network.client() as client:
        await client.submit(put("a"))
        found = await client.status()
    assert [state.reachable for state in found] == [True, True, False, False]
    assert [state.name for state in found] == [f"replica-{member}" for member in range(4)]
    assert found[0].reply is not None
    assert found[0].reply.height == 1
    assert "is down" in found[2].cause
    assert "did not answer" in found[3].cause


@run
async def test_status_of_a_network_that_is_down_is_still_told() -> None:
    network = Network()
    for replica in network.replicas:
        replica.stop()
    async with network.client(tuning=msgspec.structs.replace(FAST, connect_timeout_ms=20)) as client:
        assert not any(state.reachable for state in await client.status())
