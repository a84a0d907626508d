"""Ed25519 as crypto.keys gives it, held against RFC 8032 and the encodings that libraries disagree on.

The curve's arithmetic is written out here, so that the eight points of small order and every non-canonical
encoding are derived, not quoted; "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko 2020) lists them.
"""

import json
from hashlib import sha512
from pathlib import Path
from typing import Any

import pytest

from crypto.errors import KeyRefused
from crypto.keys import Check, InlineChecker, PublicKey, SigningKey, check_public_key, verify

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "vectors" / "ed25519_rfc8032.json").read_text()
)["vectors"]

# RFC 8032, section 5.1: the field's prime, the group's order, the curve's d.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SIGN_BIT = 1 << 255

Point = tuple[int, int]
NEUTRAL: Point = (0, 1)


def add(one: Point, two: Point) -> Point:
    (x1, y1), (x2, y2) = one, two
    product = D * x1 * x2 * y1 * y2 % P
    return (
        (x1 * y2 + x2 * y1) * pow(1 + product, -1, P) % P,
        (y1 * y2 + x1 * x2) * pow(1 - product, -1, P) % P,
    )


def multiply(scalar: int, point: Point) -> Point:
    result = NEUTRAL
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def point_at(y: int, sign: int) -> Point | None:
    """The point of the curve with this y and this lowest bit of x, if there is one."""
    squared = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(squared, (P + 3) // 8, P)
    if (x * x - squared) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - squared) % P:
        return None
    return (P - x if x & 1 != sign and x else x, y % P)


def encoded(y: int, sign: int) -> bytes:
    """32 bytes for any y below 2**255, also where y is not below P."""
    return (y | (SIGN_BIT if sign else 0)).to_bytes(32, "little")


def base_point() -> Point:
    point = point_at(4 * pow(5, -1, P) % P, 0)
    assert point is not None
    return point


def small_order_points() -> list[Point]:
    """All eight: the multiples of a point that is of order 8, found by clearing the large factor L."""
    y = 2
    while True:
        point = point_at(y, 0)
        if point is not None:
            torsion = multiply(L, point)
            if multiply(4, torsion) != NEUTRAL:
                return [multiply(times, torsion) for times in range(8)]
        y += 1


SMALL_ORDER = small_order_points()


def small_order_encodings() -> set[bytes]:
    """Each small point under every y that stands for it and, where x is 0, under both signs."""
    found = set()
    for x, y in SMALL_ORDER:
        for representative in range(y, 2**255, P):
            for sign in (0, 1) if x == 0 else (x & 1,):
                found.add(encoded(representative, sign))
    return found


NON_CANONICAL = [encoded(y, sign) for y in range(P, 2**255) for sign in (0, 1)]
"""The 19 values of y from P to 2**255 - 1, under both signs."""


def vector_key(number: int) -> tuple[SigningKey, bytes, bytes]:
    vector = VECTORS[number]
    return (
        SigningKey(bytes.fromhex(vector["seed"])),
        bytes.fromhex(vector["message"]),
        bytes.fromhex(vector["signature"]),
    )


each_vector = pytest.mark.parametrize("number", range(len(VECTORS)), ids=[v["name"] for v in VECTORS])


# RFC 8032, section 7.1.


def test_the_five_vectors_of_the_rfc_are_all_here() -> None:
    assert [vector["name"] for vector in VECTORS] == [
        "TEST 1",
        "TEST 2",
        "TEST 3",
        "TEST 1024",
        "TEST SHA(abc)",
    ]
    assert [len(vector["message"]) // 2 for vector in VECTORS] == [0, 1, 2, 1023, 64]


@each_vector
def test_the_seed_gives_the_published_public_key_and_it_may_be_registered(number: int) -> None:
    key, _, _ = vector_key(number)
    assert key.public_key.hex() == VECTORS[number]["public_key"]
    assert check_public_key(key.public_key) == key.public_key


@each_vector
def test_the_message_gets_the_published_signature(number: int) -> None:
    key, message, signature = vector_key(number)
    assert key.sign(message) == signature


@each_vector
def test_the_published_signature_verifies_alone_and_in_a_chunk(number: int) -> None:
    key, message, signature = vector_key(number)
    assert verify(key.public_key, message, signature)
    good = Check(key.public_key, message, signature)
    bad = Check(key.public_key, message + b"\0", signature)
    assert InlineChecker().check([bad, good, bad]) == [False, True, False]


def test_no_bit_of_a_signature_message_or_key_can_be_flipped() -> None:
    key, message, signature = vector_key(2)
    for place in range(8 * len(signature)):
        assert not verify(key.public_key, message, flipped(signature, place))
    for place in range(8 * len(message)):
        assert not verify(key.public_key, flipped(message, place), signature)
    for place in range(8 * len(key.public_key)):
        assert not verify(PublicKey(flipped(key.public_key, place)), message, signature)


def flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)


@pytest.mark.parametrize("length", [0, 1, 31, 32, 63, 65, 96, 1000])
def test_a_signature_of_another_length_never_verifies(length: int) -> None:
    key, message, signature = vector_key(0)
    assert not verify(key.public_key, message, (signature * 20)[:length])


@pytest.mark.parametrize("length", [0, 1, 31, 33, 64])
def test_a_key_of_another_length_is_refused_and_verifies_nothing(length: int) -> None:
    key, message, signature = vector_key(0)
    wrong = PublicKey((key.public_key * 3)[:length])
    assert not verify(wrong, message, signature)
    with pytest.raises(KeyRefused):
        check_public_key(wrong)


# Malleability: a second valid signature for the same message would be a second name for one act.


def test_a_signature_with_the_group_order_added_to_s_is_refused() -> None:
    accepted = []
    for number in range(len(VECTORS)):
        key, message, signature = vector_key(number)
        s = int.from_bytes(signature[32:], "little")
        for times in range(1, (2**256 - s) // L + 1):
            malleated = signature[:32] + (s + times * L).to_bytes(32, "little")
            accepted.append(verify(key.public_key, message, malleated))
    assert len(accepted) >= 5 * 14
    assert not any(accepted)


# Points of small order, and encodings that are not the one of their point.


def test_the_eight_small_points_and_their_fourteen_encodings_are_derived() -> None:
    assert len(set(SMALL_ORDER)) == 8
    assert all(multiply(8, point) == NEUTRAL for point in SMALL_ORDER)
    assert len(small_order_encodings()) == 14
    assert bytes([1] + [0] * 31) in small_order_encodings()
    assert bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05") in (
        small_order_encodings()
    )


@pytest.mark.parametrize("key", sorted(small_order_encodings()), ids=bytes.hex)
def test_a_key_of_small_order_is_refused_in_every_encoding(key: bytes) -> None:
    with pytest.raises(KeyRefused):
        check_public_key(key)


@pytest.mark.parametrize("key", sorted(small_order_encodings()), ids=bytes.hex)
def test_no_message_can_be_signed_for_a_key_of_small_order_without_a_secret(key: bytes) -> None:
    # With A of small order and k A = 0, R = 0 and S = 0 satisfy the equation: nobody's signature.
    neutral = encoded(1, 0)
    for number in range(64):
        assert not verify(PublicKey(key), b"message %d" % number, neutral + bytes(32))


@pytest.mark.parametrize("key", NON_CANONICAL, ids=bytes.hex)
def test_a_key_with_y_not_below_the_prime_is_refused(key: bytes) -> None:
    with pytest.raises(KeyRefused):
        check_public_key(key)


def test_a_key_that_is_no_point_of_the_curve_is_refused() -> None:
    off_the_curve = [y for y in range(2, 40) if point_at(y, 0) is None]
    assert len(off_the_curve) > 10
    for y in off_the_curve:
        with pytest.raises(KeyRefused):
            check_public_key(encoded(y, 0))


def test_a_key_of_mixed_order_is_refused() -> None:
    secret_multiple = multiply(12345, base_point())
    assert check_public_key(encoded(secret_multiple[1], secret_multiple[0] & 1))
    for torsion in SMALL_ORDER:
        if torsion == NEUTRAL:
            continue
        x, y = add(secret_multiple, torsion)
        with pytest.raises(KeyRefused):
            check_public_key(encoded(y, x & 1))


@pytest.mark.parametrize("commitment", sorted(small_order_encodings()), ids=bytes.hex)
def test_a_commitment_of_small_order_is_refused(commitment: bytes) -> None:
    # The holder of a key can choose R of small order; libraries disagree whether to accept it.
    seed = bytes(range(32))
    key = SigningKey(seed)
    wide = bytearray(sha512(seed).digest()[:32])
    wide[0] &= 248
    wide[31] = wide[31] & 127 | 64
    secret = int.from_bytes(wide, "little")
    challenge = int.from_bytes(sha512(commitment + key.public_key + b"m").digest(), "little")
    assert multiply(secret, base_point())[1] == int.from_bytes(key.public_key, "little") % SIGN_BIT
    s = challenge * secret % L
    assert not verify(key.public_key, b"m", commitment + s.to_bytes(32, "little"))
