"""Digests with domain separation (SHA-256).

A digest here always binds the protocol's version and a domain, and every part is prefixed by its
length, so that bytes made for one purpose can never be read as bytes made for another.
"""

from functools import cache
from hashlib import sha256
from typing import Annotated, NewType

from msgspec import Meta

PROTOCOL = b"tetrarch/1"
DIGEST_BYTES = 32

Digest = NewType("Digest", bytes)
"""32 bytes, SHA-256."""

ChainId = NewType("ChainId", bytes)
"""32 bytes: the digest of a genesis' canonical bytes."""

_exactly_32 = Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)
DigestField = Annotated[Digest, _exactly_32]
ChainIdField = Annotated[ChainId, _exactly_32]
"""The same two types as fields of a message: any other length is refused when decoding."""

ZERO_DIGEST = Digest(bytes(DIGEST_BYTES))


@cache
def tag(domain: str) -> bytes:
    """Return the prefix that separates `domain` from all others: version, length, name."""
    name = domain.encode("ascii")
    return bytes([len(PROTOCOL)]) + PROTOCOL + bytes([len(name)]) + name


def digest(domain: str, *parts: bytes) -> Digest:
    """Return SHA-256 over the domain's tag and the length-prefixed `parts`."""
    return Digest(sha256(tag(domain) + framed(*parts)).digest())


def framed(*parts: bytes) -> bytes:
    """Return `parts` joined, each after its length as 8 bytes, big-endian."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in parts)
