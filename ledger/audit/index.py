"""The index of transactions: complete, and nothing in it that does not belong there.

What lives here: the comparison of two sets of records by their fingerprints, and finding what differs once
it is known that something does. What must not be known here: executing, signatures.
"""

from typing import Final

import msgspec

from crypto.attestation import Height
from crypto.digest import DIGEST_BYTES
from ledger.audit.inspection import Fingerprints, index_rows
from ledger.audit.progress import Meter
from ledger.audit.reader import AuditedStore, StoreChanged
from ledger.audit.report import MAX_FAULTS, Findings
from ledger.audit.rows import ChainRows, reason
from ledger.block import Block
from ledger.errors import CorruptStore, StoreError
from ledger.keyvalue import Family
from ledger.store import SEAL_BYTES, decode_place
from ledger.transaction import transaction_id

AT_ONCE: Final = 1_000_000
"""Index records held in memory while looking for a difference, some 200 MB; a larger index takes more
turns."""

PREFIX_BYTES: Final = 4
"""Ids are split into turns by so many leading bytes."""

METERED: Final = 1000
"""Records between two looks at the clock."""

_blocks = msgspec.msgpack.Decoder(Block)


def check_index(store: AuditedStore, secret: bytes, expected: tuple[int, int], meter: Meter) -> bool:
    """Return whether INDEX is exactly the set of records whose number and sum of fingerprints are
    `expected`."""
    count = total = 0
    of = Fingerprints(secret).of
    try:
        for key, stored in store.scan(Family.INDEX):
            if len(key) != DIGEST_BYTES:
                return False
            count += 1
            total += of(key + stored)
            if not count % METERED:
                meter.advance(METERED)
    except StoreChanged:
        raise
    except StoreError:
        return False
    meter.advance(count % METERED)
    return (count, total) == expected


def find_index_faults(store: AuditedStore, last: Height, expected: int, findings: Findings) -> bool:
    """Note which records of INDEX are missing, wrong or too many, given that `expected` should be there.

    Records of blocks that have faults themselves are passed over: what they should be is not known. Returns
    whether there were any.
    """
    passed = False
    turns = max(1, -(-expected // AT_ONCE))
    for turn in range(turns):
        low, high = _bound(turn, turns), _bound(turn + 1, turns)
        passed |= _compare(store, _rows(store, last, low, high), (low, high), findings)
        if len(findings.faults) >= MAX_FAULTS:
            break
    return passed


def _bound(turn: int, turns: int) -> bytes | None:
    if turn == turns:
        return None
    return (turn * 256**PREFIX_BYTES // turns).to_bytes(PREFIX_BYTES, "big") if turn else b""


def _rows(
    store: AuditedStore, last: Height, low: bytes | None, high: bytes | None
) -> dict[bytes, tuple[int, bytes]]:
    """Return the records that the blocks call for, with their heights, of ids from `low` up to `high`."""
    found: dict[bytes, tuple[int, bytes]] = {}
    for row in ChainRows(store, last, False, Findings("")):
        try:
            block = _blocks.decode((row.block or b"")[:-SEAL_BYTES])
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            continue
        ids = [transaction_id(raw) for raw in block.transactions]
        if len(ids) != len(block.results):
            continue
        for key, stored in index_rows(row.height, block, ids):
            if key >= (low or b"") and (high is None or key < high):
                found[key] = (row.height, stored)
    return found


def _compare(
    store: AuditedStore,
    rows: dict[bytes, tuple[int, bytes]],
    bounds: tuple[bytes | None, bytes | None],
    findings: Findings,
) -> bool:
    notes = _Notes(findings)
    try:
        for key, stored in store.scan(Family.INDEX, bounds[0] or b"", bounds[1]):
            height, right = rows.pop(key, (None, None))
            if stored != right:
                notes.add(key, height, stored)
    except StoreChanged:
        raise
    except StoreError as error:
        findings.add(Family.INDEX, None, "records", reason(error))
        _read_one_by_one(store, rows, notes)
    else:
        for key, (height, _) in sorted(rows.items()):
            notes.add(key, height, None)
    return notes.passed


def _read_one_by_one(store: AuditedStore, rows: dict[bytes, tuple[int, bytes]], notes: "_Notes") -> None:
    """Read what a scan did not get to."""
    for key, (height, right) in sorted(rows.items()):
        try:
            stored = store.get(Family.INDEX, key)
        except StoreError as error:
            notes.note(height, key, reason(error))
            if notes.full:
                return
            continue
        if stored != right:
            notes.add(key, height, stored)


class _Notes:
    """Notes faults of the index, but for those that follow from a block's own."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self.passed = False

    @property
    def full(self) -> bool:
        """Whether no further fault would be listed."""
        return len(self._findings.faults) >= MAX_FAULTS

    def add(self, key: bytes, height: int | None, stored: bytes | None) -> None:
        """Note a record that is not what the blocks call for: nothing, if `height` is None."""
        says = "the record is missing"
        if stored is not None:
            try:
                place = decode_place(key, stored)
                says = f"it says height {place.height}, position {place.position}"
                height = place.height if height is None else height
            except CorruptStore as error:
                says = error.what
        self.note(height, key, says)

    def note(self, height: int | None, key: bytes, what: str) -> None:
        """Note a fault of one record."""
        if height is not None and self._findings.has(Family.BLOCKS, height):
            self.passed = True
            return
        self._findings.add(Family.INDEX, height, key.hex(), what)
