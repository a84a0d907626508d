"""Decoding the frames of `tetrarch.wire`, within bounds of memory as well as of bytes."""

from collections.abc import Mapping
from typing import Annotated, TypeAlias

from msgspec import Meta, Raw

from crypto.attestation import HeightField
from crypto.codec import StrictDecoder
from crypto.errors import CodecError
from crypto.keys import SIGNATURE_BYTES
from ledger.block import Block
from ledger.block import blocks as stored_blocks
from tetrarch.wire import MAX_RANGE, AttestationsField, Blocks, Frame, Range, RequestField

_RawItems: TypeAlias = Annotated[tuple[Raw, ...], Meta(max_length=MAX_RANGE)]


class _RawRange(Frame, frozen=True):
    first: HeightField
    blocks: _RawItems

    def whole(self) -> Range:
        return Range(self.first, _decoded(self.blocks))


class _RawBlocks(Frame, frozen=True):
    request: RequestField
    blocks: _RawItems
    attestations: AttestationsField

    def whole(self) -> Blocks:
        return Blocks(self.request, _decoded(self.blocks), self.attestations)


def _decoded(raws: tuple[Raw, ...]) -> tuple[Block, ...]:
    """Decode blocks one by one, up to the first that no correct member stores. Raises `CodecError`.

    Countless tiny items take more than ten times their bytes in memory, and seconds.
    """
    found = []
    for raw in raws:
        block = stored_blocks.decode(bytes(raw))
        count = len(block.transactions)
        if len(block.results) != count or sum(map(len, block.transactions)) < SIGNATURE_BYTES * count:
            raise CodecError("a block whose transactions are none, or without their results")
        found.append(block)
    return tuple(found)


_RAW: Mapping[type[Frame], type[_RawRange | _RawBlocks]] = {Range: _RawRange, Blocks: _RawBlocks}
"""Frames that hold blocks, and how they look before their blocks are decoded."""


class _ServedDecoder:
    """Decodes a frame that holds blocks; errors call it `name`."""

    def __init__(self, raw: type[_RawRange | _RawBlocks], limit: int, name: str) -> None:
        self._outer: StrictDecoder[_RawRange | _RawBlocks] = StrictDecoder(raw, limit)
        self._outer.name = name

    def decode(self, data: bytes) -> Frame:
        """Return the frame in `data`. Raises `CodecError`."""
        return self._outer.decode(data).whole()


class FrameDecoder:
    """Decodes the frames of one table, up to a limit in bytes."""

    def __init__(self, table: Mapping[int, type[Frame]], limit: int) -> None:
        self._decoders: dict[int, StrictDecoder[Frame] | _ServedDecoder] = {
            number: _ServedDecoder(raw, limit, frame.__name__)
            if (raw := _RAW.get(frame)) is not None
            else StrictDecoder(frame, limit)
            for number, frame in table.items()
        }

    def decode(self, data: bytes) -> Frame:
        """Return the frame in `data`. Raises `CodecError`."""
        if not data:
            raise CodecError("an empty frame")
        decoder = self._decoders.get(data[0])
        if decoder is None:
            raise CodecError(f"unknown frame type {data[0]}")
        return decoder.decode(data[1:])
