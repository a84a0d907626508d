"""Whatever an application does, a batch is executed, deterministically, and to its end."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ledger.application import ApplicationContext, Invalid, Refused, StateReader, StateView
from ledger.errors import StoreError, TransactionRefused
from ledger.executor import (
    MAX_BLOCK_RESULT_BYTES,
    MAX_TOLD_FAULTS,
    MAX_TRANSACTION_WRITE_BYTES,
    MAX_TRANSACTION_WRITES,
    execute_batch,
)
from ledger.refusals import RefusalCode
from ledger.result import MAX_REASON_CHARACTERS, MAX_VALUE_BYTES, Result, ResultCode
from ledger.state.nodes import MAX_KEY_BYTES
from ledger.state.nodes import MAX_VALUE_BYTES as MAX_STATE_VALUE_BYTES
from tests.ledger.disks import MemoryDisk, RocksDisk
from tests.ledger.executing import START, Chain, genesis_of

Behaviour = Callable[[ApplicationContext, StateView], object]


class Unspeakable(Invalid):
    """An error whose own code fails when it is asked for its text."""

    def __str__(self) -> str:
        raise ZeroDivisionError


class Scripted:
    """An application that does what the payload, a name, stands for in `behaviours`."""

    def __init__(self, **behaviours: Behaviour) -> None:
        self.behaviours = behaviours

    def check(self, payload: bytes) -> None:
        if payload == b"explode":
            raise ZeroDivisionError("a secret of this machine")
        if payload == b"leave":
            raise SystemExit
        if payload == b"talk":
            raise Invalid("\ud800" * 999)
        if payload == b"mumble":
            raise Unspeakable("wrong all the same")
        if payload == b"hush":
            raise Invalid

    def execute(self, context: ApplicationContext, payload: bytes, state: StateView) -> bytes:
        return self.behaviours[payload.decode()](context, state)  # type: ignore[return-value]

    def query(self, question: bytes, state: StateReader) -> bytes:
        raise NotImplementedError


def scripted(**behaviours: Behaviour) -> Chain:
    def good(context: ApplicationContext, state: StateView) -> bytes:
        count = int(state.get(b"count") or b"0") + 1
        state.put(b"count", b"%d" % count)
        return b"%d" % count

    application = Scripted(good=good, **behaviours)
    return Chain(MemoryDisk(), genesis_of("own"), application)


def raising(error: BaseException) -> Behaviour:
    def behave(context: ApplicationContext, state: StateView) -> object:
        state.put(b"count", b"999")
        state.put(b"other", b"1")
        raise error

    return behave


def recurse(context: ApplicationContext, state: StateView) -> object:
    return recurse(context, state)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("text of this machine: 0x7f12"),
        KeyError("x"),
        RecursionError(),
        MemoryError(),
        SystemExit(3),
        GeneratorExit(),
        asyncio.CancelledError(),
        StopIteration(),
        AssertionError(),
        BaseException("any"),
    ],
)
def test_whatever_is_raised_becomes_one_fixed_result_and_its_writes_are_dropped(error: BaseException) -> None:
    chain = scripted(bad=raising(error))
    found = chain.run(b"good", b"bad", b"good")
    assert found[1] == Result(ResultCode.ERROR, reason="the application raised an error")
    assert [found[0].value, found[2].value] == [b"1", b"2"]
    assert chain.ledger.read(b"other")[0] is None


def test_whoever_wrote_the_application_is_told_what_it_raised_and_where() -> None:
    def no_bytes(context: ApplicationContext, state: StateView) -> object:
        return {"a": 1}

    chain = scripted(bad=raising(ZeroDivisionError("a\nb")), refuses=raising(Refused("no")), odd=no_bytes)
    transactions = [chain.transaction(payload) for payload in (b"good", b"bad", b"refuses", b"odd")]
    faults = chain.execute(transactions).faults
    assert [tx_id for tx_id, _ in faults] == [transactions[1].id, transactions[3].id]
    assert faults[0][1].startswith("ZeroDivisionError: a b at ")
    assert __file__ in faults[0][1]
    assert faults[1][1].endswith("LimitBroken: a result is bytes, not dict")
    many = [chain.transaction(b"bad") for _ in range(MAX_TOLD_FAULTS + 5)]
    assert len(chain.execute(many).faults) == MAX_TOLD_FAULTS


def test_endless_recursion_is_an_error_of_the_transaction() -> None:
    chain = scripted(bad=recurse)
    assert [result.code for result in chain.run(b"bad", b"good")] == [ResultCode.ERROR, ResultCode.OK]


def test_an_operator_who_interrupts_is_obeyed_and_the_block_never_was() -> None:
    chain = scripted(bad=raising(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        chain.run(b"good", b"bad")
    assert chain.ledger.height == 0
    assert chain.run(b"good")[0].value == b"1"


def test_a_refusal_keeps_its_reason_cut_and_drops_its_writes() -> None:
    chain = scripted(no=raising(Refused("n" * 999)), odd=raising(Refused(5)), bare=raising(Refused()))
    found = chain.run(b"no", b"odd", b"bare", b"good")
    assert [result.code for result in found] == [ResultCode.FAILED] * 3 + [ResultCode.OK]
    assert [result.reason for result in found[:3]] == ["n" * MAX_REASON_CHARACTERS, "refused", "refused"]
    assert found[3].value == b"1"


def test_an_invalid_payload_that_was_ordered_fails_without_the_decoders_words() -> None:
    chain = scripted(bad=raising(Invalid("words of one version of a library")))
    expected = Result(ResultCode.FAILED, reason="the payload is not valid for this application")
    assert chain.run(b"bad") == [expected]


@pytest.mark.parametrize("value", [None, "text", bytearray(b"x"), 5, bytes(MAX_VALUE_BYTES + 1)])
def test_a_value_that_is_not_bytes_within_the_limit_is_an_error(value: object) -> None:
    chain = scripted(bad=lambda context, state: value, most=lambda context, state: bytes(MAX_VALUE_BYTES))
    found = chain.run(b"bad", b"most")
    assert [result.code for result in found] == [ResultCode.ERROR, ResultCode.OK]


def many_writes(count: int) -> Behaviour:
    def behave(context: ApplicationContext, state: StateView) -> bytes:
        for number in range(count):
            state.put(b"%d" % number, b"")
        return b""

    return behave


@pytest.mark.parametrize(
    "write",
    [
        lambda context, state: state.put(bytes(MAX_KEY_BYTES + 1), b""),
        lambda context, state: state.put(b"k", bytes(MAX_STATE_VALUE_BYTES + 1)),
        lambda context, state: state.put("k", b""),
        lambda context, state: state.put(b"k", bytearray()),
        lambda context, state: state.put(b"k", None),
        lambda context, state: state.delete(bytes(MAX_KEY_BYTES + 1)),
        lambda context, state: state.delete("k"),
        lambda context, state: state.get(bytes(MAX_KEY_BYTES + 1)),
        lambda context, state: state.get("k"),
        lambda context, state: [
            state.put(b"%d" % number, bytes(MAX_TRANSACTION_WRITE_BYTES // 8)) for number in range(8)
        ],
        many_writes(MAX_TRANSACTION_WRITES + 1),
    ],
)
def test_a_broken_limit_is_an_error_and_nothing_of_it_stands(write: Behaviour) -> None:
    def behave(context: ApplicationContext, state: StateView) -> object:
        state.put(b"count", b"999")
        return write(context, state)

    chain = scripted(bad=behave)
    found = chain.run(b"bad", b"good")
    assert found[0].reason == "the application broke a limit of the state or of results"
    assert found[1].value == b"1"


def test_a_limit_whose_error_is_swallowed_still_holds() -> None:
    def behave(context: ApplicationContext, state: StateView) -> bytes:
        with suppress(Exception):
            many_writes(MAX_TRANSACTION_WRITES + 5)(context, state)
        state.put(b"0", b"once more")
        return b""

    chain = scripted(bad=behave)
    assert chain.run(b"bad")[0].code is ResultCode.ERROR


def test_what_is_allowed_to_the_limit_is_allowed() -> None:
    def behave(context: ApplicationContext, state: StateView) -> bytes:
        state.put(bytes(MAX_KEY_BYTES), bytes(MAX_STATE_VALUE_BYTES))
        return b""

    chain = scripted(big=behave, many=many_writes(MAX_TRANSACTION_WRITES))
    assert [result.code for result in chain.run(b"big", b"many")] == [ResultCode.OK, ResultCode.OK]


def test_a_block_without_room_fails_the_transactions_that_come_too_late() -> None:
    def write(context: ApplicationContext, state: StateView) -> bytes:
        for number in range(4):
            state.put(b"%d %d" % (chain.nonces, number) + context.tx_id, bytes(60_000))
        return b""

    def answer(context: ApplicationContext, state: StateView) -> bytes:
        return bytes(MAX_VALUE_BYTES)

    chain = scripted(write=write, answer=answer)
    answers = chain.run(*[b"answer"] * (MAX_BLOCK_RESULT_BYTES // MAX_VALUE_BYTES + 2), b"good")
    writes = chain.run(*[b"write"] * 80, b"good")
    for found in (answers, writes):
        assert found[0].code is ResultCode.OK
        assert "no room left" in found[-2].reason
        assert found[-1].code is ResultCode.OK


def test_a_fault_of_the_store_is_never_a_result_even_where_the_application_swallows_it() -> None:
    def careless(context: ApplicationContext, state: StateView) -> bytes:
        with suppress(Exception):
            state.get(b"x")
        return b"never mind"

    def open_eyed(context: ApplicationContext, state: StateView) -> bytes:
        return state.get(b"x") or b""

    def broken(key: bytes) -> bytes | None:
        raise StoreError("the disk is on fire")

    for behave in (careless, open_eyed):
        chain = scripted(bad=behave)
        with pytest.raises(StoreError, match="on fire"):
            execute_batch(
                Scripted(bad=behave),
                broken,
                chain.ledger.height,
                chain.ledger.time,
                [chain.transaction(b"bad")],
                [None],
            )


def test_an_application_is_told_the_sender_the_block_and_the_transaction() -> None:
    seen: list[ApplicationContext] = []

    def behave(context: ApplicationContext, state: StateView) -> bytes:
        seen.append(context)
        return b""

    chain = scripted(look=behave)
    parsed = chain.transaction(b"look")
    header = chain.execute([parsed]).header
    assert seen == [ApplicationContext(parsed.transaction.sender, header.time, header.height, parsed.id)]


def test_results_are_the_same_whatever_ran_before_in_this_process(tmp_path: Path) -> None:
    hashes = set()
    for path in (tmp_path / "a", tmp_path / "b"):
        disk = RocksDisk(path)
        application = scripted(bad=recurse, no=raising(Refused("no"))).application
        chain = Chain(disk, genesis_of("own"), application)
        for payload in (b"good", b"bad", b"no", b"good"):
            chain.run(payload, b"good")
            if path.name == "b":
                chain.reopen()
        hashes.add(chain.ledger.head_hash)
        disk.close()
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"explode", "the application cannot check it: ZeroDivisionError"),
        (b"leave", "the application cannot check it: SystemExit"),
        (b"talk", "?" * MAX_REASON_CHARACTERS),
        (b"mumble", "wrong all the same"),
        (b"hush", "the payload is not valid"),
    ],
)
def test_whatever_check_raises_refuses_the_transaction_and_stops_nothing(payload: bytes, reason: str) -> None:
    chain = scripted()
    with pytest.raises(TransactionRefused) as refusal:
        chain.ledger.check(chain.transaction(payload, START + 1), START)
    assert (refusal.value.code, refusal.value.reason) == (RefusalCode.INVALID, reason)
