"""Signed envelopes and certificates: the only forms in which statements of members travel.

An `Envelope` is one member's statement: kind, epoch, signer, the canonical bytes of the message,
the signature over all of these and the chain id. A `Certificate` is one statement signed by many.
`Signed[M]` is an envelope that has been verified, with its decoded message: inside the machine room
only these travel. What the kinds mean is not known here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Generic, TypeVar

from msgspec import Meta, Struct

from crypto.codec import StrictDecoder, encode
from crypto.errors import CertificateError, CodecError, SignatureError
from crypto.keys import Check, SignatureChecker, SignatureField, Signer
from crypto.roster import EpochField, MemberField, MemberId, Roster

M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)

MAX_KIND_CHARACTERS = 32
MAX_ENVELOPE_BYTES = 16 * 1024 * 1024
"""A NEW-VIEW of a large network is the largest: quorum x window x one prepared proof."""

MAX_CERTIFICATE_BYTES = 64 * 1024
"""256 members x about 70 bytes a vote, and the body, with room."""

KindField = Annotated[str, Meta(min_length=1, max_length=MAX_KIND_CHARACTERS, pattern=r"\A[a-z/-]+\Z")]


class Envelope(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One member's signed statement, as it travels.

    `beside` is not signed: it is data that the signed body binds by digest (the list of ids beside a
    PRE-PREPARE), and worth nothing until it has been checked against it.
    """

    kind: KindField
    epoch: EpochField
    signer: MemberField
    body: bytes
    signature: SignatureField
    beside: bytes = b""

    @property
    def bare(self) -> "Envelope":
        """The same statement without the data beside it."""
        return (
            Envelope(self.kind, self.epoch, self.signer, self.body, self.signature) if self.beside else self
        )


class Vote(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One member's signature in a certificate."""

    signer: MemberField
    signature: SignatureField


class Certificate(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One statement (`kind`, `epoch`, `body`) and the members who signed it, in ascending order."""

    kind: KindField
    epoch: EpochField
    body: bytes
    votes: tuple[Vote, ...]


@dataclass(frozen=True, slots=True)
class Signed(Generic[M_co]):
    """A verified statement: the decoded message and the envelope it came in."""

    message: M_co
    envelope: Envelope

    @property
    def signer(self) -> MemberId:
        """The member whose signature was verified."""
        return self.envelope.signer

    @property
    def vote(self) -> Vote:
        """The same signature, as a vote in a certificate."""
        return Vote(self.envelope.signer, self.envelope.signature)


envelopes = StrictDecoder(Envelope, MAX_ENVELOPE_BYTES)
certificates = StrictDecoder(Certificate, MAX_CERTIFICATE_BYTES)


class Kinds:
    """Which message type each kind of envelope holds, for one protocol."""

    def __init__(self, types: Mapping[str, type], limit: int = MAX_ENVELOPE_BYTES) -> None:
        self._decoders: dict[str, StrictDecoder[Any]] = {
            kind: StrictDecoder(target, limit) for kind, target in types.items()
        }
        self._kinds = {target: kind for kind, target in types.items()}

    def seal(
        self, roster: Roster, member: MemberId, signer: Signer, message: M, beside: bytes = b""
    ) -> Signed[M]:
        """Return `message` signed by `member` with `signer`."""
        kind = self._kinds[type(message)]
        body = encode(message)
        signature = signer.sign(roster.signing_bytes(kind, body))
        return Signed(message, Envelope(kind, roster.epoch, member, body, signature, beside))

    def decode(self, envelope: Envelope) -> object:
        """Return the message in `envelope`, its signature not yet verified. Raises `CodecError`."""
        decoder = self._decoders.get(envelope.kind)
        if decoder is None:
            raise CodecError(f"unknown kind {envelope.kind!r}")
        return decoder.decode(envelope.body)

    def __contains__(self, kind: str) -> bool:
        return kind in self._decoders


def envelope_check(roster: Roster, envelope: Envelope) -> Check:
    """Return the signature check that `envelope` needs.

    Raises `CertificateError` for a signer outside the roster or for another epoch.
    """
    if envelope.epoch != roster.epoch:
        raise CertificateError(f"epoch {envelope.epoch}, the roster is of epoch {roster.epoch}")
    signed = roster.signing_bytes(envelope.kind, envelope.body)
    return Check(roster.key(envelope.signer), signed, envelope.signature)


def make_certificate(statement: Envelope, votes: Iterable[Vote]) -> Certificate:
    """Return the certificate in which `votes` stand for what `statement` says."""
    ordered = tuple(sorted(votes, key=lambda vote: vote.signer))
    return Certificate(statement.kind, statement.epoch, statement.body, ordered)


def certificate_checks(roster: Roster, certificate: Certificate, kind: str, need: int) -> list[Check]:
    """Return the signature checks that `certificate` needs.

    Raises `CertificateError` unless it is of `kind` and the roster's epoch, and its votes are of at
    least `need` distinct members in strictly ascending order (the one canonical form).
    """
    if certificate.kind != kind:
        raise CertificateError(f"a certificate of {certificate.kind!r} where {kind!r} is needed")
    if certificate.epoch != roster.epoch:
        raise CertificateError(f"epoch {certificate.epoch}, the roster is of epoch {roster.epoch}")
    signers = [vote.signer for vote in certificate.votes]
    if any(a >= b for a, b in pairwise(signers)):
        raise CertificateError("signers repeated or out of order")
    keys = [roster.key(signer) for signer in signers]
    roster.require(signers, need)
    signed = roster.signing_bytes(kind, certificate.body)
    return [Check(key, signed, vote.signature) for key, vote in zip(keys, certificate.votes, strict=True)]


def verify_certificate(
    roster: Roster, certificate: Certificate, kind: str, need: int, checker: SignatureChecker
) -> None:
    """Verify form, members and every signature. Raises `CertificateError` or `SignatureError`."""
    checks = certificate_checks(roster, certificate, kind, need)
    for vote, valid in zip(certificate.votes, checker.check(checks), strict=True):
        if not valid:
            raise SignatureError(f"the signature of member {vote.signer} does not verify")
