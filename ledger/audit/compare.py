"""Comparing stores: the same hash at every height, or where they part, and who lied.

What lives here: walking several chains side by side, the sides of the first difference, blame. What must
not be known here: whether one store by itself is sound: that is what its own audit says.

Blame needs proof. A member is named only where it certainly lied: its verified attestations name two blocks
at one height, or the engine says that two verified certificates convict it. Being among those who certified
two different batches is not enough by itself: across views a correct member may rightly be.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from crypto.attestation import Height
from crypto.batch import batch_digest
from crypto.digest import ChainId, Digest
from crypto.errors import CodecError, CryptoError
from crypto.keys import InlineChecker, SignatureChecker
from crypto.roster import MemberId
from ledger.audit.engine import Attested, RecordsAudit
from ledger.audit.progress import Meter
from ledger.audit.reader import AuditedStore, StoreChanged
from ledger.audit.records import EngineRecordsVerifier
from ledger.audit.report import Fault, Findings, Verdict
from ledger.audit.rows import ChainRows, last_height, read_meta
from ledger.block import Header, block_hash, blocks
from ledger.certificates import CertificateVerifier
from ledger.errors import CorruptStore, StoreError
from ledger.genesis import Genesis
from ledger.keyvalue import Family
from ledger.store import height_key, unseal

BLAMED_HEIGHTS: Final = 100
"""Conflicting certificates are looked at for so many heights from the first difference on: whoever forked a
chain is found at its beginning."""


class Side(Struct, frozen=True):
    """What some of the stores hold at the height where they part."""

    block_hash: str
    """Hexadecimal; empty where the block cannot be read."""
    stores: tuple[str, ...]
    certified: bool
    """Whether one of them has a certificate for this batch, all signatures verified."""
    attested_by: tuple[MemberId, ...]
    """Who attests this very block, by all the stores' records."""


class Difference(Struct, frozen=True):
    """Where stores part."""

    height: Height
    fields: tuple[str, ...]
    """Which fields of the header differ: with `batch` the order does, without it only what came of it."""
    sides: tuple[Side, ...]


class Comparison(Struct, frozen=True):
    """What comparing stores came to."""

    verdict: Verdict
    """`invalid` where two stores differ at one height, or a member contradicts itself."""
    heights: Mapping[str, Height]
    """Each store's last block."""
    same_up_to: Height
    """Two stores at least reach so far, and all that do hold the same blocks up to here."""
    difference: Difference | None
    faults: tuple[Fault, ...]
    blamed: tuple[MemberId, ...]


class _Chain:
    """One store, read by height."""

    def __init__(self, name: str, store: AuditedStore, chain_id: ChainId) -> None:
        self.name = name
        self.store = store
        self._chain_id = chain_id
        findings = Findings(name)
        self.last = last_height(store, read_meta(store, chain_id, findings).head)

    def rows(self) -> ChainRows:
        """Return the blocks that are there, in order."""
        return ChainRows(self.store, self.last, False, Findings(self.name))

    def header(self, height: int) -> Header | None:
        """Return the header stored at a height; None where there is none that can be read."""
        return _header(height, self._stored(Family.BLOCKS, height))

    def certificate(self, height: int) -> bytes | None:
        """Return the certificate stored for a height; None where there is none that can be read."""
        stored = self._stored(Family.CERTIFICATES, height)
        return None if stored is None else _unsealed(Family.CERTIFICATES, height, stored)

    def batch(self, header: Header) -> Digest:
        """Return the digest of the batch that a header is about."""
        return batch_digest(self._chain_id, header.height, header.proposed, header.transaction_root)

    def _stored(self, family: Family, height: int) -> bytes | None:
        try:
            return self.store.get(family, height_key(Height(height)))
        except StoreChanged:
            raise
        except StoreError:
            return None


def _header(height: int, stored: bytes | None) -> Header | None:
    value = None if stored is None else _unsealed(Family.BLOCKS, height, stored)
    try:
        return None if value is None else blocks.decode(value).header
    except CodecError:
        return None


def _unsealed(family: Family, height: int, stored: bytes) -> bytes | None:
    try:
        return unseal(family, height_key(Height(height)), stored)
    except CorruptStore:
        return None


def compare(
    stores: Mapping[str, AuditedStore],
    genesis: Genesis,
    certificates: CertificateVerifier,
    records: EngineRecordsVerifier,
    checker: SignatureChecker | None = None,
    meter: Meter | None = None,
) -> Comparison:
    """Compare the chains in `stores`, by name. Each store's own soundness is for `audit` to say.

    Raises `StoreChanged` where a running replica replaced a file. `meter` counts heights.
    """
    return _Comparing(stores, genesis, certificates, records, checker or InlineChecker()).run(meter)


class _Comparing:
    def __init__(
        self,
        stores: Mapping[str, AuditedStore],
        genesis: Genesis,
        certificates: CertificateVerifier,
        records: EngineRecordsVerifier,
        checker: SignatureChecker,
    ) -> None:
        self._chains = [_Chain(name, store, genesis.chain_id) for name, store in stores.items()]
        self._certificates, self._records, self._checker = certificates, records, checker
        self._findings = Findings(" / ".join(stores))
        self._attested = Attested()
        self._judged: list[RecordsAudit] = []
        for chain in self._chains:
            own = Findings(chain.name)
            judged = RecordsAudit(chain.store, records, genesis, checker, own)
            judged.check(None)
            self._attested.update(judged.attested)
            self._findings.blamed |= own.blamed
            self._judged.append(judged)

    def run(self, meter: Meter | None) -> Comparison:
        """Find the first difference, and who is to blame."""
        for place, member in self._attested.contradictions():
            self._findings.blamed.add(member)
            what = f"member {member} attests two different blocks"
            self._findings.add(Family.ARCHIVE, place, "attestation", what)
        same = 0
        difference: Difference | None = None
        for height, headers in self._side_by_side():
            sides: dict[Digest | None, list[_Chain]] = {}
            for chain, header in headers:
                sides.setdefault(None if header is None else block_hash(header), []).append(chain)
            if len(sides) > 1:
                difference = self._difference(height, sides)
                self._blame_from(height)
                break
            if len(headers) > 1:
                same = height
            if meter is not None:
                meter.advance()
        return Comparison(
            verdict=Verdict.INVALID if self._findings else Verdict.VALID,
            heights={chain.name: chain.last for chain in self._chains},
            same_up_to=Height(same),
            difference=difference,
            faults=tuple(self._findings.faults),
            blamed=tuple(sorted(self._findings.blamed)),
        )

    def _side_by_side(self) -> Iterator[tuple[int, list[tuple[_Chain, Header | None]]]]:
        """Yield each height at which a store has a block, with the header of every store that reaches so
        far."""
        walks = [iter(chain.rows()) for chain in self._chains]
        ahead = [next(walk, None) for walk in walks]
        while any(ahead):
            height = min(row.height for row in ahead if row is not None)
            headers: list[tuple[_Chain, Header | None]] = []
            for at, (chain, row) in enumerate(zip(self._chains, ahead, strict=True)):
                if row is not None and row.height == height:
                    headers.append((chain, _header(height, row.block)))
                    ahead[at] = next(walks[at], None)
                elif chain.last >= height:
                    headers.append((chain, None))
            yield height, headers

    def _difference(self, height: int, sides: dict[Digest | None, list[_Chain]]) -> Difference:
        shown: list[Side] = []
        for hashed, chains in sides.items():
            attesting = () if hashed is None else self._attested.members(height, hashed)
            certified = any(self._certified(chain, height) is not None for chain in chains)
            names = tuple(chain.name for chain in chains)
            shown.append(Side("" if hashed is None else hashed.hex(), names, certified, attesting))
        fields = _differing([chains[0].header(height) for chains in sides.values()])
        parts = "; ".join(f"{', '.join(side.stores)}: {side.block_hash or 'unreadable'}" for side in shown)
        what = f"the stores part here ({', '.join(fields) or 'a block cannot be read'}): {parts}"
        self._findings.add(Family.BLOCKS, height, "header", what)
        return Difference(Height(height), fields, tuple(shown))

    def _certified(self, chain: _Chain, height: int) -> tuple[Digest, bytes] | None:
        """Return a store's batch at a height with its certificate, if that verifies."""
        header, certificate = chain.header(height), chain.certificate(height)
        if header is None or certificate is None:
            return None
        batch = chain.batch(header)
        try:
            checks = self._certificates.checks(Height(height), batch, certificate)
        except CryptoError:
            return None
        return (batch, certificate) if checks and all(self._checker.check(checks)) else None

    def _blame_from(self, first: int) -> None:
        for height in range(first, first + BLAMED_HEIGHTS):
            for one, other in self._conflicts(height):
                members = self._liars(height, one, other)
                if members:
                    self._findings.blamed.update(members)
                    names = ", ".join(map(str, members))
                    what = f"members {names} certified two different batches"
                else:
                    what = "two different batches are certified; the records convict nobody"
                self._findings.add(Family.CERTIFICATES, height, "certificate", what)

    def _conflicts(self, height: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield pairs of verified certificates of different batches at one height."""
        proven: dict[Digest, list[bytes]] = {}
        for chain in self._chains:
            found = self._certified(chain, height) if chain.last >= height else None
            if found is not None:
                proven.setdefault(found[0], []).append(found[1])
        groups = list(proven.values())
        for at, group in enumerate(groups):
            for others in groups[at + 1 :]:
                yield from ((one, other) for one in group for other in others)

    def _liars(self, height: int, one: bytes, other: bytes) -> Sequence[MemberId]:
        archived = (record for judged in self._judged for record in judged.archived())
        try:
            return self._records.liars(Height(height), (one, other), archived)
        except CryptoError as error:
            self._findings.add(Family.ARCHIVE, height, "records", str(error))
            return ()


def _differing(headers: Sequence[Header | None]) -> tuple[str, ...]:
    """Return the names of the fields in which headers differ, the causes before their effects."""
    present = [header for header in headers if header is not None]
    if len(present) < len(headers):
        return ()
    return tuple(
        name for name in Header.__struct_fields__ if len({getattr(header, name) for header in present}) > 1
    )
