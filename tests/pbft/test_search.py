"""Contradictions spread over stores are found, whatever liars put beside them; honest members have none."""

from msgspec.structs import replace

from crypto.attestation import Attestation, Height
from crypto.codec import encode
from crypto.digest import Digest, digest
from crypto.keys import InlineChecker, Signature
from crypto.signed import Envelope, certificates
from pbft.certificates import commit_certificate
from pbft.messages import PreparedProof, PrePrepare
from pbft.records import evidence_key
from tests.pbft.bench import BLOCK, Bench
from tests.pbft.cluster import Cluster
from tests.pbft.holdings import Stored

b = Bench()
A, B = b.proposal(7, 1), b.proposal(7, 2)


def height_key(prefix: bytes, number: int) -> bytes:
    return prefix + number.to_bytes(8, "big")


def certificate(p: PrePrepare, *members: int) -> bytes:
    return commit_certificate([b.door.open(b.commit(m, p))[0] for m in members])


def accepted(p: PrePrepare) -> dict[bytes, bytes]:
    return {height_key(b"a", p.sequence): encode(b.sign(p.view % 4, p))}


def prepared(p: PrePrepare, *backups: int) -> dict[bytes, bytes]:
    return {height_key(b"q", p.sequence): encode(b.proof(p, *backups))}


def checkpoint(block: Digest, *members: int) -> dict[bytes, bytes]:
    return {height_key(b"checkpoint/", 4): encode(b.checkpoint(4, *members, block=block))}


def new_view(view: int, *changes: Envelope) -> dict[bytes, bytes]:
    return {height_key(b"new-view/", view): encode(b.new_view(view, *changes))}


def two(one: dict[bytes, bytes], other: dict[bytes, bytes]) -> set[tuple[str, int]]:
    return Stored().add("one", one, {}).add("two", other, {}).kinds(b.roster)


def test_proposals_that_two_replicas_accepted() -> None:
    assert two(accepted(A), accepted(B)) == {("pre-prepares", 0)}
    assert two(accepted(A), accepted(A)) == set()


def test_prepared_certificates_of_two_replicas() -> None:
    found = two(prepared(A, 1, 2), prepared(B, 2, 3))
    assert found == {("pre-prepares", 0), ("prepares", 2)}


def test_checkpoints_that_two_replicas_hold() -> None:
    found = two(checkpoint(BLOCK, 0, 1, 2), checkpoint(digest("other"), 1, 2, 3))
    assert found == {("attestations", 1), ("attestations", 2)}


def test_view_changes_and_what_is_nested_in_them() -> None:
    one = new_view(1, *(b.view_change(m, 1, b.proof(A, 1, 2)) for m in (0, 2, 3)))
    other = new_view(1, *(b.view_change(m, 1, b.proof(B, 2, 3)) for m in (1, 2, 3)))
    assert two(one, other) >= {
        ("pre-prepares", 0),
        ("prepares", 2),
        ("view-changes", 2),
        ("view-changes", 3),
        ("new-views", 1),
        ("pre-prepares", 1),
    }
    assert {member for _, member in two(one, other)} == {0, 1, 2, 3}


def test_certificates_of_one_height_in_two_stores() -> None:
    stored = (
        Stored().add("one", {}, {7: certificate(A, 0, 1, 2)}).add("two", {}, {7: certificate(B, 1, 2, 3)})
    )
    assert stored.kinds(b.roster) == {("commits", 1), ("commits", 2)}


def test_a_certificate_and_a_prepared_certificate_of_another_batch() -> None:
    stored = Stored().add("one", prepared(A, 1, 2), {}).add("two", {}, {7: certificate(B, 0, 1, 3)})
    assert stored.kinds(b.roster) == {("votes", 0), ("votes", 1)}


def test_who_committed_and_hid_it_is_found_and_who_shows_it_is_not() -> None:
    changes = (b.view_change(0, 1), b.view_change(1, 1), b.view_change(2, 1, b.proof(A, 1, 2)))
    committed = Stored().add("one", {}, {7: certificate(A, 0, 1, 2)}).add("two", new_view(1, *changes), {})
    assert committed.kinds(b.roster) == {("hidden-commit", 0), ("hidden-commit", 1)}


def test_one_view_change_convicts_once_however_much_it_hides() -> None:
    chain = {n: certificate(b.proposal(n, n), 0, 1, 2) for n in range(1, 9)}
    stored = Stored().add("one", new_view(1, *(b.view_change(m, 1) for m in (0, 1, 3))), chain)
    found = stored.search(b.roster)
    assert [each.contradiction.sequence for each in found] == [1, 1]


def test_evidence_that_a_replica_kept() -> None:
    value = encode((b.prepare(2, A), b.prepare(2, B)))
    stored = Stored().add("one", {evidence_key(value): value}, {})
    assert stored.kinds(b.roster) == {("prepares", 2)}


def spoilt(envelope: Envelope) -> Envelope:
    return replace(envelope, signature=Signature(bytes(64)))


def test_forged_evidence_convicts_nobody() -> None:
    for pair in (
        (b.prepare(2, A), spoilt(b.prepare(2, B))),
        (b.prepare(2, A), replace(b.prepare(3, B), signer=2)),
        (b.prepare(2, A), b.prepare(2, A)),
        (b.prepare(9 % 4, A), replace(b.prepare(1, B), signer=200)),
    ):
        value = encode(pair)
        assert Stored().add("one", {evidence_key(value): value}, {}).convicted(b.roster) == set()


def forged(p: PrePrepare, *backups: int) -> dict[bytes, bytes]:
    """A prepared certificate none of whose signatures holds."""
    proof = b.proof(p, *backups)
    votes = tuple(replace(vote, signature=Signature(bytes(64))) for vote in proof.prepares)
    return {height_key(b"q", p.sequence): encode(PreparedProof(spoilt(proof.pre_prepare), votes))}


def test_a_lie_cannot_be_hidden_behind_forged_copies_of_it() -> None:
    stored = Stored().add("liar", forged(A, 1, 2), {}).add("another", forged(B, 1, 2), {})
    assert stored.convicted(b.roster) == set()
    stored.add("one", prepared(A, 1, 2), {}).add("two", prepared(B, 2, 3), {})
    assert stored.kinds(b.roster) == {("pre-prepares", 0), ("prepares", 2)}


def test_a_forged_view_change_that_hides_convicts_nobody() -> None:
    hiding = b.new_view(1, *(b.view_change(m, 1) for m in (0, 1, 3)))
    opened = b.new_view(1, *(spoilt(b.view_change(m, 1)) for m in (0, 1, 3)))
    chain = {7: certificate(A, 0, 1, 2)}
    for start, expected in ((opened, set()), (hiding, {0, 1})):
        stored = Stored().add("one", {height_key(b"new-view/", 1): encode(start)}, chain)
        assert stored.convicted(b.roster) == expected


def test_records_that_do_not_decode_hide_nothing_in_others() -> None:
    whole = encode(b.new_view(1, *(b.view_change(m, 1) for m in (0, 1, 3))))
    stored = Stored().add("bad", {b"x": b"?", b"v": b"?", height_key(b"new-view/", 2): whole[:-1]}, {7: b"?"})
    stored.add("one", prepared(A, 1, 2), {}).add("two", prepared(B, 2, 3), {})
    assert stored.convicted(b.roster) == {0, 2}


def test_a_statement_in_a_record_that_ends_in_nonsense_still_counts() -> None:
    change = b.view_change(0, 1)
    nonsense = replace(b.view_change(1, 1), body=b"?")
    start = b.sign(1, replace(_start(), view_changes=(change, nonsense)))
    stored = Stored().add("one", {height_key(b"new-view/", 1): encode(start)}, {7: certificate(A, 0, 1, 2)})
    assert stored.convicted(b.roster) == {0}


def _start():
    from tests.pbft.bench import decode

    return decode(b.new_view(1, *(b.view_change(m, 1) for m in (0, 2, 3))))


def test_a_certificate_under_another_height_is_not_believed_to_be_of_it() -> None:
    stored = (
        Stored().add("one", {}, {8: certificate(A, 0, 1, 2)}).add("two", {}, {7: certificate(B, 0, 1, 2)})
    )
    assert stored.convicted(b.roster) == set()


def test_the_same_votes_under_another_kind_hide_none() -> None:
    disguised = encode(replace(certificates.decode(certificate(A, 0, 1, 2)), kind="pbft/prepare"))
    stored = Stored().add("liar", {}, {7: disguised}).add("one", {}, {7: certificate(A, 0, 1, 2)})
    stored.add("two", {}, {7: certificate(B, 1, 2, 3)})
    assert stored.kinds(b.roster) == {("commits", 1), ("commits", 2)}


class Counting:
    def __init__(self) -> None:
        self.asked = 0

    def check(self, checks):
        self.asked += len(checks)
        return InlineChecker().check(checks)


def test_an_honest_run_with_a_view_change_shows_nothing_and_costs_no_signature() -> None:
    c = Cluster()
    for number in range(40):
        c.submit([number])
        c.run(limit=20)
    c.members[0].crash()
    c.submit([40], to=[1, 2, 3])
    assert c.run(c.all_executed([40], [1, 2, 3]))
    stored, checker = Stored.of(c.members), Counting()
    assert any(held.key.startswith(b"new-view/") for held in stored.records())
    assert stored.search(c.roster, checker) == []
    assert checker.asked == 0


def test_attestations_in_a_view_change_count_as_well() -> None:
    stored = Stored().add("one", checkpoint(digest("other"), 0, 1, 3), {})
    stored.add("two", new_view(1, *(b.view_change(m, 1, stable=4) for m in (0, 1, 2))), {})
    assert stored.kinds(b.roster) == {("attestations", 0), ("attestations", 3)}


def test_an_attestation_is_held_against_another_members_evidence_too() -> None:
    said = [b.sign(3, Attestation(Height(4), digest("block", bytes([n])))) for n in range(2)]
    value = encode(tuple(said))
    stored = Stored().add("one", {evidence_key(value): value}, {})
    stored.add("two", checkpoint(BLOCK, 0, 1, 3), {})
    assert stored.convicted(b.roster) == {3}
    assert len(stored.search(b.roster)) >= 2
