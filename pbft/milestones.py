"""PBFT's milestones, for whoever watches the engine from outside (`consensus.milestones`).

What lives here: which message proposes a batch, and what each durable record says of one. Records are those
of `pbft.records`, in the order in which section 4.2 of the paper makes them: pre-prepared, prepared.
"""

from typing import Any

from consensus.contract import Record
from consensus.milestones import Listing, Milestone, Proposed, Step
from crypto.batch import TxId
from crypto.digest import DIGEST_BYTES, Digest
from crypto.signed import Envelope, Signed
from pbft.messages import PrePrepare, kinds
from pbft.records import ACCEPTED, CONTENT, PREPARED, ContentRecord, decode_record, key_batch, key_sequence


class PbftMilestones:
    """Reads PBFT's messages and records, for `consensus.milestones.MilestoneReader`."""

    def offered(self, message: Signed[Any]) -> Digest | None:
        """Return the digest in a PRE-PREPARE."""
        said = message.message
        return said.digest if type(said) is PrePrepare else None

    def reached(self, record: Record) -> Milestone | None:
        """Return the step that a put of this record means; a batch's bodies are written when it is
        accepted."""
        key = record.key
        kind = key[:1]
        if record.value is None:
            return None
        if kind == CONTENT:
            return Milestone(Step.ACCEPTED, key_sequence(key), key_batch(key))
        if kind == ACCEPTED:
            return Milestone(Step.ACCEPTED, key_sequence(key))
        return Milestone(Step.PREPARED, key_sequence(key)) if kind == PREPARED else None

    def proposed(self, record: Record) -> Proposed | None:
        """Return what the PRE-PREPARE in an accepted record proposes."""
        if record.value is None or record.key[:1] != ACCEPTED:
            return None
        envelope = decode_record(record.key, record.value)
        if not isinstance(envelope, Envelope):
            return None
        message = kinds.decode(envelope)
        if not isinstance(message, PrePrepare):
            return None
        return Proposed(envelope.signer, message.view, message.sequence, message.digest)

    def listed(self, record: Record) -> Listing | None:
        """Return the ids in a content record."""
        if record.value is None or record.key[:1] != CONTENT:
            return None
        content = decode_record(record.key, record.value)
        if not isinstance(content, ContentRecord):
            return None
        ids = content.ids
        joined = tuple(TxId(ids[at : at + DIGEST_BYTES]) for at in range(0, len(ids), DIGEST_BYTES))
        return Listing(key_batch(record.key), joined or tuple(request.id for request in content.requests))
