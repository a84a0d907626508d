"""A sound store is valid at every level, and the report says exactly what that means."""

import pytest

from ledger.audit.report import Level, Verdict
from ledger.block import block_hash
from tests.ledger.audit.chains import Maker


@pytest.fixture(scope="module")
def chain() -> Maker:
    return Maker().grow(10)


@pytest.mark.parametrize("level", list(Level))
def test_a_sound_store_is_valid(chain: Maker, level: Level) -> None:
    report = chain.audit(level)
    assert report.faults == ()
    assert report.verdict is Verdict.VALID
    assert report.height == report.blocks == 10
    assert report.head == block_hash(chain.headers[-1]).hex()
    assert report.blamed == ()
