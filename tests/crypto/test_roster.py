"""Rosters: who may be registered, what is signed, and distinct members only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.digest import ChainId
from crypto.errors import CertificateError, KeyRefused
from crypto.keys import SigningKey
from crypto.roster import MAX_MEMBERS, Epoch, Roster

CHAIN = ChainId(b"c" * 32)
KEYS = [SigningKey(bytes([number + 1]) * 32) for number in range(4)]


def roster(chain: ChainId = CHAIN, epoch: int = 0) -> Roster:
    return Roster.register(chain, Epoch(epoch), [key.public_key for key in KEYS])


def test_two_members_cannot_share_a_key() -> None:
    with pytest.raises(KeyRefused, match="share"):
        Roster.register(CHAIN, Epoch(0), [KEYS[0].public_key, KEYS[0].public_key])


@pytest.mark.parametrize("count", [0, MAX_MEMBERS + 1])
def test_a_roster_has_at_least_one_member_and_not_too_many(count: int) -> None:
    with pytest.raises(KeyRefused, match="a roster has"):
        Roster.register(CHAIN, Epoch(0), [b"x" * 32] * count)


def test_a_key_of_low_order_is_refused_when_registered() -> None:
    with pytest.raises(KeyRefused, match="low order"):
        Roster.register(CHAIN, Epoch(0), [bytes(32)])


@given(st.lists(st.integers(-2, 6)), st.integers(1, 4))
def test_a_threshold_counts_distinct_members_of_the_roster(named: list[int], need: int) -> None:
    enough = len({member for member in named if 0 <= member < 4}) >= need
    if enough:
        roster().require(named, need)
    else:
        with pytest.raises(CertificateError, match="distinct members"):
            roster().require(named, need)


@pytest.mark.parametrize("member", [-1, 4, 10**9])
def test_a_stranger_has_no_key(member: int) -> None:
    with pytest.raises(CertificateError, match="not in the roster"):
        roster().key(member)


def test_signed_bytes_bind_chain_epoch_kind_and_body() -> None:
    base = roster().signing_bytes("a", b"body")
    others = [
        roster(ChainId(b"d" * 32)).signing_bytes("a", b"body"),
        roster(epoch=1).signing_bytes("a", b"body"),
        roster().signing_bytes("b", b"body"),
        roster().signing_bytes("a", b"bodz"),
        roster().signing_bytes("ab", b"ody"),
    ]
    assert base not in others
    assert len(set(others)) == len(others)
