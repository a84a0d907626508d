"""The store of families: what is written, read, lost in a crash, and never lost; on RocksDB and in memory."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ledger.errors import CorruptStore, DiskFull, StoreError, StoreLocked
from ledger.keyvalue import Change, Family, KeyValue, MemoryKeyValue, RocksKeyValue
from ledger.syncmark import NAME
from tests.ledger.disks import Disk, MemoryDisk, RocksDisk

ROOT = Path(__file__).parents[2]


@pytest.fixture(params=["memory", "rocks"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    made: Disk = MemoryDisk() if request.param == "memory" else RocksDisk(tmp_path / "store")
    yield made
    made.close()


def rows(count: int, family: Family = Family.BLOCKS) -> list[Change]:
    return [(family, b"%04d" % number, b"value %d" % number) for number in range(count)]


def keys(store: KeyValue, family: Family = Family.BLOCKS) -> int:
    return sum(1 for _ in store.scan(family))


def test_what_was_put_is_read_in_its_family_only(disk: Disk) -> None:
    store = disk.open()
    store.write([(family, b"key", family.column.encode()) for family in Family])
    assert [store.get(family, b"key") for family in Family] == [family.column.encode() for family in Family]
    assert store.get(Family.INDEX, b"other") is None


def test_the_later_change_of_one_write_stands(disk: Disk) -> None:
    store = disk.open()
    store.write([(Family.META, b"a", b"1"), (Family.META, b"a", b"2"), (Family.META, b"b", b"3")])
    store.write([(Family.META, b"b", None), (Family.META, b"never there", None)])
    assert list(store.scan(Family.META)) == [(b"a", b"2")]


def test_many_are_read_in_the_order_asked(disk: Disk) -> None:
    store = disk.open()
    store.write(rows(3))
    asked = [b"0002", b"absent", b"0000", b"0002"]
    assert store.get_many(Family.BLOCKS, asked) == [b"value 2", None, b"value 0", b"value 2"]
    assert store.get_many(Family.BLOCKS, []) == []


def test_keys_and_values_may_be_any_bytes(disk: Disk) -> None:
    store = disk.open()
    odd = [b"", b"\x00", b"\x00\x00", b"\xff" * 40]
    store.write([(Family.VOTES, key, key) for key in odd])
    assert list(store.scan(Family.VOTES)) == [(key, key) for key in sorted(odd)]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (b"", None, range(10)),
        (b"0003", None, range(3, 10)),
        (b"0003", b"0007", range(3, 7)),
        (b"0003x", b"0007x", range(4, 8)),
        (b"", b"0002", range(2)),
        (b"0009", b"0009", range(0)),
        (b"zzz", None, range(0)),
    ],
)
def test_a_scan_has_the_keys_from_start_up_to_end_in_order(
    disk: Disk, start: bytes, end: bytes | None, expected: range
) -> None:
    store = disk.open()
    store.write(rows(10))
    store.write([(Family.CERTIFICATES, b"0005", b"of another family")])
    wanted = [b"%04d" % number for number in expected]
    assert [key for key, _ in store.scan(Family.BLOCKS, start, end)] == wanted
    assert [key for key, _ in store.scan(Family.BLOCKS, start, end, reverse=True)] == wanted[::-1]


def test_a_scan_shows_the_store_as_it_was_when_it_began(disk: Disk) -> None:
    store = disk.open()
    store.write(rows(10))
    scan = store.scan(Family.BLOCKS)
    seen = [next(scan)]
    store.write([(Family.BLOCKS, b"%04d" % number, None) for number in range(10)])
    store.write([(Family.BLOCKS, b"0005x", b"new")])
    seen += scan
    assert [key for key, _ in seen] == [b"%04d" % number for number in range(10)]


def test_a_store_that_was_closed_opens_with_all_that_was_synced(disk: Disk) -> None:
    store = disk.open()
    store.write(rows(100))
    store.sync()
    disk.close()
    assert keys(disk.open()) == 100


def test_what_was_written_outlives_a_kill_even_unsynced(disk: Disk) -> None:
    store = disk.open()
    store.write(rows(50))
    store.sync()
    store.write(rows(100))
    disk.kill()
    assert keys(disk.open()) == 100


def test_a_store_can_be_killed_and_opened_again_many_times(tmp_path: Path) -> None:
    disk = RocksDisk(tmp_path / "store")
    for round_number in range(8):
        store = disk.open()
        assert keys(store) == round_number
        store.write(
            [(Family.BLOCKS, b"%d" % round_number, b"x"), (Family.META, b"head", b"%d" % round_number)]
        )
        store.sync()
        if round_number % 3 == 0:
            disk.close()
        else:
            disk.kill()
    disk.close()


def test_a_sync_beside_writes_makes_durable_what_was_written_before_it(tmp_path: Path) -> None:
    disk = RocksDisk(tmp_path / "store")
    store = disk.open()
    written = 0
    with ThreadPoolExecutor(1) as executor:
        for _ in range(30):
            store.write([(Family.BLOCKS, b"%04d" % written, bytes(1000))])
            written += 1
            syncing = executor.submit(store.sync)
            for _ in range(5):
                store.write([(Family.BLOCKS, b"%04d" % written, bytes(1000))])
                written += 1
            syncing.result()
    disk.kill()
    assert keys(disk.open()) == written
    disk.close()


class TestMemory:
    def test_a_crash_loses_exactly_what_was_not_synced(self) -> None:
        store = MemoryKeyValue()
        store.write([(Family.META, b"a", b"1"), (Family.META, b"b", b"1")])
        store.sync()
        store.write([(Family.META, b"a", b"2"), (Family.META, b"b", None)])
        store.write([(Family.META, b"a", b"3"), (Family.META, b"c", b"3")])
        store.crash()
        assert list(store.scan(Family.META)) == [(b"a", b"1"), (b"b", b"1")]

    def test_a_crash_may_leave_the_first_of_the_writes_that_were_not_synced(self) -> None:
        store = MemoryKeyValue()
        for value in (b"1", b"2", b"3"):
            store.write([(Family.META, b"a", value)])
        store.crash(surviving=2)
        assert store.get(Family.META, b"a") == b"2"
        store.crash()
        assert store.get(Family.META, b"a") == b"2"

    def test_a_full_disk_refuses_writes_and_syncs_and_keeps_what_it_has(self) -> None:
        store = MemoryKeyValue()
        store.write(rows(3))
        store.full = True
        with pytest.raises(DiskFull):
            store.write(rows(9))
        with pytest.raises(DiskFull):
            store.sync()
        store.full = False
        assert keys(store) == 3


class TestOpening:
    def test_a_second_opening_is_refused_in_one_line(self, tmp_path: Path) -> None:
        store = RocksKeyValue.open(tmp_path / "store")
        with pytest.raises(StoreLocked, match="open in another process") as refusal:
            RocksKeyValue.open(tmp_path / "store")
        assert "\n" not in str(refusal.value)
        store.close()
        RocksKeyValue.open(tmp_path / "store").close()

    def test_another_process_is_refused_in_one_line(self, tmp_path: Path) -> None:
        store = RocksKeyValue.open(tmp_path / "store")
        output = run_python(
            "from ledger.errors import StoreLocked\n"
            "try: RocksKeyValue.open(path)\n"
            "except StoreLocked as error: print(error)",
            tmp_path / "store",
        )
        store.close()
        assert output.splitlines() == [
            f"the store at {tmp_path / 'store'} is open in another process already"
        ]

    def test_a_read_only_opening_makes_no_store(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="there is no store at"):
            RocksKeyValue.open(tmp_path / "store", read_only=True)
        assert not (tmp_path / "store").exists()

    def test_a_read_only_store_is_read_and_not_written(self, tmp_path: Path) -> None:
        store = RocksKeyValue.open(tmp_path / "store")
        store.write(rows(3))
        store.close()
        view = RocksKeyValue.open(tmp_path / "store", read_only=True)
        assert keys(view) == 3
        with pytest.raises(StoreError):
            view.write(rows(1))
        view.close()

    def test_a_path_that_is_no_directory_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("not a store")
        with pytest.raises(StoreError, match="file"):
            RocksKeyValue.open(tmp_path / "file")

    def test_a_closed_store_says_so_and_may_be_closed_again(self, tmp_path: Path) -> None:
        store = RocksKeyValue.open(tmp_path / "store")
        store.close()
        store.close()
        for use in (
            lambda: store.get(Family.META, b""),
            lambda: store.get_many(Family.META, [b""]),
            lambda: store.write(rows(1)),
            store.sync,
            lambda: list(store.scan(Family.META)),
        ):
            with pytest.raises(StoreError, match="is closed"):
                use()

    def test_a_checkpoint_holds_what_was_written_and_stays_as_it_was(self, tmp_path: Path) -> None:
        store = RocksKeyValue.open(tmp_path / "store")
        store.write(rows(5))
        store.checkpoint(tmp_path / "copy")
        store.write(rows(9))
        copy = RocksKeyValue.open(tmp_path / "copy", read_only=True)
        assert keys(copy) == 5
        copy.close()
        store.close()


class TestDamage:
    """Every flip of a bit in what holds records is found; a torn end of the log is not one."""

    def test_a_torn_last_record_of_the_log_is_dropped_and_nothing_else(self, tmp_path: Path) -> None:
        log = killed_store(tmp_path / "store", writes=20, synced=10)
        os.truncate(log, log.stat().st_size - 7)
        store = RocksKeyValue.open(tmp_path / "store")
        assert keys(store) == 19
        store.close()

    def test_a_log_that_ends_before_what_was_synced_is_refused(self, tmp_path: Path) -> None:
        log = killed_store(tmp_path / "store", writes=20, synced=10)
        os.truncate(log, log.stat().st_size // 4)
        for read_only in (False, True):
            with pytest.raises(CorruptStore, match="its end was lost"):
                RocksKeyValue.open(tmp_path / "store", read_only)

    def test_a_lost_log_is_found(self, tmp_path: Path) -> None:
        killed_store(tmp_path / "store", writes=5, synced=5).unlink()
        with pytest.raises(CorruptStore, match="its end was lost"):
            RocksKeyValue.open(tmp_path / "store")

    def test_every_flipped_byte_of_the_log_is_found(self, tmp_path: Path) -> None:
        log = killed_store(tmp_path / "store", writes=3, synced=3)
        whole = log.read_bytes()
        for at in range(len(whole)):
            log.write_bytes(flipped(whole, at, 0x80))
            with pytest.raises(CorruptStore):
                RocksKeyValue.open(tmp_path / "store", read_only=True)
        log.write_bytes(whole)
        RocksKeyValue.open(tmp_path / "store", read_only=True).close()

    def test_a_damaged_note_of_what_was_synced_is_found(self, tmp_path: Path) -> None:
        killed_store(tmp_path / "store", writes=3, synced=3)
        note = tmp_path / "store" / NAME
        note.write_bytes(flipped(note.read_bytes(), 7, 1))
        with pytest.raises(CorruptStore, match=NAME):
            RocksKeyValue.open(tmp_path / "store")

    @pytest.mark.parametrize("family", list(Family))
    def test_a_flipped_byte_of_a_family_is_found_by_get_and_by_scan(
        self, tmp_path: Path, family: Family
    ) -> None:
        store = RocksKeyValue.open(tmp_path / "store")
        values = {b"%04d" % number: os.urandom(100) for number in range(400)}
        store.write([(family, key, value) for key, value in values.items()])
        store.close()
        table = next(
            path for path in (tmp_path / "store").glob("*.sst") if values[b"0200"] in path.read_bytes()
        )
        whole = table.read_bytes()
        table.write_bytes(flipped(whole, whole.index(values[b"0200"]) + 50, 1))
        store = RocksKeyValue.open(tmp_path / "store")
        assert store.get(family, b"0399") == values[b"0399"]
        for read in (
            lambda: store.get(family, b"0200"),
            lambda: store.get_many(family, [b"0000", b"0200"]),
            lambda: list(store.scan(family)),
            lambda: list(store.scan(family, reverse=True)),
        ):
            with pytest.raises(CorruptStore, match=family.column):
                read()
        store.close()

    @pytest.mark.parametrize("pattern", ["MANIFEST-*", "CURRENT"])
    def test_damaged_bookkeeping_is_found(self, tmp_path: Path, pattern: str) -> None:
        store = RocksKeyValue.open(tmp_path / "store")
        store.write(rows(10))
        store.close()
        file = next((tmp_path / "store").glob(pattern))
        file.write_bytes(flipped(file.read_bytes(), 5, 1))
        with pytest.raises(StoreError):
            RocksKeyValue.open(tmp_path / "store")


def test_a_full_disk_is_told_apart_and_loses_nothing_that_was_synced(tmp_path: Path) -> None:
    # A limit on the size of files is the full disk that needs no rights: RocksDB sees a write fail.
    output = run_python(
        "import os, resource\n"
        "from ledger.errors import DiskFull\n"
        "store, synced = RocksKeyValue.open(path), 0\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 19, 1 << 19))\n"
        "try:\n"
        "    while synced < 1000:\n"
        "        store.write([(Family.BLOCKS, b'%04d' % synced, os.urandom(10_000))])\n"
        "        store.sync()\n"
        "        synced += 1\n"
        "except DiskFull: pass\n"
        "try: store.write([(Family.BLOCKS, b'once more', b'')])\n"
        "except DiskFull: print(synced, len(store.get(Family.BLOCKS, b'0000')))\n"
        "store.close()",
        tmp_path / "store",
    )
    synced, length = map(int, output.split())
    assert 0 < synced < 1000
    assert length == 10_000
    store = RocksKeyValue.open(tmp_path / "store")
    assert keys(store) == synced
    store.close()


def flipped(data: bytes, at: int, bits: int) -> bytes:
    return data[:at] + bytes([data[at] ^ bits]) + data[at + 1 :]


def run_python(code: str, path: Path) -> str:
    preamble = (
        "import pathlib, sys\n"
        "from ledger.keyvalue import Family, RocksKeyValue\n"
        "path = pathlib.Path(sys.argv[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", preamble + code, str(path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout


def killed_store(path: Path, writes: int, synced: int) -> Path:
    """Make a store whose owner ends without closing it, and return its log."""
    run_python(
        "import os\n"
        "store = RocksKeyValue.open(path)\n"
        f"for number in range({writes}):\n"
        "    key = b'%d' % number\n"
        "    store.write([(Family.BLOCKS, key, bytes(100)), (Family.META, b'head', key)])\n"
        f"    if number < {synced}: store.sync()\n"
        "os._exit(0)",
        path,
    )
    return max(path.glob("*.log"), key=lambda log: log.stat().st_size)
