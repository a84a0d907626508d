"""What stores of the honest prove together: liars are named where they forked a chain, the honest never."""

import pytest

from crypto.attestation import Height
from crypto.codec import encode
from crypto.keys import InlineChecker
from ledger.application import load_application
from ledger.audit.compare import compare
from ledger.keyvalue import Family, MemoryKeyValue
from ledger.ledger import Ledger
from ledger.store import height_key
from pbft.records import evidence_key
from tests.ledger.audit.chains import put_sealed
from tests.tetrarch.evidence import forks
from tests.tetrarch.evidence.statements import pairs, proposal, sign
from tests.tetrarch.node.network import Network
from tests.tetrarch.node.support import make_genesis
from tests.tetrarch.node.test_heart_network import commit
from tetrarch.engines import ordering
from tetrarch.evidence import convicted, find_evidence, search
from tetrarch.evidence.search import MAX_PIECES
from tetrarch.trust import TrustRoot


@pytest.fixture(scope="module")
def one_view() -> forks.Fork:
    return forks.in_one_view()


@pytest.fixture(scope="module")
def two_views() -> forks.Fork:
    return forks.across_views()


@pytest.fixture(params=["one_view", "two_views"])
def fork(request: pytest.FixtureRequest) -> forks.Fork:
    found: forks.Fork = request.getfixturevalue(request.param)
    return found


def test_the_honest_stores_of_a_fork_hold_different_chains(fork: forks.Fork) -> None:
    blocks = [disk.get(Family.BLOCKS, height_key(Height(1))) for disk in fork.honest.values()]
    assert None not in blocks
    assert blocks[0] != blocks[1]


def test_a_fork_convicts_more_than_f_members_and_nobody_honest(fork: forks.Fork) -> None:
    assert convicted(fork.honest, fork.genesis) == forks.LIARS


def test_neither_store_alone_convicts_anybody(two_views: forks.Fork) -> None:
    for name, disk in two_views.honest.items():
        assert convicted({name: disk}, two_views.genesis) == ()


def test_every_piece_that_is_found_verifies_with_the_genesis_alone(fork: forks.Fork) -> None:
    found = find_evidence(fork.honest, fork.genesis)
    trust = TrustRoot.of(fork.genesis)
    assert {piece.verify(trust).member for piece in found} == set(forks.LIARS)


def test_a_fork_in_one_view_is_shown_by_votes_and_checkpoints(one_view: forks.Fork) -> None:
    kinds = {piece.kind for piece in find_evidence(one_view.honest, one_view.genesis)}
    assert kinds >= {"commits", "attestations"}


def test_a_fork_across_views_is_shown_by_what_was_hidden(two_views: forks.Fork) -> None:
    found = search(two_views.honest, two_views.genesis)
    assert [(piece.evidence.member, piece.evidence.kind) for piece in found.pieces] == [
        (0, "hidden-commit"),
        (1, "hidden-commit"),
    ]
    assert all(piece.stores == ("replica-2", "replica-3") for piece in found.pieces)
    assert not any(piece.archived for piece in found.pieces)


def test_the_audits_comparison_names_nobody_whom_the_evidence_does_not(fork: forks.Fork) -> None:
    parts = ordering(fork.genesis, fork.genesis.roster())
    blamed = compare(fork.honest, fork.genesis, parts.verifier, parts.records).blamed
    assert blamed == convicted(fork.honest, fork.genesis)


def test_the_order_does_not_depend_on_that_of_the_stores(one_view: forks.Fork) -> None:
    forward = search(one_view.honest, one_view.genesis)
    backward = search(dict(reversed(list(one_view.honest.items()))), one_view.genesis)
    assert [piece.digest for piece in forward.pieces] == [piece.digest for piece in backward.pieces]
    assert forward.pieces == backward.pieces


def test_stores_of_honest_members_convict_nobody_after_crashes_and_a_view_change() -> None:
    network = Network(checkpoint_interval=4)
    commit(network, 0, 6, 3)
    network.crash(0)
    commit(network, 100, 6, 2)
    network.start(0)
    network.run(8_000)
    commit(network, 200, 5, 2)
    stores = {str(member): replica.disk for member, replica in enumerate(network.replicas)}
    found = search(stores, network.genesis)
    assert (found.pieces, found.faults) == ((), ())
    assert any(key.startswith(b"new-view/") for key, _ in network.replicas[1].disk.scan(Family.ARCHIVE))


GENESIS = make_genesis(4)


def store(*records: tuple[bytes, bytes]) -> MemoryKeyValue:
    disk = MemoryKeyValue()
    Ledger.open(GENESIS, load_application("kv", {}), disk)
    for key, value in records:
        put_sealed(disk, Family.ARCHIVE, key, value)
    return disk


def archived(*both: object) -> tuple[bytes, bytes]:
    value = encode(both)
    return evidence_key(value), value


def test_what_a_replica_kept_is_listed_once_however_many_kept_it() -> None:
    one, other = pairs(GENESIS)["prepares"]
    stores = {"a": store(archived(one, other)), "b": store(archived(other, one))}
    found = search(stores, GENESIS)
    assert [(piece.stores, piece.archived) for piece in found.pieces] == [(("a", "b"), True)]
    assert found.blamed == (2,)


def test_all_kinds_are_found_where_replicas_kept_them() -> None:
    records = [archived(*both) for both in pairs(GENESIS).values()]
    kinds = {piece.kind for piece in find_evidence({"a": store(*records)}, GENESIS)}
    assert kinds == set(pairs(GENESIS))


def test_another_chains_store_is_told_and_convicts_nobody() -> None:
    foreign = make_genesis(4, horizon_ms=700_000)
    found = search({"a": store(archived(*pairs(GENESIS)["prepares"]))}, foreign)
    assert found.pieces == ()
    assert [fault.store for fault in found.faults] == ["a"]


def test_damage_is_told_and_hides_nothing_else() -> None:
    disk = store(archived(*pairs(GENESIS)["prepares"]), archived(*pairs(GENESIS)["commits"]))
    key, stored = next(iter(disk.scan(Family.ARCHIVE)))
    disk.write([(Family.ARCHIVE, key, stored[:-1] + bytes([stored[-1] ^ 1]))])
    found = search({"a": disk}, GENESIS)
    assert len(found.faults) == 1
    assert found.blamed == (2,)


def test_what_is_kept_against_one_member_is_bounded_and_the_rest_counted() -> None:
    records = [
        archived(*(sign(GENESIS, 0, proposal(GENESIS, name, sequence)) for name in (b"a", b"b")))
        for sequence in range(1, MAX_PIECES + 11)
    ]
    found = search({"a": store(*records)}, GENESIS)
    assert len(found.pieces) == MAX_PIECES
    assert found.left_out[0] >= 10


class Believing:
    """Stands in for real signatures: whoever uses it must be asked, and decides."""

    def __init__(self, valid: bool) -> None:
        self.valid = valid

    def check(self, checks):
        return [self.valid for _ in checks]


def test_signatures_are_verified_by_the_checker_that_is_given(one_view: forks.Fork) -> None:
    assert convicted(one_view.honest, one_view.genesis, Believing(valid=False)) == ()
    assert convicted(one_view.honest, one_view.genesis, InlineChecker()) == forks.LIARS
