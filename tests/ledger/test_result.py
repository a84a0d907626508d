"""Results: their canonical bytes, and what is no result."""

import pytest

from crypto.attestation import Height
from crypto.codec import encode
from crypto.errors import CodecError
from ledger.result import (
    EXPIRED_RESULT,
    MAX_REASON_CHARACTERS,
    MAX_RESULT_BYTES,
    MAX_VALUE_BYTES,
    Result,
    ResultCode,
    error_result,
    failed_result,
    ok_result,
    repeated_result,
    results,
)


@pytest.mark.parametrize(
    ("data", "expected", "executed"),
    [
        (ok_result(b"true"), Result(ResultCode.OK, b"true"), True),
        (failed_result("no"), Result(ResultCode.FAILED, reason="no"), True),
        (error_result("no"), Result(ResultCode.ERROR, reason="no"), True),
        (repeated_result(Height(7)), Result(ResultCode.REPEATED, first_height=Height(7)), False),
        (EXPIRED_RESULT, Result(ResultCode.EXPIRED), False),
    ],
)
def test_a_result_reads_as_it_was_made(data: bytes, expected: Result, executed: bool) -> None:
    assert results.decode(data) == expected
    assert expected.executed is executed


def test_the_codes_are_the_documented_words() -> None:
    assert {code.value for code in ResultCode} == {"ok", "failed", "error", "repeated", "expired"}


def test_a_long_reason_is_cut_and_the_longest_result_decodes() -> None:
    assert results.decode(failed_result("\U0001f600" * 999)).reason == "\U0001f600" * MAX_REASON_CHARACTERS
    longest = encode(
        Result(
            ResultCode.REPEATED,
            bytes(MAX_VALUE_BYTES),
            "\U0001f600" * MAX_REASON_CHARACTERS,
            Height(2**53 - 1),
        )
    )
    assert len(longest) <= MAX_RESULT_BYTES
    assert results.decode(longest).value == bytes(MAX_VALUE_BYTES)


def test_a_reason_that_no_text_can_hold_is_made_one() -> None:
    assert results.decode(failed_result("a\ud800b")).reason == "a?b"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        ok_result(b"x")[:-1],
        ok_result(b"x") + b"\x00",
        encode(["great", b"", "", 0]),
        encode(["ok", b"", "", -1]),
        encode(["ok", b"", ""]),
        encode(["ok", b"", "", 0, 0]),
        encode(["ok", bytes(MAX_VALUE_BYTES + 1), "", 0]),
        encode(["ok", b"", "x" * (MAX_REASON_CHARACTERS + 1), 0]),
    ],
)
def test_what_is_no_canonical_result_is_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        results.decode(data)
