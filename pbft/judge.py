"""Judging stored records: what the audit asks of this engine (`ledger.audit.records`).

Records in the votes and archive columns are opaque to the ledger. Here it is told what each must be, which
signatures must hold in it, and whom two contradictory decisions convict.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from consensus.contract import EngineFault, Request
from consensus.quorum import Quorums
from crypto.attestation import Height, attested
from crypto.batch import batch_digest, transaction_root
from crypto.errors import CertificateError
from crypto.keys import Check
from crypto.roster import MemberId, Roster
from crypto.signed import Certificate, Envelope, certificates, envelope_check, envelopes
from pbft.certificates import CommitVerifier
from pbft.contradictions import contradict, hides
from pbft.door import Door, split_ids
from pbft.messages import (
    MAX_VIEW,
    NEW_VIEW,
    PRE_PREPARE,
    SUSPECT,
    VIEW_CHANGE,
    Commit,
    NewView,
    PreparedProof,
    View,
    ViewChange,
    kinds,
    primary_of,
)
from pbft.new_view import decode_pre_prepare
from pbft.records import (
    ACCEPTED,
    CHECKPOINTS,
    CONTENT,
    EVIDENCE,
    NEW_VIEWS,
    PREPARED,
    SEQUENCE_BYTES,
    ContentRecord,
    MarkRecord,
    ViewRecord,
    decode_record,
    evidence_key,
    key_sequence,
    slot_key,
)
from pbft.statements import evidence_pairs


class StoredRecord(Protocol):
    """One record as the ledger hands it over, of the votes or of the archive."""

    @property
    def key(self) -> bytes:
        """The engine's key."""
        ...

    @property
    def value(self) -> bytes:
        """The engine's value."""
        ...


class Judgement(Struct, frozen=True):
    """What a well-formed record stands on, and what it says."""

    checks: Sequence[Check] = ()
    attestations: Sequence[Certificate] = ()
    height: Height | None = None
    guilty: tuple[MemberId, ...] = ()
    requests: Sequence[Request] = ()
    """Requests with bodies in it. That a body is of its id is not known here."""


class RecordsJudge:
    """Judges the records of one epoch."""

    def __init__(self, roster: Roster, window: int, max_batch: int) -> None:
        self._roster = roster
        self._door = Door(roster, window, max_batch)
        self._commits = CommitVerifier(roster)
        self.acceptance = Quorums.byzantine(roster.n).weak

    def judge(self, record: StoredRecord) -> Judgement:
        """Return what a record of the votes or the archive stands on.

        Raises `CryptoError` where it is not what the engine writes: key, form, members, epoch, kind, or a
        statement that its place contradicts.
        """
        if record.key.startswith(EVIDENCE):
            return self._judge_evidence(record.key, record.value)
        for prefix in (CHECKPOINTS, NEW_VIEWS):
            if record.key.startswith(prefix):
                return self._archived(prefix, record.key.removeprefix(prefix), record.value)
        try:
            return self._vote(record.key, decode_record(record.key, record.value))
        except EngineFault as error:
            raise CertificateError(str(error)) from None

    def _archived(self, prefix: bytes, rest: bytes, value: bytes) -> Judgement:
        if len(rest) != SEQUENCE_BYTES:
            raise CertificateError("an archived record without its number")
        number = int.from_bytes(rest, "big")
        if prefix == CHECKPOINTS:
            return self._checkpoint(certificates.decode(value), number)
        envelope = envelopes.decode(value)
        signed, checks = self._door.open(envelope)
        if not isinstance(signed.message, NewView) or signed.message.view != number:
            raise CertificateError(f"no NEW-VIEW of view {number}")
        return Judgement(checks)

    def _checkpoint(self, certificate: Certificate, height: int | None) -> Judgement:
        checks = self._door.checkpoint(certificate)
        attestation = attested(certificate)
        if height is not None and attestation.height != height:
            raise CertificateError(f"the certificate is of height {attestation.height}, not {height}")
        return Judgement(checks, (certificate,), attestation.height)

    def _vote(self, key: bytes, value: object) -> Judgement:
        match value:
            case ViewRecord():
                return self._view(value)
            case Certificate():
                return self._checkpoint(value, None)
            case MarkRecord():
                return Judgement()
            case Envelope():
                return self._accepted(key, value)
            case ContentRecord():
                return self._content(key, value)
            case PreparedProof():
                return self._prepared(key, value)
            case _:
                raise CertificateError(f"no record of this engine: {key.hex()}")

    def _view(self, record: ViewRecord) -> Judgement:
        checks: list[Check] = []
        for envelope, kind in ((record.view_change, VIEW_CHANGE), (record.new_view, NEW_VIEW)):
            if envelope is None:
                continue
            signed, more = self._door.open(envelope)
            if envelope.kind != kind or signed.message.view > record.view:
                raise CertificateError("the record of the view holds something else")
            checks += more
        for envelope in record.leave_proof:
            _, more = self._door.open(envelope)
            if envelope.kind != SUSPECT:
                raise CertificateError("the record of the view holds something else")
            checks += more
        return Judgement(checks)

    def _accepted(self, key: bytes, envelope: Envelope) -> Judgement:
        if envelope.kind != PRE_PREPARE or envelope.beside:
            raise CertificateError("the record of a proposal holds something else")
        message = decode_pre_prepare(envelope)
        self._door.require_digest(message, message.digest)
        if envelope.signer != primary_of(message.view, self._roster.n):
            raise CertificateError("a recorded proposal by a backup")
        self._require_key(key, slot_key(ACCEPTED, message.sequence))
        return Judgement((envelope_check(self._roster, envelope),), height=message.sequence)

    def _content(self, key: bytes, record: ContentRecord) -> Judgement:
        ids = split_ids(record.ids) if record.ids else [request.id for request in record.requests]
        sequence = key_sequence(key)
        bound = batch_digest(self._roster.chain_id, sequence, record.timestamp, record.root)
        if transaction_root(ids) != record.root:
            raise CertificateError("the recorded batch does not hash to its root")
        self._require_key(key, slot_key(CONTENT, sequence, bound))
        return Judgement(height=sequence, requests=record.requests)

    def _prepared(self, key: bytes, proof: PreparedProof) -> Judgement:
        sequence, checks = self._door.prepared(proof, View(MAX_VIEW))
        self._require_key(key, slot_key(PREPARED, sequence))
        return Judgement(checks, height=sequence)

    @staticmethod
    def _require_key(key: bytes, expected: bytes) -> None:
        if key != expected:
            raise CertificateError(f"the record under {key.hex()} belongs under {expected.hex()}")

    def _judge_evidence(self, key: bytes, value: bytes) -> Judgement:
        if key != evidence_key(value):
            raise CertificateError("the evidence is not what its key says")
        first, second = evidence_pairs.decode(value)
        if first.signer != second.signer or not contradict(first, second):
            raise CertificateError("no contradiction between two statements of one member")
        checks = [envelope_check(self._roster, envelope) for envelope in (first, second)]
        return Judgement(checks, guilty=(first.signer,))

    def liars(
        self, height: Height, certificates: tuple[bytes, bytes], records: Iterable[StoredRecord]
    ) -> tuple[MemberId, ...]:
        """Return the members that certainly lied, given two verified certificates of different batches at
        `height`.

        Who signed COMMITs for both in one view lied; so did who committed either and sent a VIEW-CHANGE that
        hides it (`pbft.contradictions`).
        """
        both = [self._commits.statement(certificate) for certificate in certificates]
        (first, one), (second, two) = both
        guilty: set[MemberId] = set()
        if not one.sequence == two.sequence == height:
            raise CertificateError(f"the certificates are not both of height {height}")
        if one.view == two.view:
            guilty |= {vote.signer for vote in first.votes} & {vote.signer for vote in second.votes}
        for record in records:
            if record.key.startswith(NEW_VIEWS):
                for certificate, commit in both:
                    guilty |= _hid(envelopes.decode(record.value), commit, certificate)
        return tuple(sorted(guilty))


def _hid(envelope: Envelope, commit: Commit, certificate: Certificate) -> set[MemberId]:
    """Return who committed and hid that in its VIEW-CHANGE in this NEW-VIEW."""
    start = kinds.decode(envelope)
    if not isinstance(start, NewView):
        return set()
    members = {vote.signer for vote in certificate.votes}
    changes = [
        (nested.signer, kinds.decode(nested)) for nested in start.view_changes if nested.signer in members
    ]
    return {
        signer
        for signer, change in changes
        if isinstance(change, ViewChange) and hides(commit, change) is not None
    }
