"""What decoding a frame from outside may cost, whoever sent it."""

import tracemalloc
from collections.abc import Sequence

import pytest

from crypto.attestation import Height
from crypto.errors import CodecError
from ledger.block import Block
from tests.tetrarch.node.support import chain
from tetrarch.wire import BETWEEN_MEMBERS, MAX_FRAME_BYTES, FrameDecoder, Range, pack

MIB = 1024 * 1024


def frame_of(transactions: Sequence[bytes], results: Sequence[bytes], blocks: int) -> bytes:
    header = chain(1)[1][0].header
    block = Block(header, tuple(transactions), tuple(results), b"")
    return pack(Range(Height(1), (block,) * blocks))


@pytest.mark.parametrize("count", [(200_000, 0), (0, 200_000), (200_000, 200_000)])
def test_blocks_of_countless_tiny_items_are_refused_before_they_take_much_memory(
    count: tuple[int, int],
) -> None:
    data = frame_of([b"tx"] * count[0], [b"ok"] * count[1], 20)
    decoder = FrameDecoder(BETWEEN_MEMBERS, MAX_FRAME_BYTES)
    tracemalloc.start()
    try:
        with pytest.raises(CodecError):
            decoder.decode(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(data) + 24 * MIB


def test_what_a_correct_member_serves_is_decoded_as_it_was() -> None:
    _, blocks = chain(3)
    served = Range(Height(1), tuple(blocks))
    assert FrameDecoder(BETWEEN_MEMBERS, MAX_FRAME_BYTES).decode(pack(served)) == served


@pytest.mark.parametrize("tail", [b"\x00", b"\xc0"])
def test_a_range_with_more_behind_it_is_refused(tail: bytes) -> None:
    _, blocks = chain(1)
    data = pack(Range(Height(1), tuple(blocks)))
    decoder = FrameDecoder(BETWEEN_MEMBERS, MAX_FRAME_BYTES)
    for altered in (data + tail, data[:-1], data[:2] + tail + data[2:]):
        with pytest.raises(CodecError):
            decoder.decode(altered)
