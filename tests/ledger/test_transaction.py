"""Transactions: one encoding, one id whatever the signature, and nothing that only looks like one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.batch import Millis
from crypto.codec import encode
from crypto.digest import ChainId, digest
from crypto.keys import SIGNATURE_BYTES, InlineChecker, SigningKey
from ledger.errors import TransactionRefused
from ledger.refusals import RefusalCode
from ledger.transaction import (
    ParsedTransaction,
    Transaction,
    check_sender,
    parse_transaction,
    sign_transaction,
    transaction_id,
)

KEY = SigningKey(b"\x07" * 32)
CHAIN = ChainId(digest("test-chain"))
NONCE = bytes(range(16))
LIMIT = 16 * 1024


def signed(payload: bytes = b"{}", chain_id: ChainId = CHAIN, valid_until: int = 1000) -> bytes:
    return sign_transaction(KEY, chain_id, NONCE, Millis(valid_until), payload)


def parsed(raw: bytes) -> ParsedTransaction:
    return parse_transaction(raw, CHAIN, LIMIT)


def refusal(raw: bytes, limit: int = LIMIT) -> RefusalCode:
    with pytest.raises(TransactionRefused) as refused:
        parse_transaction(raw, CHAIN, limit)
    return refused.value.code


def test_what_was_signed_is_read_and_its_signature_verifies() -> None:
    raw = signed(b'{"op":"get"}')
    found = parsed(raw)
    assert found.transaction == Transaction(CHAIN, KEY.public_key, NONCE, Millis(1000), b'{"op":"get"}')
    assert (found.raw, found.id) == (raw, transaction_id(raw))
    assert InlineChecker().check([found.check]) == [True]


def test_another_signature_makes_another_check_but_the_same_id() -> None:
    raw = signed()
    forged = bytes([raw[0] ^ 1]) + raw[1:]
    assert parsed(forged).id == parsed(raw).id
    assert InlineChecker().check([parsed(forged).check]) == [False]


@pytest.mark.parametrize("at", [SIGNATURE_BYTES + 1, -1])
def test_every_signed_byte_is_part_of_the_id_and_of_what_is_verified(at: int) -> None:
    raw = bytearray(signed(b"payload"))
    raw[at] ^= 1
    assert transaction_id(bytes(raw)) != transaction_id(signed(b"payload"))


def test_a_transaction_has_one_id_for_each_of_its_fields() -> None:
    nonce = bytes(16)
    other = sign_transaction(KEY, CHAIN, nonce, Millis(1000), b"{}")
    ids = {transaction_id(raw) for raw in (signed(), other, signed(b"{ }"), signed(valid_until=1001))}
    assert len(ids) == 4


def test_a_transaction_of_another_chain_is_refused() -> None:
    assert refusal(signed(chain_id=ChainId(digest("other")))) is RefusalCode.WRONG_CHAIN


def test_the_limit_counts_all_bytes() -> None:
    raw = signed()
    assert parse_transaction(raw, CHAIN, len(raw)).raw == raw
    assert refusal(raw, len(raw) - 1) is RefusalCode.TOO_LARGE


def body(**changes: object) -> bytes:
    fields: dict[str, object] = {
        "chain_id": CHAIN,
        "sender": KEY.public_key,
        "nonce": NONCE,
        "valid_until": 1000,
        "payload": b"{}",
        **changes,
    }
    return encode([value for value in fields.values() if value is not None])


@pytest.mark.parametrize(
    "malformed",
    [
        b"",
        bytes(10),
        body()[:-1],
        body() + b"\x00",
        body(nonce=bytes(15)),
        body(nonce=bytes(17)),
        body(sender=bytes(31)),
        body(chain_id=bytes(33)),
        body(valid_until=-1),
        body(valid_until=2**53),
        body(valid_until=1000.0),
        body(valid_until=True),
        body(payload="{}"),
        body(payload=None),
        body(extra=1),
        b"\x91" * 10_000,
        body().replace(b"\xcd\x03\xe8", b"\xce\x00\x00\x03\xe8"),
    ],
)
def test_anything_but_the_canonical_bytes_is_malformed(malformed: bytes) -> None:
    assert refusal(bytes(SIGNATURE_BYTES) + malformed) is RefusalCode.MALFORMED


def test_the_canonical_bytes_of_those_cases_are_accepted() -> None:
    assert parsed(bytes(SIGNATURE_BYTES) + body()).transaction.payload == b"{}"


@given(st.binary(max_size=300))
def test_no_bytes_do_anything_but_parse_or_be_refused_for_good(raw: bytes) -> None:
    code = None
    try:
        found = parsed(raw)
    except TransactionRefused as refused:
        code = refused.code
    assert code.final if code else raw[SIGNATURE_BYTES:] == encode(found.transaction)


def test_a_key_of_low_order_may_not_send() -> None:
    check_sender(KEY.public_key)
    for key in (bytes(32), b"\x01" + bytes(31), b"\xff" * 32, bytes(31)):
        with pytest.raises(TransactionRefused) as refused:
            check_sender(key)
        assert refused.value.code is RefusalCode.BAD_KEY
