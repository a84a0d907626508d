"""`assets`: nobody spends what is not his, nothing is spent twice, and no unit appears from nowhere."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.keys import PublicKey, SigningKey
from ledger.application import Application, Invalid, Refused, canonical_json, load_application
from ledger.applications.assets import MAX_AMOUNT
from ledger.errors import ApplicationError
from tests.ledger.states import ALICE, BOB, DictState, context


@pytest.fixture
def assets() -> Application:
    return load_application("assets", {})


def run(assets: Application, state: DictState, sender: PublicKey = ALICE, /, **operation: Any) -> Any:
    payload = canonical_json(operation)
    assets.check(payload)
    return json.loads(assets.execute(context(sender), payload, state))


def two_accounts(assets: Application) -> DictState:
    """Alice's `a` holds 100, Bob's `b` nothing."""
    state = DictState()
    run(assets, state, op="open", account="a")
    run(assets, state, BOB, op="open", account="b")
    run(assets, state, op="issue", account="a", amount=100)
    return state


def balances(state: DictState) -> dict[str, int]:
    return {key.decode(): json.loads(value)["balance"] for key, value in state.items()}


def test_an_account_is_opened_empty_as_the_senders(assets: Application) -> None:
    state = DictState()
    assert run(assets, state, op="open", account="a") == {"balance": 0, "owner": ALICE.hex()}
    assert json.loads(state[b"account/a"]) == {"balance": 0, "owner": ALICE.hex()}


def test_an_open_account_cannot_be_opened_again_by_anyone(assets: Application) -> None:
    state = two_accounts(assets)
    for sender in (ALICE, BOB):
        with pytest.raises(Refused, match="open already"):
            run(assets, state, sender, op="open", account="a")
    assert balances(state) == {"account/a": 100, "account/b": 0}


def test_a_transfer_moves_units_and_tells_both_balances(assets: Application) -> None:
    state = two_accounts(assets)
    assert run(assets, state, op="transfer", **{"from": "a", "to": "b"}, amount=30) == {"from": 70, "to": 30}
    assert balances(state) == {"account/a": 70, "account/b": 30}


def test_an_overdraft_is_refused_and_the_last_unit_is_not(assets: Application) -> None:
    state = two_accounts(assets)
    with pytest.raises(Refused, match="holds 100, 101 are needed"):
        run(assets, state, op="transfer", **{"from": "a", "to": "b"}, amount=101)
    run(assets, state, op="transfer", **{"from": "a", "to": "b"}, amount=100)
    assert balances(state) == {"account/a": 0, "account/b": 100}


def test_only_the_owner_transfers_out_of_an_account(assets: Application) -> None:
    state = two_accounts(assets)
    with pytest.raises(Refused, match="not the sender's"):
        run(assets, state, BOB, op="transfer", **{"from": "a", "to": "b"}, amount=1)
    assert balances(state) == {"account/a": 100, "account/b": 0}


def test_an_account_that_is_not_open_neither_gives_nor_takes(assets: Application) -> None:
    state = two_accounts(assets)
    before = dict(state)
    for operation in (
        {"op": "transfer", "from": "a", "to": "ghost", "amount": 1},
        {"op": "transfer", "from": "ghost", "to": "a", "amount": 1},
        {"op": "issue", "account": "ghost", "amount": 1},
    ):
        with pytest.raises(Refused, match="account ghost is not open"):
            run(assets, state, **operation)
    assert state == before


def test_a_transfer_to_itself_is_invalid_on_both_paths(assets: Application) -> None:
    payload = b'{"amount":1,"from":"a","op":"transfer","to":"a"}'
    with pytest.raises(Invalid, match="itself"):
        assets.check(payload)
    with pytest.raises(Invalid, match="itself"):
        assets.execute(context(), payload, two_accounts(assets))


def test_balances_stay_exact_in_every_json_reader(assets: Application) -> None:
    state = two_accounts(assets)
    assert run(assets, state, op="issue", account="a", amount=MAX_AMOUNT - 100) == MAX_AMOUNT
    with pytest.raises(Refused, match="would hold more"):
        run(assets, state, op="issue", account="a", amount=1)
    run(assets, state, op="issue", account="b", amount=1)
    with pytest.raises(Refused, match="would hold more"):
        run(assets, state, op="transfer", **{"from": "a", "to": "b"}, amount=MAX_AMOUNT)


@pytest.mark.parametrize(
    "amount", [b"0", b"-1", b"-0", b"1.0", b"1e3", b"true", b'"5"', b"null", b"9007199254740992", b"9" * 5000]
)
def test_an_amount_is_a_positive_bounded_integer(assets: Application, amount: bytes) -> None:
    with pytest.raises(Invalid):
        assets.check(b'{"account":"a","amount":' + amount + b',"op":"issue"}')


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a\n", "ä", "a" * 65, "\u0661"])
def test_a_name_is_short_plain_ascii(assets: Application, name: str) -> None:
    with pytest.raises(Invalid):
        assets.check(canonical_json({"op": "open", "account": name}))


def test_only_issuers_issue_where_the_genesis_names_them() -> None:
    issuer, other = SigningKey(b"\x01" * 32).public_key, SigningKey(b"\x02" * 32).public_key
    assets = load_application("assets", {"issuers": f"{issuer.hex()}, {other.hex()}"})
    state = DictState()
    run(assets, state, op="open", account="a")
    with pytest.raises(Refused, match="may not issue"):
        run(assets, state, ALICE, op="issue", account="a", amount=1)
    assert run(assets, state, issuer, op="issue", account="a", amount=1) == 1
    assert run(assets, state, other, op="issue", account="a", amount=1) == 2


@pytest.mark.parametrize("issuers", ["", "zz", "00" * 31, "00" * 32, "01" + "00" * 31])
def test_issuers_that_are_no_keys_are_refused_when_loading(issuers: str) -> None:
    with pytest.raises(ApplicationError, match="issuers"):
        load_application("assets", {"issuers": issuers})


def test_a_question_for_a_balance_is_answered(assets: Application) -> None:
    state = two_accounts(assets)
    answer = json.loads(assets.query(b'{"op":"balance","account":"a"}', state))
    assert answer == {"balance": 100, "owner": ALICE.hex()}
    assert assets.query(b'{"op":"balance","account":"ghost"}', state) == b"null"


transfers = st.tuples(
    st.sampled_from("abx"), st.sampled_from("abx"), st.integers(1, 150), st.sampled_from([ALICE, BOB])
)


@given(st.lists(transfers, max_size=30))
def test_transfers_keep_the_sum_and_never_make_a_debt(steps: list[tuple[str, str, int, PublicKey]]) -> None:
    assets = load_application("assets", {})
    state = two_accounts(assets)
    for source, target, amount, sender in steps:
        before = dict(state)
        try:
            run(assets, state, sender, op="transfer", **{"from": source, "to": target}, amount=amount)
        except (Refused, Invalid):
            state = DictState(before)  # what a ledger does with a refused transaction's writes
    assert sum(balances(state).values()) == 100
    assert min(balances(state).values()) >= 0
