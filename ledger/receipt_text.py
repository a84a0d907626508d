"""The file of a receipt: JSON that a person can read, and a reader that takes nothing for granted.

What lives here: the form, its limits, and the conversion of its parts both ways. What must not be known
here: what makes a receipt true (`ledger.receipt`).

Digests and signatures are hex, as other tools print them; the longer bytes are base64.
"""

import base64
import binascii
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from crypto.attestation import MAX_HEIGHT, Height
from crypto.batch import Millis
from crypto.digest import DIGEST_BYTES, ChainId, Digest
from crypto.keys import SIGNATURE_BYTES, Signature
from crypto.roster import MAX_EPOCH, MAX_MEMBERS, Epoch, MemberId
from crypto.signed import Vote
from ledger.attestations import Attestations
from ledger.block import Header
from ledger.jsonfile import FileFault, parse_json, read_bounded
from ledger.result import MAX_RESULT_BYTES
from ledger.transaction import MAX_TRANSACTION_BYTES

VERSION: Final = 1

MAX_FOLLOWING_HEADERS: Final = 4096
"""Headers between the block and the attested one: far above a useful checkpoint interval (64 by default)."""

MAX_RECEIPT_BYTES: Final = 8 * 1024 * 1024
"""A file: 4096 headers of about 0.8 KB in JSON, a transaction and a result in base64, with room."""

MAX_PATH: Final = 63
"""As deep as any tree is (`crypto.merkle.MAX_TREE_SIZE`)."""

Hex32 = Annotated[str, Meta(pattern=rf"\A[0-9a-f]{{{2 * DIGEST_BYTES}}}\Z")]
HexSignature = Annotated[str, Meta(pattern=rf"\A[0-9a-f]{{{2 * SIGNATURE_BYTES}}}\Z")]
_Count = Annotated[int, Meta(ge=0, le=MAX_HEIGHT)]
_EpochNumber = Annotated[int, Meta(ge=0, le=MAX_EPOCH)]


def _base64_of(limit: int) -> Meta:
    return Meta(max_length=(limit + 2) // 3 * 4)


class HeaderText(Struct, frozen=True, forbid_unknown_fields=True):
    """`ledger.block.Header`."""

    chain_id: Hex32
    epoch: _EpochNumber
    height: _Count
    parent: Hex32
    batch: Hex32
    proposed: _Count
    time: _Count
    transaction_root: Hex32
    result_root: Hex32
    state_root: Hex32


class VoteText(Struct, frozen=True, forbid_unknown_fields=True):
    """One member's signature."""

    member: Annotated[int, Meta(ge=0, lt=MAX_MEMBERS)]
    signature: HexSignature


class AttestationText(Struct, frozen=True, forbid_unknown_fields=True):
    """Which block is attested, and by whom."""

    epoch: _EpochNumber
    height: _Count
    block_hash: Hex32
    votes: Annotated[list[VoteText], Meta(max_length=MAX_MEMBERS)]


class ReceiptText(Struct, frozen=True, forbid_unknown_fields=True):
    """A receipt's file. `tx_id` is there for people; a reader compares it with the transaction's own."""

    format: Literal["tetrarch-receipt"]
    version: Annotated[int, Meta(ge=VERSION, le=VERSION)]
    tx_id: Hex32
    transaction: Annotated[str, _base64_of(MAX_TRANSACTION_BYTES)]
    result: Annotated[str, _base64_of(MAX_RESULT_BYTES)]
    position: _Count
    size: _Count
    path: Annotated[list[Hex32], Meta(max_length=MAX_PATH)]
    header: HeaderText
    following: Annotated[list[HeaderText], Meta(max_length=MAX_FOLLOWING_HEADERS)]
    attestation: AttestationText


def read_receipt_text(path: Path) -> ReceiptText:
    """Return the form in a file. Raises `FileFault`, naming the key."""
    text = parse_json(read_bounded(path, MAX_RECEIPT_BYTES), ReceiptText, path)
    members = [vote.member for vote in text.attestation.votes]
    if any(lower >= higher for lower, higher in pairwise(members)):
        raise FileFault(path, "attestation.votes", f"members {members} are not ascending, each once")
    return text


def bytes_of(path: Path, key: str, text: str) -> bytes:
    """Return the bytes of a base64 value. Raises `FileFault`."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FileFault(path, key, f"is not base64: {error}") from None


def base64_text(data: bytes) -> str:
    """Return `data` in base64."""
    return base64.b64encode(data).decode()


def header_to_text(header: Header) -> HeaderText:
    """Return a header's form."""
    return HeaderText(
        chain_id=header.chain_id.hex(),
        epoch=header.epoch,
        height=header.height,
        parent=header.parent.hex(),
        batch=header.batch.hex(),
        proposed=header.proposed,
        time=header.time,
        transaction_root=header.transaction_root.hex(),
        result_root=header.result_root.hex(),
        state_root=header.state_root.hex(),
    )


def header_of_text(text: HeaderText) -> Header:
    """Return the header in its form."""
    return Header(
        chain_id=ChainId(bytes.fromhex(text.chain_id)),
        epoch=Epoch(text.epoch),
        height=Height(text.height),
        parent=digest_of(text.parent),
        batch=digest_of(text.batch),
        proposed=Millis(text.proposed),
        time=Millis(text.time),
        transaction_root=digest_of(text.transaction_root),
        result_root=digest_of(text.result_root),
        state_root=digest_of(text.state_root),
    )


def attestations_to_text(attestations: Attestations) -> AttestationText:
    """Return the form of the attestations so far."""
    certificate = attestations.certificate()
    return AttestationText(
        epoch=certificate.epoch,
        height=attestations.height,
        block_hash=attestations.block_hash.hex(),
        votes=[VoteText(vote.signer, vote.signature.hex()) for vote in certificate.votes],
    )


def attestations_of_text(text: AttestationText) -> Attestations:
    """Return the attestations in their form, not verified."""
    votes = [Vote(MemberId(vote.member), Signature(bytes.fromhex(vote.signature))) for vote in text.votes]
    return Attestations(Epoch(text.epoch), Height(text.height), digest_of(text.block_hash), votes)


def digest_of(text: str) -> Digest:
    """Return the digest in hex."""
    return Digest(bytes.fromhex(text))
