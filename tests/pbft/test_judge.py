"""What is stored can be judged without the engine that wrote it, and lies in it name their members."""

from dataclasses import dataclass

import pytest

from crypto.attestation import Attestation, Height
from crypto.codec import encode
from crypto.digest import digest
from crypto.errors import CryptoError
from crypto.keys import InlineChecker
from crypto.roster import MemberId
from crypto.signed import Envelope
from pbft import RecordsJudge
from pbft.certificates import commit_certificate
from pbft.contradictions import contradict
from tests.pbft.bench import BLOCK, Bench
from tests.pbft.cluster import Cluster


@dataclass
class Stored:
    key: bytes
    value: bytes


def judge(bench: Bench) -> RecordsJudge:
    return RecordsJudge(bench.roster, bench.limits.window, bench.limits.max_batch_transactions)


def busy() -> tuple[RecordsJudge, list[Stored]]:
    """Records of a replica that voted, changed the view, made a checkpoint stable, and saw a liar."""
    b = Bench(me=2)
    b.submit(7, 8)
    p = b.propose(1, 7)
    b.propose(1, 8)
    b.hear(b.prepare(1, p))
    b.hear(b.new_view(1, *(b.view_change(m, 1, b.proof(p, 1, 2)) for m in (0, 1, 3))))
    for sequence in range(2, 7):
        q = b.propose(sequence, view=1)
        b.hear(b.prepare(0, q))
        b.decide(q, 0, 1, 3)
    for member in (0, 1, 3):
        b.hear(b.sign(member, Attestation(Height(4), BLOCK)))
    stored = [Stored(key, value) for key, value in (b.records | b.archive).items()]
    return judge(b), stored


def test_every_record_that_an_engine_writes_is_judged_good() -> None:
    c = Cluster()
    for number in range(40):
        c.submit([number])
        c.run(limit=20)
    c.members[0].crash()
    c.submit([40], to=[1, 2, 3])
    assert c.run(c.all_executed([40], [1, 2, 3]))
    judged = RecordsJudge(c.roster, c.limits.window, c.limits.max_batch_transactions)
    kinds = set()
    for member in c.members:
        for key, value in (member.disk.records | member.disk.archive).items():
            judgement = judged.judge(Stored(key, value))
            assert all(InlineChecker().check(judgement.checks))
            kinds.add(key[:1])
    assert kinds == {b"v", b"s", b"a", b"c", b"q", b"n"}  # and checkpoint/ under c


def test_evidence_names_the_liar_and_no_one_else() -> None:
    judged, stored = busy()
    guilty = [judged.judge(record).guilty for record in stored if record.key.startswith(b"evidence/")]
    assert (MemberId(0),) in guilty


def test_a_flipped_byte_in_a_signed_record_is_refused_or_breaks_a_signature() -> None:
    judged, stored = busy()
    signed = [r for r in stored if r.key[:1] in (b"a", b"q", b"s", b"n", b"e") or b"/" in r.key]
    assert len(signed) > 5
    for record in signed:
        for at in range(0, len(record.value), 5):
            flipped = bytearray(record.value)
            flipped[at] ^= 1
            with pytest.raises(CryptoError):
                verify(judged, Stored(record.key, bytes(flipped)))


def verify(judged: RecordsJudge, record: Stored) -> None:
    if not all(InlineChecker().check(judged.judge(record).checks)):
        raise CryptoError("a signature does not verify")


def test_a_record_in_anothers_place_is_refused() -> None:
    judged, stored = busy()
    moved = [r for r in stored if r.key[:1] in (b"a", b"q") or r.key.startswith(b"checkpoint/")]
    assert moved
    for record in moved:
        with pytest.raises(CryptoError):
            judged.judge(Stored(record.key[:-1] + bytes([record.key[-1] ^ 1]), record.value))


def test_two_statements_that_do_not_contradict_are_no_evidence() -> None:
    b = Bench()
    p = b.proposal(1, 7)
    pair = (b.prepare(2, p), b.commit(2, p))
    assert not contradict(*pair)
    value = encode(pair)
    with pytest.raises(CryptoError, match="no contradiction"):
        judge(b).judge(Stored(b"evidence/" + digest("evidence", value), value))


def certificate(b: Bench, p, *members: int) -> bytes:
    return commit_certificate([b.door.open(b.commit(m, p))[0] for m in members])


def test_who_committed_two_batches_in_one_view_lied() -> None:
    b = Bench()
    both = (certificate(b, b.proposal(1, 7), 0, 1, 2), certificate(b, b.proposal(1, 8), 1, 2, 3))
    assert judge(b).liars(Height(1), both, []) == (1, 2)


def test_who_committed_and_then_hid_it_in_a_view_change_lied() -> None:
    b = Bench()
    p, q = b.proposal(1, 7), b.proposal(1, 8, view=1)
    honest = b.view_change(3, 1)
    start: Envelope = b.new_view(1, b.view_change(0, 1), b.view_change(1, 1), honest)
    record = Stored(b"new-view/" + (1).to_bytes(8, "big"), encode(start))
    both = (certificate(b, q, 0, 1, 3), certificate(b, p, 0, 1, 2))
    assert judge(b).liars(Height(1), both, [record]) == (0, 1)
