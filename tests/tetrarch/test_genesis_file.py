"""genesis.json: whatever is wrong with it is named, and what it says is what the chain id binds."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ledger.genesis import Genesis
from tests.ledger.chain_maker import genesis_of
from tetrarch.errors import ConfigurationError, TetrarchError
from tetrarch.genesis_file import genesis_from_json, genesis_to_json, load_genesis, save_genesis
from tetrarch.trust import TrustRoot

PATH = Path("net/genesis.json")


def genesis() -> Genesis:
    return genesis_of(4, parameters=(("issuer", "aa"), ("unit", "cent")), testing=True)


def text(**changes: Any) -> dict[str, Any]:
    path_free = json.loads(msgspec.json.encode(genesis_to_json(genesis())))
    return {**path_free, **changes}


def refused(value: object) -> ConfigurationError:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    with pytest.raises(ConfigurationError) as caught:
        genesis_from_json(data, PATH)
    assert str(PATH) in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def test_a_genesis_survives_its_file(tmp_path: Path) -> None:
    save_genesis(genesis(), tmp_path / "genesis.json")
    assert load_genesis(tmp_path / "genesis.json") == genesis()
    assert TrustRoot.load(tmp_path / "genesis.json").chain_id == genesis().chain_id


def test_every_key_must_be_there_but_the_chain_id() -> None:
    for key in text():
        rest = {name: value for name, value in text().items() if name != key}
        if key == "chain_id":
            assert genesis_from_json(json.dumps(rest).encode()) == genesis()
        else:
            assert refused(rest).key == key


def test_a_changed_value_under_an_unchanged_chain_id_is_refused() -> None:
    changes: dict[str, Any] = {
        "name": "x",
        "created": 2,
        "engine": "raft",
        "application": "assets",
        "horizon_ms": 700_000,
        "clock_bound_ms": 1,
        "checkpoint_interval": 1,
        "max_transaction_bytes": 1,
        "max_batch_transactions": 1,
        "max_batch_bytes": 2**22 - 1,
        "testing": False,
        "parameters": {},
    }
    for key, value in changes.items():
        assert refused(text(**{key: value})).key == "chain_id", key


def test_a_wrong_value_is_refused_by_its_key() -> None:
    members = text()["members"]
    cases: dict[str, tuple[str, Any]] = {
        "format": ("format", 2),
        "created": ("created", "1"),
        "members": ("members", []),
        "horizon_ms": ("horizon_ms", 0),
        "max_transaction_bytes": ("max_transaction_bytes", 2**20),
        "max_batch_transactions": ("max_batch_transactions", True),
        "max_batch_bytes": ("max_batch_bytes", 2**30),
        "testing": ("testing", 1),
        "surprise": ("surprise", 1),
        "members[3].name": ("members", [*members[:3], {**members[3], "name": "a b"}]),
        "members[1].public_key": ("members", [members[0], {**members[1], "public_key": "AB" * 32}]),
    }
    for key, (name, value) in cases.items():
        assert refused(text(**{name: value})).key == key


def test_members_share_nothing_that_tells_them_apart() -> None:
    members = text()["members"]
    for key in ("name", "public_key", "tls_fingerprint"):
        twin = [*members[:3], {**members[3], key: members[1][key]}]
        fault = refused(text(members=twin))
        assert fault.key == f"members[3].{key}"
        assert "members[1]" in fault.what


def test_a_key_of_low_order_is_refused_by_its_place() -> None:
    members = text()["members"]
    weak = [members[0], {**members[1], "public_key": "01" + "00" * 31}]
    assert refused(text(members=weak)).key == "members[1].public_key"


def test_limits_that_exclude_each_other_are_refused() -> None:
    assert refused(text(horizon_ms=1000, clock_bound_ms=500)).key == "horizon_ms"
    assert refused(text(max_batch_bytes=1000)).key == "max_batch_bytes"


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b'{"format":1,"format":1}', b"3"])
def test_a_file_that_is_no_genesis_is_refused(data: bytes) -> None:
    refused(data)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TetrarchError, match=r"absent\.json: there is no such file"):
        TrustRoot.load(tmp_path / "absent.json")


def test_a_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "genesis.json").write_bytes(b" " * (1024 * 1024 + 1))
    with pytest.raises(ConfigurationError, match="more than"):
        load_genesis(tmp_path / "genesis.json")


@pytest.mark.parametrize(
    ("n", "acceptance", "quorum"), [(1, 1, 1), (4, 2, 3), (5, 2, 4), (6, 2, 4), (7, 3, 5)]
)
def test_a_trust_root_asks_for_one_correct_member_and_for_quorums_that_meet_in_one(
    n: int, acceptance: int, quorum: int
) -> None:
    trust = TrustRoot.of(genesis_of(n))
    assert (trust.acceptance, trust.quorum) == (acceptance, quorum)
