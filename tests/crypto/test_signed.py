"""Envelopes and certificates: what is bound, who counts, and what is refused."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from crypto.attestation import ATTESTATION, Attestation, Height, attest, attested
from crypto.codec import encode
from crypto.digest import ChainId, Digest
from crypto.errors import CertificateError, CodecError, SignatureError
from crypto.keys import InlineChecker, Signature, SigningKey
from crypto.roster import Epoch, MemberId, Roster
from crypto.signed import (
    Certificate,
    Envelope,
    Vote,
    certificates,
    envelope_check,
    envelopes,
    make_certificate,
    verify_certificate,
)

KEYS = [SigningKey(bytes([number + 1]) * 32) for number in range(4)]
ROSTER = Roster.register(ChainId(b"c" * 32), Epoch(0), [key.public_key for key in KEYS])
BLOCK = Digest(b"b" * 32)


def statement(member: int, height: int = 5) -> Envelope:
    return attest(ROSTER, MemberId(member), KEYS[member], Attestation(Height(height), BLOCK)).envelope


def certificate(*members: int) -> Certificate:
    signed = [statement(member) for member in members]
    return make_certificate(signed[0], [Vote(each.signer, each.signature) for each in signed])


def verify(candidate: Certificate, need: int = 3) -> None:
    verify_certificate(ROSTER, candidate, ATTESTATION, need, InlineChecker())


def test_what_a_member_signs_verifies_and_decodes() -> None:
    envelope = statement(2)
    assert InlineChecker().check([envelope_check(ROSTER, envelope)]) == [True]
    assert attested(envelope) == Attestation(Height(5), BLOCK)
    assert envelopes.decode(encode(envelope)) == envelope


def test_data_beside_is_not_signed_and_the_bare_envelope_leaves_it_out() -> None:
    envelope = structs.replace(statement(1), beside=b"anything")
    assert InlineChecker().check([envelope_check(ROSTER, envelope)]) == [True]
    assert envelope.bare == statement(1)


def test_a_quorum_of_distinct_members_verifies_in_whatever_order_their_votes_came() -> None:
    verify(certificate(3, 0, 2))
    assert certificates.decode(encode(certificate(3, 0, 2))) == certificate(0, 2, 3)


def test_too_few_members_are_refused_and_repeating_one_does_not_help() -> None:
    with pytest.raises(CertificateError, match="2 distinct members, 3 are needed"):
        verify(certificate(0, 1))
    twice = structs.replace(certificate(0, 1), votes=(*certificate(0, 1).votes, certificate(0, 1).votes[1]))
    with pytest.raises(CertificateError, match="repeated"):
        verify(twice)


def test_votes_out_of_order_are_refused_there_is_one_form_only() -> None:
    good = certificate(0, 1, 2)
    with pytest.raises(CertificateError, match="out of order"):
        verify(structs.replace(good, votes=good.votes[::-1]))


def test_one_false_signature_spoils_a_certificate_and_its_member_is_named() -> None:
    good = certificate(0, 1, 2)
    votes = (*good.votes[:2], Vote(MemberId(2), Signature(good.votes[1].signature)))
    with pytest.raises(SignatureError, match="member 2"):
        verify(structs.replace(good, votes=votes))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"kind": "pbft/commit"}, "is needed"),
        ({"epoch": Epoch(1)}, "epoch 1"),
        ({"body": encode(Attestation(Height(6), BLOCK))}, "does not verify"),
    ],
)
def test_a_certificate_binds_kind_epoch_and_statement(change: dict, why: str) -> None:
    with pytest.raises((CertificateError, SignatureError), match=why):
        verify(structs.replace(certificate(0, 1, 2), **change))


def test_members_outside_the_roster_are_refused() -> None:
    good = certificate(0, 1, 2)
    with pytest.raises(CertificateError, match="not in the roster"):
        verify(structs.replace(good, votes=(*good.votes, Vote(MemberId(9), good.votes[0].signature))))


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_no_envelope_and_no_certificate_unless_canonical(data: bytes) -> None:
    for decoder in (envelopes, certificates):
        with contextlib.suppress(CodecError):
            assert encode(decoder.decode(data)) == data


@pytest.mark.parametrize("kind", ["", "ledger/attestation\n", "Ledger/attestation", "ledger attestation"])
def test_an_envelope_of_a_kind_that_cannot_be_does_not_decode(kind: str) -> None:
    with pytest.raises(CodecError):
        envelopes.decode(encode(structs.replace(statement(0), kind=kind)))


@given(st.integers(0, 500), st.integers(1, 255))
def test_no_changed_byte_of_a_certificate_verifies(at: int, flip: int) -> None:
    changed = bytearray(encode(certificate(0, 1, 2)))
    changed[at % len(changed)] ^= flip
    with pytest.raises((CodecError, CertificateError, SignatureError)):
        verify(certificates.decode(bytes(changed)))


def test_an_attestation_of_another_kind_is_none() -> None:
    with pytest.raises(CodecError, match="not an attestation"):
        attested(structs.replace(statement(0), kind="pbft/commit"))
