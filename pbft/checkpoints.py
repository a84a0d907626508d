"""Checkpoints (section 4.3): attestations, stability, and cutting the log.

A checkpoint is stable at a quorum of matching attestations, and the log is cut only when one's own
state has reached it (rule 9). A certified checkpoint ahead of one's own state becomes the target of
catching up. A replica whose own block differs from a certified one stops voting and says so.
"""

from consensus.contract import Now, Record
from consensus.votes import Votes
from crypto.attestation import Attestation, Height, attested
from crypto.batch import Millis
from crypto.digest import Digest
from crypto.signed import Certificate, Signed, make_certificate
from pbft import batches, normal_case
from pbft.records import (
    ACCEPTED,
    CHECKPOINTS,
    CONTENT,
    MARK_KEY,
    PREPARED,
    STABLE_KEY,
    MarkRecord,
    archive_key,
    encode_record,
    slot_key,
)
from pbft.state import Ignored, Slot, State


def note_stored(state: State, height: Height, block_hash: Digest, block_time: Millis) -> None:
    """One's own block of `height` is stored: progress, and at a checkpoint height something to attest."""
    state.executed = height
    state.block_time = block_time
    if state.active and height > state.proposed_until:
        state.failed_views = 0
    normal_case.note_executed(state, height)
    attest(state, height, block_hash)


def is_checkpoint(state: State, height: Height) -> bool:
    """Whether `height` is one at which checkpoints are made; 0, the genesis, is one.

    Clients are given attestations of any height, so a certificate does not prove it.
    """
    return height % state.limits.checkpoint_interval == 0


def attest(state: State, height: Height, block_hash: Digest) -> None:
    """At a checkpoint height, attest to all what one's own state is there.

    Also after a restart there: the attestation made before may have reached nobody, and where the window
    ends at that height no later one would come.
    """
    if not is_checkpoint(state, height) or height <= state.low:
        return
    state.own_hashes[height] = block_hash
    if height > state.target_height and state.halted is None:
        own = state.broadcast(Attestation(height, block_hash))
        state.attestations.setdefault(height, Votes()).add(own)
    _reach(state, height)


def on_attestation(state: State, signed: Signed[Attestation], _now: Now) -> Ignored | None:
    """Count another member's CHECKPOINT."""
    message = signed.message
    if signed.signer == state.member:
        return Ignored.OWN
    if not is_checkpoint(state, message.height) or message.height == 0:
        return Ignored.NOT_A_CHECKPOINT
    if message.height <= state.low:
        return Ignored.BELOW_WATERMARK
    if message.height > state.horizon:
        return _note_ahead(state, signed)
    earlier = state.attestations.setdefault(message.height, Votes()).add(signed)
    if earlier is not None:
        state.accuse("two attestations for one height", earlier.envelope, signed.envelope)
        return Ignored.CONFLICTING
    _try_stable(state, message.height)
    return None


def _note_ahead(state: State, signed: Signed[Attestation]) -> Ignored | None:
    """Beyond the window only the latest of each member is kept; a quorum of them is a target."""
    earlier = state.ahead.get(signed.signer)
    if earlier is not None and earlier.message.height >= signed.message.height:
        return Ignored.REPEATED
    state.ahead[signed.signer] = signed
    matching = [other for other in state.ahead.values() if other.message == signed.message]
    if len(matching) >= state.quorums.quorum:
        take_certificate(state, make_certificate(signed.envelope, [other.vote for other in matching]))
    return None


def _try_stable(state: State, height: Height) -> None:
    votes = state.attestations[height].leading(state.quorums.quorum)
    if votes:
        take_certificate(state, make_certificate(votes[0].envelope, [vote.vote for vote in votes]))


def take_certificate(state: State, certificate: Certificate) -> Ignored | None:
    """A quorum attests a checkpoint: make it stable, or the target of catching up."""
    attestation = attested(certificate)
    if not is_checkpoint(state, attestation.height):
        return Ignored.NOT_A_CHECKPOINT
    if attestation.height <= max(state.low, state.target_height):
        return Ignored.BELOW_WATERMARK
    state.target = certificate
    state.target_height, state.target_hash = attestation.height, attestation.block_hash
    if state.executed >= attestation.height:
        _reach(state, attestation.height)
    return None


def _reach(state: State, height: Height) -> None:
    """One's own state stands at or above `height`: is that the certified checkpoint?"""
    if state.target is None or height != state.target_height or state.executed < height:
        if height in state.attestations:
            _try_stable(state, height)
        return
    own = state.own_hashes.get(height)
    if own is not None and own != state.target_hash:
        state.halt(f"block {height} differs here from the one that a quorum attests")
        return
    _make_stable(state, height, state.target)


def _make_stable(state: State, height: Height, certificate: Certificate) -> None:
    """Move the low watermark and cut the log below it. Certificates for auditors go to the archive."""
    state.low, state.checkpoint = height, certificate
    state.target = None
    value = encode_record(certificate)
    state.persist(STABLE_KEY, value)
    state.out.archive.append(Record(archive_key(CHECKPOINTS, height), value))
    for sequence in [sequence for sequence in state.slots if sequence <= height]:
        _delete_records(state, state.slots.pop(sequence))
    for table in (state.attestations, state.own_hashes):
        for old in [old for old in table if old <= height]:
            del table[old]
    batches.forget_awaited(state)
    _end_mark(state)
    for sequence in sorted(state.slots):
        normal_case.advance_slot(state, state.slots[sequence])


def _delete_records(state: State, slot: Slot) -> None:
    state.persist(slot_key(ACCEPTED, slot.sequence), None)
    state.persist(slot_key(PREPARED, slot.sequence), None)
    for digest in slot.contents:
        state.persist(slot_key(CONTENT, slot.sequence, digest), None)


def _end_mark(state: State) -> None:
    """A replica with an old disk may vote again from the stable checkpoint that it waited for."""
    if state.marked and state.needs and state.low >= state.needs:
        state.marked = False
        state.needs = Height(0)
        state.persist(MARK_KEY, None)
        if state.leads:
            state.pool.lead(normal_case.in_flight_ids(state))


def mark(state: State, needs: Height) -> None:
    """Note durably that this disk is older than this member's votes."""
    state.marked = True
    state.needs = needs
    state.pool.follow()
    state.persist(MARK_KEY, encode_record(MarkRecord(needs)))
