"""What each level checks, what it says it did not, and what it finds."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from crypto.attestation import Height
from crypto.batch import Millis
from crypto.codec import encode
from crypto.digest import digest
from crypto.keys import Check
from ledger.application import ApplicationContext, StateView
from ledger.applications.assets import Assets
from ledger.audit.audit import Options, audit
from ledger.audit.reader import StoreChanged
from ledger.audit.report import MAX_FAULTS, Level, Verdict
from ledger.block import block_hash, block_time
from ledger.keyvalue import Family, KeyValue, MemoryKeyValue
from ledger.result import ResultCode, results
from ledger.store import HEAD_KEY, SEAL_BYTES, Head, height_key
from tests.ledger.audit.chains import (
    INTERVAL,
    Certificates,
    Maker,
    attestation,
    checkpoint,
    commit_certificate,
    first,
    places,
    put_block,
    put_sealed,
    tally_anew,
)

BLOCKS = 10


@pytest.fixture(scope="module")
def chain() -> Maker:
    return Maker().grow(BLOCKS)


@pytest.fixture
def disk(chain: Maker) -> MemoryKeyValue:
    return chain.copy()


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("n", [1, 4, 5, 6, 7])
def test_a_sound_store_is_valid(n: int, level: Level) -> None:
    maker = Maker(n=n)
    for _ in range(3):
        maker.extend([maker.transaction({"op": "open", "account": f"a{maker.ledger.height}"})], range(n))
    report = maker.audit(level)
    assert report.faults == ()
    assert report.verdict is Verdict.VALID
    assert report.height == report.blocks == report.transactions == 3
    assert report.head == block_hash(maker.headers[-1]).hex()
    assert report.blamed == ()


def test_an_empty_store_is_valid_and_says_that_it_holds_nothing() -> None:
    report = Maker().audit()
    assert report.verdict is Verdict.VALID
    assert (report.height, report.blocks, report.transactions) == (0, 0, 0)


def test_the_chains_of_these_tests_hold_every_kind_of_result(chain: Maker) -> None:
    codes = {
        results.decode(result).code
        for height in range(1, BLOCKS + 1)
        for result in chain.block(height).results
    }
    assert codes == set(ResultCode) - {ResultCode.ERROR}


def test_the_report_says_what_a_level_leaves_out(chain: Maker) -> None:
    headers, certificates, full = (chain.audit(level) for level in Level)
    assert "certificates" in headers.not_checked
    assert "client signatures" in headers.not_checked
    assert "certificates" in certificates.checked
    assert {"client signatures", "stored state", "index"} <= set(certificates.not_checked)
    assert {"client signatures", "results", "stored state", "index", "votes", "archive"} <= set(full.checked)
    assert full.executed == BLOCKS
    assert certificates.executed == 0


def test_results_count_as_attested_up_to_the_last_checkpoint_and_no_further(chain: Maker) -> None:
    last = BLOCKS // INTERVAL * INTERVAL
    report = chain.audit(Level.CERTIFICATES)
    assert report.attested == last
    assert report.certified == BLOCKS
    assert f"attestations up to height {last}" in report.checked
    assert f"attestations above height {last}" in report.not_checked
    assert f"results above height {last}" in report.not_checked


def test_attestations_of_too_few_members_prove_nothing(disk: MemoryKeyValue, chain: Maker) -> None:
    for key, _ in list(disk.scan(Family.ARCHIVE)):
        disk.write([(Family.ARCHIVE, key, None)])
    disk.write([(Family.VOTES, b"s", None)])
    tally_anew(disk)
    report = chain.audit(disk=disk)
    assert report.verdict is Verdict.VALID
    assert report.attested == 0
    assert "attestations above height 0" in report.not_checked


def test_without_a_judge_the_engines_records_are_listed_as_not_checked(chain: Maker) -> None:
    options = Options(processes=1)
    report = audit(chain.disk, chain.genesis, Certificates(chain.roster), None, options)
    assert report.verdict is Verdict.VALID
    assert {"votes", "archive", "attestations above height 0"} <= set(report.not_checked)


def test_of_a_store_of_another_chain_nothing_else_is_said(chain: Maker) -> None:
    other = Maker(n=7)
    report = audit(chain.disk, other.genesis, Certificates(other.roster), None, Options(processes=1))
    assert places(report) == {("meta", None, "chain.chain_id")}
    assert report.verdict is Verdict.INVALID
    assert (report.height, report.head) == (0, "")
    assert report.checked == ("chain",)
    assert report.not_checked == ("everything else: the store is of another chain",)


def test_lost_records_of_the_engines_are_found_by_their_tally(disk: MemoryKeyValue, chain: Maker) -> None:
    key = b"checkpoint/" + height_key(Height(INTERVAL))
    disk.write([(Family.ARCHIVE, key, None)])
    assert chain.audit(Level.HEADERS, disk).verdict is Verdict.VALID
    fault = first(chain.audit(Level.CERTIFICATES, disk))
    assert (fault.family, fault.field) == ("meta", "records")
    assert fault.what == "votes and archive have 3 records, 4 were written"
    tally_anew(disk)
    assert chain.audit(disk=disk).verdict is Verdict.VALID


def test_a_shorter_store_is_valid_up_to_where_it_goes(chain: Maker) -> None:
    short = Maker().grow(3)
    report = short.audit()
    assert report.verdict is Verdict.VALID
    assert report.height == 3


def test_a_store_that_ends_below_what_its_members_attest_has_lost_its_end(
    chain: Maker, disk: MemoryKeyValue
) -> None:
    cut(chain, disk, 7)
    report = chain.audit(Level.CERTIFICATES, disk)
    assert ("archive", 8, "attestation") in places(report) or ("votes", 8, "attestation") in places(report)


def cut(chain: Maker, disk: KeyValue, height: int) -> None:
    """Take off all blocks above `height`, and set the head there."""
    for gone in range(height + 1, BLOCKS + 1):
        key = height_key(Height(gone))
        disk.write([(Family.BLOCKS, key, None), (Family.CERTIFICATES, key, None)])
    header = chain.headers[height - 1]
    put_sealed(disk, Family.META, HEAD_KEY, encode(Head(Height(height), block_hash(header))))


def test_a_gap_is_found_at_its_height(chain: Maker, disk: MemoryKeyValue) -> None:
    for height in (4, 5):
        key = height_key(Height(height))
        disk.write([(Family.BLOCKS, key, None), (Family.CERTIFICATES, key, None)])
    for level in Level:
        fault = first(chain.audit(level, disk))
        assert (fault.family, fault.height, fault.field) == ("blocks", 4, "block")
        assert "4 to 5" in fault.what


def test_a_head_far_beyond_the_last_block_costs_no_time(chain: Maker, disk: MemoryKeyValue) -> None:
    put_sealed(disk, Family.META, HEAD_KEY, encode(Head(Height(2**53 - 1), digest("head"))))
    assert ("blocks", BLOCKS + 1, "block") in places(chain.audit(disk=disk))


@pytest.mark.parametrize(
    ("field", "level", "height"),
    [
        ("parent", Level.HEADERS, 6),
        ("time", Level.HEADERS, 6),
        ("batch", Level.HEADERS, 6),
        ("epoch", Level.HEADERS, 6),
        ("transaction_root", Level.FULL, 6),
        ("result_root", Level.FULL, 6),
        ("state_root", Level.FULL, 6),
    ],
)
def test_each_field_of_a_header_is_recomputed(
    chain: Maker, disk: MemoryKeyValue, field: str, level: Level, height: int
) -> None:
    block = chain.block(height)
    value = getattr(block.header, field)
    changed = value + 1 if isinstance(value, int) else digest("forged")
    put_block(disk, replace(block, header=replace(block.header, **{field: changed})))
    assert ("blocks", height, f"header.{field}") in places(chain.audit(level, disk))


def test_a_changed_header_breaks_the_link_above_it_at_every_level(chain: Maker, disk: MemoryKeyValue) -> None:
    block = chain.block(6)
    put_block(disk, replace(block, header=replace(block.header, state_root=digest("forged"))))
    for level in Level:
        assert ("blocks", 7, "header.parent") in places(chain.audit(level, disk))


def test_a_transaction_that_nobody_signed_is_found_at_level_full(disk: MemoryKeyValue, chain: Maker) -> None:
    block = chain.block(2)
    raw = block.transactions[1]
    unsigned = (*block.transactions[:1], bytes([raw[0] ^ 1]) + raw[1:], *block.transactions[2:])
    put_block(disk, replace(block, transactions=unsigned))
    assert chain.audit(Level.CERTIFICATES, disk).verdict is Verdict.VALID
    assert places(chain.audit(disk=disk)) == {("blocks", 2, "transactions[1].signature")}


def test_a_certificate_of_too_few_members_is_no_certificate(disk: MemoryKeyValue, chain: Maker) -> None:
    batch = chain.headers[4].batch
    few = commit_certificate(chain.roster, 5, batch, (0, 1))
    put_sealed(disk, Family.CERTIFICATES, height_key(Height(5)), few)
    report = chain.audit(Level.CERTIFICATES, disk)
    assert places(report) == {("certificates", 5, "certificate")}
    assert report.certified == 4


def test_a_signature_in_a_certificate_is_named_with_its_member(disk: MemoryKeyValue, chain: Maker) -> None:
    other = chain.headers[3].batch
    good = commit_certificate(chain.roster, 5, chain.headers[4].batch, (0, 1, 2))
    bad = commit_certificate(chain.roster, 5, other, (0, 1, 2))
    put_sealed(disk, Family.CERTIFICATES, height_key(Height(5)), good[:-64] + bad[-64:])
    fault = first(chain.audit(Level.CERTIFICATES, disk))
    assert (fault.height, fault.field) == (5, "certificate.votes[2].signature")
    assert "member 2" in fault.what


def rewrite(chain: Maker, start: int, n_members: int) -> Maker:
    """Another chain with the same first blocks, that goes on differently with `n_members` signing."""
    forged = Maker()
    for height in range(1, start):
        old = chain.block(height)
        forged.ledger.execute(
            old.header.height,
            old.header.batch,
            old.header.proposed,
            [forged.parse(raw) for raw in old.transactions],
            old.certificate,
        )
    for _ in range(start, BLOCKS + 1):
        height = forged.ledger.height
        forged.extend([forged.transaction({"op": "open", "account": f"forged{height}"})], range(n_members))
    return forged


def test_a_rewritten_suffix_without_a_quorum_is_found_at_level_certificates(chain: Maker) -> None:
    forged = rewrite(chain, 7, n_members=2)
    assert forged.audit(Level.HEADERS).verdict is Verdict.VALID
    fault = first(forged.audit(Level.CERTIFICATES))
    assert (fault.family, fault.height) == ("certificates", 7)


def test_results_that_were_rewritten_contradict_the_members_who_attested_them(
    chain: Maker, disk: MemoryKeyValue
) -> None:
    forge_results(chain, disk, 6)
    fault = first(chain.audit(Level.CERTIFICATES, disk))
    assert (fault.family, fault.height, fault.field) == ("blocks", 8, "hash")
    assert "3 members attest" in fault.what


def test_rewritten_results_that_nobody_attested_are_found_by_re_execution(
    chain: Maker, disk: MemoryKeyValue
) -> None:
    forge_results(chain, disk, 6)
    for key, _ in list(disk.scan(Family.ARCHIVE)):
        disk.write([(Family.ARCHIVE, key, None)])
    disk.write([(Family.VOTES, b"s", None)])
    tally_anew(disk)
    certified = chain.audit(Level.CERTIFICATES, disk)
    assert certified.verdict is Verdict.VALID
    assert "results" in certified.not_checked
    report = chain.audit(disk=disk)
    fault = first(report)
    assert (fault.family, fault.height, fault.field) == ("blocks", 6, "header.state_root")
    assert report.executed == 5
    assert "results above height 5" in report.not_checked


def forge_results(chain: Maker, disk: KeyValue, start: int) -> None:
    """Change the state root at `start`, and recompute every link above it."""
    header, time = chain.headers[start - 1], chain.headers[start - 2].time
    parent = header.parent
    for height in range(start, BLOCKS + 1):
        block = chain.block(height)
        time = block_time(block.header.proposed, time)
        root = digest("forged") if height == start else block.header.state_root
        header = replace(block.header, parent=parent, time=time, state_root=root)
        put_block(disk, replace(block, header=header), head=True)
        parent = block_hash(header)


def test_a_forged_result_is_shown_beside_the_right_one(chain: Maker, disk: MemoryKeyValue) -> None:
    block = chain.block(2)
    forged = (block.results[1], *block.results[1:])
    put_block(disk, replace(block, results=forged))
    report = chain.audit(disk=disk)
    assert ("blocks", 2, "results[0]") in places(report)
    fault = next(fault for fault in report.faults if fault.field == "results[0]")
    assert "re-execution gives ok" in fault.what


def test_an_application_that_differs_from_the_members_gives_other_results(chain: Maker) -> None:
    class Other(Assets):
        def execute(self, context: ApplicationContext, payload: bytes, state: StateView) -> bytes:
            return super().execute(context, payload, state) + b" "

    report = chain.audit(application=Other({}))
    assert (first(report).height, first(report).field) == (1, "results[0]")


def test_a_transaction_beyond_the_horizon_is_a_fault() -> None:
    maker = Maker()
    late = maker.transaction({"op": "open", "account": "a"}, life=maker.genesis.horizon_ms + 1)
    maker.extend([late])
    assert places(maker.audit()) == {("blocks", 1, "transactions[0].valid_until")}


def test_an_id_repeated_much_later_is_still_known(chain: Maker) -> None:
    maker = Maker()
    once = maker.transaction({"op": "open", "account": "a"}, life=300_000)
    maker.extend([once])
    for _ in range(20):
        maker.extend([maker.transaction({"op": "open", "account": f"b{maker.ledger.height}"})])
    maker.extend([once])
    assert results.decode(maker.block(22).results[0]).code is ResultCode.REPEATED
    assert maker.audit().faults == ()


def test_a_block_whose_proposal_is_older_than_its_parent_is_sound() -> None:
    maker = Maker()
    maker.extend([maker.transaction({"op": "open", "account": "a"})])
    maker.extend(proposed=0)
    maker.extend(proposed=0)
    assert maker.headers[2].time == Millis(maker.headers[0].time + 2)
    assert maker.audit().faults == ()


def test_evidence_in_the_archive_blames_whom_it_convicts(chain: Maker, disk: MemoryKeyValue) -> None:
    both = tuple(attestation(chain.roster, 3, 4, digest("fork", bytes([side]))) for side in range(2))
    put_sealed(disk, Family.ARCHIVE, b"evidence/1", encode(both))
    tally_anew(disk)
    report = chain.audit(disk=disk)
    assert report.verdict is Verdict.VALID
    assert report.blamed == (3,)


def test_two_attested_blocks_at_one_height_blame_those_who_attest_both(
    chain: Maker, disk: MemoryKeyValue
) -> None:
    other = checkpoint(chain.roster, 4, digest("fork"), (1, 2, 3))
    put_sealed(disk, Family.VOTES, b"s", other)
    report = chain.audit(disk=disk)
    assert report.blamed == (1, 3)
    assert ("archive", 4, "attestation") in places(report)
    assert ("blocks", 4, "hash") in places(report)


def test_evidence_whose_signatures_fail_blames_nobody(chain: Maker, disk: MemoryKeyValue) -> None:
    one, two = (attestation(chain.roster, 3, 4, digest("fork", bytes([side]))) for side in range(2))
    put_sealed(disk, Family.ARCHIVE, b"evidence/1", encode((one, replace(two, signature=one.signature))))
    tally_anew(disk)
    report = chain.audit(disk=disk)
    assert report.blamed == ()
    assert places(report) == {("archive", 4, "evidence/1")}


def test_faults_beyond_the_limit_are_counted_not_kept(chain: Maker, disk: MemoryKeyValue) -> None:
    rows = list(disk.scan(Family.STATE))
    junk = [(Family.ARCHIVE, b"junk%d" % i, bytes(9)) for i in range(MAX_FAULTS + 7)]
    disk.write(junk)
    report = chain.audit(disk=disk)
    assert rows
    assert len(report.faults) == MAX_FAULTS
    assert report.more_faults == 7


def test_the_index_of_a_damaged_block_is_not_blamed_for_it(chain: Maker, disk: MemoryKeyValue) -> None:
    key = height_key(Height(2))
    disk.write([(Family.BLOCKS, key, b"gone")])
    report = chain.audit(disk=disk)
    assert {fault.family for fault in report.faults} == {"blocks"}
    assert "index of blocks with faults" in report.not_checked
    assert report.executed == 1


class Failing(MemoryKeyValue):
    """A store in which one family cannot be scanned from a key on, nor that key be read."""

    def __init__(self, source: KeyValue, family: Family, key: bytes, error: Exception) -> None:
        super().__init__()
        self.write([(each, at, value) for each in Family for at, value in source.scan(each)])
        self._damaged, self._from, self._error = family, key, error

    def get(self, family: Family, key: bytes) -> bytes | None:
        if (family, key) == (self._damaged, self._from):
            raise self._error
        return super().get(family, key)

    def scan(
        self, family: Family, start: bytes = b"", end: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        for key, value in super().scan(family, start, end, reverse):
            if not reverse and family is self._damaged and key >= self._from:
                raise self._error
            yield key, value


def test_a_store_that_changes_under_the_audit_makes_it_incomplete_not_invalid(chain: Maker) -> None:
    store = Failing(chain.disk, Family.BLOCKS, height_key(Height(5)), StoreChanged("a file went away"))
    report = chain.audit(disk=store)
    assert report.verdict is Verdict.INCOMPLETE
    assert report.faults == ()
    assert any("a file went away" in name for name in report.not_checked)


def test_an_audit_that_is_stopped_is_incomplete_and_says_where(chain: Maker) -> None:
    asked = iter([False] * 6 + [True] * 100)
    report = chain.audit(stop=lambda: next(asked))
    assert report.verdict is Verdict.INCOMPLETE
    assert report.blocks == report.executed == 6
    assert any("above height 6" in name for name in report.not_checked)
    assert "stored state" in report.not_checked


def test_every_client_signature_and_every_vote_goes_through_the_checker(chain: Maker) -> None:
    counting = Counting()
    report = chain.audit(checker=counting)
    votes = 3 * BLOCKS
    checkpoints = BLOCKS // INTERVAL + 1
    # The attestations are verified twice: with the record they came in, and by the audit for itself.
    assert counting.checked == report.transactions + votes + 2 * 3 * checkpoints


class Counting:
    def __init__(self) -> None:
        self.checked = 0

    def check(self, checks: list[Check]) -> list[bool]:
        self.checked += len(checks)
        return [True] * len(checks)


def test_a_truncated_record_is_a_fault_and_never_an_error(chain: Maker) -> None:
    for family in Family:
        disk = chain.copy()
        for key, value in list(disk.scan(family)):
            for size in (0, 1, SEAL_BYTES, len(value) // 2, len(value) - 1):
                disk.write([(family, key, value[:size])])
                assert chain.audit(disk=disk).verdict is Verdict.INVALID
            disk.write([(family, key, value)])
            break
