"""What a quorum of VIEW-CHANGEs implies: the computation of section 4.4, as a pure function.

The new primary and every backup compute it alike; a NEW-VIEW that says anything else is refused.
"""

from collections.abc import Sequence

from msgspec import Struct

from crypto.attestation import Height
from crypto.batch import Millis, batch_digest, transaction_root
from crypto.digest import ChainId, Digest
from crypto.signed import Certificate, Envelope
from pbft.messages import PrePrepare, View, ViewChange, kinds

NULL_TIMESTAMP = Millis(0)
NULL_ROOT = transaction_root(())


class Proposed(Struct, frozen=True):
    """What is proposed again for one sequence."""

    sequence: Height
    digest: Digest
    timestamp: Millis
    root: Digest


class Implied(Struct, frozen=True):
    """The start of a new view: from which checkpoint, and what is proposed above it."""

    stable: Height
    checkpoint: Certificate | None
    proposals: tuple[Proposed, ...]


def null_request(chain_id: ChainId, sequence: Height) -> Proposed:
    """Return the null request for `sequence`: it consumes the number and does nothing."""
    digest = batch_digest(chain_id, sequence, NULL_TIMESTAMP, NULL_ROOT)
    return Proposed(sequence, digest, NULL_TIMESTAMP, NULL_ROOT)


def decode_pre_prepare(envelope: Envelope) -> PrePrepare:
    """Return the PRE-PREPARE in an envelope that the door let in."""
    message = kinds.decode(envelope)
    if not isinstance(message, PrePrepare):
        raise TypeError("the door let in something else where a PRE-PREPARE belongs")
    return message


def decode_view_change(envelope: Envelope) -> ViewChange:
    """Return the VIEW-CHANGE in an envelope that the door let in."""
    message = kinds.decode(envelope)
    if not isinstance(message, ViewChange):
        raise TypeError("the door let in something else where a VIEW-CHANGE belongs")
    return message


def implied(chain_id: ChainId, view_changes: Sequence[ViewChange]) -> Implied:
    """Return what `view_changes` (a quorum for one view, each verified) imply.

    From the highest certified checkpoint to the highest prepared sequence; per sequence the proof of
    the highest view wins, and where nothing was prepared stands a null request.
    """
    best = max(view_changes, key=lambda change: change.stable)
    winners: dict[int, PrePrepare] = {}
    for change in view_changes:
        for proof in change.prepared:
            candidate = decode_pre_prepare(proof.pre_prepare)
            winner = winners.get(candidate.sequence)
            if winner is None or _outranks(candidate, winner):
                winners[candidate.sequence] = candidate
    highest = max(winners, default=0)
    proposals = []
    for sequence in range(best.stable + 1, highest + 1):
        winner = winners.get(sequence)
        if winner is None:
            proposals.append(null_request(chain_id, Height(sequence)))
        else:
            proposals.append(Proposed(winner.sequence, winner.digest, winner.timestamp, winner.root))
    return Implied(best.stable, best.checkpoint, tuple(proposals))


def _outranks(candidate: PrePrepare, winner: PrePrepare) -> bool:
    """The higher view wins. Two digests in one view mean more than f liars: any fixed order will do."""
    return (candidate.view, candidate.digest) > (winner.view, winner.digest)


def repeats(proposal: Proposed, view: View, pre_prepare: PrePrepare) -> bool:
    """Return whether `pre_prepare` proposes exactly `proposal` in `view`."""
    return (
        pre_prepare.view == view
        and pre_prepare.sequence == proposal.sequence
        and pre_prepare.digest == proposal.digest
        and pre_prepare.timestamp == proposal.timestamp
        and pre_prepare.root == proposal.root
    )
