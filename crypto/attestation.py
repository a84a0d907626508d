"""Attestations: a member's signature over the hash of the block at a height.

The same statement serves as the reply to clients, as PBFT's CHECKPOINT, in receipts, and as the
head of a verified read: so one signature per block and replica is enough for all of them.
"""

from typing import Annotated, NewType

from msgspec import Meta, Struct

from crypto.codec import StrictDecoder, encode
from crypto.digest import DigestField
from crypto.errors import CodecError
from crypto.keys import Signer
from crypto.roster import MemberId, Roster
from crypto.signed import Certificate, Envelope, Kinds, Signed

ATTESTATION = "attestation"
MAX_HEIGHT = 2**53 - 1
"""Heights stay exact in every JSON reader."""

MAX_ATTESTATION_BYTES = 64
"""Height and block hash take at most 44."""

Height = NewType("Height", int)
"""A block's place in the chain, from 1; 0 is the genesis, which is no block."""

HeightField = Annotated[Height, Meta(ge=0, le=MAX_HEIGHT)]


class Attestation(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The signer executed everything up to `height`, and the block there hashes to `block_hash`."""

    height: HeightField
    block_hash: DigestField


attestation_kinds = Kinds({ATTESTATION: Attestation}, MAX_ATTESTATION_BYTES)
_bodies = StrictDecoder(Attestation, MAX_ATTESTATION_BYTES)


def attest(roster: Roster, member: MemberId, signer: Signer, attestation: Attestation) -> Signed[Attestation]:
    """Return `attestation` signed by `member`."""
    return attestation_kinds.seal(roster, member, signer, attestation)


def attested(statement: Certificate | Envelope) -> Attestation:
    """Return what a certificate or envelope of attestations attests. Raises `CodecError`."""
    if statement.kind != ATTESTATION:
        raise CodecError(f"{statement.kind!r} is not an attestation")
    return _bodies.decode(statement.body)


def attestation_body(height: Height, block_hash: DigestField) -> bytes:
    """Return the canonical body that members sign for `block_hash` at `height`."""
    return encode(Attestation(height, block_hash))
