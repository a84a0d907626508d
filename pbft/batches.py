"""The batches behind digests: their ids and bodies, and how missing ones are found.

A backup sends no PREPARE before it holds every body (rule 6). Bodies come from clients, from relays
and from answers to fetches, all through `supply`.
"""

from collections.abc import Sequence

from consensus.contract import Now, Request
from crypto.attestation import Height
from crypto.batch import Millis, TxId
from crypto.digest import Digest
from pbft.door import split_ids
from pbft.messages import FetchProposal
from pbft.records import CONTENT, ContentRecord, encode_record, slot_key
from pbft.state import Content, Slot, State

MAX_FETCH_IDS = 2000
"""Ids asked for at a time."""

MAX_AWAITED = 20_000
"""Bodies awaited at a time, as many as a pool holds: a primary that names bodies that do not exist
cannot fill the memory. Proposals beyond that are taken when they are resent."""


def open_content(
    state: State, slot: Slot, digest: Digest, timestamp: Millis, root: Digest, beside: bytes, now: Now
) -> Content:
    """Return the content of `digest` in `slot`, making it from the ids `beside` if it is new.

    The caller has checked that the ids hash to `root`, and root, timestamp and sequence to `digest`.
    """
    known = slot.contents.get(digest)
    if known is not None:
        return known
    ids = tuple(split_ids(beside))
    requests = [state.pool.get(tx_id) for tx_id in ids]
    content = Content(timestamp, root, ids, requests, requests.count(None), since=now.monotonic)
    slot.contents[digest] = content
    for index, request in enumerate(requests):
        if request is None:
            state.awaited.setdefault(ids[index], []).append((slot.sequence, digest, index))
    return content


def supply(state: State, request: Request) -> list[Slot]:
    """Put a body where it is awaited; return the slots whose batch became complete by it."""
    completed = []
    for sequence, digest, index in state.awaited.pop(request.id, ()):
        slot = state.slots.get(sequence)
        content = slot.contents.get(digest) if slot else None
        if slot is None or content is None or content.requests is None:
            continue
        if content.requests[index] is None:
            content.requests[index] = request
            content.missing -= 1
            if content.missing == 0:
                completed.append(slot)
    return completed


def stop_awaiting(state: State, sequence: Height, digest: Digest, ids: Sequence[TxId]) -> None:
    """The bodies of this batch came by another way."""
    for tx_id in ids:
        places = [place for place in state.awaited.pop(tx_id, ()) if place[:2] != (sequence, digest)]
        if places:
            state.awaited[tx_id] = places


def is_settled(state: State, tx_id: TxId) -> bool:
    """Whether a body is awaited, but only for batches that are executed here: nobody has to order it."""
    places = state.awaited.get(tx_id, ())
    return bool(places) and all(_is_executed(state, sequence, digest) for sequence, digest, _ in places)


def _is_executed(state: State, sequence: Height, digest: Digest) -> bool:
    """Whether this very batch is. What was decided before a restart is known only as proposed again."""
    slot = state.slots.get(sequence)
    if slot is None or sequence > state.delivered:
        return False
    return slot.committed == digest or (slot.committed is None and sequence <= state.proposed_until)


def make_durable(state: State, slot: Slot, digest: Digest) -> None:
    """Have the batch of `digest`, complete here, written with its bodies unless they already are."""
    content = slot.contents[digest]
    if content.durable:
        return
    ids = b"".join(content.ids) if content.requests is None else b""
    record = ContentRecord(content.timestamp, content.root, tuple(present(content)), ids)
    state.persist(slot_key(CONTENT, slot.sequence, digest), encode_record(record))
    content.durable = True


def present(content: Content) -> list[Request]:
    """Return the bodies that are in memory."""
    return [request for request in content.requests or () if request is not None]


def is_acceptable(state: State, content: Content) -> bool:
    """Whether the batch is no larger than agreed, and each valid_until within the horizon of its timestamp.

    One transaction alone may be larger, as in `Pool.take`. Larger batches make blocks too large to store.
    """
    latest = content.timestamp + state.limits.horizon_ms
    requests = present(content)
    size = sum(len(request.body) for request in requests)
    fits = size <= state.limits.max_batch_bytes or len(requests) == 1
    return fits and all(request.valid_until <= latest for request in requests)


def missing_bodies(state: State, moment: Millis) -> list[TxId]:
    """Return ids that have been awaited for the fetch delay at monotonic `moment`."""
    wanted: list[TxId] = []
    for tx_id, places in state.awaited.items():
        if len(wanted) >= MAX_FETCH_IDS:
            break
        for sequence, digest, _ in places:
            slot = state.slots.get(sequence)
            content = slot.contents.get(digest) if slot else None
            if content and content.since + state.tuning.fetch_delay_ms <= moment:
                wanted.append(tx_id)
                break
    return wanted


def missing_proposals(state: State) -> list[FetchProposal]:
    """Return what to ask for where a digest is proposed or committed whose ids are not known."""
    wanted = []
    for sequence in sorted(state.slots):
        slot = state.slots[sequence]
        digests = [slot.pre_prepare.message.digest] if slot.pre_prepare else []
        if slot.committed is not None and sequence > state.delivered:
            digests.append(slot.committed)
        wanted += [
            FetchProposal(sequence, digest)
            for digest in dict.fromkeys(digests)
            if digest not in slot.contents
        ]
    return wanted


def forget_unbound(state: State) -> None:
    """Forget batches of earlier views that bind nobody here: not voted for, decided, or proposed again.

    Else a primary that named bodies which do not exist would keep its successors' proposals out for ever.
    """
    for slot in state.slots.values():
        proposed = slot.pre_prepare.message.digest if slot.pre_prepare else None
        for digest in [digest for digest, content in slot.contents.items() if not content.durable]:
            if digest not in (proposed, slot.committed):
                del slot.contents[digest]
    for sequence in [sequence for sequence in state.slots if sequence > state.horizon]:
        if state.slots[sequence].pre_prepare is None and not state.slots[sequence].contents:
            del state.slots[sequence]
    forget_awaited(state)


def forget_awaited(state: State) -> None:
    """Stop waiting for bodies of batches that were forgotten."""
    for tx_id in list(state.awaited):
        places = [place for place in state.awaited[tx_id] if _is_held(state, *place)]
        if places:
            state.awaited[tx_id] = places
        else:
            del state.awaited[tx_id]


def _is_held(state: State, sequence: Height, digest: Digest, _index: int) -> bool:
    slot = state.slots.get(sequence)
    return slot is not None and digest in slot.contents
