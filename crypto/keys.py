"""Ed25519 keys and signatures, by PyNaCl (libsodium) alone.

Libraries disagree about edge cases of Ed25519, and replicas that disagree about one signature fork.
So this module is the only place that signs and verifies, on every path: replica, SDK and audit.
Source: RFC 8032; Chalkias, Garillot, Nikolaenko, "Taming the many EdDSAs" (2020) for the edge cases.
"""

import secrets
from collections.abc import Sequence
from typing import Annotated, NamedTuple, NewType, Protocol

from msgspec import Meta
from nacl import bindings
from nacl.exceptions import BadSignatureError

from crypto.errors import KeyRefused

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
SEED_BYTES = 32

PublicKey = NewType("PublicKey", bytes)
"""32 bytes: an Ed25519 public key that `check_public_key` accepted, or that is about to be checked."""

Signature = NewType("Signature", bytes)
"""64 bytes: R and S, as RFC 8032 encodes them."""

PublicKeyField = Annotated[PublicKey, Meta(min_length=PUBLIC_KEY_BYTES, max_length=PUBLIC_KEY_BYTES)]
SignatureField = Annotated[Signature, Meta(min_length=SIGNATURE_BYTES, max_length=SIGNATURE_BYTES)]


class Check(NamedTuple):
    """One signature to be verified: whose key, over which bytes, and the signature itself."""

    key: PublicKey
    signed: bytes
    signature: bytes


class Signer(Protocol):
    """Whoever can sign as one key."""

    @property
    def public_key(self) -> PublicKey:
        """The key that verifies what this signs."""
        ...

    def sign(self, message: bytes) -> Signature:
        """Return the 64-byte signature over `message`."""
        ...


class SignatureChecker(Protocol):
    """Verifies signatures in chunks, so that the work can be done here or by other processes."""

    def check(self, checks: Sequence[Check]) -> list[bool]:
        """Return, for each check in order, whether its signature is valid."""
        ...


class SigningKey:
    """An Ed25519 secret key. `repr` never shows it."""

    __slots__ = ("_secret", "public_key", "seed")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise KeyRefused(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
        public, self._secret = bindings.crypto_sign_seed_keypair(seed)
        self.seed = seed
        self.public_key = PublicKey(public)

    @classmethod
    def generate(cls) -> "SigningKey":
        """Return a new key from the operating system's randomness."""
        return cls(secrets.token_bytes(SEED_BYTES))

    def sign(self, message: bytes) -> Signature:
        """Return the 64-byte signature over `message`."""
        return Signature(bindings.crypto_sign(message, self._secret)[:SIGNATURE_BYTES])

    def __repr__(self) -> str:
        return f"SigningKey(public_key={self.public_key.hex()})"


def verify(key: PublicKey, signed: bytes, signature: bytes) -> bool:
    """Return whether `signature` (64 bytes) is `key`'s over `signed`. Never raises on hostile input."""
    if len(signature) != SIGNATURE_BYTES or len(key) != PUBLIC_KEY_BYTES:
        return False
    try:
        bindings.crypto_sign_open(signature + signed, key)
    except BadSignatureError:
        return False
    return True


class InlineChecker:
    """Verifies in the calling process."""

    def check(self, checks: Sequence[Check]) -> list[bool]:
        """Return, for each check in order, whether its signature is valid."""
        return [verify(key, signed, signature) for key, signed, signature in checks]


def check_public_key(key: bytes) -> PublicKey:
    """Return `key` if it may be registered.

    Raises `KeyRefused` for a wrong length, a non-canonical encoding, a point that is not on the
    curve or not in the prime-order group, and the points of low order, for which signatures over any
    message exist.
    """
    if len(key) != PUBLIC_KEY_BYTES:
        raise KeyRefused(f"a public key has {PUBLIC_KEY_BYTES} bytes, not {len(key)}")
    if not bindings.crypto_core_ed25519_is_valid_point(bytes(key)):
        raise KeyRefused(f"public key {key.hex()} is of low order, not canonical, or not on the curve")
    return PublicKey(bytes(key))
