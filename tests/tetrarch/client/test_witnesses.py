"""Counting who vouches for what: distinct members, forks, liars, and bounds."""

import msgspec
import pytest

from crypto.attestation import Attestation, Height, attest
from crypto.digest import Digest, digest
from crypto.keys import Signature
from crypto.roster import Epoch, MemberId
from crypto.signed import Envelope
from tests.ledger.chain_maker import Chain, key_of
from tetrarch.client import witnesses as module
from tetrarch.client.proof import ReplicaFault
from tetrarch.client.witnesses import Witnesses
from tetrarch.errors import ForkDetected
from tetrarch.trust import TrustRoot

CHAIN = Chain(4)
for _ in range(3):
    CHAIN.extend([], [])
TRUST = TrustRoot.of(CHAIN.genesis)
A, B, C, D = (MemberId(member) for member in range(4))
TRUE, FALSE = digest("test-true"), digest("test-false")


def said(member: int, height: int, hashed: Digest) -> Envelope:
    statement = Attestation(Height(height), hashed)
    return attest(TRUST.roster, MemberId(member), key_of(member + 1), statement).envelope


def test_a_member_counts_once_however_often_it_speaks() -> None:
    witnesses = Witnesses(TRUST)
    for _ in range(3):
        found = witnesses.attest(A, said(A, 5, TRUE))
    assert not witnesses.believed(found)
    witnesses.attest(B, said(B, 5, TRUE))
    assert witnesses.believed(found)
    assert found.members == (A, B)
    assert witnesses.hash_at(Height(5)) == TRUE


def test_a_statement_counts_only_for_the_member_who_signed_and_sent_it() -> None:
    witnesses = Witnesses(TRUST)
    wrong = [
        said(A, 5, TRUE),
        msgspec.structs.replace(said(B, 5, TRUE), signature=Signature(bytes(64))),
        msgspec.structs.replace(said(A, 5, TRUE), signer=B),
        msgspec.structs.replace(said(B, 5, TRUE), epoch=Epoch(1)),
        msgspec.structs.replace(said(B, 5, TRUE), kind="refusal"),
        msgspec.structs.replace(said(B, 5, TRUE), body=b"\x91\x05"),
        msgspec.structs.replace(said(B, 5, TRUE), beside=b"more"),
    ]
    for envelope in wrong:
        with pytest.raises(ReplicaFault):
            witnesses.attest(B, envelope)
    assert len(witnesses.expect(Height(5), TRUE)) == 0


def test_two_believed_blocks_at_one_height_are_a_fork_with_both_certificates() -> None:
    witnesses = Witnesses(TRUST)
    witnesses.attest(A, said(A, 5, TRUE))
    witnesses.attest(B, said(B, 5, TRUE))
    with pytest.raises(ReplicaFault):
        witnesses.attest(C, said(C, 5, FALSE))
    with pytest.raises(ForkDetected) as caught:
        witnesses.attest(A, said(A, 5, FALSE))
    evidence = caught.value.evidence
    assert [vote.signer for vote in evidence.first.votes] == [A, B]
    assert [vote.signer for vote in evidence.second.votes] == [A, C]
    assert evidence.members == (A,)
    assert TRUE.hex() in str(evidence)


def test_whoever_contradicts_a_believed_block_is_a_liar_whether_before_or_after() -> None:
    witnesses = Witnesses(TRUST)
    witnesses.attest(C, said(C, 5, FALSE))
    assert witnesses.liars == {}
    witnesses.attest(A, said(A, 5, TRUE))
    witnesses.attest(B, said(B, 5, TRUE))
    assert set(witnesses.liars) == {C}
    with pytest.raises(ReplicaFault, match="another block"):
        witnesses.attest(D, said(D, 5, digest("test-third")))
    assert set(witnesses.liars) == {C, D}


def test_a_believed_block_whose_parent_is_not_the_believed_one_is_a_fork() -> None:
    witnesses = Witnesses(TRUST)
    for member in (A, B):
        witnesses.attest(member, said(member, 1, FALSE))
        witnesses.attest(member, CHAIN.attestation(member, CHAIN.blocks[1].header))
    with pytest.raises(ForkDetected) as caught:
        witnesses.link(CHAIN.blocks[1].header)
    assert caught.value.evidence.header == CHAIN.blocks[1].header
    assert FALSE.hex() in str(caught.value.evidence)


def test_the_parent_is_compared_whichever_block_is_believed_first() -> None:
    witnesses = Witnesses(TRUST)
    for member in (A, B):
        witnesses.attest(member, CHAIN.attestation(member, CHAIN.blocks[1].header))
    witnesses.link(CHAIN.blocks[1].header)
    witnesses.attest(A, said(A, 1, FALSE))
    with pytest.raises(ForkDetected):
        witnesses.attest(B, said(B, 1, FALSE))


def test_true_links_are_no_fork() -> None:
    witnesses = Witnesses(TRUST)
    for block in CHAIN.blocks:
        for member in (A, B, C):
            witnesses.attest(member, CHAIN.attestation(member, block.header))
        witnesses.link(block.header)
    assert witnesses.liars == {}


def test_a_flood_of_one_member_displaces_only_its_own_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CLAIMS_PER_MEMBER", 10)
    witnesses = Witnesses(TRUST)
    honest = witnesses.attest(A, said(A, 5, TRUE))
    first = witnesses.attest(C, said(C, 6, FALSE))
    for height in range(100, 120):
        witnesses.attest(C, said(C, height, FALSE))
    assert witnesses.expect(Height(5), TRUE) is honest
    assert witnesses.expect(Height(6), FALSE) is not first
    assert sum(map(len, witnesses._claims.values())) <= 12


def test_believed_blocks_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BELIEVED", 3)
    witnesses = Witnesses(TRUST)
    for height in range(1, 11):
        for member in (A, B):
            witnesses.attest(member, said(member, height, TRUE))
    assert [height for height in range(1, 11) if witnesses.hash_at(Height(height))] == [8, 9, 10]
    assert len(witnesses._claims) == 3
