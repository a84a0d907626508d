"""The engine's durable records: what must survive a restart, and how it is written and read.

| key | value | written before |
|---|---|---|
| `v` | view, if it is active, VIEW-CHANGE, NEW-VIEW, why one left | VIEW-CHANGE; a vote in a new view |
| `s` | the certificate of the stable checkpoint | |
| `a` sequence | the accepted PRE-PREPARE | PREPARE (PRE-PREPARE, by the primary) |
| `c` sequence digest | the batch's timestamp, root and bodies | the same |
| `q` sequence | the prepared certificate of the highest view | COMMIT |
| `m` | from which stable checkpoint on a replica with an old disk votes again | |

Sequences are 8 bytes, big-endian. `a`, `c` and `q` are deleted once a stable checkpoint covers them.
The archive, which is never deleted, holds `checkpoint/` height, `new-view/` view, `evidence/` digest: heights
and views as sequences are written.
"""

from typing import Any

from msgspec import Struct

from consensus.contract import EngineFault, Request
from crypto.attestation import Height, HeightField
from crypto.batch import MillisField
from crypto.codec import StrictDecoder, encode
from crypto.digest import Digest, DigestField, digest
from crypto.errors import CodecError
from crypto.signed import MAX_ENVELOPE_BYTES, Certificate, Envelope
from pbft.messages import PreparedProof, ViewField

VIEW_KEY = b"v"
STABLE_KEY = b"s"
MARK_KEY = b"m"
ACCEPTED, CONTENT, PREPARED = b"a", b"c", b"q"
SEQUENCE_BYTES = 8

CHECKPOINTS, NEW_VIEWS, EVIDENCE = b"checkpoint/", b"new-view/", b"evidence/"
"""What the keys of the archive begin with."""


class ViewRecord(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where this replica stands among the views."""

    view: ViewField
    active: bool
    view_change: Envelope | None
    new_view: Envelope | None
    leave_proof: tuple[Envelope, ...]
    """The SUSPECTs for which the view before was left: without them the others might stay in it."""


class ContentRecord(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A batch with its bodies, in the proposed order.

    Where the bodies already lie in a stored block only the `ids` are kept, joined; else `ids` is empty.
    """

    timestamp: MillisField
    root: DigestField
    requests: tuple[Request, ...]
    ids: bytes


class MarkRecord(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A replica with an old disk: 0 while it does not know yet from where it may vote again."""

    needs: HeightField


_MAX_RECORD_BYTES = 4 * MAX_ENVELOPE_BYTES
_decoders: dict[bytes, StrictDecoder[Any]] = {
    VIEW_KEY: StrictDecoder(ViewRecord, _MAX_RECORD_BYTES),
    STABLE_KEY: StrictDecoder(Certificate, _MAX_RECORD_BYTES),
    ACCEPTED: StrictDecoder(Envelope, _MAX_RECORD_BYTES),
    CONTENT: StrictDecoder(ContentRecord, _MAX_RECORD_BYTES),
    PREPARED: StrictDecoder(PreparedProof, _MAX_RECORD_BYTES),
    MARK_KEY: StrictDecoder(MarkRecord, _MAX_RECORD_BYTES),
}


def slot_key(kind: bytes, sequence: Height, batch: Digest | None = None) -> bytes:
    """Return the key of a record that belongs to one sequence."""
    return kind + sequence.to_bytes(SEQUENCE_BYTES, "big") + (batch or b"")


def key_sequence(key: bytes) -> Height:
    """Return the sequence in the key of a record that belongs to one."""
    return Height(int.from_bytes(key[1 : 1 + SEQUENCE_BYTES], "big"))


def key_batch(key: bytes) -> Digest:
    """Return the batch digest in the key of a content record."""
    return Digest(key[1 + SEQUENCE_BYTES :])


def archive_key(prefix: bytes, number: int) -> bytes:
    """Return the key under which a checkpoint of a height, or the NEW-VIEW of a view, is archived."""
    return prefix + number.to_bytes(SEQUENCE_BYTES, "big")


def evidence_key(value: bytes) -> bytes:
    """Return the key under which a piece of evidence is archived: the same one twice is kept once."""
    return EVIDENCE + digest("evidence", value)


def decode_record(key: bytes, value: bytes) -> object:
    """Return what a record holds. Raises `EngineFault` naming the record."""
    decoder = _decoders.get(key[:1])
    if decoder is None:
        raise EngineFault(f"the votes hold a record that is not the engine's: {key.hex()}")
    try:
        return decoder.decode(value)
    except CodecError as error:
        raise EngineFault(f"the votes' record {key.hex()} does not decode: {error}") from None


def encode_record(record: object) -> bytes:
    """Return the bytes of a record."""
    return encode(record)
