"""Judging stored records: what the audit asks of this engine (`ledger.audit.records`).

Records in the votes and archive columns are opaque to the ledger. Here it is told what each must be, which
signatures must hold in it, and whom two contradictory decisions convict.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from consensus.contract import EngineFault, Request
from consensus.quorum import Quorums
from crypto.attestation import Attestation, Height, attested
from crypto.batch import batch_digest, transaction_root
from crypto.codec import StrictDecoder
from crypto.errors import CertificateError
from crypto.keys import Check
from crypto.roster import MemberId, Roster
from crypto.signed import MAX_ENVELOPE_BYTES, Certificate, Envelope, certificates, envelope_check, envelopes
from pbft.certificates import CommitVerifier
from pbft.door import Door, split_ids
from pbft.messages import (
    MAX_VIEW,
    NEW_VIEW,
    PRE_PREPARE,
    SUSPECT,
    VIEW_CHANGE,
    Commit,
    NewView,
    Prepare,
    PreparedProof,
    PrePrepare,
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

_evidence = StrictDecoder(tuple[Envelope, Envelope], 2 * MAX_ENVELOPE_BYTES)


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


class _Statement(NamedTuple):
    """What a vote is about, so that two of one member can be compared."""

    about: tuple[str, int, int]
    """Kind, view and sequence (or height); 0 where a kind has none of them."""
    says: bytes


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
        first, second = _evidence.decode(value)
        if first.signer != second.signer or not contradict(first, second):
            raise CertificateError("no contradiction between two statements of one member")
        checks = [envelope_check(self._roster, envelope) for envelope in (first, second)]
        return Judgement(checks, guilty=(first.signer,))

    def liars(
        self, height: Height, certificates: tuple[bytes, bytes], records: Iterable[StoredRecord]
    ) -> tuple[MemberId, ...]:
        """Return the members that certainly lied, given two verified certificates of different batches at
        `height`.

        Who signed COMMITs for both in one view lied. Across views, who committed the earlier one and then
        sent a VIEW-CHANGE that hides it did: a correct member shows what it prepared until a stable
        checkpoint covers it.
        """
        (first, one), (second, two) = sorted(
            (self._commits.statement(certificate) for certificate in certificates),
            key=lambda statement: statement[1].view,
        )
        early = {vote.signer for vote in first.votes}
        if one.view == two.view:
            return tuple(sorted(early & {vote.signer for vote in second.votes}))
        guilty: set[MemberId] = set()
        for record in records:
            if record.key.startswith(NEW_VIEWS):
                guilty |= _hid(envelopes.decode(record.value), height, one.view, two.view, early)
        return tuple(sorted(guilty))


def _hid(
    envelope: Envelope, height: Height, committed: View, later: View, members: set[MemberId]
) -> set[MemberId]:
    """Return those of `members` whose VIEW-CHANGE in this NEW-VIEW hides what they committed at `height`."""
    start = kinds.decode(envelope)
    if not isinstance(start, NewView) or not committed < start.view <= later:
        return set()
    hid = set()
    for nested in start.view_changes:
        change = kinds.decode(nested)
        if nested.signer in members and isinstance(change, ViewChange) and change.stable < height:
            shown = [decode_pre_prepare(proof.pre_prepare) for proof in change.prepared]
            if not any(proposal.sequence == height and proposal.view >= committed for proposal in shown):
                hid.add(nested.signer)
    return hid


def contradict(first: Envelope, second: Envelope) -> bool:
    """Return whether no correct member signs both statements. Raises `CodecError`."""
    one, two = _statement(first), _statement(second)
    return one is not None and two is not None and one.about == two.about and one.says != two.says


def _statement(envelope: Envelope) -> _Statement | None:
    """Return what a vote says and about what; `None` for a message that binds its sender to nothing."""
    message = kinds.decode(envelope)
    place: tuple[int, int]
    match message:
        case Attestation():
            place = (0, message.height)
        case PrePrepare() | Prepare() | Commit():
            place = (message.view, message.sequence)
        case ViewChange() | NewView():
            place = (message.view, 0)
        case _:
            return None
    return _Statement((envelope.kind, *place), envelope.body)
