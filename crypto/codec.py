"""Canonical bytes: MessagePack of typed, array-like structs, decoded strictly.

MessagePack itself allows several encodings of one value, and the decoder accepts them all. What is
hashed or signed must have one only: so every decoding re-encodes the value and refuses input that
differs by a single byte. The bytes received are then the bytes that are hashed and verified.
"""

from typing import Generic, TypeVar

import msgspec

from crypto.errors import CodecError

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()
encode = _encoder.encode
"""Return the canonical bytes of a typed value (structs, tuples, integers, bytes, text, booleans)."""


class StrictDecoder(Generic[T]):
    """Decodes one type from at most `limit` bytes; anything not canonical raises `CodecError`."""

    __slots__ = ("_decoder", "limit", "name")

    def __init__(self, target: type[T], limit: int) -> None:
        self._decoder = msgspec.msgpack.Decoder(target)
        self.limit = limit
        self.name = getattr(target, "__name__", str(target))

    def decode(self, data: bytes) -> T:
        """Return the value in `data`. Raises `CodecError` naming the type and the fault."""
        if len(data) > self.limit:
            raise CodecError(f"{self.name}: {len(data)} bytes, more than the {self.limit} allowed")
        try:
            value = self._decoder.decode(data)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise CodecError(f"{self.name}: {error}") from None
        if _encoder.encode(value) != data:
            raise CodecError(f"{self.name}: not in canonical form")
        return value
