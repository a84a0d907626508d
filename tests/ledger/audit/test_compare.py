"""Comparing stores: where they part, both sides, and only those blamed who certainly lied."""

import pytest
from msgspec.structs import replace

from crypto.attestation import Height
from crypto.codec import encode
from crypto.digest import digest
from ledger.audit.compare import Comparison, compare
from ledger.audit.reader import AuditedStore
from ledger.audit.report import Verdict
from ledger.block import block_hash
from ledger.keyvalue import Family, MemoryKeyValue
from ledger.store import height_key
from tests.ledger.audit.chains import (
    Certificates,
    Maker,
    Records,
    attestation,
    checkpoint,
    put_block,
    put_sealed,
)

PARTING = 6
BLOCKS = 9


def compared(maker: Maker, **stores: AuditedStore) -> Comparison:
    return compare(stores, maker.genesis, Certificates(maker.roster), Records(maker.roster))


def branch(name: str, members: tuple[int, ...], view: int = 0, blocks: int = BLOCKS) -> Maker:
    """A chain whose first blocks are common to all branches, and whose others are its own."""
    maker = Maker()
    for height in range(1, blocks + 1):
        common = maker.archiving = height < PARTING
        account = f"a{height}" if common else f"{name}{height}"
        opening = maker.transaction({"op": "open", "account": account})
        maker.extend([opening], (0, 1, 2) if common else members, view=0 if common else view)
    return maker


@pytest.fixture(scope="module")
def one() -> Maker:
    return branch("one", (0, 1, 2))


def test_equal_stores_are_the_same_everywhere(one: Maker) -> None:
    found = compared(one, a=one.disk, b=one.copy())
    assert found.verdict is Verdict.VALID
    assert found.same_up_to == BLOCKS
    assert found.difference is None


def test_stores_with_other_certificates_of_the_same_blocks_are_the_same(one: Maker) -> None:
    other = branch("one", (1, 2, 3), view=4)
    found = compared(one, a=one.disk, b=other.disk)
    assert found.verdict is Verdict.VALID
    assert found.blamed == ()


def test_a_store_that_is_behind_is_the_same_as_far_as_it_goes(one: Maker) -> None:
    behind = branch("one", (0, 1, 2), blocks=7)
    found = compared(one, a=one.disk, b=behind.disk)
    assert found.verdict is Verdict.VALID
    assert found.heights == {"a": 9, "b": 7}
    assert found.same_up_to == 7


def test_the_first_height_where_stores_part_is_named_with_both_sides(one: Maker) -> None:
    other = branch("other", (1, 2, 3))
    found = compared(one, a=one.disk, b=other.disk, c=one.copy())
    assert found.verdict is Verdict.INVALID
    assert found.same_up_to == PARTING - 1
    assert found.difference is not None
    assert found.difference.height == PARTING
    assert "batch" in found.difference.fields
    sides = {side.stores: side for side in found.difference.sides}
    assert sides[("a", "c")].block_hash == block_hash(one.headers[PARTING - 1]).hex()
    assert sides[("b",)].block_hash == block_hash(other.headers[PARTING - 1]).hex()
    assert all(side.certified for side in found.difference.sides)


def test_who_committed_both_in_one_view_is_blamed_and_nobody_else(one: Maker) -> None:
    other = branch("other", (1, 2, 3))
    assert compared(one, a=one.disk, b=other.disk).blamed == (1, 2)


def test_committing_in_two_views_convicts_nobody_by_itself(one: Maker) -> None:
    other = branch("other", (0, 1, 2), view=3)
    found = compared(one, a=one.disk, b=other.disk)
    assert found.verdict is Verdict.INVALID
    assert found.blamed == ()


def test_a_side_without_a_quorum_blames_nobody(one: Maker) -> None:
    forged = branch("forged", (1, 2))
    found = compared(one, a=one.disk, b=forged.disk)
    assert found.blamed == ()
    assert found.difference is not None
    assert [side.certified for side in found.difference.sides] == [True, False]


def test_attestations_in_different_stores_that_contradict_each_other_blame_who_gave_both(one: Maker) -> None:
    other = one.copy()
    forged = checkpoint(one.roster, 4, digest("fork"), (0, 2, 3))
    put_sealed(other, Family.ARCHIVE, b"checkpoint/" + height_key(one.headers[3].height), forged)
    other.write([(Family.VOTES, b"s", None)])
    found = compared(one, a=one.disk, b=other)
    assert found.verdict is Verdict.INVALID
    assert found.blamed == (0, 3)


def test_the_same_order_with_other_results_is_told_apart_from_another_order(one: Maker) -> None:
    other = one.copy()
    block = one.block(BLOCKS)
    forged = replace(block.header, state_root=digest("forged"))
    put_block(other, replace(block, header=forged), head=True)
    found = compared(one, a=one.disk, b=other)
    assert found.difference is not None
    assert found.difference.fields == ("state_root",)
    assert found.blamed == ()


def test_a_block_that_cannot_be_read_is_a_side_of_its_own(one: Maker) -> None:
    other = one.copy()
    other.write([(Family.BLOCKS, height_key(one.headers[2].height), b"?")])
    found = compared(one, a=one.disk, b=other)
    assert found.difference is not None
    assert (found.difference.height, found.difference.fields) == (3, ())
    assert "" in {side.block_hash for side in found.difference.sides}


def test_evidence_in_any_store_blames(one: Maker) -> None:
    other = one.copy()
    both = tuple(attestation(one.roster, 2, 4, digest("fork", bytes([side]))) for side in range(2))
    put_sealed(other, Family.ARCHIVE, b"evidence/1", encode(both))
    assert compared(one, a=one.disk, b=other).blamed == (2,)


def test_who_attests_a_side_is_shown(one: Maker) -> None:
    other = branch("other", (1, 2, 3))
    other.archive_checkpoint(PARTING, block_hash(other.headers[PARTING - 1]), (1, 2, 3))
    found = compared(one, a=one.disk, b=other.disk)
    assert found.difference is not None
    attesting = {side.stores: side.attested_by for side in found.difference.sides}
    assert attesting == {("a",): (), ("b",): (1, 2, 3)}


def test_nothing_to_compare_is_no_difference(one: Maker) -> None:
    found = compared(one, a=MemoryKeyValue(), b=one.disk)
    assert found.heights["a"] == 0
    assert found.difference is None


def test_a_block_far_beyond_the_others_costs_no_time(one: Maker) -> None:
    other = one.copy()
    put_sealed(other, Family.BLOCKS, height_key(Height(2**53 - 1)), b"far")
    found = compared(one, a=one.disk, b=other)
    assert found.difference is None
    assert found.heights["b"] == 2**53 - 1
    assert found.same_up_to == BLOCKS


def test_a_block_that_one_store_lacks_is_where_they_part(one: Maker) -> None:
    other = one.copy()
    other.write([(Family.BLOCKS, height_key(one.headers[4].height), None)])
    found = compared(one, a=one.disk, b=other)
    assert found.difference is not None
    assert found.difference.height == 5
