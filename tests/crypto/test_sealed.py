"""Sealed sessions: who shares keys with whom, what is bound, and what is dropped."""

import random
from contextlib import suppress
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.digest import ChainId, tag
from crypto.keys import SIGNATURE_BYTES, PublicKey, SigningKey
from crypto.sealed import (
    MAX_EXCHANGE_BYTES,
    MAX_MESSAGES,
    OVERHEAD,
    SEALED_HEADER_BYTES,
    VERSION,
    WINDOW,
    Ends,
    Offer,
    SealedSession,
    SealError,
    SealFault,
    answer_offer,
    check_denial,
    deny,
    offer_number,
    session_id_of,
)

OPENER, ANSWERER, OTHER = (SigningKey(bytes([number + 1]) * 32) for number in range(3))
ENDS = Ends(ChainId(b"c" * 32), b"member/0", b"member/1")
OTHER_ENDS = [
    Ends(ChainId(b"d" * 32), b"member/0", b"member/1"),
    Ends(ENDS.chain_id, b"member/2", b"member/1"),
    Ends(ENDS.chain_id, b"member/0", b"member/2"),
    Ends(ENDS.chain_id, b"member/1", b"member/0"),
    Ends(ENDS.chain_id, b"member/0m", b"ember/1"),
]
NO_POINTS = [bytes(32), (1).to_bytes(32, "little"), (2**255 - 19).to_bytes(32, "little")]
"""Of low order: with these the shared secret would be zero, whoever's the other key is."""


def exchange(number: int = 1) -> tuple[SealedSession, SealedSession]:
    """Both ends of a session: the opener's and the answerer's."""
    offer = Offer(ENDS, OPENER, number)
    answer, theirs = answer_offer(ENDS, offer.message, OPENER.public_key, ANSWERER)
    return offer.accept(answer, ANSWERER.public_key), theirs


def fault_of(raised: pytest.ExceptionInfo[SealError]) -> SealFault:
    return raised.value.fault


# The exchange.


def test_both_ends_of_an_exchange_read_each_other() -> None:
    one, other = exchange()
    assert one.id == other.id
    assert other.open(one.seal(b"there")) == (1, b"there")
    assert one.open(other.seal(b"and back")) == (1, b"and back")


def test_no_two_exchanges_give_the_same_session() -> None:
    sessions = [session for _ in range(3) for session in exchange()]
    for one, other in combinations(sessions, 2):
        if one.id != other.id:
            with pytest.raises(SealError):
                other.open(one.seal(b"x"))
    assert len({session.id for session in sessions}) == 3


@pytest.mark.parametrize("other", OTHER_ENDS)
def test_an_offer_is_for_its_chain_its_opener_and_its_answerer_alone(other: Ends) -> None:
    with pytest.raises(SealError) as raised:
        answer_offer(ENDS, Offer(other, OPENER, 1).message, OPENER.public_key, ANSWERER)
    assert fault_of(raised) is SealFault.SIGNATURE


@pytest.mark.parametrize("other", OTHER_ENDS)
def test_an_answer_is_for_its_chain_its_opener_and_its_answerer_alone(other: Ends) -> None:
    offer = Offer(ENDS, OPENER, 1)
    number, key = offer_number(offer.message), offer.message[9:41]
    resigned = offer.message[:41] + OPENER.sign(other.offered(number, key))
    answer, _ = answer_offer(other, resigned, OPENER.public_key, ANSWERER)
    with pytest.raises(SealError) as raised:
        offer.accept(answer, ANSWERER.public_key)
    assert fault_of(raised) is SealFault.SIGNATURE


def test_whoever_signs_anothers_ephemeral_key_as_its_own_shares_a_session_with_nobody() -> None:
    # Unknown key share: OTHER offers OPENER's key to ANSWERER as its own, and hands the answer on.
    offer = Offer(ENDS, OPENER, 1)
    stolen = Ends(ENDS.chain_id, b"member/2", b"member/1")
    resigned = offer.message[:41] + OTHER.sign(stolen.offered(1, offer.message[9:41]))
    answer, _ = answer_offer(stolen, resigned, OTHER.public_key, ANSWERER)
    with pytest.raises(SealError) as raised:
        offer.accept(answer, ANSWERER.public_key)
    assert fault_of(raised) is SealFault.SIGNATURE


def test_an_answer_fits_one_offer() -> None:
    first, second = Offer(ENDS, OPENER, 1), Offer(ENDS, OPENER, 2)
    answer, _ = answer_offer(ENDS, first.message, OPENER.public_key, ANSWERER)
    with pytest.raises(SealError) as raised:
        second.accept(answer, ANSWERER.public_key)
    assert fault_of(raised) is SealFault.STALE


def test_nobody_answers_for_another() -> None:
    offer = Offer(ENDS, OPENER, 1)
    answer, _ = answer_offer(ENDS, offer.message, OPENER.public_key, OTHER)
    with pytest.raises(SealError) as raised:
        offer.accept(answer, ANSWERER.public_key)
    assert fault_of(raised) is SealFault.SIGNATURE


def test_nobody_offers_for_another() -> None:
    with pytest.raises(SealError) as raised:
        answer_offer(ENDS, Offer(ENDS, OTHER, 1).message, OPENER.public_key, ANSWERER)
    assert fault_of(raised) is SealFault.SIGNATURE


def test_the_number_of_an_offer_is_signed() -> None:
    offer = Offer(ENDS, OPENER, 7).message
    assert offer_number(offer) == 7
    raised_number = offer[:1] + (8).to_bytes(8, "big") + offer[9:]
    with pytest.raises(SealError) as raised:
        answer_offer(ENDS, raised_number, OPENER.public_key, ANSWERER)
    assert fault_of(raised) is SealFault.SIGNATURE


@pytest.mark.parametrize("point", NO_POINTS, ids=["zero", "one", "p"])
def test_keys_of_low_order_are_refused_even_where_they_are_signed(point: bytes) -> None:
    offer = bytes([VERSION]) + (1).to_bytes(8, "big") + point + OPENER.sign(ENDS.offered(1, point))
    with pytest.raises(SealError) as raised:
        answer_offer(ENDS, offer, OPENER.public_key, ANSWERER)
    assert fault_of(raised) is SealFault.KEY
    mine = Offer(ENDS, OPENER, 1)
    key = mine.message[9:41]
    answer = bytes([VERSION]) + key + point + ANSWERER.sign(ENDS.answered(key, point))
    with pytest.raises(SealError) as raised:
        mine.accept(answer, ANSWERER.public_key)
    assert fault_of(raised) is SealFault.KEY


def test_another_version_is_told_apart() -> None:
    offer = Offer(ENDS, OPENER, 1)
    answer, session = answer_offer(ENDS, offer.message, OPENER.public_key, ANSWERER)
    denial = deny(ENDS, session.id, ANSWERER)
    other = bytes([VERSION + 1])
    for call in (
        lambda: offer_number(other + offer.message[1:]),
        lambda: answer_offer(ENDS, other + offer.message[1:], OPENER.public_key, ANSWERER),
        lambda: offer.accept(other + answer[1:], ANSWERER.public_key),
        lambda: check_denial(ENDS, other + denial[1:], session.id, ANSWERER.public_key),
    ):
        with pytest.raises(SealError) as raised:
            call()
        assert fault_of(raised) is SealFault.VERSION


@given(st.binary(max_size=2 * MAX_EXCHANGE_BYTES))
def test_whatever_bytes_come_in_an_exchange_the_only_error_is_a_seal_error(junk: bytes) -> None:
    for call in (
        lambda: offer_number(junk),
        lambda: answer_offer(ENDS, junk, OPENER.public_key, ANSWERER),
        lambda: Offer(ENDS, OPENER, 1).accept(junk, ANSWERER.public_key),
        lambda: check_denial(ENDS, junk, bytes(8), ANSWERER.public_key),
        lambda: exchange()[0].open(junk),
        lambda: session_id_of(junk),
    ):
        try:
            call()
        except SealError:
            continue


@pytest.mark.parametrize("key", [*NO_POINTS, bytes(range(32)), b"\xff" * 32])
def test_an_opener_whose_key_is_no_key_is_refused(key: bytes) -> None:
    with pytest.raises(SealError) as raised:
        answer_offer(ENDS, Offer(ENDS, OPENER, 1).message, PublicKey(key), ANSWERER)
    assert fault_of(raised) is SealFault.SIGNATURE


def test_messages_of_an_exchange_are_as_long_as_stated_and_one_byte_more_or_less_is_malformed() -> None:
    offer = Offer(ENDS, OPENER, 1)
    answer, session = answer_offer(ENDS, offer.message, OPENER.public_key, ANSWERER)
    denial = deny(ENDS, session.id, ANSWERER)
    assert max(len(offer.message), len(answer), len(denial)) == MAX_EXCHANGE_BYTES
    for change in (lambda message: message + b"\0", lambda message: message[:-1]):
        for call in (
            lambda change=change: answer_offer(ENDS, change(offer.message), OPENER.public_key, ANSWERER),
            lambda change=change: offer.accept(change(answer), ANSWERER.public_key),
            lambda change=change: check_denial(ENDS, change(denial), session.id, ANSWERER.public_key),
        ):
            with pytest.raises(SealError) as raised:
                call()
            assert fault_of(raised) is SealFault.MALFORMED


def test_what_is_signed_has_a_domain_for_each_message() -> None:
    signed = [ENDS.offered(1, bytes(32)), ENDS.answered(bytes(32), bytes(32)), ENDS.denied(bytes(8))]
    assert [each.startswith(tag(f"seal-{name}")) for each, name in zip(signed, _DOMAINS, strict=True)]
    assert len(set(signed)) == 3


_DOMAINS = ("offer", "answer", "denial")


# Denials.


def test_an_answerer_denies_one_session_and_nobody_denies_for_it() -> None:
    session = bytes(range(8))
    denial = deny(ENDS, session, ANSWERER)
    check_denial(ENDS, denial, session, ANSWERER.public_key)
    for forged, asked, fault in (
        (denial, bytes(8), SealFault.OTHER),
        (deny(ENDS, session, OTHER), session, SealFault.SIGNATURE),
        (deny(OTHER_ENDS[0], session, ANSWERER), session, SealFault.SIGNATURE),
        (denial[:-1] + bytes([denial[-1] ^ 1]), session, SealFault.SIGNATURE),
    ):
        with pytest.raises(SealError) as raised:
            check_denial(ENDS, forged, asked, ANSWERER.public_key)
        assert fault_of(raised) is fault


# Sealing.


@given(st.binary(max_size=2_000))
def test_sealing_adds_a_stated_number_of_bytes_and_shows_nothing_of_the_plaintext(plaintext: bytes) -> None:
    one, other = exchange()
    sealed = one.seal(plaintext)
    assert len(sealed) == len(plaintext) + OVERHEAD
    assert session_id_of(sealed) == one.id
    assert len(plaintext) < 8 or plaintext not in sealed
    assert other.open(sealed) == (1, plaintext)


@given(st.data())
def test_a_message_with_any_bit_changed_is_dropped_and_the_genuine_one_is_still_taken(
    data: st.DataObject,
) -> None:
    one, other = exchange()
    sealed = one.seal(b"a message")
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    forged = bytearray(sealed)
    forged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealError):
        other.open(bytes(forged))
    assert other.open(sealed) == (1, b"a message")


def test_what_one_end_sealed_is_not_taken_by_itself() -> None:
    for end in exchange():
        with pytest.raises(SealError) as raised:
            end.open(end.seal(b"x"))
        assert fault_of(raised) is SealFault.FORGED


def test_a_message_that_comes_again_is_dropped_however_often() -> None:
    one, other = exchange()
    sealed = [one.seal(bytes([number])) for number in range(50)]
    for each in sealed:
        other.open(each)
    for each in sealed + sealed:
        with pytest.raises(SealError) as raised:
            other.open(each)
        assert fault_of(raised) is SealFault.REPEATED


@given(st.integers(0, 2**32))
def test_in_whatever_order_messages_come_each_is_taken_once(seed: int) -> None:
    one, other = exchange()
    plaintexts = [bytes([number]) for number in range(60)]
    sealed = [one.seal(plaintext) for plaintext in plaintexts]
    coming = sealed * 2
    random.Random(seed).shuffle(coming)
    taken = []
    for each in coming:
        with suppress(SealError):
            taken.append(other.open(each)[1])
    assert sorted(taken) == plaintexts


def test_messages_may_come_late_up_to_the_window_and_not_later() -> None:
    one, other = exchange()
    sealed = [one.seal(b"") for _ in range(WINDOW + 2)]
    other.open(sealed[-1])
    assert other.highest == WINDOW + 2
    assert other.open(sealed[2])[0] == 3
    for late in (0, 1):
        with pytest.raises(SealError) as raised:
            other.open(sealed[late])
        assert fault_of(raised) is SealFault.REPEATED


def test_a_leap_beyond_the_window_forgets_none_that_matters() -> None:
    one, other = exchange()
    first = one.seal(b"first")
    other.open(first)
    for _ in range(3 * WINDOW):
        one.seal(b"")
    other.open(one.seal(b"far ahead"))
    with pytest.raises(SealError) as raised:
        other.open(first)
    assert fault_of(raised) is SealFault.REPEATED


def test_what_is_remembered_of_counters_is_bounded() -> None:
    one, other = exchange()
    for _ in range(WINDOW + 100):
        other.open(one.seal(b""))
    assert other._window.bit_length() == WINDOW


def test_a_forged_counter_moves_no_window() -> None:
    one, other = exchange()
    genuine = one.seal(b"x")
    leap = one.id + (2**60).to_bytes(8, "big") + genuine[SEALED_HEADER_BYTES:]
    with pytest.raises(SealError) as raised:
        other.open(leap)
    assert fault_of(raised) is SealFault.FORGED
    assert other.highest == 0
    assert other.open(genuine) == (1, b"x")


def test_no_nonce_is_used_twice_the_end_of_the_counter_included() -> None:
    one, _ = exchange()
    counters = [one.seal(b"same")[8:SEALED_HEADER_BYTES] for _ in range(100)]
    assert len(set(counters)) == 100
    one._sent = MAX_MESSAGES - 1
    with pytest.raises(RuntimeError, match="longer than its counter allows"):
        one.seal(b"x")


def test_what_is_shorter_than_any_message_is_malformed() -> None:
    one, _ = exchange()
    for size in (0, 1, OVERHEAD - 1):
        for call in (one.open, session_id_of):
            with pytest.raises(SealError) as raised:
                call(bytes(size))
            assert fault_of(raised) is SealFault.MALFORMED


def test_lengths_of_signatures_are_those_that_are_taken() -> None:
    assert len(Offer(ENDS, OPENER, 0).message) == 1 + 8 + 32 + SIGNATURE_BYTES
    assert offer_number(Offer(ENDS, OPENER, 2**64 - 1).message) == 2**64 - 1
