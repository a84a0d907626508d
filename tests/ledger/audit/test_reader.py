"""Stores in RocksDB: read while a replica runs, never changed, and no damaged byte of theirs passed over."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from rocksdict import Options as FamilyOptions
from rocksdict import Rdict

from crypto.attestation import Height
from ledger.audit.audit import Options, audit_path
from ledger.audit.reader import open_for_audit
from ledger.audit.report import Report, Verdict
from ledger.errors import CorruptStore, StoreError
from ledger.keyvalue import Family, RocksKeyValue
from ledger.logframes import whole_length
from ledger.store import height_key
from tests.ledger.audit.chains import Certificates, Maker, Records

BLOCKS = 8


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Maker, Path]]:
    """A store half of which lies in tables, the other half in the log, as a killed replica leaves it."""
    path = tmp_path_factory.mktemp("stores") / "store"
    Maker(RocksKeyValue.open(path)).grow(BLOCKS // 2).disk.close()
    made = Maker(RocksKeyValue.open(path))
    made.accounts = ["a1-0", "a1-1"]
    made.grow(BLOCKS // 2)
    made.ledger.sync()
    yield made, path
    made.disk.close()


@pytest.fixture
def copy(maker: tuple[Maker, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(maker[1], tmp_path / "copy"))


def audited(maker: Maker, path: Path) -> Report:
    options = Options(name=str(path), processes=1)
    return audit_path(path, maker.genesis, Certificates(maker.roster), Records(maker.roster), options)


def contents(path: Path) -> dict[str, tuple[bytes, int]]:
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in path.iterdir()}


def test_a_store_on_disk_is_audited_like_any(maker: tuple[Maker, Path], copy: Path) -> None:
    report = audited(maker[0], copy)
    assert report.verdict is Verdict.VALID
    assert report.height == BLOCKS


def test_an_audit_changes_nothing_not_even_a_time(maker: tuple[Maker, Path], copy: Path) -> None:
    before = contents(copy)
    audited(maker[0], copy)
    assert contents(copy) == before


def test_a_running_replicas_store_is_audited_as_it_is_at_that_moment(tmp_path: Path) -> None:
    made = Maker(RocksKeyValue.open(tmp_path / "store")).grow(3)
    with open_for_audit(tmp_path / "store") as opened:
        made.grow(3)
        assert opened.store is not None
        assert len(list(opened.store.scan(Family.BLOCKS))) == 3
    assert audited(made, tmp_path / "store").height == 6
    made.grow(1)
    assert audited(made, tmp_path / "store").height == 7
    made.disk.close()


def test_what_a_running_replica_deletes_meanwhile_stays_readable(tmp_path: Path) -> None:
    Maker(RocksKeyValue.open(tmp_path / "store")).grow(3).disk.close()
    with open_for_audit(tmp_path / "store") as opened:
        for file in (tmp_path / "store").glob("*.sst"):
            file.unlink()
        assert opened.store is not None
        assert len(list(opened.store.scan(Family.BLOCKS))) == 3


@pytest.mark.parametrize("what", ["nothing", "an empty directory", "a file"])
def test_where_there_is_no_store_it_says_so(tmp_path: Path, what: str) -> None:
    path = tmp_path / "store"
    if what == "an empty directory":
        path.mkdir()
    elif what == "a file":
        path.write_text("no store")
    with pytest.raises(StoreError, match="no store"), open_for_audit(path):
        pass


def test_scanning_gives_what_the_stores_own_reading_gives(maker: tuple[Maker, Path], copy: Path) -> None:
    own = RocksKeyValue.open(Path(shutil.copytree(copy, copy.with_name("own"))))
    with open_for_audit(copy) as opened:
        assert opened.store is not None
        for family in Family:
            rows = list(own.scan(family))
            assert list(opened.store.scan(family)) == rows
            assert list(opened.store.scan(family, reverse=True)) == rows[::-1]
            for bounds in ((b"", None), (height_key(Height(3)), height_key(Height(6))), (b"a", b"s")):
                for reverse in (False, True):
                    expected = list(own.scan(family, bounds[0], bounds[1], reverse))
                    assert list(opened.store.scan(family, bounds[0], bounds[1], reverse)) == expected
            for key, value in rows:
                assert opened.store.get(family, key) == value
    own.close()


def damage(file: Path, at: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1 << at % 8
    file.write_bytes(data)


def tables(path: Path) -> list[Path]:
    return sorted(path.glob("*.sst"))


def test_a_flipped_byte_in_any_file_of_the_store_is_found(maker: tuple[Maker, Path], copy: Path) -> None:
    """Some bytes all over every file that holds part of the store; every family has a table of its own."""
    files = [*tables(copy), *copy.glob("*.log"), *copy.glob("MANIFEST-*")]
    files += [copy / "CURRENT", copy / "SYNCED"]
    assert len(tables(copy)) >= len(Family)
    for file in files:
        whole = file.read_bytes()
        for at in range(3, len(whole), max(1, len(whole) // 12)):
            damage(file, at)
            report = audited(maker[0], copy)
            if report.verdict is Verdict.VALID:
                assert in_filter(maker[0], file, at), f"byte {at} of {file.name}"
            else:
                assert report.faults[0].store == str(copy)
                assert report.faults[0].what
            file.write_bytes(whole)


def in_filter(maker: Maker, file: Path, at: int) -> bool:
    """Whether a byte lies in a table's Bloom filter, which is between the last record and its description.

    RocksDB ignores a damaged one: lookups get slower, and answer the same.
    """
    data = file.read_bytes()
    rows = [value for _, value in maker.disk.scan(Family.INDEX) if value in data]
    if b"fullfilter." not in data or not rows:
        return False
    return max(data.index(value) + len(value) for value in rows) <= at < data.index(b"fullfilter.")


def test_a_damaged_table_is_named_with_family_and_height(maker: tuple[Maker, Path], copy: Path) -> None:
    block = maker[0].block(2).transactions[0]
    file = next(file for file in tables(copy) if block in file.read_bytes())
    damage(file, file.read_bytes().index(block) + 70)
    report = audited(maker[0], copy)
    assert report.verdict is Verdict.INVALID
    assert ("blocks", 1) in {(fault.family, fault.height) for fault in report.faults}
    what = f"its table file {file.name} is damaged: a checksum in it does not hold"
    assert report.faults[0].what == what


def test_a_damaged_log_is_named_with_the_height_behind_what_can_be_read(
    maker: tuple[Maker, Path], copy: Path
) -> None:
    block = maker[0].block(7).transactions[0]
    (log,) = copy.glob("*.log")
    damage(log, log.read_bytes().index(block) + 70)
    report = audited(maker[0], copy)
    fault = report.faults[0]
    assert report.height == 6
    assert (fault.family, fault.height, fault.field) == ("files", 7, log.name)


def test_a_log_cut_short_is_found_by_what_was_synced(maker: tuple[Maker, Path], copy: Path) -> None:
    (log,) = copy.glob("*.log")
    data = log.read_bytes()
    log.write_bytes(data[: whole_length(data[:-1])])
    report = audited(maker[0], copy)
    assert report.verdict is Verdict.INVALID
    assert "SYNCED" in {fault.field for fault in report.faults}


@pytest.mark.parametrize("name", ["CURRENT", "MANIFEST-*", "*.sst"])
def test_a_file_that_is_gone_is_a_fault(maker: tuple[Maker, Path], copy: Path, name: str) -> None:
    next(iter(sorted(copy.glob(name)))).unlink()
    report = audited(maker[0], copy)
    assert report.verdict is Verdict.INVALID
    assert report.faults[0].family == "files"


def test_a_family_that_is_no_part_of_a_store_is_a_fault(maker: tuple[Maker, Path], copy: Path) -> None:
    families = {name: FamilyOptions(raw_mode=True) for name in Rdict.list_cf(str(copy))}
    database = Rdict(str(copy), FamilyOptions(raw_mode=True), families)
    database.create_column_family("hidden", FamilyOptions(raw_mode=True)).close()
    database.close()
    report = audited(maker[0], copy)
    assert [(fault.family, fault.field) for fault in report.faults] == [("files", "column family hidden")]
    with pytest.raises(CorruptStore, match=r"names families that are no part of a store.*Move the store"):
        RocksKeyValue.open(copy)
