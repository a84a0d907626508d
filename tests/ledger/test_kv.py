"""`kv`: what each operation does, and what is no operation."""

from typing import Any

import pytest

from ledger.application import Application, Invalid, Refused, canonical_json, load_application
from tests.ledger.states import DictState, context


@pytest.fixture
def kv() -> Application:
    return load_application("kv", {})


def run(kv: Application, state: DictState, **operation: Any) -> bytes:
    payload = canonical_json(operation)
    kv.check(payload)
    return kv.execute(context(), payload, state)


def test_a_put_value_is_got_back_and_lies_in_the_state_as_json_under_its_own_name(kv: Application) -> None:
    state = DictState()
    assert run(kv, state, op="put", key="größe", value='1 "x"') == b"true"
    assert state == {"größe".encode(): b'"1 \\"x\\""'}
    assert run(kv, state, op="get", key="größe") == b'"1 \\"x\\""'


def test_an_absent_key_is_null(kv: Application) -> None:
    assert run(kv, DictState(), op="get", key="a") == b"null"


def test_delete_says_whether_the_key_was_there(kv: Application) -> None:
    state = DictState({b"a": b'"1"'})
    assert run(kv, state, op="delete", key="a") == b"true"
    assert run(kv, state, op="delete", key="a") == b"false"
    assert state == {}


def test_compare_and_set_changes_only_what_is_as_expected(kv: Application) -> None:
    state = DictState()
    assert run(kv, state, op="cas", key="a", expected=None, value="1") == b"true"
    assert run(kv, state, op="cas", key="a", expected="1", value="2") == b"true"
    for expected in ("1", None):
        with pytest.raises(Refused, match="another value"):
            run(kv, state, op="cas", key="a", expected=expected, value="3")
    assert state == {b"a": b'"2"'}
    assert run(kv, state, op="cas", key="a", expected="2", value=None) == b"true"
    with pytest.raises(Refused, match="absent"):
        run(kv, state, op="cas", key="a", expected="2", value="3")
    assert state == {}


def test_a_question_is_answered_from_the_state(kv: Application) -> None:
    assert kv.query(b'{"op":"get","key":"a"}', DictState({b"a": b'"1"'})) == b'"1"'
    assert kv.query(b'{"op":"get","key":"b"}', DictState()) == b"null"
    with pytest.raises(Invalid):
        kv.query(b'{"op":"put","key":"a","value":"1"}', DictState())


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b'"put"',
        b"{}",
        b'{"key":"a","op":"steal"}',
        b'{"key":"a","op":"put"}',
        b'{"key":"a","op":"put","value":1}',
        b'{"key":"a","op":"put","value":null}',
        b'{"key":"","op":"get"}',
        b'{"key":"a\\n","op":"get"}',
        b'{"key":"a\x7f","op":"get"}',
        b'{"key":"\\ud800","op":"get"}',
        b'{"key":"\xff","op":"get"}',
        b'{"extra":1,"key":"a","op":"get"}',
        canonical_json({"key": "k" * 65, "op": "get"}),
        canonical_json({"key": "a", "op": "put", "value": "v" * 13_000}),
        canonical_json({"key": "a", "op": "put", "value": "\x00" * 3000}),
        canonical_json({"key": "a", "op": "cas", "expected": None, "value": "\x00" * 3000}),
        b'{"key":' + b"[" * 30_000 + b"]" * 30_000 + b',"op":"get"}',
        b"[" * 60_000,
        b'{"key":' + b"9" * 30_000 + b',"op":"get"}',
        b'{"key":1e999999999,"op":"get"}',
        b'{"key":"a","op":"get"',
    ],
)
def test_what_is_no_operation_is_invalid_on_both_paths(kv: Application, payload: bytes) -> None:
    with pytest.raises(Invalid):
        kv.check(payload)
    with pytest.raises(Invalid):
        kv.execute(context(), payload, DictState())


@pytest.mark.parametrize(
    "payload",
    [
        b'{"op":"get","key":"a"}',
        b'{"key":"a", "op":"get"}',
        b'{"key":"a","op":"get"}\n',
        b'{"key":"b","key":"a","op":"get"}',
        b'{"key":"\\u0061","op":"get"}',
    ],
)
def test_only_the_canonical_form_is_admitted(kv: Application, payload: bytes) -> None:
    with pytest.raises(Invalid, match="canonical"):
        kv.check(payload)


def test_the_longest_key_and_value_that_are_admitted_are_executed(kv: Application) -> None:
    state = DictState()
    longest = "\U0001f600" * 64
    assert run(kv, state, op="put", key=longest, value="v" * 12 * 1024) == b"true"
    assert len(run(kv, state, op="get", key=longest)) == 12 * 1024 + 2


def test_parameters_are_refused() -> None:
    with pytest.raises(Exception, match="unknown parameter color"):
        load_application("kv", {"color": "red"})
