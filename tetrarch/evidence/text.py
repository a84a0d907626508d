"""The file of a piece of evidence: JSON that a person can read, and a reader that takes nothing for granted.

What lives here: the form and its limits, and the conversion of a statement both ways. What must not be known
here: what makes evidence hold (`tetrarch.evidence.piece`).

Signatures and the chain's id are hex, bodies base64. `name`, `kind`, `what`, `why` and `says` are there for
people; a verifier computes them again.
"""

import base64
import binascii
from pathlib import Path
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from crypto.digest import DIGEST_BYTES
from crypto.keys import SIGNATURE_BYTES, Signature
from crypto.roster import MAX_EPOCH, MAX_MEMBERS, Epoch, MemberId
from crypto.signed import MAX_ENVELOPE_BYTES, Envelope, KindField
from ledger.jsonfile import FileFault, convert, parse_json, read_bounded

FORMAT: Final = "tetrarch-evidence"
VERSION: Final = 1

MAX_EVIDENCE_BYTES: Final = 48 * 1024 * 1024
"""A file: two NEW-VIEWs of the largest size in base64, with room."""

_MAX_TEXT = 64 * 1024
"""Of a line for people: a VIEW-CHANGE lists what it shows, up to a window."""

Hex32 = Annotated[str, Meta(pattern=rf"\A[0-9a-f]{{{2 * DIGEST_BYTES}}}\Z")]
HexSignature = Annotated[str, Meta(pattern=rf"\A[0-9a-f]{{{2 * SIGNATURE_BYTES}}}\Z")]
Line = Annotated[str, Meta(max_length=_MAX_TEXT)]
MemberNumber = Annotated[int, Meta(ge=0, lt=MAX_MEMBERS)]


class StatementText(Struct, frozen=True, forbid_unknown_fields=True):
    """One signed statement: what the signature is over is the chain's id and the fields beside it."""

    says: Line
    kind: KindField
    epoch: Annotated[int, Meta(ge=0, le=MAX_EPOCH)]
    signer: MemberNumber
    body: Annotated[str, Meta(max_length=(MAX_ENVELOPE_BYTES + 2) // 3 * 4)]
    signature: HexSignature


class EvidenceText(Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of evidence."""

    format: str
    version: int
    chain_id: Hex32
    engine: Annotated[str, Meta(min_length=1, max_length=32)]
    member: MemberNumber
    name: Line
    kind: Line
    what: Line
    why: Line
    statements: tuple[StatementText, StatementText]


def read_evidence_text(path: Path) -> EvidenceText:
    """Return the form in a file. Raises `FileFault`, naming the key."""
    plain = parse_json(read_bounded(path, MAX_EVIDENCE_BYTES), dict[str, Any], path)
    # First of all: what another format or version holds would only be misunderstood.
    for key, expected in (("format", FORMAT), ("version", VERSION)):
        if key not in plain:
            raise FileFault(path, key, f"is missing; it must be {expected!r}")
        if plain[key] != expected or isinstance(plain[key], bool):
            raise FileFault(path, key, f"is {plain[key]!r}; this program reads {expected!r}")
    return convert(plain, EvidenceText, path)


def statement_to_text(envelope: Envelope, says: str) -> StatementText:
    """Return a statement's form."""
    return StatementText(
        says=says,
        kind=envelope.kind,
        epoch=envelope.epoch,
        signer=envelope.signer,
        body=base64.b64encode(envelope.body).decode(),
        signature=envelope.signature.hex(),
    )


def statement_of_text(text: StatementText, path: Path, key: str) -> Envelope:
    """Return the statement in its form, not verified. Raises `FileFault`."""
    try:
        body = base64.b64decode(text.body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FileFault(path, f"{key}.body", f"is not base64: {error}") from None
    signature = Signature(bytes.fromhex(text.signature))
    return Envelope(text.kind, Epoch(text.epoch), MemberId(text.signer), body, signature)
