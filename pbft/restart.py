"""Restart from durable records (rule 16): an ordinary restart forgets no vote, and votes at once."""

from collections.abc import Iterable

from consensus.contract import EngineFault, Record, Request
from crypto.attestation import Height, attested
from crypto.errors import CryptoError
from crypto.signed import Certificate, Envelope, Signed
from pbft.door import split_ids
from pbft.messages import Commit, NewView, Prepare, PreparedProof, PrePrepare, ViewChange, kinds
from pbft.new_view import NULL_ROOT
from pbft.records import (
    ACCEPTED,
    CONTENT,
    MARK_KEY,
    PREPARED,
    STABLE_KEY,
    VIEW_KEY,
    ContentRecord,
    MarkRecord,
    ViewRecord,
    decode_record,
    key_batch,
    key_sequence,
)
from pbft.state import Content, Slot, State

_ORDER = (STABLE_KEY, VIEW_KEY, MARK_KEY, CONTENT, PREPARED, ACCEPTED)
"""The order in which records must be read: each kind leans on those before it."""


def restore(state: State, records: Iterable[Record], executed: Height) -> None:
    """Take up where records and stored chain end. Raises `EngineFault` if they contradict each other."""
    state.delivered = state.executed = executed
    for record in sorted(records, key=_rank):
        value = decode_record(record.key, record.value or b"")
        try:
            _restore_record(state, record.key, value)
        except CryptoError as error:
            raise EngineFault(f"the votes' record {record.key.hex()} does not decode: {error}") from None
    if state.low > executed:
        raise EngineFault(f"the votes say that block {state.low} is stable, the chain ends at {executed}")
    _restore_proposed_again(state)
    for sequence in sorted(state.slots):
        _restore_votes(state, state.slots[sequence])
    highest = max((s for s, slot in state.slots.items() if slot.pre_prepare is not None), default=Height(0))
    state.highest_accepted = highest
    state.next_sequence = Height(max(highest, state.delivered, state.low, state.proposed_until) + 1)


def _rank(record: Record) -> int:
    kind = record.key[:1]
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)  # unknown ones last: decoding refuses them


def _restore_record(state: State, key: bytes, value: object) -> None:
    if isinstance(value, ViewRecord):
        _restore_view(state, value)
    elif isinstance(value, Certificate):
        state.checkpoint, state.low = value, attested(value).height
    elif isinstance(value, MarkRecord):
        state.marked, state.needs = True, value.needs
    elif key_sequence(key) <= state.low:
        return
    elif isinstance(value, ContentRecord):
        _restore_content(state, key, value)
    elif isinstance(value, PreparedProof):
        _restore_prepared(state.slot(key_sequence(key)), value)
    elif isinstance(value, Envelope):
        _restore_accepted(state, state.slot(key_sequence(key)), value)


def _restore_view(state: State, record: ViewRecord) -> None:
    state.view = state.log_view = record.view
    state.active = record.active
    state.new_view = record.new_view
    state.leave_proof = record.leave_proof
    if record.view_change is not None and not record.active:
        message = kinds.decode(record.view_change)
        if not isinstance(message, ViewChange):
            raise EngineFault("the record of the view holds no VIEW-CHANGE")
        state.own_view_change = Signed(message, record.view_change)
        state.view_changes[state.member] = state.own_view_change


def _restore_proposed_again(state: State) -> None:
    """Take up what the present view's NEW-VIEW proposed again, where there was no vote on it yet."""
    if not state.active or state.new_view is None:
        return
    start = kinds.decode(state.new_view)
    if not isinstance(start, NewView):
        raise EngineFault("the record of the view holds no NEW-VIEW")
    changes = [kinds.decode(envelope) for envelope in start.view_changes]
    stable = max(change.stable for change in changes if isinstance(change, ViewChange))
    state.proposed_until = Height(stable + len(start.pre_prepares))
    for envelope in start.pre_prepares:
        message = _pre_prepare(envelope)
        if message.sequence <= state.low:
            continue
        slot = state.slot(message.sequence)
        if message.root == NULL_ROOT:
            slot.contents.setdefault(message.digest, Content(message.timestamp, NULL_ROOT, (), [], 0))
        if slot.pre_prepare is None:
            slot.pre_prepare = Signed(message, envelope)


def _restore_content(state: State, key: bytes, record: ContentRecord) -> None:
    slot = state.slot(key_sequence(key))
    requests: list[Request | None] | None = list(record.requests)
    ids = tuple(request.id for request in record.requests)
    if record.ids:
        if slot.sequence > state.executed:
            raise EngineFault(f"the bodies of sequence {slot.sequence} are in no stored block")
        ids, requests = tuple(split_ids(record.ids)), None
    slot.contents[key_batch(key)] = Content(record.timestamp, record.root, ids, requests, 0, durable=True)


def _pre_prepare(envelope: Envelope) -> PrePrepare:
    message = kinds.decode(envelope)
    if not isinstance(message, PrePrepare):
        raise EngineFault("a record of a proposal holds no PRE-PREPARE")
    return message


def _restore_prepared(slot: Slot, proof: PreparedProof) -> None:
    message = _pre_prepare(proof.pre_prepare)
    slot.prepared = proof
    slot.prepared_view, slot.prepared_digest = message.view, message.digest


def _restore_accepted(state: State, slot: Slot, envelope: Envelope) -> None:
    message = _pre_prepare(envelope)
    if message.view == state.view and state.active and message.digest in slot.contents:
        slot.pre_prepare = Signed(message, envelope)
        slot.voted_prepare = True


def _restore_votes(state: State, slot: Slot) -> None:
    """One's own votes of the present view: the same bytes again, since Ed25519 is deterministic."""
    if slot.pre_prepare is None or not slot.voted_prepare:
        return
    message = slot.pre_prepare.message
    if state.primary != state.member:
        slot.prepares.add(state.seal(Prepare(message.view, message.sequence, message.digest)))
    if slot.prepared_view == message.view:
        slot.voted_commit = True
        slot.commits.add(state.seal(Commit(message.view, message.sequence, message.digest)))
