"""Canonical bytes: one encoding per value, everything else refused, whatever the bytes."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.codec import StrictDecoder, encode
from crypto.errors import CodecError


class Inner(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    flag: bool
    data: bytes


class Outer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    number: int
    text: str
    inner: tuple[Inner, ...]
    last: bytes | None = None


decoder = StrictDecoder(Outer, 10_000)
values = st.builds(
    Outer,
    st.integers(-(2**63), 2**63 - 1),
    st.text(max_size=20),
    st.lists(st.builds(Inner, st.booleans(), st.binary(max_size=20)), max_size=4).map(tuple),
    st.none() | st.binary(max_size=20),
)


@given(values)
def test_what_is_encoded_decodes_to_the_same_value(value: Outer) -> None:
    assert decoder.decode(encode(value)) == value


@given(st.binary(max_size=200))
def test_arbitrary_bytes_decode_to_their_own_encoding_or_are_refused(data: bytes) -> None:
    try:
        value = decoder.decode(data)
    except CodecError:
        return
    assert encode(value) == data


@given(values, st.data())
def test_changed_bytes_are_refused_or_mean_something_else(value: Outer, data: st.DataObject) -> None:
    good = encode(value)
    at = data.draw(st.integers(0, len(good) - 1))
    changed = bytearray(good)
    changed[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(CodecError):
        assert decoder.decode(bytes(changed)) != value


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("trailing bytes", encode(Outer(1, "a", ())) + b"\x00"),
        ("a number longer than needed", b"\x94\xcd\x00\x01\xa1a\x90\xc0"),
        ("an unknown field", b"\x95\x01\xa1a\x90\xc0\x01"),
        ("a default left out", b"\x93\x01\xa1a\x90"),
        ("bytes in a longer form", b"\x94\x01\xa1a\x90\xc5\x00\x01x"),
        ("text in a longer form", b"\x94\x01\xd9\x01a\x90\xc0"),
        ("an array in a longer form", b"\x94\x01\xa1a\xdc\x00\x00\xc0"),
        ("text that is not UTF-8", b"\x94\x01\xa1\xff\x90\xc0"),
        ("a map for an array", b"\x80"),
        ("nothing", b""),
        ("a length far beyond the bytes", b"\x94\x01\xdb\xff\xff\xff\xff"),
    ],
)
def test_every_other_form_is_refused(what: str, data: bytes) -> None:
    with pytest.raises(CodecError):
        decoder.decode(data)


def test_deep_nesting_is_refused_without_harm() -> None:
    with pytest.raises(CodecError):
        StrictDecoder(Outer, 10**6).decode(b"\x91" * 100_000)


def test_too_many_bytes_are_refused_before_they_are_looked_at() -> None:
    with pytest.raises(CodecError, match="more than the 3 allowed"):
        StrictDecoder(Outer, 3).decode(encode(Outer(1, "a", ())))
