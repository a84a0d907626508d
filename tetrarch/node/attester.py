"""This replica's attestations: one signature per block, made when somebody first asks for it.

Recent ones are kept; any executed height is attested again on request, with the same bytes (RFC 8032
signatures are deterministic).
"""

from crypto.attestation import Attestation, Height, attest
from crypto.digest import Digest
from crypto.keys import Signer
from crypto.roster import MemberId, Roster
from crypto.signed import Envelope


class Attester:
    """Signs (height, block hash) as one member and keeps the last `capacity` envelopes."""

    def __init__(self, roster: Roster, member: MemberId, signer: Signer, capacity: int) -> None:
        self._roster = roster
        self._member = member
        self._signer = signer
        self._capacity = capacity
        self._kept: dict[Height, Envelope] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def attest(self, height: Height, block_hash: Digest) -> Envelope:
        """Return the attestation of the block at `height`, which this replica executed."""
        kept = self._kept.get(height)
        if kept is not None:
            return kept
        envelope = attest(self._roster, self._member, self._signer, Attestation(height, block_hash)).envelope
        self._kept[height] = envelope
        if len(self._kept) > self._capacity:
            del self._kept[next(iter(self._kept))]
        return envelope
