"""The demo's own bookkeeping finds what it is there to find; the example journal is what its maker makes."""

import json
import runpy
from pathlib import Path

import pytest

from crypto.attestation import Height
from crypto.batch import Millis, TxId
from crypto.digest import Digest
from crypto.keys import PublicKey
from ledger.errors import StoreError
from ledger.result import Result, ResultCode
from tests.processes.running import json_of
from tests.tetrarch.command_line import ran
from tetrarch.cli.demo import MARK, OUTCOMES
from tetrarch.client.following import BlockEvent, Executed
from tetrarch.demo.books import Books, BooksDiffer
from tetrarch.demo.damage import copy_and_flip

OPEN = [
    b'{"account":"a","op":"open"}',
    b'{"account":"b","op":"open"}',
    b'{"account":"a","amount":10,"op":"issue"}',
]
TRANSFER = b'{"amount":%d,"from":"a","op":"transfer","to":"b"}'


def block(height: int, *transactions: tuple[int, bytes, ResultCode]) -> BlockEvent:
    executed = tuple(
        Executed(TxId(bytes([number]) * 32), PublicKey(bytes(32)), Millis(1), payload, Result(code))
        for number, payload, code in transactions
    )
    return BlockEvent(Height(height), Millis(height), Digest(bytes(32)), executed, ())


def books() -> Books:
    kept = Books()
    kept.add(block(1, *((number, payload, ResultCode.OK) for number, payload in enumerate(OPEN))))
    return kept


def test_the_books_follow_opened_issued_and_moved() -> None:
    kept = books()
    kept.add(block(2, (10, TRANSFER % 4, ResultCode.OK), (11, TRANSFER % 40, ResultCode.FAILED)))
    assert kept.balances == {"a": 6, "b": 4}


@pytest.mark.parametrize(("amount", "code"), [(4, ResultCode.FAILED), (40, ResultCode.OK)])
def test_a_result_that_the_rules_do_not_give_is_found(amount: int, code: ResultCode) -> None:
    with pytest.raises(BooksDiffer, match="the books say"):
        books().add(block(2, (10, TRANSFER % amount, code)))


def test_a_transaction_that_is_executed_twice_is_found() -> None:
    kept = books()
    kept.add(block(2, (10, TRANSFER % 4, ResultCode.OK)))
    kept.add(block(3, (10, TRANSFER % 4, ResultCode.REPEATED)))
    assert kept.balances == {"a": 6, "b": 4}
    with pytest.raises(BooksDiffer, match="executed at height 2 and again at 4"):
        kept.add(block(4, (10, TRANSFER % 4, ResultCode.OK)))


def test_one_bit_is_flipped_in_the_copy_alone(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "a").write_bytes(b"nothing")
    (tmp_path / "store" / "b").write_bytes(b"before NEEDLE after")
    flip = copy_and_flip(tmp_path / "store", tmp_path / "copy", b"NEEDLE")
    original, changed = (tmp_path / "store" / "b").read_bytes(), flip.file.read_bytes()
    assert original == b"before NEEDLE after"
    assert [i for i, (old, new) in enumerate(zip(original, changed, strict=True)) if old != new] == [
        flip.offset
    ]
    assert bin(flip.before ^ flip.after).count("1") == 1
    with pytest.raises(StoreError):
        copy_and_flip(tmp_path / "store", tmp_path / "copy2", b"not there")


def test_the_example_journal_is_what_its_maker_makes() -> None:
    examples = Path(__file__).parents[2] / "examples"
    made = runpy.run_path(str(examples / "make_journal.py"))
    assert (examples / "journal.jsonl").read_text().splitlines() == list(made["lines"]())


def test_a_directory_that_no_demo_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    result = ran("demo", "--directory", str(tmp_path))
    assert result.code == 2
    assert "was not made by a demo" in result.err
    assert (tmp_path / "mine").read_text() == "precious"


@pytest.mark.processes
@pytest.mark.slow
def test_the_whole_story_holds(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / MARK).write_text("an earlier run's")
    facts = json_of("demo", "--directory", str(tmp_path / "demo"))
    assert facts["passed"] is True
    assert facts["acknowledged"] >= 1000
    assert facts["unknown"] == 0
    assert facts["refused_by_application"] > 0
    assert facts["refused_lines"] > 0
    assert facts["repeated_lines"] > 0
    assert facts["view_change_s"] > 0
    assert facts["found"]["what"]
    assert Path(facts["receipt"]).is_file()
    rows = [json.loads(line) for line in (tmp_path / "demo" / OUTCOMES).read_text().splitlines()]
    assert len(rows) == facts["lines"]
    refused = [row["line"] for row in rows if row["outcome"] == "refused"]
    assert len(refused) == facts["refused_lines"]
    assert refused == sorted(refused)


@pytest.mark.processes
@pytest.mark.slow
def test_a_journal_of_which_nothing_is_executed_ends_in_a_line(tmp_path: Path) -> None:
    journal = tmp_path / "other.jsonl"
    journal.write_text('{"op": "put", "key": "a", "value": "1"}\n' * 5)
    result = ran("demo", "--directory", str(tmp_path / "demo"), "--journal", str(journal))
    assert result.code == 1
    assert result.err.startswith("tetrarch: no line of the journal was executed")
