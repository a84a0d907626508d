"""Rules of segments: what is lost costs the frames that had a part in it, and nothing makes up a frame."""

import random
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.errors import MalformedFrame
from network.framing import HEADER_BYTES as FRAME_HEADER
from network.framing import frame
from network.mqtt import segments
from network.mqtt.segments import (
    HEADER_BYTES,
    SEGMENT_BYTES,
    SegmentReader,
    SegmentWriter,
    Slip,
    sign_of_life,
)
from network.queue import FrameQueue

SLIP = Slip(heard=0b101, broker=2, passage=7)
LIMIT = 3 * SEGMENT_BYTES
GOODBYE, STREAM, NONE_BEGINS = 2, 1, 0xFFFFFFFF


def written(frames: list[bytes], first: int = 0) -> list[tuple[bytes, set[int]]]:
    """The messages in which these frames leave, each with the numbers of its frames, in part or whole."""
    queue = FrameQueue(10**9, 10**6)
    writer = SegmentWriter(queue)
    writer._number = first
    for payload in frames:
        queue.push(payload)
    ends, end = [], 0
    for payload in frames:
        end += FRAME_HEADER + len(payload)
        ends.append(end)
    messages, begin = [], 0
    while queue:
        message = writer.take(SLIP)
        end = begin + len(message) - HEADER_BYTES
        parts = {
            number
            for number, last in enumerate(ends)
            if last > begin and last - FRAME_HEADER - len(frames[number]) < end
        }
        messages.append((message, parts))
        begin = end
    return messages


def numbered(sizes: list[int]) -> list[bytes]:
    return [number.to_bytes(4, "big") + bytes(size) for number, size in enumerate(sizes)]


def read(reader: SegmentReader, messages: list[bytes]) -> list[bytes]:
    return [payload for message in messages for payload in reader.read(message).frames]


sizes = st.lists(
    st.one_of(st.integers(0, 200), st.integers(SEGMENT_BYTES - 50, 2 * SEGMENT_BYTES + 50)),
    min_size=1,
    max_size=8,
)
seeds = st.integers(0, 2**32)
first_numbers = st.sampled_from([0, 1, 2**31 - 2, 2**32 - 2, 2**32 - 1])


@given(sizes, first_numbers)
def test_messages_that_all_come_in_order_give_all_frames(lengths: list[int], first: int) -> None:
    frames, reader = numbered(lengths), SegmentReader(LIMIT)
    assert read(reader, [message for message, _ in written(frames, first)]) == frames
    assert reader.buffered == 0


@given(sizes, first_numbers, seeds)
def test_what_is_lost_costs_no_frames_but_those_that_had_a_part_in_it(
    lengths: list[int], first: int, seed: int
) -> None:
    chance = random.Random(seed)
    frames = numbered(lengths)
    came, lost = [], set()
    for message, parts in written(frames, first):
        if chance.random() < 0.3:
            lost |= parts
        else:
            came.append(message)
    expected = [payload for number, payload in enumerate(frames) if number not in lost]
    assert read(SegmentReader(LIMIT), came) == expected


@given(sizes, first_numbers, seeds)
def test_in_whatever_order_messages_come_no_frame_is_made_up_or_comes_twice(
    lengths: list[int], first: int, seed: int
) -> None:
    chance = random.Random(seed)
    frames = numbered(lengths)
    messages = written(frames, first)
    whole = [number for number in range(len(frames)) if sum(number in parts for _, parts in messages) == 1]
    chance.shuffle(messages)
    got = read(SegmentReader(LIMIT), [message for message, _ in messages])
    assert len(got) == len(set(got))
    assert set(got) <= set(frames)
    # A frame within one message needs no other one.
    assert set(got) >= {frames[number] for number in whole}


@given(st.lists(st.binary(max_size=80), max_size=20))
def test_whatever_bytes_come_the_only_error_is_a_malformed_frame_and_what_is_kept_is_bounded(
    messages: list[bytes],
) -> None:
    reader = SegmentReader(50)
    for message in messages:
        with suppress(MalformedFrame):
            assert all(0 < len(payload) <= 50 for payload in reader.read(message).frames)
        assert reader.buffered <= 50 + FRAME_HEADER


def test_a_message_says_its_slip_and_whether_its_sender_leaves() -> None:
    reader = SegmentReader(LIMIT)
    (message, _), *_ = written([b"x"])
    assert reader.read(message).slip == SLIP
    assert reader.read(sign_of_life(SLIP)).slip == SLIP
    assert [reader.read(each).goodbye for each in (message, sign_of_life(SLIP))] == [False, False]
    assert reader.read(sign_of_life(SLIP, goodbye=True)).goodbye


def test_every_broker_there_can_be_fits_a_slip_and_passages_begin_again_after_the_last() -> None:
    reader = SegmentReader(LIMIT)
    for broker in range(8):
        slip = Slip(0xFF, broker, 2**32 + 5)
        assert reader.read(sign_of_life(slip)).slip == Slip(0xFF, broker, 5)


def test_signs_of_life_between_segments_disturb_nothing() -> None:
    frames = numbered([2 * SEGMENT_BYTES])
    mixed = [each for message, _ in written(frames) for each in (sign_of_life(SLIP), message)]
    assert read(SegmentReader(LIMIT), mixed) == frames


def test_a_message_that_comes_late_gives_its_frames_and_disturbs_none_that_is_being_read() -> None:
    queue = FrameQueue(10**9, 10)
    writer = SegmentWriter(queue)
    messages = []
    frames = numbered([1, 2, 2 * SEGMENT_BYTES])
    for payload in frames:
        queue.push(payload)
        while queue:
            messages.append(writer.take(SLIP))
    first, late, begin, *rest = messages
    assert read(SegmentReader(LIMIT), [first, begin, late, *rest]) == [frames[0], frames[1], frames[2]]


def test_messages_are_no_longer_than_stated() -> None:
    for message, _ in written(numbered([10, SEGMENT_BYTES, 3, 2 * SEGMENT_BYTES, 1])):
        assert len(message) <= HEADER_BYTES + SEGMENT_BYTES + FRAME_HEADER


def test_a_reader_that_forgot_goes_on_where_the_next_frame_begins() -> None:
    frames = numbered([2 * SEGMENT_BYTES, 5])
    first, *rest = [message for message, _ in written(frames)]
    reader = SegmentReader(LIMIT)
    assert reader.read(first).frames == []
    assert reader.buffered >= SEGMENT_BYTES
    reader.forget()
    assert reader.buffered == 0
    assert read(reader, rest) == frames[1:]


def test_a_length_above_the_limit_spoils_nothing_that_follows() -> None:
    reader = SegmentReader(100)
    bad = segments._header(STREAM, SLIP, 0, 0) + frame(bytes(101))
    with pytest.raises(MalformedFrame, match="frame_oversized"):
        reader.read(bad)
    assert reader.buffered == 0
    assert reader.read(segments._header(STREAM, SLIP, 1, 0) + frame(b"fine")).frames == [b"fine"]


@pytest.mark.parametrize("skip", [1, 2, 2**31, NONE_BEGINS - 1])
def test_a_frame_that_is_said_to_begin_beyond_the_message_is_refused(skip: int) -> None:
    with pytest.raises(MalformedFrame, match="segment_skips_too_far"):
        SegmentReader(LIMIT).read(segments._header(STREAM, SLIP, 0, skip) + b"x")


def test_a_message_shorter_than_its_header_is_refused() -> None:
    with pytest.raises(MalformedFrame, match="segment_short"):
        SegmentReader(LIMIT).read(bytes(HEADER_BYTES - 1))
