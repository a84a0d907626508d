"""tetrarch.Receipt: the ledger's receipt under the public API's errors."""

from pathlib import Path

import pytest

import tetrarch
from ledger.receipt import Receipt as Proven
from ledger.result import ok_result
from tests.ledger.chain_maker import Chain
from tetrarch.genesis_file import save_genesis


def saved(path: Path) -> Chain:
    chain = Chain(4)
    chain.extend([chain.transaction(i) for i in range(3)], [ok_result(b'{"n":%d}' % i) for i in range(3)])
    chain.receipt(1, 1, [0, 3]).save(path)
    return chain


def test_a_saved_receipt_verifies_against_a_genesis_file(tmp_path: Path) -> None:
    chain = saved(tmp_path / "r")
    save_genesis(chain.genesis, tmp_path / "genesis.json")
    shown = tetrarch.Receipt.load(tmp_path / "r").verify(tetrarch.TrustRoot.load(tmp_path / "genesis.json"))
    assert (shown.height, shown.signers) == (1, (0, 3))


def test_the_value_that_the_application_returned_reads_as_json(tmp_path: Path) -> None:
    saved(tmp_path / "r")
    receipt = tetrarch.Receipt.load(tmp_path / "r")
    assert (receipt.result.code, receipt.value) == ("ok", {"n": 1})


def test_a_failed_check_is_a_verification_error_with_its_name(tmp_path: Path) -> None:
    chain = saved(tmp_path / "r")
    receipt = tetrarch.Receipt.load(tmp_path / "r")
    assert isinstance(receipt, Proven)
    with pytest.raises(tetrarch.VerificationError) as caught:
        receipt.verify(tetrarch.TrustRoot.of(chain.genesis), quorum=True)
    error = caught.value
    assert isinstance(error, tetrarch.TetrarchError)
    assert (error.check, error.expected, error.actual) == ("quorum", "3 distinct members", "2")
    assert len(error.passed) == 11


def test_a_file_that_is_no_receipt_is_a_verification_error(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("{}")
    with pytest.raises(tetrarch.VerificationError) as caught:
        tetrarch.Receipt.load(tmp_path / "r")
    assert caught.value.check == "format"


def test_a_receipt_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    saved(tmp_path / "r")
    with pytest.raises(tetrarch.ConfigurationError, match="cannot be written"):
        tetrarch.Receipt.load(tmp_path / "r").save(tmp_path / "absent" / "r")
