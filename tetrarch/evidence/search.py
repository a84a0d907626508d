"""Looking for evidence in the stores of replicas: what they kept, and what lies spread over several of them.

What lives here: taking the engine's records and certificates out of opened stores, and which pieces are kept.
What must not be known here: which statements contradict each other (the engine's part), and how stores are
opened (`tetrarch.auditing`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import groupby
from typing import Final, NamedTuple

from msgspec import Struct

from consensus.evidence import Contradiction, Found, Held
from crypto.attestation import Height
from crypto.digest import digest
from crypto.keys import InlineChecker, SignatureChecker
from crypto.roster import MemberId
from ledger.audit.reader import AuditedStore, StoreChanged
from ledger.audit.report import Fault, Findings, shown
from ledger.audit.rows import read_meta, reason
from ledger.errors import CorruptStore, StoreError
from ledger.genesis import Genesis
from ledger.keyvalue import Family
from ledger.store import HEIGHT_BYTES, unseal
from tetrarch.engines import ordering
from tetrarch.evidence.piece import Evidence

MAX_PIECES: Final = 64
MAX_PIECE_BYTES: Final = 64 * 1024 * 1024
"""Kept against one member, together: one piece convicts, and two NEW-VIEWs may have 32 MiB."""

PROGRESS_HEIGHTS: Final = 1000
"""Progress is told every so many heights: some ten milliseconds."""


class Piece(Struct, frozen=True):
    """A piece of evidence, and where it was found."""

    evidence: Evidence
    stores: tuple[str, ...]
    """The stores in which its statements stand, at least: one of them may hold no more than half of it."""
    archived: bool
    """Whether a replica saw it itself, and kept it."""
    digest: str
    """Of the accused and what both statements say, in hexadecimal: the same wherever it is found."""


class Discovery(Struct, frozen=True):
    """What a search came to."""

    pieces: tuple[Piece, ...]
    """By member, then kind, view and sequence."""
    left_out: Mapping[int, int]
    """By member, how often more was found than is kept."""
    faults: tuple[Fault, ...]
    """What could not be read, so that evidence may have been missed."""
    more_faults: int

    @property
    def blamed(self) -> tuple[MemberId, ...]:
        """The members that the evidence convicts, ascending."""
        return tuple(sorted({piece.evidence.member for piece in self.pieces}))


def find_evidence(
    stores: Mapping[str, AuditedStore], genesis: Genesis, checker: SignatureChecker | None = None
) -> list[Evidence]:
    """Return the evidence in opened stores, by name: verified, in the order of `search`.

    The chain is that of `genesis`. Raises `UnusableGenesis`, and `StoreChanged` where a running replica
    replaced a file.
    """
    return [piece.evidence for piece in search(stores, genesis, checker).pieces]


def convicted(
    stores: Mapping[str, AuditedStore], genesis: Genesis, checker: SignatureChecker | None = None
) -> tuple[MemberId, ...]:
    """Return the members whom the stores convict together, ascending. Raises as `find_evidence` does."""
    return search(stores, genesis, checker).blamed


def search(
    stores: Mapping[str, AuditedStore],
    genesis: Genesis,
    checker: SignatureChecker | None = None,
    progress: Callable[[Height], None] | None = None,
) -> Discovery:
    """Look for evidence in opened stores, and tell also what could not be read.

    `checker` verifies members' signatures, `progress` is told the height reached. Raises as `find_evidence`
    does.
    """
    joined = JoinedStores(stores, genesis, progress)
    collected = _Collected(genesis)
    judge = ordering(genesis, genesis.roster()).evidence
    for found in judge.find(joined, checker or InlineChecker()):
        collected.add(found)
    faults = [fault for findings in joined.findings.values() for fault in findings.faults]
    return Discovery(
        pieces=collected.pieces(),
        left_out=collected.left_out,
        faults=tuple(faults),
        more_faults=sum(findings.more for findings in joined.findings.values()),
    )


class Place(NamedTuple):
    """Where a record lies."""

    store: str
    family: Family
    key: bytes


class JoinedStores:
    """Several stores, as an engine looks for evidence in them (`consensus.evidence.Holdings`).

    What cannot be read is noted in `findings`, and passed over.
    """

    def __init__(
        self,
        stores: Mapping[str, AuditedStore],
        genesis: Genesis,
        progress: Callable[[Height], None] | None = None,
    ) -> None:
        self.findings = {name: Findings(name) for name in stores}
        self._progress = progress
        self._stores: dict[str, AuditedStore] = {}
        # Of three contradicting statements two pairs are found, and which depends on what is read first.
        for name, store in sorted(stores.items()):
            if not read_meta(store, genesis.chain_id, self.findings[name]).foreign:
                self._stores[name] = store

    def records(self) -> Iterator[Held]:
        """Yield every record of votes and archives, store by store."""
        for name in self._stores:
            for family in (Family.VOTES, Family.ARCHIVE):
                yield from self._rows(name, family)

    def value(self, place: Place) -> bytes:
        """Return the value of a record that was yielded, again."""
        stored = self._stores[place.store].get(place.family, place.key)
        if stored is None:
            raise StoreChanged(f"{place.store}: the record {shown(place.key)} has gone")
        return unseal(place.family, place.key, stored)

    def certificates(self) -> Iterator[tuple[Height, Sequence[Held]]]:
        """Yield each height's certificates in all stores."""
        walks = [self._rows(name, Family.CERTIFICATES) for name in self._stores]
        for key, group in groupby(merge(*walks, key=_key), key=_key):
            if len(key) != HEIGHT_BYTES:
                continue
            height = Height(int.from_bytes(key, "big"))
            if self._progress is not None and height % PROGRESS_HEIGHTS == 0:
                self._progress(height)
            yield height, list(group)

    def _rows(self, name: str, family: Family) -> Iterator[Held]:
        findings = self.findings[name]
        try:
            for key, stored in self._stores[name].scan(family):
                try:
                    value = unseal(family, key, stored)
                except CorruptStore:
                    findings.add(family, None, shown(key), "the record's checksum does not hold")
                else:
                    yield Held(Place(name, family, key), key, value)
        except StoreChanged:
            raise
        except StoreError as error:
            findings.add(family, None, "records", reason(error))


def _key(held: Held) -> bytes:
    return held.key


class _Collected:
    """Pieces, each once, bounded."""

    def __init__(self, genesis: Genesis) -> None:
        self._genesis = genesis
        self._found: dict[str, _Kept] = {}
        self._bytes: dict[MemberId, list[int]] = {}
        self.left_out: dict[int, int] = {}

    def add(self, found: Found) -> None:
        contradiction = found.contradiction
        stores = {place.store for place in found.places}
        archived = len(found.places) == 1
        identity = _identity(contradiction)
        kept = self._found.get(identity)
        if kept is not None:
            kept.stores.update(stores)
            kept.archived = kept.archived or archived
            return
        member = contradiction.statements[0].signer
        size = sum(len(statement.body) for statement in contradiction.statements)
        sizes = self._bytes.setdefault(member, [])
        if sizes and (len(sizes) >= MAX_PIECES or sum(sizes) + size > MAX_PIECE_BYTES):
            self.left_out[member] = self.left_out.get(member, 0) + 1
            return
        sizes.append(size)
        self._found[identity] = _Kept(contradiction, stores, archived)

    def pieces(self) -> tuple[Piece, ...]:
        """Return them in order."""
        ordered = sorted(self._found.items(), key=_order)
        return tuple(
            Piece(
                Evidence.of(self._genesis, kept.contradiction),
                tuple(sorted(kept.stores)),
                kept.archived,
                identity,
            )
            for identity, kept in ordered
        )


class _Kept:
    """A piece that may be found again elsewhere."""

    def __init__(self, contradiction: Contradiction, stores: set[str], archived: bool) -> None:
        self.contradiction, self.stores, self.archived = contradiction, stores, archived


def _order(item: "tuple[str, _Kept]") -> tuple[int, int, int, int, str]:
    identity, kept = item
    found = kept.contradiction
    return (found.statements[0].signer, found.rank, found.view, found.sequence, identity)


def _identity(found: Contradiction) -> str:
    """Return the digest of what was said: signatures left out, for a liar can make many."""
    one, two = found.statements
    parts = (one.kind.encode(), one.body, two.kind.encode(), two.body)
    return digest("evidence piece", bytes([one.signer]), *parts).hex()
