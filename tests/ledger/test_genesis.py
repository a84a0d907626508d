"""The genesis: its chain id binds every value, and what follows from it."""

import msgspec
import pytest

from crypto.codec import StrictDecoder, encode
from crypto.digest import digest
from crypto.errors import CodecError, KeyRefused
from crypto.keys import SigningKey
from ledger.genesis import FORMAT, Genesis, GenesisMember

KEYS = [SigningKey(bytes([number]) * 32) for number in range(1, 5)]
MEMBERS = tuple(
    GenesisMember(f"replica-{number}", key.public_key, digest("tls", bytes([number])))
    for number, key in enumerate(KEYS)
)
GENESIS = Genesis(FORMAT, "test", 1, "pbft", "kv", MEMBERS)
DECODER = StrictDecoder(Genesis, 100_000)

OTHER: dict[str, object] = {
    "format": 2,
    "name": "another",
    "created": 2,
    "engine": "raft",
    "application": "assets",
    "members": MEMBERS[:3],
    "horizon_ms": 1,
    "clock_bound_ms": 1,
    "checkpoint_interval": 1,
    "max_transaction_bytes": 1,
    "max_batch_transactions": 1,
    "max_batch_bytes": 1,
    "testing": True,
    "parameters": (("issuers", ""),),
}


def changed(**changes: object) -> Genesis:
    return msgspec.structs.replace(GENESIS, **changes)


@pytest.mark.parametrize("name", GENESIS.__struct_fields__)
def test_the_chain_id_binds_every_value(name: str) -> None:
    assert changed(**{name: OTHER[name]}).chain_id != GENESIS.chain_id


def test_the_chain_id_binds_every_value_of_a_member() -> None:
    for name, other in (("name", "x"), ("public_key", KEYS[0].public_key), ("tls_fingerprint", digest("x"))):
        members = (*MEMBERS[:3], msgspec.structs.replace(MEMBERS[3], **{name: other}))
        assert changed(members=members).chain_id != GENESIS.chain_id


def test_the_order_of_members_is_part_of_the_chain() -> None:
    assert changed(members=MEMBERS[::-1]).chain_id != GENESIS.chain_id


def test_member_i_of_the_roster_has_the_key_of_member_i() -> None:
    roster = GENESIS.roster()
    assert roster.chain_id == GENESIS.chain_id
    assert [roster.key(member) for member in roster.members] == [key.public_key for key in KEYS]


def test_the_first_blocks_parent_is_the_chain_itself() -> None:
    assert bytes(GENESIS.first_parent()) == bytes(GENESIS.chain_id)


def test_the_window_is_two_checkpoint_intervals() -> None:
    assert changed(checkpoint_interval=10).window == 20


@pytest.mark.parametrize(
    "key", [bytes(32), b"\x01" + bytes(31), KEYS[0].public_key], ids=["zero", "low order", "shared"]
)
def test_a_key_that_may_not_be_registered_makes_no_roster(key: bytes) -> None:
    members = (*MEMBERS[:3], msgspec.structs.replace(MEMBERS[3], public_key=key))
    with pytest.raises(KeyRefused):
        changed(members=members).roster()


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"name": ""},
        {"members": ()},
        {"members": MEMBERS * 65},
        {"members": (msgspec.structs.replace(MEMBERS[0], name="replica-0\n"), *MEMBERS[1:])},
        {"horizon_ms": 0},
        {"checkpoint_interval": -1},
        {"max_batch_bytes": 2**53},
        {"application": ""},
    ],
)
def test_values_out_of_their_bounds_do_not_decode(changes: dict[str, object]) -> None:
    assert DECODER.decode(encode(GENESIS)) == GENESIS
    with pytest.raises(CodecError):
        DECODER.decode(encode(changed(**changes)))
