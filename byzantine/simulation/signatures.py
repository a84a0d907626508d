"""Keys of simulated members and clients, real or stand-ins.

What lives here: deterministic keys, and who verifies what they sign. What must not be known here: who uses
them.

A stand-in signature is a keyed BLAKE2b hash under the owner's secret, which only its owner's signer and the
verifier hold: a liar is given its own signer alone, and so forges as little as it could forge Ed25519. It is
a hundred times as quick. Ed25519's own edge cases do not exist with it: what attacks those runs with real
keys.
"""

from collections.abc import Sequence
from functools import cache
from hashlib import blake2b
from typing import Protocol

from crypto.keys import SEED_BYTES, SIGNATURE_BYTES, Check, PublicKey, Signature, Signer, SigningKey, verify


class Signatures(Protocol):
    """One way of signing, for everybody in a simulated world."""

    def member(self, number: int) -> Signer:
        """Return the signer of a member."""
        ...

    def client(self, number: int) -> Signer:
        """Return the signer of a client."""
        ...

    def check(self, checks: Sequence[Check]) -> list[bool]:
        """Verify signatures: a `crypto.keys.SignatureChecker`."""
        ...


@cache
def _key(role: str, number: int) -> SigningKey:
    return SigningKey(blake2b(f"{role} {number}".encode(), digest_size=SEED_BYTES).digest())


class RealSignatures:
    """Ed25519. A signature that several members check is verified once: the same answer, at less cost."""

    def __init__(self) -> None:
        self._known: dict[Check, bool] = {}

    def member(self, number: int) -> Signer:
        """Return the signer of a member."""
        return _key("member", number)

    def client(self, number: int) -> Signer:
        """Return the signer of a client."""
        return _key("client", number)

    def check(self, checks: Sequence[Check]) -> list[bool]:
        """Verify signatures."""
        answers = []
        for check in checks:
            known = self._known.get(check)
            if known is None:
                known = self._known[check] = verify(*check)
            answers.append(known)
        return answers


class _StandInKey:
    __slots__ = ("_secret", "public_key")

    def __init__(self, public_key: PublicKey, secret: bytes) -> None:
        self.public_key = public_key
        self._secret = secret

    def sign(self, message: bytes) -> Signature:
        """Return the stand-in signature over `message`."""
        return _tag(self._secret, message)


def _tag(secret: bytes, message: bytes) -> Signature:
    return Signature(blake2b(message, digest_size=SIGNATURE_BYTES, key=secret).digest())


class StandInSignatures:
    """Keyed hashes under real public keys: one world's own."""

    def __init__(self) -> None:
        self._secrets: dict[PublicKey, bytes] = {}

    def member(self, number: int) -> Signer:
        """Return the signer of a member."""
        return self._signer("member", number)

    def client(self, number: int) -> Signer:
        """Return the signer of a client."""
        return self._signer("client", number)

    def _signer(self, role: str, number: int) -> Signer:
        key = _key(role, number)
        self._secrets[key.public_key] = key.seed
        return _StandInKey(key.public_key, key.seed)

    def check(self, checks: Sequence[Check]) -> list[bool]:
        """Verify signatures. Nothing verifies under a key that nobody here was given."""
        secrets = self._secrets
        return [
            (secret := secrets.get(check.key)) is not None and _tag(secret, check.signed) == check.signature
            for check in checks
        ]


def signatures(kind: str) -> Signatures:
    """Return a new set of keys of `kind`: `stand-in` or `ed25519`."""
    return RealSignatures() if kind == "ed25519" else StandInSignatures()
