"""Every signed statement in what a replica stores, nested ones included, each as an envelope of its own.

What lives here: taking records apart, and rebuilding the envelope of a vote from its certificate. What must
not be known here: whether signatures hold, and whether what is nested belongs where it is.
"""

from collections.abc import Iterable, Iterator

from crypto.codec import StrictDecoder, encode
from crypto.errors import CodecError
from crypto.signed import MAX_ENVELOPE_BYTES, Certificate, Envelope, Vote, certificates, envelopes
from pbft.messages import PREPARE, NewView, Prepare, PreparedProof, PrePrepare, ViewChange, kinds
from pbft.records import CHECKPOINTS, EVIDENCE, NEW_VIEWS, ViewRecord, decode_record

evidence_pairs = StrictDecoder(tuple[Envelope, Envelope], 2 * MAX_ENVELOPE_BYTES)
"""What the archive holds under `evidence/`."""


def statements_in(key: bytes, value: bytes) -> Iterator[Envelope]:
    """Yield the statements in one record of votes or archive. Raises `CodecError`, `EngineFault`."""
    for envelope in _outermost(key, value):
        yield from _with_nested(envelope)


def votes_in(certificate: Certificate) -> Iterator[Envelope]:
    """Yield each vote of a certificate as the envelope that was signed."""
    for vote in certificate.votes:
        yield _voted(certificate.kind, certificate.epoch, certificate.body, vote)


def _voted(kind: str, epoch: int, body: bytes, vote: Vote) -> Envelope:
    return Envelope(kind, epoch, vote.signer, body, vote.signature)  # type: ignore[arg-type]


def _outermost(key: bytes, value: bytes) -> Iterable[Envelope]:
    if key.startswith(EVIDENCE):
        return evidence_pairs.decode(value)
    if key.startswith(CHECKPOINTS):
        return votes_in(certificates.decode(value))
    if key.startswith(NEW_VIEWS):
        return (envelopes.decode(value),)
    match decode_record(key, value):
        case ViewRecord() as record:
            both = (record.view_change, record.new_view)
            return [envelope for envelope in both if envelope is not None]
        case Certificate() as certificate:
            return votes_in(certificate)
        case Envelope() as envelope:
            return (envelope,)
        case PreparedProof() as proof:
            return _prepared(proof)
    return ()


def _with_nested(envelope: Envelope) -> Iterator[Envelope]:
    yield envelope
    message = kinds.decode(envelope)
    if isinstance(message, ViewChange):
        if message.checkpoint is not None:
            yield from votes_in(message.checkpoint)
        for proof in message.prepared:
            yield from _prepared(proof)
    elif isinstance(message, NewView):
        for nested in message.view_changes:
            # Only a VIEW-CHANGE belongs there: a NEW-VIEW in a NEW-VIEW could nest for ever.
            if isinstance(kinds.decode(nested), ViewChange):
                yield from _with_nested(nested)
        yield from message.pre_prepares


def _prepared(proof: PreparedProof) -> Iterator[Envelope]:
    """Yield the PRE-PREPARE of a prepared certificate, and its PREPAREs."""
    yield proof.pre_prepare
    message = kinds.decode(proof.pre_prepare)
    if not isinstance(message, PrePrepare):
        raise CodecError("a prepared certificate without its PRE-PREPARE")
    body = encode(Prepare(message.view, message.sequence, message.digest))
    for vote in proof.prepares:
        yield _voted(PREPARE, proof.pre_prepare.epoch, body, vote)
