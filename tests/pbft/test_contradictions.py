"""Which pairs of statements convict their member, and that none does which a correct member may sign."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from crypto.attestation import Attestation, Height
from crypto.digest import digest
from crypto.errors import CryptoError
from crypto.signed import Envelope
from pbft.contradictions import KINDS, contradict, contradiction
from pbft.messages import PreparedProof, PrePrepare, Suspect, View, ViewChange
from tests.pbft.bench import Bench

b = Bench()
A, B = b.proposal(7, 1), b.proposal(7, 2)
"""Two batches for sequence 7 in view 0."""


def attestation(block: bytes, height: int = 8) -> Envelope:
    return b.sign(2, Attestation(Height(height), digest("block", block)))


def new_view(*changes: int) -> Envelope:
    return b.new_view(1, *(b.view_change(member, 1) for member in changes))


def change(view: int, *proofs: PreparedProof, stable: int = 0, member: int = 2) -> Envelope:
    return b.view_change(member, view, *proofs, stable=stable)


PAIRS: dict[str, tuple[Envelope, Envelope, str]] = {
    "pre-prepares": (
        b.sign(0, A),
        b.sign(0, B),
        "signed two different PRE-PREPAREs for view 0, sequence 7",
    ),
    "prepares": (
        b.prepare(2, A),
        b.prepare(2, B),
        "signed two different PREPAREs for view 0, sequence 7",
    ),
    "commits": (b.commit(2, A), b.commit(2, B), "signed two different COMMITs for view 0, sequence 7"),
    "votes": (
        b.prepare(2, A),
        b.commit(2, B),
        "signed a PREPARE and a COMMIT of different batches for view 0, sequence 7",
    ),
    "attestations": (attestation(b"a"), attestation(b"b"), "attested two different blocks at height 8"),
    "view-changes": (
        change(1),
        change(1, stable=4),
        "signed two different VIEW-CHANGEs for view 1",
    ),
    "new-views": (new_view(0, 1, 2), new_view(1, 2, 3), "signed two different NEW-VIEWs for view 1"),
    "hidden-commit": (
        b.commit(2, A),
        change(1),
        "signed a COMMIT for view 0, sequence 7, and hid that in its VIEW-CHANGE to view 1",
    ),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_each_kind_of_contradiction_is_told_in_words_in_either_order(kind: str) -> None:
    first, second, did = PAIRS[kind]
    for pair in ((first, second), (second, first)):
        found = contradiction(*pair)
        assert found is not None
        assert (found.kind, found.did) == (kind, did)
        assert set(found.statements) == {first, second}
    forward, backward = contradiction(first, second), contradiction(second, first)
    assert forward == backward


def test_all_kinds_are_tried() -> None:
    assert set(PAIRS) == set(KINDS)


@pytest.mark.parametrize("kind", PAIRS)
def test_a_statement_does_not_contradict_itself_nor_another_members(kind: str) -> None:
    first, second, _ = PAIRS[kind]
    assert not contradict(first, first)
    assert not contradict(first, replace(first, beside=b"x" * 32))
    assert not contradict(first, replace(second, signer=3))
    assert not contradict(first, replace(second, epoch=1))


def test_a_primary_votes_for_what_it_proposes() -> None:
    assert contradict(b.sign(0, A), b.commit(0, B))
    assert contradict(b.sign(0, A), b.prepare(0, B))
    assert not contradict(b.sign(0, A), b.commit(0, A))


def test_one_batch_with_another_time_or_root_is_another_proposal() -> None:
    assert contradict(b.sign(0, A), b.sign(0, PrePrepare(A.view, A.sequence, A.digest, B.timestamp, B.root)))


@pytest.mark.parametrize(
    "other",
    [
        b.commit(2, b.proposal(7, 2, view=1)),
        b.commit(2, b.proposal(8, 2)),
        b.commit(2, A),
        b.prepare(2, b.proposal(7, 2, view=1)),
        b.sign(2, Suspect(View(0), Height(3))),
        attestation(b"a", 7),
    ],
)
def test_what_a_correct_member_may_sign_beside_its_vote_is_no_contradiction(other: Envelope) -> None:
    assert not contradict(b.prepare(2, A), other)
    assert not contradict(other, b.prepare(2, A))


def test_suspicions_bind_nobody() -> None:
    assert not contradict(b.sign(2, Suspect(View(0), Height(3))), b.sign(2, Suspect(View(0), Height(4))))


C = b.proposal(7, 1, view=2)
"""What is committed below, in view 2."""


@pytest.mark.parametrize(
    "shown",
    [
        lambda: change(3, b.proof(C, 0, 3)),
        lambda: change(5, b.proof(b.proposal(7, 2, view=3), 0, 1)),
        lambda: change(5, b.proof(b.proposal(6, 2, view=1), 0, 2), b.proof(C, 0, 3)),
        lambda: change(3, stable=8),
        lambda: change(2),
        lambda: change(1),
    ],
    ids=["the same", "a later one", "among others", "covered", "the same view", "an earlier view"],
)
def test_who_shows_what_it_committed_or_need_not_hides_nothing(shown: Callable[[], Envelope]) -> None:
    assert not contradict(b.commit(2, C), shown())


@pytest.mark.parametrize(
    ("shown", "how"),
    [
        (lambda: change(3), "shows nothing prepared there"),
        (lambda: change(3, b.proof(b.proposal(6, 1, view=2), 0, 3)), "shows nothing prepared there"),
        (
            lambda: change(9, b.proof(b.proposal(7, 2, view=1), 0, 2)),
            "only what was prepared there in view 1",
        ),
        (
            lambda: change(3, b.proof(b.proposal(7, 2, view=2), 0, 3)),
            "another batch prepared there in view 2",
        ),
        (lambda: change(3, stable=4), "begins at checkpoint 4, below sequence 7"),
    ],
    ids=["nothing", "another sequence", "an earlier view's", "another batch", "a checkpoint below"],
)
def test_who_hides_what_it_committed_is_told_how(shown: Callable[[], Envelope], how: str) -> None:
    found = contradiction(b.commit(2, C), shown())
    assert found is not None
    assert found.kind == "hidden-commit"
    assert how in found.why
    assert (found.view, found.sequence) == (2, 7)


def test_what_is_no_statement_of_the_engine_is_refused() -> None:
    strange = PreparedProof(b.commit(0, C), ())
    for envelope in (
        replace(b.commit(2, C), kind="pbft/nothing"),
        replace(b.commit(2, C), body=b"?"),
        b.sign(2, ViewChange(View(3), Height(0), None, (strange,))),
    ):
        with pytest.raises(CryptoError):
            contradict(b.commit(2, C), envelope)
