"""The stored state: equal, row by row, to what re-execution gives, and hashing to the head's state root.

What lives here: comparing two sorted sets of rows, rebuilding the tree from stored leaves. What must not be
known here: executing.
"""

from collections.abc import Iterator

from crypto.attestation import Height
from crypto.digest import Digest
from ledger.audit.progress import Meter
from ledger.audit.reader import AuditedStore, StoreChanged
from ledger.audit.report import Findings, shown
from ledger.audit.rows import reason
from ledger.audit.scratch import ScratchState
from ledger.errors import StoreError
from ledger.keyvalue import Family
from ledger.state.build import Builder, leaf_entry, root_digest
from ledger.state.errors import CorruptState
from ledger.state.nodes import (
    FIRST_STORED_PLACE,
    NODE_PREFIX,
    NODES_END,
    VALUE_PREFIX,
    Entry,
    node_key,
    split_leaf,
)


def compare_state(
    store: AuditedStore, scratch: ScratchState, head: Height, findings: Findings, meter: Meter
) -> None:
    """Note every row of the stored state that is not the one re-executed up to `head`, and those missing."""
    computed = scratch.scan(b"")
    ours = next(computed, None)
    try:
        for key, stored in store.scan(Family.STATE):
            while ours is not None and ours[0] < key:
                _note(findings, head, ours[0], ours[1], "the row is missing")
                ours = next(computed, None)
            if ours is None or ours[0] != key:
                _note(findings, head, key, stored, "re-execution gives no such row")
            else:
                if ours[1] != stored:
                    _note(findings, head, key, ours[1], _difference(ours[1], stored))
                ours = next(computed, None)
            meter.advance()
    except StoreChanged:
        raise
    except StoreError as error:
        findings.add(Family.STATE, head, "rows", reason(error))
        return
    while ours is not None:
        _note(findings, head, ours[0], ours[1], "the row is missing")
        ours = next(computed, None)


def check_state_root(store: AuditedStore, root: Digest, head: Height, findings: Findings) -> None:
    """Build the tree anew from the stored leaves alone, and hold it against the head's `root`."""
    nodes = 0

    def count(place: int, node: bytearray) -> None:
        nonlocal nodes
        if place >= FIRST_STORED_PLACE:
            nodes += 1
            if store.get(Family.STATE, node_key(place)) != bytes(node):
                findings.add(Family.STATE, head, f"node {place:x}", "it is not what its children make")

    try:
        found = root_digest(*Builder(_entries(store, head, findings), on_inner=count).build())
        stored = sum(1 for _ in store.scan(Family.STATE, NODE_PREFIX, NODES_END))
    except CorruptState as error:
        findings.add(Family.STATE, head, f"path {error.path}", str(error))
        return
    except StoreChanged:
        raise
    except StoreError as error:
        findings.add(Family.STATE, head, "rows", reason(error))
        return
    if found != root:
        findings.add(Family.STATE, head, "root", f"the stored values give {found.hex()}, not {root.hex()}")
    if stored != nodes:
        findings.add(Family.STATE, head, "nodes", f"{stored} are stored, the values make {nodes}")


def _entries(store: AuditedStore, head: Height, findings: Findings) -> Iterator[Entry]:
    for key, row in store.scan(Family.STATE):
        if key.startswith(VALUE_PREFIX):
            yield leaf_entry(key, row)
        elif not key.startswith(NODE_PREFIX):
            findings.add(Family.STATE, head, f"key {shown(key)}", "a row that belongs to no state")


def _note(findings: Findings, head: Height, key: bytes, row: bytes, what: str) -> None:
    leaf = split_leaf(row) if key.startswith(VALUE_PREFIX) else None
    field = f"key {shown(key)}" if leaf is None else f"state[{shown(leaf[0])}]"
    findings.add(Family.STATE, head, field, what)


def _difference(ours: bytes, stored: bytes) -> str:
    right, found = split_leaf(ours), split_leaf(stored)
    if right is None or found is None or right[0] != found[0]:
        return "the row is not what re-execution gives"
    return f"stored {shown(found[1])}, re-execution gives {shown(right[1])}"
