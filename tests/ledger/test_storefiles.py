"""Whatever becomes of a store's files, opening it ends: refused in one line, or all of it is read."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.errors import StoreError
from ledger.keyvalue import RocksKeyValue
from ledger.storefiles import explained
from tests.ledger.disks import RocksDisk
from tests.ledger.executing import Chain, put

ROOT = Path(__file__).parents[2]

MOST_SECONDS = 60
"""For all openings of one process together: one that never ends is what is looked for."""

NOBODY = 65534

Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store half of which lies in tables, the other half in logs, as a killed replica leaves it."""
    disk = RocksDisk(tmp_path_factory.mktemp("stores") / "store")
    chain = Chain(disk)
    extended(chain, 0)
    disk.close()
    chain.open()
    extended(chain, 10)
    disk.kill()
    return disk.path


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another store of the same chain, with other votes."""
    disk = RocksDisk(tmp_path_factory.mktemp("others") / "store")
    chain = Chain(disk)
    extended(chain, 0, b"another")
    disk.close()
    chain.open()
    extended(chain, 10, b"another")
    disk.kill()
    return disk.path


def extended(chain: Chain, first: int, vote: bytes = b"vote") -> None:
    for number in range(first, first + 10):
        chain.run(*(put(f"key {number} {position}", "x" * 50) for position in range(5)))
        chain.ledger.write_engine_records([(b"a%d" % number, vote)], [(b"checkpoint/%d" % number, vote)])
    chain.ledger.sync()


OPEN = """
import hashlib, sys
from pathlib import Path
from ledger.application import load_application
from ledger.errors import StoreError
from ledger.keyvalue import Family, RocksKeyValue
from ledger.ledger import Ledger
from tests.ledger.executing import genesis_of

def opened(path):
    disk = RocksKeyValue.open(path)
    try:
        Ledger.open(genesis_of(), load_application("kv", {}), disk)
        rows = [(family.column, *row) for family in Family for row in disk.scan(family)]
        return hashlib.sha256(repr(rows).encode()).hexdigest()
    finally:
        disk.close()

for path in sys.argv[1:]:
    try:
        print(opened(Path(path)), flush=True)
    except StoreError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
"""


def outcomes(paths: list[Path]) -> list[str]:
    """Open stores as a start does, in a process of their own, which must end; return a line for each."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, *map(str, paths)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == len(paths), "a line too many or too few"
    return lines


def copied(store: Path, path: Path) -> Path:
    return Path(shutil.copytree(store, path))


def damaged(store: Path, tmp_path: Path, file: str, flips: list[tuple[int, int]]) -> list[Path]:
    """Return a copy of the store for each byte to be flipped."""
    copies: list[Path] = []
    for number, (at, bits) in enumerate(flips):
        copy = copied(store, tmp_path / f"{number}")
        data = bytearray((copy / file).read_bytes())
        data[at] ^= bits
        (copy / file).write_bytes(data)
        copies.append(copy)
    return copies


def named(store: Path, pattern: str) -> str:
    return max(store.glob(pattern), key=lambda file: file.stat().st_size).name


@pytest.mark.parametrize(
    "pattern", ["MANIFEST-*", "*.log", "*.sst", "CURRENT", "SYNCED", "IDENTITY", "OPTIONS-*", "LOG"]
)
def test_a_flipped_byte_is_refused_or_does_nothing(store: Path, tmp_path: Path, pattern: str) -> None:
    file = named(store, pattern)
    size = (store / file).stat().st_size
    flips = [(at, 1 << at % 8) for at in range(0, size, max(1, size // 8))]
    if pattern in ("MANIFEST-*", "*.log"):
        # The kinds of records: what makes 1 a 5 or an 11 makes RocksDB read in circles.
        flips += [(6, 4), (6, 10), (size - 1, 1)]
    copies = damaged(store, tmp_path, file, flips)
    whole, *found = outcomes([copied(store, tmp_path / "whole"), *copies])
    for flip, line in zip(flips, found, strict=True):
        assert line == whole or ("Error" in line or "Corrupt" in line), f"{file} {flip}: {line}"
    if pattern in ("MANIFEST-*", "*.log", "CURRENT", "SYNCED"):
        assert whole not in found
        assert all("Move the store aside" in line for line in found)


def remove(file: Path) -> None:
    file.unlink()


def empty(file: Path) -> None:
    file.write_bytes(b"")


def halve(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def make_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def test_a_file_that_is_not_whole_is_refused_with_what_to_do(store: Path, tmp_path: Path) -> None:
    copies: list[Path] = []
    for pattern in ("MANIFEST-*", "*.log", "*.sst", "CURRENT"):
        for damage in (remove, empty, halve, make_directory):
            copy = copied(store, tmp_path / f"{len(copies)}")
            damage(copy / named(copy, pattern))
            copies.append(copy)
    for line in outcomes(copies):
        assert line.startswith("CorruptStore: the store is corrupt")
        assert "Move the store aside" in line


def test_a_file_of_another_store_is_refused(store: Path, other: Path, tmp_path: Path) -> None:
    copies: list[Path] = []
    for pattern in ("MANIFEST-*", "*.log", "*.sst"):
        copy = copied(store, tmp_path / f"{len(copies)}")
        shutil.copy(other / named(copy, pattern), copy)
        copies.append(copy)
    assert [line.split(" at ")[0].split(":")[0] for line in outcomes(copies)] == ["CorruptStore"] * 3


def test_what_says_nothing_of_the_chain_may_be_lost(store: Path, tmp_path: Path) -> None:
    copies = [copied(store, tmp_path / "whole")]
    for pattern in ("IDENTITY", "OPTIONS-*", "LOG"):
        copy = copied(store, tmp_path / f"{len(copies)}")
        (copy / named(copy, pattern)).unlink()
        copies.append(copy)
    assert len(set(outcomes(copies))) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("pattern", ["MANIFEST-*", "*.log", "CURRENT", "SYNCED"])
def test_a_file_that_may_not_be_read_is_named(store: Path, pattern: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        copy = copied(store, Path(scratch) / "store")
        for path in (Path(scratch), copy, *copy.iterdir()):
            os.chown(path, NOBODY, NOBODY)
        file = copy / named(copy, pattern)
        os.chown(file, 0, 0)
        file.chmod(0o600)
        os.seteuid(NOBODY)
        try:
            with pytest.raises(StoreError, match=f"{file.name}: Permission denied") as refusal:
                RocksKeyValue.open(copy)
        finally:
            os.seteuid(0)
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "file", "what"),
    [
        (
            "Corruption: block checksum mismatch: stored = 1, computed = 2, type = 4 in /a/b/000009.sst"
            " offset 0 size 4",
            "000009.sst",
            "its table file 000009.sst is damaged: a checksum in it does not hold",
        ),
        (
            "Corruption: Corruption: IO error: No such file or directory: While open a file for random read:"
            " /a/000014.sst: No such file or directory The file /a/MANIFEST-000005 may be corrupted.",
            "000014.sst",
            "its table file 000014.sst is missing",
        ),
        (
            "Corruption: Mismatch in unique ID on table file 20. Expected: {1,2} Actual: {3,4} The file"
            " /a/MANIFEST-000005 may be corrupted.",
            "000020.sst",
            "its table file 000020.sst is another store's",
        ),
        (
            "Corruption: checksum mismatch The file /a/MANIFEST-000005 may be corrupted.",
            "MANIFEST-000005",
            "its file MANIFEST-000005 is damaged: a checksum in it does not hold",
        ),
        (
            "Corruption: checksum mismatch",
            "",
            "its write-ahead log is damaged: a checksum in it does not hold",
        ),
        ("Busy: something new in /a/b/c", "", "RocksDB: Busy: something new in c"),
    ],
)
def test_rocksdbs_complaints_become_one_sentence_that_names_the_file(text: str, file: str, what: str) -> None:
    assert explained(text) == (file, what)
