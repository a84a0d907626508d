"""Real small stores for the audit: executed blocks, real keys, commit certificates and archived attestations.

The engine here is a stand-in with PBFT's certificate: a quorum of signatures over [view, sequence, digest].
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from crypto.attestation import ATTESTATION, Attestation, Height, HeightField, attest, attested
from crypto.batch import Millis, batch_digest, transaction_root
from crypto.codec import StrictDecoder, encode
from crypto.digest import Digest, DigestField
from crypto.errors import CertificateError, CodecError
from crypto.keys import Check, SigningKey
from crypto.roster import MemberId, Roster
from crypto.signed import (
    Certificate,
    Envelope,
    Vote,
    certificate_checks,
    certificates,
    envelope_check,
    make_certificate,
)
from ledger.application import Application, canonical_json, load_application
from ledger.audit.audit import Options, audit
from ledger.audit.reader import AuditedStore
from ledger.audit.records import EngineRecord, Judged
from ledger.audit.report import Fault, Level, Report
from ledger.block import Block, Header, block_hash
from ledger.engine_records import NOTHING, TALLY_KEY
from ledger.genesis import Genesis
from ledger.keyvalue import Change, Family, KeyValue, MemoryKeyValue
from ledger.ledger import Ledger
from ledger.store import block_changes, height_key, seal
from ledger.transaction import ParsedTransaction, parse_transaction, sign_transaction
from tests.ledger.chain_maker import START, genesis_of, key_of

COMMIT = "pbft/commit"
INTERVAL = 4
"""Blocks between archived checkpoints."""

CLIENTS = [key_of(1000 + i) for i in range(3)]
_evidence = StrictDecoder(tuple[Envelope, Envelope], 4096)


class Commit(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    view: int
    sequence: HeightField
    digest: DigestField


_commits = StrictDecoder(Commit, 256)


def quorum(n: int) -> int:
    return (n + (n - 1) // 3 + 2) // 2


class Certificates:
    """The stand-in's `CertificateVerifier`."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    def checks(self, height: Height, batch: Digest, certificate: bytes) -> Sequence[Check]:
        decoded = certificates.decode(certificate)
        commit = _commits.decode(decoded.body)
        if (commit.sequence, commit.digest) != (height, batch):
            raise CertificateError("it is not for this batch")
        return certificate_checks(self._roster, decoded, COMMIT, quorum(self._roster.n))

    def signers(self, certificate: bytes) -> tuple[MemberId, ...]:
        return tuple(vote.signer for vote in certificates.decode(certificate).votes)


class Records:
    """The stand-in's `EngineRecordsVerifier`: `s`, `checkpoint/` height, `evidence/` name, `note`."""

    acceptance = 2

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    def judge(self, record: EngineRecord) -> Judged:
        if record.key == b"note":
            if record.value != b"a vote":
                raise CodecError("it is not a vote")
            return Judged()
        if record.key.startswith(b"evidence/"):
            first, second = _evidence.decode(record.value)
            if first.signer != second.signer or attested(first).height != attested(second).height:
                raise CertificateError("no contradiction")
            checks = [envelope_check(self._roster, envelope) for envelope in (first, second)]
            return Judged(checks, height=attested(first).height, guilty=(first.signer,))
        certificate = certificates.decode(record.value)
        height = attested(certificate).height
        if record.key not in (b"s", b"checkpoint/" + height_key(height)):
            raise CertificateError("it belongs under another key")
        checks = certificate_checks(self._roster, certificate, ATTESTATION, quorum(self._roster.n))
        return Judged(checks, (certificate,), height)

    def liars(
        self, height: Height, both: tuple[bytes, bytes], records: Iterable[EngineRecord]
    ) -> tuple[MemberId, ...]:
        first, second = (certificates.decode(certificate) for certificate in both)
        if _commits.decode(first.body).view != _commits.decode(second.body).view:
            return ()
        signers = {vote.signer for vote in first.votes}
        return tuple(sorted(signers & {vote.signer for vote in second.votes}))


def commit_certificate(
    roster: Roster, height: int, batch: Digest, members: Iterable[int], view: int = 0
) -> bytes:
    body = encode(Commit(view, Height(height), batch))
    votes = tuple(
        Vote(MemberId(member), key_of(member + 1).sign(roster.signing_bytes(COMMIT, body)))
        for member in members
    )
    return encode(Certificate(COMMIT, roster.epoch, body, votes))


def attestation(roster: Roster, member: int, height: int, block: Digest) -> Envelope:
    said = Attestation(Height(height), block)
    return attest(roster, MemberId(member), key_of(member + 1), said).envelope


def checkpoint(roster: Roster, height: int, block: Digest, members: Iterable[int]) -> bytes:
    envelopes = [attestation(roster, member, height, block) for member in members]
    votes = [Vote(envelope.signer, envelope.signature) for envelope in envelopes]
    return encode(make_certificate(envelopes[0], votes))


class Maker:
    """Makes a chain, block by block, in a store."""

    def __init__(self, disk: KeyValue | None = None, n: int = 4, application: str = "assets") -> None:
        self.genesis: Genesis = genesis_of(n, application=application, checkpoint_interval=INTERVAL)
        self.roster = self.genesis.roster()
        self.application: Application = load_application(application, {})
        self.disk: KeyValue = disk if disk is not None else MemoryKeyValue()
        self.ledger = Ledger.open(self.genesis, self.application, self.disk)
        self.ledger.write_engine_records([(b"note", b"a vote")])
        self._nonce = 0
        self.archiving = True
        self.headers: list[Header] = []
        self.accounts: list[str] = []

    def transaction(
        self, payload: Mapping[str, object], signer: SigningKey = CLIENTS[0], life: int = 60_000
    ) -> ParsedTransaction:
        """A transaction that is valid until `life` ms after the next block's proposal."""
        self._nonce += 1
        until = Millis(self.proposed() + life)
        nonce = self._nonce.to_bytes(16, "big")
        raw = sign_transaction(signer, self.genesis.chain_id, nonce, until, canonical_json(payload))
        return self.parse(raw)

    def parse(self, raw: bytes) -> ParsedTransaction:
        return parse_transaction(raw, self.genesis.chain_id, self.genesis.max_transaction_bytes)

    def proposed(self) -> int:
        return START + 1000 * (self.ledger.height + 1)

    def extend(
        self,
        transactions: Sequence[ParsedTransaction] = (),
        members: Iterable[int] = (0, 1, 2),
        proposed: int | None = None,
        view: int = 0,
    ) -> Header:
        """Add a block; at every INTERVAL blocks, archive a checkpoint's certificate."""
        height, moment = self.ledger.height + 1, Millis(self.proposed() if proposed is None else proposed)
        root = transaction_root([parsed.id for parsed in transactions])
        batch = batch_digest(self.genesis.chain_id, Height(height), moment, root)
        certificate = commit_certificate(self.roster, height, batch, members, view)
        done = self.ledger.execute(Height(height), batch, moment, transactions, certificate)
        self.headers.append(done.header)
        if height % INTERVAL == 0 and self.archiving:
            self.archive_checkpoint(height, done.block_hash)
        return done.header

    def archive_checkpoint(self, height: int, block: Digest, members: Iterable[int] = (0, 1, 3)) -> None:
        value = checkpoint(self.roster, height, block, members)
        key = b"checkpoint/" + height_key(Height(height))
        self.ledger.write_engine_records([(b"s", value)], [(key, value)])

    def grow(self, blocks: int, per_block: int = 3) -> "Maker":
        """Add blocks with openings, issues, transfers, an overdraft, a repeat, an expiry and an empty
        block."""
        for _ in range(blocks):
            height = self.ledger.height + 1
            if height % 5 == 0:
                self.extend()
                continue
            work = [self._some_work(height, i) for i in range(per_block)]
            if height % 3 == 0:
                work.append(work[0])
            if height % 4 == 0:
                work.append(self.transaction({"op": "open", "account": "late"}, life=-1))
            self.extend(work)
        return self

    def _some_work(self, height: int, number: int) -> ParsedTransaction:
        client = CLIENTS[0]
        if len(self.accounts) < 2 or number == 0:
            self.accounts.append(f"a{height}-{number}")
            return self.transaction({"op": "open", "account": self.accounts[-1]}, client)
        if number == 1:
            return self.transaction({"op": "issue", "account": self.accounts[0], "amount": 5}, client)
        target = self.accounts[-1]
        amount = 1 if height % 2 else 10**6
        return self.transaction(
            {"op": "transfer", "from": self.accounts[0], "to": target, "amount": amount}, client
        )

    def audit(self, level: Level = Level.FULL, disk: AuditedStore | None = None, **options: object) -> Report:
        chosen = replace(Options(level=level, processes=1, name="s"), **options)
        store = self.disk if disk is None else disk
        return audit(store, self.genesis, Certificates(self.roster), Records(self.roster), chosen)

    def copy(self) -> MemoryKeyValue:
        """All rows, in a store of their own."""
        copy = MemoryKeyValue()
        copy.write([(family, key, value) for family in Family for key, value in self.disk.scan(family)])
        copy.sync()
        return copy

    def block(self, height: int) -> Block:
        found = self.ledger.block(Height(height))
        assert found is not None
        return found


def put_block(disk: KeyValue, block: Block, head: bool = False) -> None:
    """Write a block, sealed as if it were right; as the head too, if asked."""
    changes: list[Change] = block_changes(block, block_hash(block.header))
    disk.write([change for change in changes if head or change[0] is not Family.META])


def put_sealed(disk: KeyValue, family: Family, key: bytes, value: bytes) -> None:
    disk.write([(family, key, seal(family, key, value))])


def tally_anew(disk: KeyValue) -> None:
    """Let the tally of the engine's records be that of what is there, as a forger would."""
    tally = NOTHING
    for family in (Family.VOTES, Family.ARCHIVE):
        for _, stored in disk.scan(family):
            tally = tally.replaced(None, stored)
    disk.write([(Family.META, TALLY_KEY, tally.sealed())])


def first(report: Report) -> Fault:
    assert report.faults, "the audit found nothing"
    return report.faults[0]


def places(report: Report) -> set[tuple[str, int | None, str]]:
    return {(fault.family, fault.height, fault.field) for fault in report.faults}
