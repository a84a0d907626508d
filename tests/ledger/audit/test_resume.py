"""Going on where an audit stopped: signatures alone are not verified again, and never without saying so."""

import json
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from crypto.attestation import Height
from crypto.digest import Digest, digest
from crypto.keys import Check
from ledger.audit.report import Level, Verdict
from ledger.audit.resume import ResumePoint, load_resume_point, save_resume_point
from ledger.block import block_hash
from ledger.jsonfile import FileFault
from tests.ledger.audit.chains import Maker, places, put_block

BLOCKS = 9


@pytest.fixture(scope="module")
def chain() -> Maker:
    return Maker().grow(BLOCKS)


def point(chain: Maker, height: int, level: Level = Level.FULL) -> ResumePoint:
    hashed = block_hash(chain.headers[height - 1])
    return ResumePoint(chain.genesis.chain_id.hex(), level, Height(height), hashed)


class Counting:
    def __init__(self) -> None:
        self.checked = 0

    def check(self, checks: list[Check]) -> list[bool]:
        self.checked += len(checks)
        return [True] * len(checks)


def test_signatures_below_the_point_are_not_verified_again_and_the_report_says_so(chain: Maker) -> None:
    anew, resumed = Counting(), Counting()
    chain.audit(checker=anew)
    report = chain.audit(checker=resumed, resume=point(chain, 6))
    assert resumed.checked < anew.checked
    assert report.verdict is Verdict.VALID
    assert report.executed == report.blocks == BLOCKS
    assert "signatures up to height 6: an earlier run verified them" in report.not_checked


def test_everything_but_signatures_is_computed_again_below_the_point(chain: Maker) -> None:
    disk = chain.copy()
    block = chain.block(2)
    put_block(disk, replace(block, results=(block.results[1], *block.results[1:])))
    report = chain.audit(disk=disk, resume=point(chain, 6))
    assert ("blocks", 2, "results[0]") in places(report)


def test_another_block_at_the_point_is_a_fault(chain: Maker) -> None:
    other = replace(point(chain, 6), block_hash=Digest(digest("other")))
    assert places(chain.audit(resume=other)) == {("resume", 6, "block_hash")}


def test_a_store_that_got_shorter_is_a_fault(chain: Maker) -> None:
    beyond = replace(point(chain, 6), height=Height(BLOCKS + 5))
    assert places(chain.audit(resume=beyond)) == {("resume", BLOCKS + 5, "height")}


def test_a_point_of_another_chain_is_a_fault(chain: Maker) -> None:
    other = replace(point(chain, 6), chain_id="00" * 32)
    report = chain.audit(resume=other)
    assert ("resume", None, "chain_id") in places(report)


def test_a_point_of_a_shallower_level_vouches_for_nothing_deeper(chain: Maker) -> None:
    anew, resumed = Counting(), Counting()
    chain.audit(checker=anew)
    report = chain.audit(checker=resumed, resume=point(chain, 6, Level.CERTIFICATES))
    assert resumed.checked == anew.checked
    assert not any("earlier run" in name for name in report.not_checked)


def test_an_audit_that_was_stopped_goes_on_and_ends_as_if_it_had_not_been(chain: Maker) -> None:
    saved: list[ResumePoint] = []
    asked = iter([False] * 5 + [True])
    chain.audit(stop=lambda: next(asked), save=saved.append)
    assert saved[-1] == point(chain, 5)
    report = chain.audit(resume=saved[-1], save=saved.append)
    assert report.verdict is Verdict.VALID
    assert saved[-1] == point(chain, BLOCKS)


def test_no_point_is_noted_once_there_is_a_fault(chain: Maker) -> None:
    disk = chain.copy()
    block = chain.block(4)
    put_block(disk, replace(block, header=replace(block.header, state_root=digest("forged"))))
    saved: list[ResumePoint] = []
    chain.audit(disk=disk, save=saved.append)
    assert saved == []


def test_a_point_survives_its_file(chain: Maker, tmp_path: Path) -> None:
    path = tmp_path / "audit.resume"
    assert load_resume_point(path) is None
    save_resume_point(path, point(chain, 3))
    assert load_resume_point(path) == point(chain, 3)


GOOD = {"format": 1, "chain_id": "0" * 64, "level": "full", "height": 1, "block_hash": "0" * 64}


def test_the_file_of_the_next_test_is_good_where_nothing_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "audit.resume"
    path.write_text(json.dumps(GOOD))
    assert load_resume_point(path) is not None


@pytest.mark.parametrize(
    "changed",
    [
        {"format": 2},
        {"level": "deep"},
        {"chain_id": "x"},
        {"height": -1},
        {"block_hash": "0" * 64 + "\n"},
        {"other": 1},
    ],
)
def test_a_file_that_is_no_point_is_refused_with_the_key(tmp_path: Path, changed: dict[str, object]) -> None:
    path = tmp_path / "audit.resume"
    path.write_text(json.dumps(GOOD | changed))
    with pytest.raises(FileFault, match=next(iter(changed))):
        load_resume_point(path)


@pytest.mark.parametrize(
    ("content", "why"), [("", "JSON"), ("[]", "object"), ("{" + " " * 5000 + "}", "4096")]
)
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, content: str, why: str) -> None:
    path = tmp_path / "audit.resume"
    path.write_text(content)
    with pytest.raises(FileFault, match=why):
        load_resume_point(path)


def test_a_point_that_cannot_be_written_is_an_error_that_names_the_file(chain: Maker, tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "audit.resume"
    with pytest.raises(FileFault, match=re.escape(str(path))):
        save_resume_point(path, point(chain, 3))
