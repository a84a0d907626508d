"""What a simulated disk shows of a bit that turned over."""

from random import Random

import pytest

from byzantine.simulation.disk import SimulatedDisk
from ledger.errors import CorruptStore
from ledger.keyvalue import Family

ROW = b"path"


def flipped() -> SimulatedDisk:
    """A disk whose one row of the state has a wrong bit."""
    disk = SimulatedDisk()
    disk.write([(Family.STATE, ROW, b"value")])
    disk.sync()
    disk.flip(Random(1))
    return disk


def test_a_row_of_the_state_with_a_wrong_bit_cannot_be_read() -> None:
    disk = flipped()
    for read in (
        lambda: disk.get(Family.STATE, ROW),
        lambda: disk.get_many(Family.STATE, [b"another", ROW]),
        lambda: list(disk.scan(Family.STATE)),
    ):
        with pytest.raises(CorruptStore, match="checksum"):
            read()
    assert disk.get(Family.STATE, b"another") is None
    assert list(disk.scan(Family.STATE, b"q")) == []


def test_a_row_that_is_written_again_can_be_read_again() -> None:
    disk = flipped()
    disk.write([(Family.STATE, ROW, b"new")])
    assert disk.get(Family.STATE, ROW) == b"new"


def test_another_disk_holds_nothing_that_cannot_be_read() -> None:
    disk = flipped()
    disk.lose()
    disk.write([(Family.STATE, ROW, b"value")])
    assert list(disk.scan(Family.STATE)) == [(ROW, b"value")]


def test_a_record_with_a_seal_is_read_as_it_is() -> None:
    disk = SimulatedDisk()
    disk.write([(Family.BLOCKS, ROW, b"value")])
    disk.flip(Random(1))
    read = disk.get(Family.BLOCKS, ROW)
    assert read is not None
    assert sum((one ^ other).bit_count() for one, other in zip(read, b"value", strict=True)) == 1
