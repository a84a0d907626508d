"""The frames of RocksDB's files: how far they are whole, and a crash's tear told apart from damage."""

import pytest

from ledger.keyvalue import Family, RocksKeyValue
from ledger.logframes import BLOCK_BYTES, FIRST, HEADER_BYTES, LAST, WHOLE, extent, whole_length


def frame(kind: int, payload: bytes) -> bytes:
    return bytes(4) + len(payload).to_bytes(2, "little") + bytes([kind]) + payload


def test_a_log_is_whole_up_to_the_last_record_that_is() -> None:
    records = frame(WHOLE, b"one") + frame(FIRST, b"two") + frame(LAST, b"2")
    assert whole_length(b"") == 0
    assert whole_length(records) == len(records)
    assert whole_length(records[:-1]) == len(frame(WHOLE, b"one"))
    assert whole_length(records + b"\0") == len(records)


@pytest.mark.parametrize("kind", [0, 5, 9, 255])
def test_a_record_of_a_kind_that_is_never_written_ends_the_log(kind: int) -> None:
    whole = frame(WHOLE, b"one")
    assert whole_length(whole + frame(kind, b"x") + whole) == len(whole)


def test_pieces_out_of_order_end_the_log() -> None:
    whole = frame(WHOLE, b"one")
    assert whole_length(whole + frame(LAST, b"x")) == len(whole)
    assert whole_length(whole + frame(FIRST, b"x") + whole) == len(whole)


def test_records_fill_blocks_and_the_rest_of_a_block_is_zeros() -> None:
    room = BLOCK_BYTES - HEADER_BYTES
    nearly = frame(WHOLE, bytes(room - 3))
    assert whole_length(nearly + bytes(3) + frame(WHOLE, b"x")) == BLOCK_BYTES + HEADER_BYTES + 1
    assert whole_length(nearly + b"\0\1\0" + frame(WHOLE, b"x")) == len(nearly)
    assert whole_length(frame(WHOLE, bytes(room + 1))) == 0


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A real log, of more than one block."""
    path = tmp_path_factory.mktemp("real") / "store"
    store = RocksKeyValue.open(path)
    for number in range(60):
        store.write([(Family.BLOCKS, b"%d" % number, bytes(700))])
    store.sync()
    (file,) = path.glob("*.log")
    data = file.read_bytes()
    store.close()
    assert len(data) > BLOCK_BYTES
    return data


def test_a_real_log_is_whole(log: bytes) -> None:
    assert extent(log) == (len(log), False)


def test_a_log_cut_off_anywhere_is_torn_and_not_damaged(log: bytes) -> None:
    for size in range(0, len(log), 97):
        found = extent(log[:size])
        assert found.whole <= size
        assert not found.damaged


def test_a_log_that_was_lengthened_but_not_written_is_torn(log: bytes) -> None:
    assert extent(log + bytes(5000)) == (len(log), False)


def test_a_length_that_hides_what_follows_is_damage(log: bytes) -> None:
    """RocksDB takes a record that claims more than the file has for a torn one, in the last block."""
    at = len(log) // BLOCK_BYTES * BLOCK_BYTES
    hidden = 0
    while at < len(log):
        grown = bytearray(log)
        grown[at + 5] |= 0x40
        hidden += extent(bytes(grown)).damaged
        assert extent(bytes(grown)).damaged
        at += HEADER_BYTES + int.from_bytes(log[at + 4 : at + 6], "little")
    assert hidden > 5


@pytest.mark.parametrize("kind", [0, 5, 6, 7, 8, 9, 10, 11, 130, 255])
def test_a_kind_that_is_never_written_is_damage(log: bytes, kind: int) -> None:
    """Some of them make RocksDB read in circles."""
    odd = bytearray(log)
    odd[6] = kind
    assert extent(bytes(odd)) == (0, True)
