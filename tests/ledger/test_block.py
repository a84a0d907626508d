"""Blocks and headers: what a hash binds, how time moves, and what is no block."""

import pytest

from crypto.attestation import Height
from crypto.batch import Millis, TxId
from crypto.codec import encode
from crypto.digest import ChainId, digest
from crypto.errors import CodecError
from crypto.roster import Epoch
from ledger.block import Block, Header, block_hash, block_time, blocks, headers, result_leaf

HEADER = Header(
    chain_id=ChainId(digest("chain")),
    epoch=Epoch(0),
    height=Height(7),
    parent=digest("parent"),
    batch=digest("batch"),
    proposed=Millis(1000),
    time=Millis(1001),
    transaction_root=digest("transactions"),
    result_root=digest("results"),
    state_root=digest("state"),
)


def changed(**changes: object) -> Header:
    values = {name: getattr(HEADER, name) for name in HEADER.__struct_fields__}
    return Header(**{**values, **changes})


@pytest.mark.parametrize("name", HEADER.__struct_fields__)
def test_the_block_hash_binds_every_field_of_the_header(name: str) -> None:
    value = getattr(HEADER, name)
    other = digest("other") if isinstance(value, bytes) else value + 1
    assert block_hash(changed(**{name: other})) != block_hash(HEADER)


def test_a_header_and_a_block_read_as_they_were_written() -> None:
    block = Block(HEADER, (b"transaction",), (b"result",), b"certificate")
    assert headers.decode(encode(HEADER)) == HEADER
    assert blocks.decode(encode(block)) == block


def test_the_certificate_lies_outside_the_hash() -> None:
    first, second = (Block(HEADER, (), (), certificate) for certificate in (b"", b"quorum"))
    assert block_hash(first.header) == block_hash(second.header)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        encode(HEADER)[:-1],
        encode(HEADER) + b"\x00",
        encode([0] * 10),
        encode(changed(height=-1)),
        encode(changed(time=2**53)),
        encode(changed(parent=bytes(31))),
        bytes(2000),
    ],
)
def test_what_is_no_canonical_header_is_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        headers.decode(data)


def test_block_time_is_the_proposals_where_it_moves_on_and_a_millisecond_more_where_not() -> None:
    times = [block_time(Millis(proposed), Millis(1000)) for proposed in (0, 999, 1000, 1001, 1002, 5000)]
    assert times == [1001, 1001, 1001, 1001, 1002, 5000]


def test_a_result_leaf_is_the_id_and_the_result() -> None:
    assert result_leaf(TxId(b"i" * 32), b"result") == b"i" * 32 + b"result"
