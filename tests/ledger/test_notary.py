"""`notary`: the first record of a digest stands for ever."""

import json
from typing import Any

import pytest

from ledger.application import Application, Invalid, load_application
from tests.ledger.states import ALICE, BOB, DictState, context

DIGEST = "0123456789abcdef" * 4


@pytest.fixture
def notary() -> Application:
    return load_application("notary", {})


def record(notary: Application, state: DictState, **who: Any) -> Any:
    payload = b'{"digest":"%s","op":"record"}' % DIGEST.encode()
    notary.check(payload)
    return json.loads(notary.execute(context(**who), payload, state))


def test_a_record_has_the_blocks_time_and_height_and_the_senders_key(notary: Application) -> None:
    state = DictState()
    found = record(notary, state, sender=ALICE, time=1234, height=5)
    assert found == {"height": 5, "new": True, "sender": ALICE.hex(), "time": 1234}
    stored = json.loads(state[b"document/" + DIGEST.encode()])
    assert stored == {"height": 5, "sender": ALICE.hex(), "time": 1234}


def test_a_second_record_returns_the_first_and_changes_nothing(notary: Application) -> None:
    state = DictState()
    record(notary, state, sender=ALICE, time=1000, height=1)
    before = dict(state)
    found = record(notary, state, sender=BOB, time=2000, height=2)
    assert found == {"height": 1, "new": False, "sender": ALICE.hex(), "time": 1000}
    assert state == before


def test_a_question_finds_the_record_or_null(notary: Application) -> None:
    state = DictState()
    question = b'{"op":"find","digest":"%s"}' % DIGEST.encode()
    assert notary.query(question, state) == b"null"
    record(notary, state, time=1000, height=1)
    assert json.loads(notary.query(question, state))["time"] == 1000


@pytest.mark.parametrize(
    "digest", ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "0" * 63 + "\n", "\u0660" * 64]
)
def test_a_digest_is_64_lower_case_hexadecimal_digits(notary: Application, digest: str) -> None:
    with pytest.raises(Invalid):
        notary.check(json.dumps({"digest": digest, "op": "record"}, separators=(",", ":")).encode())
