"""Bytes that a lax decoder takes for the same message, and bytes that a careless one chokes on.

What lives here: other forms of canonical MessagePack, and bombs. What must not be known here: who sends them.
"""

FIXED_ARRAY = 0x90
"""MessagePack: an array of up to 15 items, their number in the low four bits."""

ARRAY_16 = b"\xdc"
ARRAY_32 = b"\xdd"
BYTES_32 = b"\xc6"
MAP_32 = b"\xdf"
NIL = b"\xc0"


def odd_forms(canonical: bytes) -> list[bytes]:
    """Return other forms of a canonical array of at most 15 items that many decoders read as the same:
    trailing bytes, a field more, and a length that is longer than it must be."""
    count = canonical[0] & 0x0F
    if canonical[0] & 0xF0 != FIXED_ARRAY or count == 15:
        raise ValueError("no array of at most 14 items")
    items = canonical[1:]
    return [
        canonical + b"\x00",
        canonical + canonical,
        bytes((FIXED_ARRAY | (count + 1),)) + items + NIL,
        ARRAY_16 + count.to_bytes(2, "big") + items,
        ARRAY_32 + count.to_bytes(4, "big") + items,
    ]


def bombs() -> list[bytes]:
    """Return bodies that claim four thousand million items or bytes, that nest a hundred thousand arrays, and
    that hold as many empty ones beside each other."""
    much = (2**32 - 1).to_bytes(4, "big")
    deep, wide = 100_000, 100_000
    return [
        ARRAY_32 + much,
        BYTES_32 + much,
        MAP_32 + much,
        b"\x92\xc3" + ARRAY_32 + much,
        b"\x92\xc3" + BYTES_32 + much + b"x" * 100,
        b"\x91" * deep,
        b"\x92\xc3" + b"\x91" * deep + b"\x90",
        b"\x92\xc3" + ARRAY_32 + wide.to_bytes(4, "big") + b"\x90" * wide,
    ]
