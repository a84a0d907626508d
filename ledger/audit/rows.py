"""Reading a store's chain in order: every height once, with gaps, strays and unreadable places noted.

What lives here: the walk over BLOCKS and CERTIFICATES, the records of META. What must not be known here:
what a block's bytes mean.
"""

from collections.abc import Iterator
from typing import NamedTuple

from crypto.attestation import MAX_HEIGHT, Height
from crypto.digest import ChainId
from crypto.errors import CodecError
from ledger.audit.inspection import SEAL, BlockRow
from ledger.audit.reader import AuditedStore, StoreChanged
from ledger.audit.report import Findings, shown
from ledger.engine_records import NOTHING, TALLY_KEY, Tally, tallies
from ledger.errors import CorruptStore, StoreError
from ledger.keyvalue import Family
from ledger.store import (
    CHAIN_KEY,
    FORMAT,
    HEAD_KEY,
    HEIGHT_BYTES,
    Head,
    heads,
    height_key,
    identities,
    unseal,
)

MAX_IN_VAIN = 1000
"""After so many heights in a row without a readable record the rest of a damaged family is given up."""


class Bookkeeping(NamedTuple):
    """What META says."""

    head: Head | None = None
    """None where its record cannot be believed; so the tally."""
    tally: Tally | None = None
    foreign: str = ""
    """Why nothing else in the store can be of the chain audited; empty where it may be."""


def read_meta(store: AuditedStore, chain_id: ChainId, findings: Findings) -> Bookkeeping:
    """Check whose store it is, and return what it says of itself."""
    rows: dict[bytes, bytes] = {}
    damaged: set[bytes] = set()
    try:
        for key, stored in store.scan(Family.META):
            if key not in (CHAIN_KEY, HEAD_KEY, TALLY_KEY):
                findings.add(Family.META, None, shown(key), "a record that does not belong here")
                continue
            try:
                rows[key] = unseal(Family.META, key, stored)
            except CorruptStore:
                what = "the record's checksum does not hold"
                findings.add(Family.META, None, f"{key.decode()}.{SEAL}", what)
                damaged.add(key)
    except StoreChanged:
        raise
    except StoreError as error:
        findings.add(Family.META, None, "records", reason(error))
        return Bookkeeping()
    foreign = _foreign(rows.get(CHAIN_KEY), chain_id, findings)
    if foreign:
        return Bookkeeping(foreign=foreign)
    head = _head(rows.get(HEAD_KEY), findings)
    return Bookkeeping(head, None if TALLY_KEY in damaged else _tally(rows.get(TALLY_KEY), findings))


def _foreign(value: bytes | None, chain_id: ChainId, findings: Findings) -> str:
    if value is None:
        _missing(CHAIN_KEY, findings)
        return ""
    try:
        identity = identities.decode(value)
    except CodecError as error:
        findings.add(Family.META, None, "chain", str(error))
        return ""
    if identity.format != FORMAT:
        findings.add(Family.META, None, "chain.format", f"{identity.format}, this program reads {FORMAT}")
        return "the store is of another format"
    if identity.chain_id != chain_id:
        what = f"the store is of chain {identity.chain_id.hex()}, the genesis makes {chain_id.hex()}"
        findings.add(Family.META, None, "chain.chain_id", what)
        return "the store is of another chain"
    return ""


def _tally(value: bytes | None, findings: Findings) -> Tally | None:
    if value is None:
        return NOTHING
    try:
        return tallies.decode(value)
    except CodecError as error:
        findings.add(Family.META, None, TALLY_KEY.decode(), str(error))
        return None


def _head(value: bytes | None, findings: Findings) -> Head | None:
    if value is None:
        _missing(HEAD_KEY, findings)
        return None
    try:
        return heads.decode(value)
    except CodecError as error:
        findings.add(Family.META, None, "head", str(error))
        return None


def _missing(key: bytes, findings: Findings) -> None:
    name = key.decode()
    if not any(fault.family == "meta" and fault.field.startswith(name) for fault in findings.faults):
        findings.add(Family.META, None, name, "the record is missing")


def last_height(store: AuditedStore, head: Head | None) -> Height:
    """Return the height up to which there should be blocks: of the last one, or of the head where that is
    more."""
    said = head.height if head is not None else Height(0)
    try:
        for key, _ in store.scan(Family.BLOCKS, reverse=True):
            number = _height(key)
            if number is not None:
                return Height(max(number, said))
    except StoreChanged:
        raise
    except StoreError:
        pass
    return said


class ChainRows:
    """The blocks and certificates of one store, in order. Iterate once."""

    def __init__(self, store: AuditedStore, last: Height, certificates: bool, findings: Findings) -> None:
        """`last` is the last height that should have a block; `certificates` whether that family is read
        too."""
        self._store = store
        self._last = last
        self._certificates = certificates
        self._findings = findings

    def __iter__(self) -> Iterator[BlockRow]:
        """Yield a row for every height that has a record; heights without one are noted as faults."""
        bodies = self._family(Family.BLOCKS)
        proofs = self._family(Family.CERTIFICATES) if self._certificates else iter(())
        body, proof = next(bodies, None), next(proofs, None)
        expected = 1
        while body is not None or proof is not None:
            height = min(row[0] for row in (body, proof) if row is not None)
            self._note_gap(expected, height - 1)
            block = body[1] if body is not None and body[0] == height else None
            certificate = proof[1] if proof is not None and proof[0] == height else None
            if block is None:
                self._note_missing(Family.BLOCKS, height, height, "block")
            elif certificate is None and self._certificates:
                self._note_missing(Family.CERTIFICATES, height, height, "certificate")
            yield BlockRow(height, block, certificate, False)
            if block is not None:
                body = next(bodies, None)
            if certificate is not None:
                proof = next(proofs, None)
            expected = height + 1
        self._note_gap(expected, self._last)

    def _note_gap(self, first: int, last: int) -> None:
        if first <= last:
            self._note_missing(Family.BLOCKS, first, last, "block")

    def _note_missing(self, family: Family, first: int, last: int, field: str) -> None:
        if self._findings.has(family, first):  # unreadable, which was noted already
            return
        what = f"the {field} is missing" if first == last else f"{field}s {first} to {last} are missing"
        self._findings.add(family, first, field, what)

    def _family(self, family: Family) -> Iterator[tuple[int, bytes]]:
        """Yield heights and records of one family; behind a place that cannot be scanned, one by one."""
        at = 0
        try:
            for key, stored in self._store.scan(family):
                number = _height(key)
                if number is None or number > self._last:
                    self._note_stray(family, key, number)
                    continue
                at = number
                yield number, stored
        except StoreChanged:
            raise
        except StoreError as error:
            yield from self._one_by_one(family, at + 1, error)

    def _one_by_one(self, family: Family, start: int, error: StoreError) -> Iterator[tuple[int, bytes]]:
        in_vain = 0
        noted = False
        for number in range(start, self._last + 1):
            try:
                stored = self._store.get(family, height_key(Height(number)))
            except StoreChanged:
                raise
            except StoreError as fault:
                self._findings.add(family, number, "record", reason(fault))
                noted, stored = True, None
            if stored is not None:
                in_vain = 0
                yield number, stored
                continue
            in_vain += 1
            if in_vain == MAX_IN_VAIN:
                self._findings.add(family, number + 1, "records", "given up: too many cannot be read")
                return
        if not noted:
            self._findings.add(family, start if start <= self._last else None, "records", reason(error))

    def _note_stray(self, family: Family, key: bytes, number: int | None) -> None:
        if number is None:
            self._findings.add(family, None, f"key {shown(key)}", "a key that is no height")
        else:
            self._findings.add(family, number, "record", f"it lies above the last block, {self._last}")


def _height(key: bytes) -> int | None:
    number = int.from_bytes(key, "big")
    return number if len(key) == HEIGHT_BYTES and 0 < number <= MAX_HEIGHT else None


def reason(error: StoreError) -> str:
    """Return what is wrong, without advice for whoever runs a replica."""
    return error.what if isinstance(error, CorruptStore) else str(error)
