"""The outbox: one key, one transaction, whatever crashes and whoever asks."""

import multiprocessing
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from crypto.batch import Millis, TxId
from crypto.digest import ChainId
from ledger import outbox as module
from ledger.outbox import (
    IdempotencyConflict,
    NewEntry,
    Outbox,
    OutboxError,
    Settled,
    check_key,
    content_digest,
)
from ledger.transaction import transaction_id
from tests.ledger.chain_maker import CLIENT_KEY, START, Chain

CHAIN = Chain(1)
CHAIN_ID = CHAIN.chain_id


def entry(key: str, number: int = 1, payload: bytes = b"{}") -> NewEntry:
    raw = CHAIN.transaction(number, payload)
    content = content_digest(CLIENT_KEY.public_key, payload)
    return NewEntry(key, transaction_id(raw), content, Millis(START), raw)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


_opened: list[Outbox] = []


@pytest.fixture(autouse=True)
def _close_all() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


def opened(path: Path, keep_settled: int = 100) -> Outbox:
    _opened.append(Outbox.open(path, CHAIN_ID, keep_settled))
    return _opened[-1]


def test_a_key_brought_again_gets_the_bytes_that_were_signed_first(path: Path) -> None:
    outbox = opened(path)
    [first] = outbox.put([entry("order-17", 1)])
    [again] = outbox.put([entry("order-17", 2)])
    assert again == first
    assert again.raw == entry("order-17", 1).raw


def test_the_bytes_outlive_a_restart(path: Path) -> None:
    [first] = opened(path).put([entry("order-17", 1)])
    assert opened(path).find(["order-17", "other"]) == {"order-17": first}


def test_a_key_with_another_payload_is_a_conflict_and_changes_nothing(path: Path) -> None:
    outbox = opened(path)
    [first] = outbox.put([entry("order-17", 1)])
    with pytest.raises(IdempotencyConflict, match="order-17"):
        outbox.put([entry("order-18", 2), entry("order-17", 1, b'{"amount":2}')])
    assert outbox.find(["order-17", "order-18"]) == {"order-17": first}


def test_one_key_twice_in_one_batch_is_one_transaction(path: Path) -> None:
    outbox = opened(path)
    one, two = outbox.put([entry("a", 1), entry("a", 2)])
    assert one == two
    with pytest.raises(IdempotencyConflict):
        outbox.put([entry("b", 1, b"1"), entry("b", 2, b"2")])


def test_a_conflict_is_remembered_after_the_outcome_is_known(path: Path) -> None:
    outbox = opened(path)
    outbox.put([entry("a", 1)])
    outbox.settle([Settled(entry("a", 1).tx_id, "committed", 7, "ok")])
    with pytest.raises(IdempotencyConflict):
        outbox.put([entry("a", 1, b"other")])
    [known] = outbox.put([entry("a", 2)])
    assert (known.outcome, known.height, known.code, known.raw) == ("committed", 7, "ok", None)


def test_thousands_are_put_and_found_at_once(path: Path) -> None:
    outbox = opened(path)
    entries = [entry(f"line-{i:04}", i) for i in range(2500)]
    assert [kept.raw for kept in outbox.put(entries)] == [new.raw for new in entries]
    assert len(outbox.find([new.key for new in entries])) == 2500
    assert len(outbox.find_ids([new.tx_id for new in entries[:10]])) == 10


def test_the_first_outcome_stands(path: Path) -> None:
    outbox = opened(path)
    [kept] = outbox.put([entry("a")])
    outbox.settle([Settled(kept.tx_id, "expired")])
    outbox.settle([Settled(kept.tx_id, "committed", 9), Settled(TxId(bytes(32)), "committed", 1)])
    assert outbox.find(["a"])["a"].outcome == "expired"


def test_open_entries_are_listed_in_pages_and_settled_ones_are_not(path: Path) -> None:
    outbox = opened(path)
    kept = outbox.put([entry(name, number) for number, name in enumerate("abcd")])
    outbox.settle([Settled(kept[1].tx_id, "refused", code="invalid", reason="no")])
    assert [found.key for found in outbox.open_entries(2)] == ["a", "c"]
    assert [found.key for found in outbox.open_entries(2, after="c")] == ["d"]


def test_settled_entries_are_bounded_and_the_oldest_leave_first(path: Path) -> None:
    outbox = opened(path, keep_settled=3)
    for number in range(10):
        [kept] = outbox.put([entry(f"k{number}", number)])
        outbox.settle([Settled(kept.tx_id, "committed", number)])
    assert outbox.counts() == (0, 3)
    assert sorted(outbox.find([f"k{i}" for i in range(10)])) == ["k7", "k8", "k9"]


def test_an_open_entry_is_never_dropped_for_settled_ones(path: Path) -> None:
    outbox = opened(path, keep_settled=1)
    outbox.put([entry("open", 100)])
    for number in range(5):
        [kept] = outbox.put([entry(f"k{number}", number)])
        outbox.settle([Settled(kept.tx_id, "committed", number)])
    assert outbox.find(["open"])["open"].raw == entry("open", 100).raw


def test_open_entries_are_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OPEN", 2)
    outbox = opened(path)
    outbox.put([entry("a", 1), entry("b", 2)])
    with pytest.raises(OutboxError, match="outcome was never learnt"):
        outbox.put([entry("c", 3)])
    assert outbox.put([entry("a", 4)])[0].raw == entry("a", 1).raw


def test_an_outbox_of_another_chain_is_refused(path: Path) -> None:
    opened(path).close()
    with pytest.raises(OutboxError, match="another chain"):
        Outbox.open(path, ChainId(bytes(32)))


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + bytes(200)])
def test_a_file_that_is_no_outbox_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(OutboxError, match=str(path)):
        opened(path)
    assert path.read_bytes() == content


def test_an_sqlite_file_of_another_program_is_refused(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE mine (x)")
    other.close()
    with pytest.raises(OutboxError, match="another program"):
        opened(path)


def test_a_flipped_byte_in_a_transaction_is_never_sent(path: Path) -> None:
    outbox = opened(path)
    [kept] = outbox.put([entry("a")])
    outbox.close()
    raw = bytearray(kept.raw or b"")
    for place in (0, 70, len(raw) - 1):
        changed = bytearray(raw)
        changed[place] ^= 1
        database = sqlite3.connect(path)
        database.execute("UPDATE entries SET raw = ?", (bytes(changed),))
        database.commit()
        database.close()
        with pytest.raises(OutboxError, match="damaged at key 'a'"):
            opened(path).find(["a"])


def test_a_file_in_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutboxError, match="absent"):
        opened(tmp_path / "absent" / "outbox")


def test_only_the_owner_may_read_the_file(path: Path) -> None:
    opened(path)
    assert path.stat().st_mode & 0o077 == 0


def test_a_closed_outbox_says_so(path: Path) -> None:
    outbox = opened(path)
    outbox.close()
    outbox.close()
    with pytest.raises(OutboxError, match="is closed"):
        outbox.find(["a"])


def test_an_outbox_that_another_process_holds_is_refused_clearly(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BUSY_SECONDS", 0.01)
    outbox = opened(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OutboxError, match="another process"):
        outbox.put([entry("a")])
    other.execute("ROLLBACK")
    other.close()
    assert outbox.put([entry("a")])[0].key == "a"


def _put_from_another_process(path: Path, number: int) -> bytes:
    outbox = opened(path)
    [kept] = outbox.put([entry("shared", number)])
    outbox.put([entry(f"own-{number}", 1000 + number)])
    outbox.close()
    return kept.raw or b""


def test_processes_that_share_an_outbox_agree_on_the_bytes_of_a_key(path: Path) -> None:
    opened(path).close()
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        raws = pool.starmap(_put_from_another_process, [(path, number) for number in range(3)])
    assert len(set(raws)) == 1
    assert opened(path).counts() == (4, 0)


@pytest.mark.parametrize("key", ["", "x" * 201, "a\nb", "a\0"])
def test_a_key_is_a_printable_name(key: str) -> None:
    with pytest.raises(ValueError, match="idempotency key"):
        check_key(key)
