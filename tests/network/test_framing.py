"""Rules of framing: a stream gives back its frames however it was cut up, and nothing hostile is kept."""

import tracemalloc
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.errors import FramingError, FramingFault
from network.framing import HEADER_BYTES, MAX_PAYLOAD_BYTES, Framer, frame

LIMIT = 1_000
payloads = st.binary(min_size=1, max_size=LIMIT)


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    """`stream` cut at these places, empty pieces included."""
    ends = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    return [stream[begin:end] for begin, end in pairwise(ends)]


def fed(framer: Framer, chunks: list[bytes]) -> list[bytes]:
    return [payload for chunk in chunks for payload in framer.feed(chunk)]


@given(st.lists(payloads, max_size=20), st.lists(st.integers(0, 20_000), max_size=30))
def test_a_stream_gives_back_its_frames_however_it_is_cut_up(sent: list[bytes], cuts: list[int]) -> None:
    framer = Framer(LIMIT)
    assert fed(framer, pieces(b"".join(map(frame, sent)), cuts)) == sent
    assert framer.buffered == 0


@given(st.lists(payloads, min_size=1, max_size=3))
def test_a_stream_that_comes_byte_by_byte_gives_back_its_frames(sent: list[bytes]) -> None:
    stream = b"".join(map(frame, sent))
    assert fed(Framer(LIMIT), [bytes([byte]) for byte in stream]) == sent


@given(st.lists(st.binary(max_size=60), max_size=40))
def test_any_bytes_give_frames_within_the_limit_or_a_framing_error(chunks: list[bytes]) -> None:
    framer = Framer(20)
    stream = b"".join(chunks)
    got: list[bytes] = []
    with suppress(FramingError):
        for chunk in chunks:
            got += framer.feed(chunk)
            assert framer.buffered <= 20 + HEADER_BYTES
    assert all(0 < len(payload) <= 20 for payload in got)
    assert stream.startswith(b"".join(map(frame, got)))


@given(payloads, st.integers(1, HEADER_BYTES + LIMIT))
def test_nothing_is_delivered_of_a_frame_that_is_not_complete(payload: bytes, missing: int) -> None:
    framer, stream = Framer(LIMIT), frame(payload)
    begun = stream[: max(0, len(stream) - missing)]
    assert framer.feed(begun) == []
    assert framer.buffered == len(begun)


def test_frames_are_of_plain_bytes_and_share_nothing_with_what_was_fed() -> None:
    framer = Framer(LIMIT)
    stream = bytearray(frame(b"first") + frame(b"second"))
    with memoryview(stream) as view:
        got = framer.feed(view[:12])
        got += framer.feed(view[12:])
    stream[:] = bytes(len(stream))
    assert got == [b"first", b"second"]
    assert all(type(payload) is bytes for payload in got)


# Limits.


@pytest.mark.parametrize("size", [1, LIMIT])
def test_frames_up_to_the_limit_are_taken(size: int) -> None:
    assert Framer(LIMIT).feed(frame(bytes(size))) == [bytes(size)]


def test_a_frame_above_the_limit_is_refused_by_its_header_alone() -> None:
    framer = Framer(LIMIT)
    header = frame(bytes(LIMIT + 1))[:HEADER_BYTES]
    assert framer.feed(header[:3]) == []
    with pytest.raises(FramingError, match=r"a frame of 1001 bytes, 1000 are allowed") as caught:
        framer.feed(header[3:])
    assert caught.value.fault is FramingFault.OVERSIZED


def test_an_empty_frame_is_refused() -> None:
    with pytest.raises(FramingError, match="a frame of 0 bytes") as caught:
        Framer(LIMIT).feed(frame(b"x") + bytes(4))
    assert caught.value.fault is FramingFault.EMPTY


def test_the_largest_length_there_is_makes_nobody_reserve_memory() -> None:
    framer = Framer(MAX_PAYLOAD_BYTES)
    tracemalloc.start()
    try:
        assert framer.feed(MAX_PAYLOAD_BYTES.to_bytes(4, "big") + b"x") == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 10_000


def test_tiny_reads_of_a_large_frame_keep_little_more_than_the_frame() -> None:
    size = 200_000
    stream = frame(bytes(size))
    framer = Framer(size)
    tracemalloc.start()
    try:
        for begin in range(0, size, 2):
            assert framer.feed(stream[begin : begin + 2]) == []
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1.3 * size
    assert framer.feed(stream[size:]) == [bytes(size)]


def test_a_stream_that_broke_stays_broken() -> None:
    framer = Framer(LIMIT)
    for data in (bytes(4), frame(b"fine")):
        with pytest.raises(FramingError, match="0 bytes"):
            framer.feed(data)


def test_the_first_frame_may_have_a_limit_of_its_own() -> None:
    assert Framer(LIMIT, first_limit=5).feed(frame(b"hello") + frame(bytes(LIMIT))) == [
        b"hello",
        bytes(LIMIT),
    ]
    with pytest.raises(FramingError, match="a frame of 6 bytes, 5 are allowed"):
        Framer(LIMIT, first_limit=5).feed(frame(b"hello!"))


@pytest.mark.parametrize("limit", [0, -1, MAX_PAYLOAD_BYTES + 1])
def test_a_limit_that_makes_no_sense_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="a limit of frames"):
        Framer(limit)


def test_our_own_side_makes_no_empty_frame() -> None:
    with pytest.raises(ValueError, match="not 0"):
        frame(b"")
