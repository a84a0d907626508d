"""What decoding a frame from outside may cost, whoever sent it."""

import tracemalloc
from collections.abc import Callable, Mapping

import pytest
from msgspec.structs import replace

from crypto.attestation import Height
from crypto.batch import Millis, TxId
from crypto.digest import Digest
from crypto.errors import CodecError
from crypto.keys import Signature
from crypto.roster import Epoch, MemberId
from crypto.signed import Envelope
from ledger.block import Block
from tests.tetrarch.node.support import chain
from tetrarch.decoding import FrameDecoder
from tetrarch.wire import (
    BETWEEN_MEMBERS,
    MAX_FRAME_BYTES,
    TO_CLIENTS,
    Blocks,
    Entry,
    Frame,
    Range,
    Refused,
    Results,
    StatusReply,
    pack,
)

MIB = 1024 * 1024
MANY = 200_000

HEADER = chain(1)[1][0].header
ENVELOPE = Envelope("kind", Epoch(0), MemberId(0), b"", Signature(bytes(64)))
STATUS = StatusReply(
    request=1,
    member=0,
    name="replica-0",
    view=0,
    leader=0,
    active=True,
    height=1,
    head=b"",
    state_root=b"",
    block_time=0,
    stable=0,
    last_vote=0,
    pending=0,
    waiting_for="",
    halted="",
    role="primary",
    peers=(True,) * 4,
    ignored=(("of an earlier view", 1),),
    resident_bytes=0,
    uptime_ms=Millis(0),
)


def to_member(*blocks: Block) -> Frame:
    return Range(Height(1), blocks)


def to_client(*blocks: Block) -> Frame:
    return Blocks(1, blocks, (ENVELOPE, ENVELOPE))


SERVED = pytest.mark.parametrize(
    ("frame", "table"),
    [(to_member, BETWEEN_MEMBERS), (to_client, TO_CLIENTS)],
    ids=["a member's range", "a client's blocks"],
)

Table = Mapping[int, type[Frame]]


def require_cheap_refusal(table: Table, data: bytes) -> None:
    decoder = FrameDecoder(table, MAX_FRAME_BYTES)
    tracemalloc.start()
    try:
        with pytest.raises(CodecError):
            decoder.decode(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(data) + 24 * MIB


@SERVED
@pytest.mark.parametrize("count", [(MANY, 0), (0, MANY), (MANY, MANY)])
def test_blocks_of_countless_tiny_items_are_refused_before_they_take_much_memory(
    count: tuple[int, int], frame: Callable[..., Frame], table: Table
) -> None:
    block = Block(HEADER, (b"tx",) * count[0], (b"ok",) * count[1], b"")
    require_cheap_refusal(table, pack(frame(*(block,) * 20)))


@pytest.mark.parametrize(
    "frame",
    [
        Refused(1, ENVELOPE, ("",) * 20 * MANY),
        Blocks(1, (), (ENVELOPE,) * MANY),
        Results(1, ENVELOPE, HEADER, 1, (Entry(0, TxId(bytes(32)), b""),) * MANY, ()),
        Results(1, ENVELOPE, HEADER, 1, (), (Digest(bytes(32)),) * MANY),
        replace(STATUS, peers=(True,) * 20 * MANY),
        replace(STATUS, ignored=(("", 1),) * 10 * MANY),
    ],
    ids=["reasons", "attestations", "results", "hashes", "peers", "counts"],
)
def test_no_answer_to_a_client_has_countless_tiny_items(frame: Frame) -> None:
    require_cheap_refusal(TO_CLIENTS, pack(frame))


@SERVED
def test_what_a_correct_member_serves_is_decoded_as_it_was(frame: Callable[..., Frame], table: Table) -> None:
    served = frame(*chain(3)[1])
    assert FrameDecoder(table, MAX_FRAME_BYTES).decode(pack(served)) == served


def test_a_status_is_decoded_as_it_was() -> None:
    assert FrameDecoder(TO_CLIENTS, MAX_FRAME_BYTES).decode(pack(STATUS)) == STATUS


@SERVED
@pytest.mark.parametrize("tail", [b"\x00", b"\xc0"])
def test_served_blocks_with_more_behind_them_are_refused(
    tail: bytes, frame: Callable[..., Frame], table: Table
) -> None:
    data = pack(frame(*chain(1)[1]))
    decoder = FrameDecoder(table, MAX_FRAME_BYTES)
    for altered in (data + tail, data[:-1], data[:2] + tail + data[2:]):
        with pytest.raises(CodecError):
            decoder.decode(altered)
