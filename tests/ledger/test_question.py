"""Questions to the application: what counts as an answer, and what becomes of everything else."""

from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

import pytest

from ledger.application import MAX_ANSWER_BYTES, ApplicationContext, Invalid, StateReader, StateView
from ledger.errors import CorruptStore, StoreError
from ledger.keyvalue import Family, MemoryKeyValue
from ledger.ledger import Ledger
from ledger.question import QuestionFailed, answer
from ledger.result import MAX_REASON_CHARACTERS
from ledger.state.nodes import MAX_KEY_BYTES, VALUE_PREFIX, path_of
from tests.ledger.disks import MemoryDisk
from tests.ledger.executing import Chain, genesis_of, put

Behaviour = Callable[[bytes, StateReader], object]


class Asked:
    """An application whose queries do what a test says; its transactions set the key of their payload."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour

    def check(self, payload: bytes) -> None:
        pass

    def execute(self, context: ApplicationContext, payload: bytes, state: StateView) -> bytes:
        state.put(payload, payload)
        return b"true"

    def query(self, question: bytes, state: StateReader) -> bytes:
        return self.behaviour(question, state)  # type: ignore[return-value]


def ledger_of(behaviour: Behaviour) -> Ledger:
    return Chain(MemoryDisk(), genesis_of("own"), Asked(behaviour)).ledger


def raising(error: BaseException) -> Behaviour:
    def behave(question: bytes, state: StateReader) -> NoReturn:
        raise error

    return behave


def test_an_answer_is_what_the_application_says_of_the_state_before_and_after_a_block() -> None:
    chain = Chain(MemoryDisk(), genesis_of("own"), Asked(lambda question, state: state.get(question) or b"0"))
    assert chain.ledger.query(b"a") == b"0"
    chain.run(b"a")
    assert chain.ledger.query(b"a") == b"a"


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("by none"), SystemExit(1), RecursionError(), MemoryError(), BaseException()]
)
def test_whatever_a_query_raises_is_a_failure_that_says_what_and_where(error: BaseException) -> None:
    with pytest.raises(QuestionFailed) as failed:
        ledger_of(raising(error)).query(b"?")
    assert str(failed.value).startswith(f"{type(error).__name__}")
    assert f" at {__file__}:" in str(failed.value)
    assert "\n" not in str(failed.value)


def test_an_interrupt_is_the_operators() -> None:
    with pytest.raises(KeyboardInterrupt):
        ledger_of(raising(KeyboardInterrupt())).query(b"?")


class Nameless(Invalid):
    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Invalid("no such account"), "no such account"),
        (Invalid("\ud800" * 999), "?" * MAX_REASON_CHARACTERS),
        (Invalid(), "the question is not valid"),
        (Invalid(5), "the question is not valid"),
        (Nameless("named"), "named"),
    ],
)
def test_an_invalid_question_comes_with_a_bounded_reason(error: Invalid, reason: str) -> None:
    with pytest.raises(Invalid) as invalid:
        ledger_of(raising(error)).query(b"?")
    assert str(invalid.value) == reason


def test_an_answer_has_a_length_and_is_bytes() -> None:
    longest = bytes(MAX_ANSWER_BYTES)
    assert ledger_of(lambda question, state: longest).query(b"?") == longest
    for wrong in (longest + b"0", "text", None, bytearray(3)):
        with pytest.raises(QuestionFailed, match="an answer"):
            ledger_of(lambda question, state, wrong=wrong: wrong).query(b"?")  # type: ignore[misc]


@pytest.mark.parametrize("key", [bytes(MAX_KEY_BYTES + 1), "text", None, bytearray(b"a")])
def test_a_key_that_no_state_holds_is_the_applications_failure(key: object) -> None:
    with pytest.raises(QuestionFailed, match="a key has at most"):
        ledger_of(lambda question, state: state.get(key)).query(b"?")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["put", "delete", "update", "commit", "take_over", "__dict__"])
def test_a_question_can_change_nothing(name: str) -> None:
    with pytest.raises(QuestionFailed, match="AttributeError"):
        ledger_of(lambda question, state: getattr(state, name)).query(b"?")


def careless(question: bytes, state: StateReader) -> bytes:
    with suppress(Exception):
        state.get(b"a")
    return b"never mind"


def stubborn(question: bytes, state: StateReader) -> bytes:
    with suppress(Exception):
        return state.get(b"a") or b""
    raise Invalid("it is the question's fault")


def open_eyed(question: bytes, state: StateReader) -> bytes:
    return state.get(b"a") or b""


@pytest.mark.parametrize("behave", [careless, stubborn, open_eyed])
def test_a_fault_of_the_store_is_never_an_answer_whatever_the_application_makes_of_it(
    behave: Behaviour,
) -> None:
    def broken(key: bytes) -> bytes | None:
        raise StoreError("the disk is on fire")

    with pytest.raises(StoreError, match="on fire"):
        answer(Asked(behave), broken, b"?")


def test_a_value_that_does_not_lead_to_the_root_is_not_answered_from() -> None:
    chain = Chain(MemoryDisk())
    chain.run(put("a", "1"))
    question = b'{"key":"a","op":"get"}'
    assert chain.ledger.query(question) == b'"1"'
    assert isinstance(chain.store, MemoryKeyValue)
    place = VALUE_PREFIX + path_of(b"a")
    stored = chain.store.get(Family.STATE, place)
    assert stored is not None
    chain.store.write([(Family.STATE, place, stored.replace(b'"1"', b'"2"'))])
    with pytest.raises(CorruptStore, match="corrupt at height 1"):
        chain.ledger.query(question)
