"""Receipts: what a verifier without a network must and must not believe."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crypto.attestation import Height
from crypto.digest import Digest, digest
from crypto.keys import Signature
from crypto.roster import Epoch, MemberId
from ledger.attestations import Attestations
from ledger.jsonfile import NoFile
from ledger.receipt import Receipt, ReceiptCheck, ReceiptFault
from ledger.receipt_text import MAX_FOLLOWING_HEADERS, MAX_RECEIPT_BYTES
from ledger.result import ok_result
from tests.ledger.chain_maker import Chain, Trusting

RESULTS = [ok_result(b"%d" % i) for i in range(5)]


@pytest.fixture
def chain() -> Chain:
    chain = Chain(4)
    chain.extend([chain.transaction(i) for i in range(5)], RESULTS)
    for number in range(3):
        chain.extend([chain.transaction(100 + number)], [ok_result(b"later")])
    return chain


def fails(receipt: Receipt, trust: Trusting, quorum: bool = False) -> ReceiptFault:
    with pytest.raises(ReceiptFault) as caught:
        receipt.verify(trust, quorum=quorum)
    return caught.value


def forged(receipt: Receipt, **changes: Any) -> Receipt:
    return replace(receipt, **changes)


def attestations(receipt: Receipt) -> Attestations:
    """A copy that a test may change."""
    return Attestations.of(receipt.attestations.certificate())


def test_a_receipt_with_as_many_members_as_a_client_believes_verifies(chain: Chain) -> None:
    shown = chain.receipt(1, 3, [0, 2]).verify(chain.trust())
    assert shown.signers == (0, 2)
    assert shown.need == 2
    assert shown.height == 1


def test_every_position_of_a_block_has_a_receipt_that_verifies(chain: Chain) -> None:
    for position in range(5):
        receipt = chain.receipt(1, position, [1, 3])
        assert receipt.verify(chain.trust()).tx_id == receipt.tx_id
        assert receipt.result_bytes == RESULTS[position]


def test_a_quorum_is_asked_for_only_on_request(chain: Chain) -> None:
    receipt = chain.receipt(1, 0, [0, 1])
    receipt.verify(chain.trust())
    fault = fails(receipt, chain.trust(), quorum=True)
    assert fault.check == ReceiptCheck.QUORUM
    assert (fault.expected, fault.actual) == ("3 distinct members", "2")
    assert chain.receipt(1, 0, [0, 1, 3]).verify(chain.trust(), quorum=True).need == 3


def test_too_few_members_are_not_believed(chain: Chain) -> None:
    fault = fails(chain.receipt(1, 0, [2]), chain.trust())
    assert fault.check == ReceiptCheck.ACCEPTANCE


def test_the_report_names_every_check_in_order(chain: Chain) -> None:
    shown = chain.receipt(1, 0, [0, 1], upto=3).verify(chain.trust())
    names = [checked.check for checked in shown.checked]
    assert list(dict.fromkeys(names)) == [
        "transaction",
        "chain",
        "sender key",
        "transaction signature",
        "transaction id",
        "result path",
        "result",
        "parent link",
        "block hash",
        "attestation",
        "attestation signature",
        "acceptance",
    ]
    assert names.count("attestation signature") == 2


def test_a_failed_check_reports_those_that_held_before(chain: Chain) -> None:
    receipt = forged(chain.receipt(1, 0, [0, 1]), result_bytes=b"another")
    assert [checked.check for checked in fails(receipt, chain.trust()).passed][-1] == "transaction id"


def test_a_changed_result_is_found(chain: Chain) -> None:
    receipt = forged(chain.receipt(1, 2, [0, 1]), result_bytes=ok_result(b"9"))
    assert fails(receipt, chain.trust()).check == ReceiptCheck.RESULT_PATH


def test_a_proven_result_that_is_none_is_found(chain: Chain) -> None:
    chain.extend([chain.transaction(200)], [b"no result"])
    assert fails(chain.receipt(5, 0, [0, 1]), chain.trust()).check == ReceiptCheck.RESULT


def test_a_changed_path_is_found(chain: Chain) -> None:
    receipt = chain.receipt(1, 2, [0, 1])
    for place in range(len(receipt.path)):
        path = list(receipt.path)
        path[place] = digest("test-other")
        assert fails(forged(receipt, path=tuple(path)), chain.trust()).check == ReceiptCheck.RESULT_PATH
    assert fails(forged(receipt, path=receipt.path[:-1]), chain.trust()).check == ReceiptCheck.RESULT_PATH


def test_another_position_is_found(chain: Chain) -> None:
    receipt = forged(chain.receipt(1, 2, [0, 1]), position=1)
    assert fails(receipt, chain.trust()).check == ReceiptCheck.RESULT_PATH


def test_another_transaction_is_found(chain: Chain) -> None:
    receipt = forged(chain.receipt(1, 2, [0, 1]), transaction=chain.blocks[0].transactions[1])
    assert fails(receipt, chain.trust()).check == ReceiptCheck.RESULT_PATH


def test_a_changed_transaction_signature_is_found(chain: Chain) -> None:
    receipt = chain.receipt(1, 2, [0, 1])
    raw = bytes([receipt.transaction[0] ^ 1]) + receipt.transaction[1:]
    assert fails(forged(receipt, transaction=raw), chain.trust()).check == ReceiptCheck.TRANSACTION_SIGNATURE


def test_a_transaction_that_does_not_decode_is_found(chain: Chain) -> None:
    receipt = chain.receipt(1, 2, [0, 1])
    for raw in (b"", receipt.transaction[:64], receipt.transaction + b"\0", bytes(200)):
        assert fails(forged(receipt, transaction=raw), chain.trust()).check == ReceiptCheck.TRANSACTION


def test_a_receipt_of_another_chain_is_found(chain: Chain) -> None:
    other = Chain(5)
    assert fails(chain.receipt(1, 0, [0, 1]), other.trust()).check == ReceiptCheck.CHAIN


def test_a_header_of_another_chain_is_found(chain: Chain) -> None:
    receipt = chain.receipt(1, 0, [0, 1])
    header = msgspec.structs.replace(receipt.header, chain_id=Chain(5).chain_id)
    assert fails(forged(receipt, header=header), chain.trust()).check == ReceiptCheck.CHAIN


def test_every_changed_field_of_the_header_is_found(chain: Chain) -> None:
    receipt = chain.receipt(1, 0, [0, 1])
    for name in ("parent", "batch", "transaction_root", "result_root", "state_root"):
        header = msgspec.structs.replace(receipt.header, **{name: digest("test-other")})
        fault = fails(forged(receipt, header=header), chain.trust())
        assert fault.check in (ReceiptCheck.BLOCK_HASH, ReceiptCheck.RESULT_PATH)
    for name in ("epoch", "height", "proposed", "time"):
        value = getattr(receipt.header, name) + 1
        header = msgspec.structs.replace(receipt.header, **{name: value})
        assert fails(forged(receipt, header=header), chain.trust()).check == ReceiptCheck.BLOCK_HASH


def test_attestations_of_another_height_are_found(chain: Chain) -> None:
    receipt = forged(chain.receipt(1, 0, [0, 1]), attestations=chain.receipt(2, 0, [0, 1]).attestations)
    assert fails(receipt, chain.trust()).check == ReceiptCheck.BLOCK_HASH


def test_attestations_of_another_epoch_are_found(chain: Chain) -> None:
    receipt = chain.receipt(1, 0, [0, 1])
    receipt.attestations.epoch = Epoch(1)
    assert fails(receipt, chain.trust()).check == ReceiptCheck.ATTESTATION


def test_one_wrong_attestation_spoils_a_receipt_that_has_enough_good_ones(chain: Chain) -> None:
    receipt = chain.receipt(1, 0, [0, 1])
    copied = attestations(chain.receipt(1, 0, [0]))
    [vote] = copied.certificate().votes
    receipt.attestations.add(MemberId(3), vote.signature)
    fault = fails(receipt, chain.trust())
    assert fault.check == ReceiptCheck.ATTESTATION_SIGNATURE
    assert "member 3" in fault.expected


def test_a_member_outside_the_roster_is_found(chain: Chain) -> None:
    receipt = chain.receipt(1, 0, [0, 1])
    receipt.attestations.add(MemberId(4), Signature(bytes(64)))
    assert fails(receipt, chain.trust()).check == ReceiptCheck.ATTESTATION


def test_a_receipt_proves_itself_through_the_headers_up_to_a_later_certificate(chain: Chain) -> None:
    receipt = chain.receipt(1, 4, [1, 2, 3], upto=4)
    assert len(receipt.following) == 3
    shown = receipt.verify(chain.trust(), quorum=True)
    assert shown.height == 1
    assert shown.signers == (1, 2, 3)


def test_a_missing_link_between_headers_is_found(chain: Chain) -> None:
    receipt = chain.receipt(1, 4, [1, 2], upto=4)
    following = receipt.following[:1] + receipt.following[2:]
    assert fails(forged(receipt, following=following), chain.trust()).check == ReceiptCheck.PARENT_LINK


def test_a_link_that_does_not_count_heights_one_by_one_is_found(chain: Chain) -> None:
    receipt = chain.receipt(1, 4, [1, 2], upto=2)
    header = msgspec.structs.replace(receipt.following[0], height=Height(7))
    assert fails(forged(receipt, following=(header,)), chain.trust()).check == ReceiptCheck.PARENT_LINK


def test_headers_that_end_below_the_attested_block_are_found(chain: Chain) -> None:
    receipt = chain.receipt(1, 4, [1, 2], upto=4)
    assert (
        fails(forged(receipt, following=receipt.following[:2]), chain.trust()).check
        == ReceiptCheck.BLOCK_HASH
    )


def test_a_receipt_survives_its_file(chain: Chain, tmp_path: Path) -> None:
    for receipt in (chain.receipt(1, 3, [0, 2, 3]), chain.receipt(1, 3, [0, 1], upto=4)):
        receipt.save(tmp_path / "r")
        loaded = Receipt.load(tmp_path / "r")
        assert loaded.verify(chain.trust()) == receipt.verify(chain.trust())
        assert loaded.header == receipt.header
        assert (loaded.position, loaded.size, loaded.path) == (receipt.position, receipt.size, receipt.path)


def test_signers_that_come_after_acceptance_are_in_the_file_saved_later(chain: Chain, tmp_path: Path) -> None:
    receipt = chain.receipt(1, 0, [0, 1])
    [vote] = chain.receipt(1, 0, [3]).attestations.certificate().votes
    receipt.attestations.add(vote.signer, vote.signature)
    receipt.save(tmp_path / "r")
    assert Receipt.load(tmp_path / "r").verify(chain.trust(), quorum=True).signers == (0, 1, 3)


def saved(chain: Chain, path: Path) -> dict[str, Any]:
    chain.receipt(1, 3, [0, 2], upto=2).save(path)
    text: dict[str, Any] = json.loads(path.read_text())
    return text


def load_fails(path: Path, text: str) -> ReceiptFault:
    path.write_text(text)
    with pytest.raises(ReceiptFault) as caught:
        Receipt.load(path)
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        "[" * 100_000,
        '{"format": "tetrarch-receipt", "format": "tetrarch-receipt"}',
        '{"version": NaN}',
        '{"version": 1' + "0" * 5000 + "}",
        "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
)
def test_a_file_that_is_no_receipt_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    fault = load_fails(tmp_path / "r", text)
    assert fault.check == ReceiptCheck.FORMAT
    assert "\n" not in str(fault)


def test_a_receipts_file_is_refused_for_every_field_that_is_wrong(chain: Chain, tmp_path: Path) -> None:
    path = tmp_path / "r"
    good = saved(chain, path)
    wrong = {
        "format": "receipt",
        "version": 2,
        "transaction": "not base64!",
        "result": "A",
        "position": -1,
        "size": 2**53,
        "path": ["00"] * 2,
        "header": {},
        "following": [dict(good["header"], height="1")],
        "attestation": dict(good["attestation"], votes=good["attestation"]["votes"][::-1]),
        "extra": 1,
    }
    for key, value in wrong.items():
        fault = load_fails(path, json.dumps({**good, key: value}))
        assert fault.check == ReceiptCheck.FORMAT
        assert key in fault.actual, fault


def test_a_receipts_file_is_refused_where_a_field_is_missing(chain: Chain, tmp_path: Path) -> None:
    good = saved(chain, tmp_path / "r")
    for key in good:
        rest = {name: value for name, value in good.items() if name != key}
        assert key in load_fails(tmp_path / "r", json.dumps(rest)).actual


def test_a_members_signature_stands_once_in_a_file(chain: Chain, tmp_path: Path) -> None:
    good = saved(chain, tmp_path / "r")
    good["attestation"]["votes"].append(good["attestation"]["votes"][-1])
    assert "attestation.votes" in load_fails(tmp_path / "r", json.dumps(good)).actual


def test_an_id_for_people_that_is_not_the_transactions_is_refused(chain: Chain, tmp_path: Path) -> None:
    good = saved(chain, tmp_path / "r")
    fault = load_fails(tmp_path / "r", json.dumps({**good, "tx_id": "00" * 32}))
    assert fault.check == ReceiptCheck.TRANSACTION_ID


def test_a_receipts_file_is_bounded(chain: Chain, tmp_path: Path) -> None:
    good = saved(chain, tmp_path / "r")
    fault = load_fails(tmp_path / "r", json.dumps(good) + " " * MAX_RECEIPT_BYTES)
    assert str(MAX_RECEIPT_BYTES) in fault.actual
    good["following"] = good["following"] * (MAX_FOLLOWING_HEADERS + 1)
    assert "following" in load_fails(tmp_path / "r", json.dumps(good)).actual


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(NoFile) as caught:
            Receipt.load(path)
        assert str(path) in str(caught.value)


def test_any_single_changed_byte_in_what_is_proven_is_found(chain: Chain, tmp_path: Path) -> None:
    path = tmp_path / "r"
    good = saved(chain, path)
    raw = base64.b64decode(good["transaction"])
    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 0x20]) + raw[place + 1 :]
        path.write_text(json.dumps({**good, "transaction": base64.b64encode(changed).decode()}))
        with pytest.raises(ReceiptFault):
            Receipt.load(path).verify(chain.trust())


def test_an_empty_set_of_attestations_counts_nobody() -> None:
    nobody = Attestations(Epoch(0), Height(1), Digest(bytes(32)))
    assert (len(nobody), nobody.members) == (0, ())
