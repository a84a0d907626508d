"""Ed25519 signatures and keys that lax verifiers accept, made by whoever owns the key.

What lives here: arithmetic on one's own secret key. What must not be known here: where these are sent.
Source: Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs" (2020), whose cases these are.

Verifiers differ in whether they multiply by the cofactor 8, and in whether they refuse S that is not below
the group's order, R of low order, and keys of low or mixed order.
"""

from collections.abc import Callable
from hashlib import sha512

from nacl import bindings

from byzantine.scenario import Contradiction
from crypto.keys import Signature, Signer, SigningKey

ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the group that Ed25519's base point generates."""

LOW = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
"""A point of order 8."""


def real(signer: Signer) -> SigningKey:
    """Return a signer that is a real Ed25519 key. Raises `Contradiction` for a stand-in."""
    if not isinstance(signer, SigningKey):
        raise Contradiction("signatures", "stand-ins have none of Ed25519's edge cases: ed25519 is needed")
    return signer


def malleated(signature: bytes) -> Signature:
    """Return the signature with the group's order added to S: anybody can do it, without the key."""
    s = int.from_bytes(signature[32:], "little") + ORDER
    return Signature(signature[:32] + s.to_bytes(32, "little"))


def mixed_order_nonce(key: SigningKey, message: bytes) -> Signature:
    """Return a signature whose R has a part of low order: verifiers that multiply by 8 accept it."""
    return _sign(key, message, lambda point: _add(point, LOW))


def low_order_nonce(key: SigningKey, message: bytes) -> Signature:
    """Return a signature whose R is of low order: the same accept it, unless they refuse such points."""
    secret = _secret(key)
    challenge = _challenge(LOW, key.public_key, message)
    return _joined(LOW, challenge * secret)


def mixed_order_key(key: SigningKey) -> bytes:
    """Return a public key with a part of low order beside `key`'s own: `sign_for_mixed` signs for it."""
    return _add(key.public_key, LOW)


def sign_for_mixed(key: SigningKey, message: bytes) -> Signature | None:
    """Return the signature over `message` under `key`'s mixed-order key, if all verifiers would accept it
    that know nothing of such keys; for one message in eight."""
    public = mixed_order_key(key)
    nonce, point = _nonce(key, message)
    challenge = _challenge(point, public, message)
    return None if challenge % 8 else _joined(point, nonce + challenge * _secret(key))


def for_low_order_key(key: SigningKey, message: bytes) -> Signature:
    """Return a signature under the public key `LOW`, whose secret nobody needs: lax verifiers accept it."""
    nonce, point = _nonce(key, message)
    return _joined(point, nonce)


def _sign(key: SigningKey, message: bytes, change: Callable[[bytes], bytes]) -> Signature:
    nonce, point = _nonce(key, message)
    changed = change(point)
    return _joined(changed, nonce + _challenge(changed, key.public_key, message) * _secret(key))


def _secret(key: SigningKey) -> int:
    clamped = int.from_bytes(sha512(key.seed).digest()[:32], "little")
    return clamped & ~7 & (2**255 - 1) | 2**254


def _nonce(key: SigningKey, message: bytes) -> tuple[int, bytes]:
    hashed = sha512(b"lax" + key.seed + message).digest()
    nonce = int.from_bytes(hashed, "little") % ORDER
    return nonce, bindings.crypto_scalarmult_ed25519_base_noclamp(nonce.to_bytes(32, "little"))


def _challenge(point: bytes, public: bytes, message: bytes) -> int:
    return int.from_bytes(sha512(point + public + message).digest(), "little") % ORDER


def _joined(point: bytes, scalar: int) -> Signature:
    return Signature(point + (scalar % ORDER).to_bytes(32, "little"))


def _add(one: bytes, other: bytes) -> bytes:
    return bindings.crypto_core_ed25519_add(bytes(one), other)
