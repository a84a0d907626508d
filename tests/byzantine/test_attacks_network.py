"""Attacks of the network, on form, on signatures and on resources: each staged with its stated outcome; and
that the bytes they send are what they claim to be."""

from collections.abc import Callable
from hashlib import sha512

import msgspec
import pytest

import crypto.roster
from byzantine.attacks import network
from byzantine.attacks.catalogue import ATTACKS, find_attack
from byzantine.liars import signing
from byzantine.liars.encodings import bombs, odd_forms
from byzantine.runners.simulated import simulate
from crypto.attestation import Height
from crypto.codec import StrictDecoder, encode
from crypto.digest import digest, tag
from crypto.errors import CodecError, KeyRefused
from crypto.keys import PublicKey, Signature, SigningKey, check_public_key, verify
from pbft.messages import Prepare, View

NAMES = sorted(name for name, attack in ATTACKS.items() if attack.group == network.GROUP)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("n", [4, 7])
@pytest.mark.parametrize("name", NAMES)
def test_attack_has_its_stated_outcome(name: str, n: int, seed: int) -> None:
    assert simulate(find_attack(name).scenario(n, seed)).failed == ()


# Whoever bound less into what is signed would be deceived.


@pytest.mark.parametrize(
    ("name", "binding", "fails"),
    [
        ("replay-foreign-chain", lambda kind, _chain, epoch: tag(kind) + bytes((epoch,)), "accountability"),
        ("replay-foreign-epoch", lambda kind, chain, _epoch: tag(kind) + chain, "accountability"),
        ("relabel-votes", lambda _kind, chain, epoch: chain + bytes((epoch,)), "outcome"),
    ],
)
def test_replayed_votes_would_count_if_signatures_bound_less(
    name: str, binding: Callable[[str, bytes, int], bytes], fails: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crypto.roster, "_binding", binding)
    failed = simulate(find_attack(name).scenario(4, 1)).failed
    assert fails in {finding.oracle for finding in failed}


# Signatures that lax verifiers accept. The arithmetic is that of RFC 8032, in affine coordinates.

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]
BASE: Point


def add(one: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one, other
    product = D * x1 * x2 * y1 * y2
    x = (x1 * y2 + x2 * y1) * pow(1 + product, -1, P)
    y = (y1 * y2 + x1 * x2) * pow(1 - product, -1, P)
    return x % P, y % P


def times(scalar: int, point: Point) -> Point:
    result: Point = (0, 1)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def decoded(data: bytes) -> Point:
    number = int.from_bytes(data, "little")
    y, sign = number & (2**255 - 1), number >> 255
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    assert (x * x - square) % P == 0
    return (P - x if x & 1 != sign else x), y


BASE = decoded((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def laxly_verified(key: bytes, message: bytes, signature: bytes) -> bool:
    """As ZIP 215 does it, but for any S: 8 S B = 8 R + 8 k A."""
    nonce, public = decoded(signature[:32]), decoded(key)
    challenge = int.from_bytes(sha512(signature[:32] + key + message).digest(), "little")
    right = add(nonce, times(challenge, public))
    return times(8 * int.from_bytes(signature[32:], "little"), BASE) == times(8, right)


KEY = SigningKey(bytes(range(32)))
MESSAGE = b"one transaction"


def test_lax_verifier_accepts_what_is_signed_rightly_and_nothing_else() -> None:
    signature = KEY.sign(MESSAGE)
    assert laxly_verified(KEY.public_key, MESSAGE, signature)
    assert not laxly_verified(KEY.public_key, MESSAGE + b"!", signature)


@pytest.mark.parametrize(
    "signature",
    [
        signing.malleated(KEY.sign(MESSAGE)),
        signing.mixed_order_nonce(KEY, MESSAGE),
        signing.low_order_nonce(KEY, MESSAGE),
    ],
    ids=["malleated", "mixed-order", "low-order"],
)
def test_lax_signature_is_accepted_by_lax_verifiers_alone(signature: Signature) -> None:
    assert laxly_verified(KEY.public_key, MESSAGE, signature)
    assert not verify(KEY.public_key, MESSAGE, signature)


def test_signature_under_a_mixed_order_key_verifies_and_the_key_is_refused() -> None:
    key = PublicKey(signing.mixed_order_key(KEY))
    messages = (b"%d" % number for number in range(1_000))
    message, signature = next(
        (message, signature)
        for message in messages
        if (signature := signing.sign_for_mixed(KEY, message)) is not None
    )
    assert verify(key, message, signature)
    assert laxly_verified(key, message, signature)
    with pytest.raises(KeyRefused):
        check_public_key(key)


def test_anybody_signs_under_a_low_order_key_and_it_is_refused() -> None:
    signature = signing.for_low_order_key(KEY, MESSAGE)
    assert laxly_verified(signing.LOW, MESSAGE, signature)
    with pytest.raises(KeyRefused):
        check_public_key(signing.LOW)


# Encodings.

VOTE = Prepare(View(1), Height(300), digest("a batch"))
STRICT: StrictDecoder[Prepare] = StrictDecoder(Prepare, 1_000)


def lax_prepare(data: bytes) -> tuple[object, ...]:
    """Read the first array in `data`, whatever its form and however much follows: its first three items."""
    if data[0] & 0xF0 == 0x90:
        count, rest = data[0] & 0x0F, data[1:]
    else:
        size = {0xDC: 2, 0xDD: 4}[data[0]]
        count, rest = int.from_bytes(data[1 : 1 + size], "big"), data[1 + size :]
    whole = encode(VOTE)[1:]
    assert count >= 3
    assert rest.startswith(whole)
    return tuple(msgspec.msgpack.decode(b"\x93" + whole))


@pytest.mark.parametrize("form", odd_forms(encode(VOTE)), ids=range(5))
def test_odd_form_means_the_same_and_is_refused(form: bytes) -> None:
    assert lax_prepare(form) == (VOTE.view, VOTE.sequence, VOTE.digest)
    with pytest.raises(CodecError):
        STRICT.decode(form)


@pytest.mark.parametrize("bomb", bombs(), ids=range(len(bombs())))
def test_bomb_is_refused(bomb: bytes) -> None:
    with pytest.raises(CodecError):
        StrictDecoder(Prepare, 1_000_000).decode(bomb)
