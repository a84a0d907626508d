"""One byte changed in any record of any family is found, at level full, and named: family, height, field."""

from collections.abc import Iterator

import pytest

from crypto.attestation import Height
from ledger.audit.report import Report, Verdict
from ledger.keyvalue import Family, MemoryKeyValue
from ledger.store import SEAL_BYTES, decode_place, height_key, seal
from tests.ledger.audit.chains import Maker, first

BLOCKS = 6
SEALED = [family for family in Family if family is not Family.STATE]

Row = tuple[Family, bytes, bytes]


@pytest.fixture(scope="module")
def chain() -> Maker:
    return Maker(n=4).grow(BLOCKS, per_block=2)


def rows(disk: MemoryKeyValue, family: Family) -> list[Row]:
    return [(family, key, value) for key, value in disk.scan(family)]


def expected_height(row: Row) -> set[int | None]:
    """Where a fault in this record may lie."""
    family, key, value = row
    if family in (Family.BLOCKS, Family.CERTIFICATES):
        return {int.from_bytes(key, "big")}
    if family is Family.INDEX:
        return {decode_place(key, value).height}
    if family is Family.STATE:
        return {BLOCKS}
    return set(range(1, BLOCKS + 1)) | {None}


def flips(size: int, most: int = 40) -> Iterator[tuple[int, int]]:
    """Up to about `most` bytes all over a record, each in one of its bits."""
    return ((at, 1 << at * 5 % 8) for at in range(0, size, max(1, size // most)))


def flipped(data: bytes, at: int, bit: int) -> bytes:
    return data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :]


def named(report: Report, row: Row, heights: set[int | None], at: int) -> None:
    fault = first(report)
    assert report.verdict is Verdict.INVALID
    assert fault.store == "s"
    assert fault.family == row[0].name.lower(), f"byte {at} of {row[1].hex()}: {fault}"
    assert fault.height in heights, f"byte {at} of {row[1].hex()}: {fault}"
    assert fault.field


def some_rows(disk: MemoryKeyValue, family: Family) -> list[Row]:
    """All records, but of BLOCKS, CERTIFICATES and INDEX, which are alike, those of a few heights."""
    found = rows(disk, family)
    return found if len(found) < 5 else [found[0], found[len(found) // 2], found[-1]]


@pytest.mark.parametrize("family", list(Family), ids=lambda family: family.name)
def test_a_flipped_byte_is_found_in_every_record(chain: Maker, family: Family) -> None:
    disk = chain.copy()
    assert rows(disk, family), "the store has no record of this family"
    for row in some_rows(disk, family):
        heights = expected_height(row)
        for at, bit in flips(len(row[2])):
            disk.write([(family, row[1], flipped(row[2], at, bit))])
            named(chain.audit(disk=disk), row, heights, at)
        disk.write([row])
    assert chain.audit(disk=disk).verdict is Verdict.VALID


def test_every_byte_of_a_block_counts(chain: Maker) -> None:
    disk = chain.copy()
    row = rows(disk, Family.BLOCKS)[1]
    for at, bit in flips(len(row[2]), len(row[2])):
        disk.write([(row[0], row[1], flipped(row[2], at, bit))])
        named(chain.audit(disk=disk), row, {2}, at)


@pytest.mark.parametrize("family", SEALED, ids=lambda family: family.name)
def test_a_flipped_byte_is_found_behind_a_seal_that_was_made_anew(chain: Maker, family: Family) -> None:
    disk = chain.copy()
    for row in some_rows(disk, family):
        value = row[2][:-SEAL_BYTES]
        heights = expected_height(row)
        for at, bit in flips(len(value)):
            disk.write([(family, row[1], seal(family, row[1], flipped(value, at, bit)))])
            report = chain.audit(disk=disk)
            assert report.verdict is Verdict.INVALID, f"byte {at} of {row[1].hex()} in {family.name}"
            assert {fault.family for fault in report.faults} & {family.name.lower(), "blocks"}
            if family is not Family.META:
                assert first(report).height in heights, f"byte {at} of {row[1].hex()}: {first(report)}"
        disk.write([row])


@pytest.mark.parametrize("family", list(Family), ids=lambda family: family.name)
def test_a_record_that_is_gone_is_found(chain: Maker, family: Family) -> None:
    disk = chain.copy()
    for row in rows(disk, family):
        if row[1] in (b"note", b"s") or family is Family.ARCHIVE:
            continue  # nothing says which of an engine's records there must be
        disk.write([(family, row[1], None)])
        fault = first(chain.audit(disk=disk))
        assert fault.height in expected_height(row)
        assert fault.family in (family.name.lower(), "meta"), fault
        disk.write([row])


@pytest.mark.parametrize("family", list(Family), ids=lambda family: family.name)
def test_a_record_too_many_is_found(chain: Maker, family: Family) -> None:
    disk = chain.copy()
    _, key, value = rows(disk, family)[0]
    for stray in (key + b"\0", b"\xff" * len(key), height_key(Height(BLOCKS + 1))):
        stored = value if family is Family.STATE else seal(family, stray, value[:-SEAL_BYTES])
        disk.write([(family, stray, stored)])
        report = chain.audit(disk=disk)
        assert family.name.lower() in {fault.family for fault in report.faults}, (stray, report.faults)
        disk.write([(family, stray, None)])


@pytest.mark.parametrize("family", list(Family), ids=lambda family: family.name)
def test_a_record_under_a_changed_key_is_found(chain: Maker, family: Family) -> None:
    disk = chain.copy()
    row = rows(disk, family)[0]
    for at, bit in flips(len(row[1])):
        other = flipped(row[1], at, bit)
        before = disk.get(family, other)
        disk.write([(family, row[1], None), (family, other, row[2])])
        assert chain.audit(disk=disk).verdict is Verdict.INVALID, f"byte {at} of the key {row[1].hex()}"
        disk.write([(family, other, before), row])
