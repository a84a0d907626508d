"""The stores that real hearts with the real engine leave: sound, the same everywhere, and flips are found."""

import pytest
from msgspec.structs import replace

from crypto.batch import Millis
from crypto.codec import encode
from ledger.audit.audit import Options, audit
from ledger.audit.compare import compare
from ledger.audit.reader import AuditedStore
from ledger.audit.report import Report, Verdict, shown
from ledger.keyvalue import Family, MemoryKeyValue
from ledger.store import SEAL_BYTES
from pbft.records import CONTENT, ContentRecord, decode_record
from tests.ledger.audit.chains import put_sealed, tally_anew
from tests.tetrarch.node.network import Network
from tests.tetrarch.node.test_heart_network import commit
from tetrarch.engines import ordering


@pytest.fixture(scope="module")
def network() -> Network:
    """Four members that lost their primary, changed the view, took it back, and went on."""
    network = Network(checkpoint_interval=4)
    commit(network, 0, 6, 3)
    network.crash(0)
    commit(network, 100, 6, 2)
    network.start(0)
    network.run(8_000)
    commit(network, 200, 5, 2)
    network.run(2_000)
    return network


def audited(network: Network, store: AuditedStore) -> Report:
    parts = ordering(network.genesis, network.genesis.roster())
    options = Options(processes=2, inline_bytes=0, name="s")
    return audit(store, network.genesis, parts.verifier, parts.records, options)


def test_every_members_store_is_valid_after_a_view_change_and_a_catch_up(network: Network) -> None:
    for replica in network.replicas:
        report = audited(network, replica.disk)
        assert report.faults == ()
        assert report.verdict is Verdict.VALID
        assert report.height == report.certified == report.executed > report.attested > 0
    archived = [key for key, _ in network.replicas[1].disk.scan(Family.ARCHIVE)]
    assert {key.partition(b"/")[0] for key in archived} >= {b"checkpoint", b"new-view"}


def test_their_stores_hold_the_same_blocks(network: Network) -> None:
    parts = ordering(network.genesis, network.genesis.roster())
    stores = {str(member): replica.disk for member, replica in enumerate(network.replicas)}
    found = compare(stores, network.genesis, parts.verifier, parts.records)
    assert found.verdict is Verdict.VALID
    assert found.blamed == ()
    assert found.same_up_to == max(found.heights.values())


@pytest.mark.parametrize("family", [Family.VOTES, Family.ARCHIVE], ids=lambda family: family.name)
def test_a_flipped_bit_in_any_of_their_records_is_found(network: Network, family: Family) -> None:
    disk = network.replicas[1].disk
    parts = ordering(network.genesis, network.genesis.roster())
    for key, stored in list(disk.scan(family)):
        at = len(stored) // 2
        disk.write([(family, key, stored[:at] + bytes([stored[at] ^ 4]) + stored[at + 1 :])])
        report = audit(disk, network.genesis, parts.verifier, parts.records, Options(processes=1))
        assert [fault.family for fault in report.faults] == [family.name.lower()]
        disk.write([(family, key, stored)])


def test_a_transaction_in_a_vote_that_is_not_what_the_vote_says_is_found(network: Network) -> None:
    disk = network.replicas[1].disk
    decoded = [
        (key, decode_record(key, stored[:-SEAL_BYTES]))
        for key, stored in disk.scan(Family.VOTES)
        if key.startswith(CONTENT)
    ]
    key, record = next(row for row in decoded if isinstance(row[1], ContentRecord) and row[1].requests)
    assert isinstance(record, ContentRecord)
    request = record.requests[0]
    unsigned = bytes([request.body[0] ^ 1]) + request.body[1:]
    for changed, what in (
        (replace(request, body=request.body[:-1] + b"?"), "bytes are not those of transaction"),
        (replace(request, valid_until=Millis(request.valid_until + 1)), "bytes are not those of transaction"),
        (replace(request, body=b""), "malformed"),
        (replace(request, body=unsigned), "signature of a transaction does not verify"),
    ):
        forged = MemoryKeyValue()
        forged.write([(family, *row) for family in Family for row in disk.scan(family)])
        value = encode(replace(record, requests=(changed, *record.requests[1:])))
        put_sealed(forged, Family.VOTES, key, value)
        tally_anew(forged)
        report = audited(network, forged)
        assert [(fault.family, fault.field) for fault in report.faults] == [("votes", shown(key))]
        assert what in report.faults[0].what
