"""The engine's records: judged, verified, and what the attestations among them say of the chain.

What lives here: reading VOTES and ARCHIVE, counting attestations by distinct members, who contradicts
themselves. What must not be known here: any engine, blocks.
"""

from collections.abc import Iterator

from crypto.attestation import ATTESTATION, Height, attested
from crypto.digest import Digest
from crypto.errors import CodecError, CryptoError
from crypto.keys import Check, SignatureChecker
from crypto.roster import MemberId
from crypto.signed import Certificate, certificate_checks
from ledger.audit.inspection import SEAL
from ledger.audit.progress import Meter
from ledger.audit.reader import AuditedStore, StoreChanged
from ledger.audit.records import EngineRecord, EngineRecordsVerifier, Judged
from ledger.audit.report import Findings, shown
from ledger.audit.rows import reason
from ledger.block import blocks
from ledger.engine_records import NOTHING, TALLY_KEY, Tally
from ledger.errors import CorruptStore, StoreError, TransactionRefused
from ledger.genesis import Genesis
from ledger.keyvalue import Family
from ledger.store import SEAL_BYTES, height_key, unseal
from ledger.transaction import parse_transaction

FAMILIES = (Family.VOTES, Family.ARCHIVE)


MAX_BAD = 100_000
"""Records with faults that are remembered, so that they convict nobody. With so many none of the store's
does."""


class Attested:
    """Which members attest which block hash at which height, all signatures verified. One entry per
    checkpoint."""

    def __init__(self) -> None:
        self._said: dict[Height, dict[Digest, set[MemberId]]] = {}
        self._where: dict[Height, Family] = {}

    def add(self, certificate: Certificate, family: Family) -> None:
        """Count the members of a verified certificate."""
        said = attested(certificate)
        members = self._said.setdefault(said.height, {}).setdefault(said.block_hash, set())
        members.update(vote.signer for vote in certificate.votes)
        self._where.setdefault(said.height, family)

    def update(self, other: "Attested") -> None:
        """Count what another store's records attest as well."""
        for height, hashes in other._said.items():
            for block_hash, members in hashes.items():
                self._said.setdefault(height, {}).setdefault(block_hash, set()).update(members)
            self._where.setdefault(height, other._where[height])

    def believed(self, height: int, need: int) -> list[tuple[Digest, int]]:
        """Return the hashes that at least `need` distinct members attest at `height`, and how many do."""
        hashes = self._said.get(Height(height), {})
        return [(block_hash, len(members)) for block_hash, members in hashes.items() if len(members) >= need]

    def members(self, height: int, block_hash: Digest) -> tuple[MemberId, ...]:
        """Return who attests this block at this height, ascending."""
        return tuple(sorted(self._said.get(Height(height), {}).get(block_hash, ())))

    def above(self, height: int, need: int) -> list[tuple[Height, Family]]:
        """Return the heights above `height` that at least `need` members attest, and where that is
        recorded."""
        return [
            (place, self._where[place])
            for place in sorted(self._said)
            if place > height and self.believed(place, need)
        ]

    def contradictions(self) -> Iterator[tuple[Height, MemberId]]:
        """Yield who attests two hashes at one height: no correct member ever does."""
        for height in sorted(self._said):
            counted: dict[MemberId, int] = {}
            for members in self._said[height].values():
                for member in members:
                    counted[member] = counted.get(member, 0) + 1
            yield from ((height, member) for member in sorted(counted) if counted[member] > 1)


class RecordsAudit:
    """Checks the records of one store. `attested`, `archived` and the findings hold what came of it."""

    def __init__(
        self,
        store: AuditedStore,
        verifier: EngineRecordsVerifier | None,
        genesis: Genesis,
        checker: SignatureChecker,
        findings: Findings,
        clients: bool = False,
    ) -> None:
        """`clients`: whether clients' signatures in records are verified as well."""
        self._store = store
        self._verifier = verifier
        self._genesis = genesis
        self._roster = genesis.roster()
        self._clients = clients
        self._checker = checker
        self._findings = findings
        self.attested = Attested()
        self._bad: set[tuple[Family, bytes]] = set()

    def check(self, noted: Tally | None, meter: Meter | None = None) -> None:
        """Check all records, and that they are as many as `noted`, if that is known; without a verifier their
        seals only."""
        found: Tally | None = NOTHING
        for family in FAMILIES:
            try:
                for key, stored in self._store.scan(family):
                    sealed = self._check_record(family, key, stored)
                    found = found.replaced(None, stored) if sealed and found is not None else None
                    if meter is not None:
                        meter.advance()
            except StoreChanged:
                raise
            except StoreError as error:
                self._findings.add(family, None, "records", reason(error))
                found = None
        self._compare(noted, found)
        for height, member in self.attested.contradictions():
            self._findings.blamed.add(member)
            what = f"member {member} attests two different blocks"
            self._findings.add(Family.ARCHIVE, height, "attestation", what)

    def archived(self) -> Iterator[EngineRecord]:
        """Yield the archived records that `check` found good. Ends early where they cannot be read."""
        try:
            for key, stored in self._store.scan(Family.ARCHIVE):
                if (Family.ARCHIVE, key) not in self._bad and len(self._bad) < MAX_BAD:
                    yield EngineRecord(Family.ARCHIVE, key, unseal(Family.ARCHIVE, key, stored))
        except StoreChanged:
            raise
        except StoreError:
            return

    def _compare(self, noted: Tally | None, found: Tally | None) -> None:
        """Compare the tally with what is there, where neither is damaged: then that is a fault already."""
        if noted is not None and found is not None and noted != found:
            what = f"votes and archive have {found.records} records, {noted.records} were written"
            if noted.records == found.records:
                what = f"votes and archive have other records than the {noted.records} that were written"
            self._findings.add(Family.META, None, TALLY_KEY.decode(), what)

    def _check_record(self, family: Family, key: bytes, stored: bytes) -> bool:
        """Check one record; return whether its seal holds."""
        field = shown(key)
        try:
            record = EngineRecord(family, key, unseal(family, key, stored))
        except CorruptStore:
            what = "the record's checksum does not hold"
            self._findings.add(family, None, f"{field}.{SEAL}", what)
            self._note_bad(family, key)
            return False
        if self._verifier is None:
            return True
        height: Height | None = None
        try:
            judged = self._verifier.judge(record)
            height = judged.height
            self._check_signatures(judged)
            self._check_transactions(judged)
            for certificate in judged.attestations:
                self._count(certificate, family)
        except CryptoError as error:
            self._findings.add(family, height, field, str(error))
            self._note_bad(family, key)
            return True
        self._findings.blamed.update(judged.guilty)
        return True

    def _note_bad(self, family: Family, key: bytes) -> None:
        if len(self._bad) < MAX_BAD:
            self._bad.add((family, key))

    def _check_signatures(self, judged: Judged) -> None:
        valid = self._checker.check(judged.checks)
        if not all(valid):
            raise CryptoError(f"{valid.count(False)} of its {len(valid)} signatures do not verify")

    def _check_transactions(self, judged: Judged) -> None:
        """Check that transactions are what the record says of them, and signed by their senders."""
        if not judged.transactions:
            return
        # Those in the block are verified there: nearly all, for the record is what the block was made of.
        verified = self._in_block(judged.height)
        checks: list[Check] = []
        for held in judged.transactions:
            try:
                parsed = parse_transaction(
                    held.raw, self._genesis.chain_id, self._genesis.max_transaction_bytes
                )
            except TransactionRefused as refusal:
                raise CryptoError(f"transaction {held.id.hex()}: {refusal}") from None
            if (parsed.id, parsed.transaction.valid_until) != (held.id, held.valid_until):
                raise CryptoError(f"its bytes are not those of transaction {held.id.hex()}")
            if held.raw not in verified:
                checks.append(parsed.check)
        if self._clients and not all(self._checker.check(checks)):
            raise CryptoError("the signature of a transaction does not verify under its sender's key")

    def _in_block(self, height: Height | None) -> frozenset[bytes]:
        if height is None or not self._clients:
            return frozenset()
        try:
            stored = self._store.get(Family.BLOCKS, height_key(height))
            return frozenset(blocks.decode((stored or b"")[:-SEAL_BYTES]).transactions)
        except StoreChanged:
            raise
        except (StoreError, CodecError):  # the walk along the chain notes it
            return frozenset()

    def _count(self, certificate: Certificate, family: Family) -> None:
        """Count a certificate's attestations, its signatures verified here, whatever the engine says."""
        checks = certificate_checks(self._roster, certificate, ATTESTATION, 1)
        self._check_signatures(Judged(checks=checks))
        self.attested.add(certificate, family)
