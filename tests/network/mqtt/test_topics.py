"""Rules of topics: everyone writes under its own name only, and what is no topic of ours is nobody's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.digest import ChainId
from crypto.keys import PublicKey
from crypto.roster import MemberId
from network.mqtt.names import between_members, client_and_member
from network.mqtt.topics import USER, Rights, Topics, client_key, client_name

CHAIN = ChainId(bytes(range(32)))
TOPICS = Topics(CHAIN)
BASE = "tetrarch/0001020304050607"
KEY = PublicKey(b"\xab" * 32)

members = st.integers(0, 999).map(MemberId)
users = st.from_regex(USER, fullmatch=True)
keys = st.binary(min_size=32, max_size=32).map(PublicKey)
numbers = st.integers(0, 10**14)


def allows(patterns: tuple[str, ...], topic: str) -> bool:
    """Whether a broker's access list with these patterns lets a topic pass (MQTT 5.0, 4.7)."""
    levels = topic.split("/")
    for pattern in patterns:
        wanted = pattern.split("/")
        if wanted[-1] == "#":
            wanted = wanted[:-1] + levels[len(wanted) - 1 :]
        if len(wanted) == len(levels) and all(
            level in ("+", actual) for level, actual in zip(wanted, levels, strict=True)
        ):
            return True
    return False


@given(members, members)
def test_what_a_member_writes_to_another_is_known_to_be_its(sender: MemberId, receiver: MemberId) -> None:
    topic = TOPICS.between(sender, receiver)
    assert TOPICS.sender_of(topic, receiver) == sender
    assert TOPICS.sender_of(topic, MemberId(receiver + 1)) is None
    assert TOPICS.answering(topic) is None


@given(users, keys, numbers, members)
def test_what_a_client_writes_is_known_to_be_its_and_the_key_in_its_name_signs(
    user: str, key: PublicKey, number: int, member: MemberId
) -> None:
    name = client_name(user, key, number)
    topic = TOPICS.to_member(name, member)
    assert TOPICS.sender_of(topic, member) == name
    assert TOPICS.sender_of(topic, MemberId(member + 1)) is None
    assert client_key(name) == key
    assert TOPICS.answering(TOPICS.to_client(member, name)) == (name, member)


@given(users, keys, numbers, members, members)
def test_rights_let_everyone_do_what_it_must(
    user: str, key: PublicKey, number: int, member: MemberId, other: MemberId
) -> None:
    name = client_name(user, key, number)
    mine, theirs = TOPICS.member_rights(member), TOPICS.client_rights(user)
    assert allows(mine.writes, TOPICS.between(member, other))
    assert allows(mine.writes, TOPICS.to_client(member, name))
    assert allows(mine.reads, TOPICS.between(other, member))
    assert allows(mine.reads, TOPICS.to_member(name, member))
    assert allows(theirs.writes, TOPICS.to_member(name, member))
    assert allows(theirs.reads, TOPICS.to_client(member, name))
    assert mine.reads == (TOPICS.all_of_member(member),)
    assert allows(theirs.reads, TOPICS.all_of_client(user, key).removesuffix("#") + "1/from/0")


@given(users, users, keys, members, members)
def test_rights_let_nobody_write_under_another_name_or_read_what_is_anothers(
    user: str, other_user: str, key: PublicKey, member: MemberId, other: MemberId
) -> None:
    def check(rights: Rights, allowed: bool, writes: str, reads: str) -> None:
        assert allows(rights.writes, writes) is allowed
        assert allows(rights.reads, reads) is allowed

    for_other = client_name(other_user, key, 1)
    of_client = TOPICS.to_member(for_other, member), TOPICS.to_client(member, for_other)
    check(TOPICS.client_rights(user), user == other_user, *of_client)
    third = MemberId(max(member, other) + 1)
    of_member = TOPICS.between(other, third), TOPICS.between(third, other)
    check(TOPICS.member_rights(member), member == other, *of_member)
    assert not allows(TOPICS.client_rights(user).writes, TOPICS.between(member, other))
    assert not allows(TOPICS.member_rights(member).writes, TOPICS.to_member(for_other, other))


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "/",
        f"{BASE}/member/1",
        f"{BASE}/member/1/from/",
        f"{BASE}/member/1/from/-2",
        f"{BASE}/member/1/from/02",
        f"{BASE}/member/1/from/2\n",
        f"{BASE}/member/1/from/٢",
        f"{BASE}/member/1/from/" + "9" * 5_000,
        f"{BASE}/member/1/from/2/3",
        f"{BASE}/member/01/from/2",
        "tetrarch/ffffffffffffffff/member/1/from/2",
        f"x{BASE}/member/1/from/2",
        f"{BASE}/member/1/client/user/{'a' * 63}/1",
        f"{BASE}/member/1/client/user/{'A' * 64}/1",
        f"{BASE}/member/1/client/user/{'a' * 64}/01",
        f"{BASE}/member/1/client/user/{'a' * 64}/" + "9" * 16,
        f"{BASE}/member/1/client/user/{'a' * 64}",
        f"{BASE}/member/1/client//{'a' * 64}/1",
        f"{BASE}/member/1/client/u+r/{'a' * 64}/1",
        f"{BASE}/member/1/client/usér/{'a' * 64}/1",
        f"{BASE}/member/1/client/{'u' * 65}/{'a' * 64}/1",
        f"{BASE}/client/user/{'a' * 64}/1/from/2",
    ],
)
def test_a_topic_that_is_none_of_ours_is_nobodys(topic: str) -> None:
    assert TOPICS.sender_of(topic, MemberId(1)) is None


@given(st.text(max_size=120))
def test_any_text_is_a_topic_that_can_be_asked_about(text: str) -> None:
    assert TOPICS.sender_of(f"{BASE}/{text}", MemberId(1)) is None or text.startswith("member/1/")
    TOPICS.answering(f"{BASE}/{text}")


@pytest.mark.parametrize("user", ["", "a/b", "a+", "#", "$SYS", "a b", "é", "u" * 65, "a\n"])
def test_a_user_name_that_would_mean_more_than_one_level_of_a_topic_is_none(user: str) -> None:
    assert USER.fullmatch(user) is None


def test_a_client_that_dials_for_years_runs_out_of_no_names() -> None:
    name = client_name("user", KEY, 100 * 365 * 86_400 * 10)
    assert TOPICS.sender_of(TOPICS.to_member(name, MemberId(3)), MemberId(3)) == name


@given(users, keys, numbers, members, members)
def test_no_two_parties_have_one_name_in_the_exchange_of_keys(
    user: str, key: PublicKey, number: int, member: MemberId, other: MemberId
) -> None:
    client = client_and_member(CHAIN, client_name(user, key, number), member)
    assert client.opener.startswith(b"client/")
    assert client.answerer.startswith(b"member/")
    both = between_members(CHAIN, member, other)
    assert both == between_members(CHAIN, other, member)
    assert int(both.opener.removeprefix(b"member/")) == min(member, other)
    assert int(both.answerer.removeprefix(b"member/")) == max(member, other)
