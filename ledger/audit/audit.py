"""The offline audit: everything about a store computed again, on the auditor's own side.

What lives here: the stages of an audit and what its report says was and was not checked. What must not be
known here: how a stage checks, terminals, any engine.

The stages, each of which trusts nothing but the genesis, and nothing of a later one:

1. META: whose store it is, and its head.
2. The engine's records (from level certificates on): every signature; what they attest is kept for stage 3.
3. The chain: every block by itself, in worker processes; links, times, attested hashes and re-execution here.
4. INDEX and the stored state (level full), against what stage 3 computed.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from crypto.attestation import Height
from crypto.keys import InlineChecker, SignatureChecker
from ledger.application import Application, load_application
from ledger.audit.chain import Walk
from ledger.audit.engine import RecordsAudit
from ledger.audit.index import check_index, find_index_faults
from ledger.audit.inspection import BlockRow, Setup
from ledger.audit.progress import Meter, ProgressCallback
from ledger.audit.reader import AuditedStore, StoreChanged, open_for_audit
from ledger.audit.records import EngineRecordsVerifier
from ledger.audit.replay import Replay
from ledger.audit.report import Fault, Findings, Level, Report, Verdict
from ledger.audit.resume import ResumePoint, load_resume_point, save_resume_point
from ledger.audit.rows import ChainRows, last_height, read_meta
from ledger.audit.scratch import MEMORY_BYTES, ScratchState
from ledger.audit.stored import check_state_root, compare_state
from ledger.audit.workers import INLINE_BYTES, Workers, in_jobs
from ledger.certificates import CertificateVerifier
from ledger.genesis import Genesis
from ledger.keyvalue import Family
from ledger.state.tree import EMPTY_ROOT
from ledger.store import Head

SAVE_SECONDS: Final = 10.0
"""How much work an interrupted audit loses at most, about."""

SECRET_BYTES: Final = 32


class Options(Struct, frozen=True):
    """How an audit is done. Everything has a default."""

    level: Level = Level.FULL
    name: str = "store"
    """What faults call the store."""
    application: Application | None = None
    """The application; the one that the genesis names where it is None."""
    checker: SignatureChecker = InlineChecker()
    """What verifies signatures, in each process. Must be picklable."""
    processes: int = 0
    """Worker processes: 0 for as many as there are processors, 1 for none."""
    inline_bytes: int = INLINE_BYTES
    """How much of a chain is inspected without worker processes before they are started."""
    state_bytes: int = MEMORY_BYTES
    """How much of the re-executed state is held in memory; a larger one moves to a temporary directory."""
    progress: ProgressCallback | None = None
    stop: Callable[[], bool] | None = None
    """Asked between blocks; when it says yes the audit ends, incomplete."""
    resume: ResumePoint | None = None
    save: Callable[[ResumePoint], None] | None = None
    """Given a point to resume from, now and then, and at the end."""
    clock: Callable[[], float] = time.monotonic
    """Seconds, for progress alone."""


def audit(
    store: AuditedStore,
    genesis: Genesis,
    certificates: CertificateVerifier,
    records: EngineRecordsVerifier | None,
    options: Options = Options(),  # noqa: B008 - frozen
    file_faults: Sequence[Fault] = (),
) -> Report:
    """Audit `store` against `genesis`.

    `certificates` must be picklable. Without `records` the engine's records are left out, and the report
    says so; `file_faults` are those that opening the store found. Never raises for what the store holds.
    Raises `KeyRefused` for a genesis whose members' keys may not be registered, and `ApplicationError`.
    """
    with ScratchState(options.state_bytes) as scratch:
        return _Audit(store, genesis, certificates, records, options, file_faults, scratch).run()


def audit_path(
    path: Path,
    genesis: Genesis,
    certificates: CertificateVerifier,
    records: EngineRecordsVerifier | None,
    options: Options = Options(),  # noqa: B008 - frozen
    resume: Path | None = None,
) -> Report:
    """Audit the store in directory `path`, which may belong to a running replica, and is not changed.

    `resume` is the file to go on from, where it exists, and to note progress in. Raises `StoreError` where
    there is no store, `FileFault` for the resume file, and what `audit` raises.
    """
    if resume is not None:
        options = replace(options, resume=load_resume_point(resume), save=_saving(resume))
    with open_for_audit(path, options.name) as opened:
        if opened.store is None:
            return _unreadable(options, opened.faults)
        return audit(opened.store, genesis, certificates, records, options, opened.faults)


def _saving(path: Path) -> Callable[[ResumePoint], None]:
    def save(point: ResumePoint) -> None:
        save_resume_point(path, point)

    return save


def _unreadable(options: Options, faults: Sequence[Fault]) -> Report:
    """The report on a store whose files cannot be opened at all."""
    return Report(
        verdict=Verdict.INVALID,
        store=options.name,
        level=options.level.word,
        height=Height(0),
        head="",
        blocks=0,
        transactions=0,
        certified=Height(0),
        attested=Height(0),
        executed=Height(0),
        checked=(),
        not_checked=("everything: the store's files cannot be opened",),
        faults=tuple(faults),
        more_faults=0,
        blamed=(),
    )


class _Audit:
    """One audit, from its first stage to its report."""

    def __init__(
        self,
        store: AuditedStore,
        genesis: Genesis,
        certificates: CertificateVerifier,
        records: EngineRecordsVerifier | None,
        options: Options,
        file_faults: Sequence[Fault],
        scratch: ScratchState,
    ) -> None:
        self._store, self._genesis, self._options, self._scratch = store, genesis, options, scratch
        self._level = options.level
        self._findings = Findings(options.name)
        self._findings.faults += file_faults
        self._records = records
        clients = options.level is Level.FULL
        self._records_audit = RecordsAudit(store, records, genesis, options.checker, self._findings, clients)
        secret = secrets.token_bytes(SECRET_BYTES)
        self._setup = Setup(genesis, self._level, certificates, options.checker, secret)
        self._replay = Replay(self._application(), scratch) if self._level is Level.FULL else None
        self._walk = Walk(
            genesis,
            self._findings,
            self._records_audit.attested,
            None if records is None else records.acceptance,
            self._replay,
            options.resume,
        )
        self._last = Height(0)
        self._interrupted = ""
        self._foreign = ""
        self._index_skipped = False
        self._saved = options.clock()

    def run(self) -> Report:
        """Do all stages."""
        try:
            self._stages()
        except StoreChanged as error:
            self._interrupted = str(error)
        return self._report()

    def _stages(self) -> None:
        meta = read_meta(self._store, self._genesis.chain_id, self._findings)
        self._foreign = meta.foreign
        if self._foreign:
            return
        head = meta.head
        self._last = last_height(self._store, head)
        if self._level >= Level.CERTIFICATES:
            meter = self._meter("records", "records", 0)
            self._records_audit.check(meta.tally, meter)
            meter.finish()
        self._walk_chain()
        if self._interrupted:
            return
        self._check_head(head)
        self._check_ends()
        if self._replay is not None:
            self._check_index()
            self._check_state()

    def _application(self) -> Application:
        genesis = self._genesis
        return self._options.application or load_application(genesis.application, dict(genesis.parameters))

    def _meter(self, stage: str, unit: str, total: int) -> Meter:
        return Meter(self._options.progress, self._options.clock, stage, unit, total)

    def _walk_chain(self) -> None:
        walk, meter = self._walk, self._meter("blocks", "blocks", self._last)
        with Workers(self._setup, self._options.processes, self._options.inline_bytes) as workers:
            for job, inspected in workers.run(in_jobs(self._rows())):
                for row, result in zip(job, inspected, strict=True):
                    walk.take(row, result)
                    meter.advance(1, result.transactions)
                self._save()
        self._save(now=True)
        meter.finish()

    def _rows(self) -> Iterator[BlockRow]:
        trusted = self._trusted_height()
        reads_certificates = self._level >= Level.CERTIFICATES
        for row in ChainRows(self._store, self._last, reads_certificates, self._findings):
            if self._options.stop is not None and self._options.stop():
                self._interrupted = f"it was stopped before height {row.height}"
                return
            yield row._replace(trusted=row.height <= trusted)

    def _trusted_height(self) -> int:
        """Return up to where an earlier run, on this chain and at least as deep, verified signatures."""
        point = self._options.resume
        if point is None:
            return 0
        if point.chain_id != self._genesis.chain_id.hex():
            what = f"the resume point is of chain {point.chain_id}"
            self._findings.add("resume", None, "chain_id", what)
            return 0
        return point.height if point.level >= self._level else 0

    def _save(self, now: bool = False) -> None:
        """Note how far the audit came without a fault."""
        save, tail, moment = self._options.save, self._walk.tail, self._options.clock()
        if save is None or self._findings or tail is None or not tail.height:
            return
        if now or moment - self._saved >= SAVE_SECONDS:
            self._saved = moment
            chain = self._genesis.chain_id.hex()
            save(ResumePoint(chain, self._level, Height(tail.height), tail.hash))

    def _check_head(self, head: Head | None) -> None:
        tail = self._walk.tail
        if head is None:
            return
        if head.height != self._last:
            what = f"it says {head.height}, the last block is {self._last}"
            self._findings.add(Family.META, self._last, "head.height", what)
        elif tail is not None and tail.height == self._last and head.block_hash != tail.hash:
            what = f"it says {head.block_hash.hex()}, the last block hashes to {tail.hash.hex()}"
            self._findings.add(Family.META, self._last, "head.block_hash", what)

    def _check_ends(self) -> None:
        """A chain that ends below what its own records attest, or an earlier run saw, has lost its end."""
        if self._records is not None and self._level >= Level.CERTIFICATES:
            above = self._records_audit.attested.above(self._last, self._records.acceptance)
            for height, family in above:
                what = f"enough members attest this height, the chain ends at {self._last}"
                self._findings.add(family, height, "attestation", what)
        point = self._options.resume
        if point is not None and point.height > self._last:
            what = f"an earlier run saw height {point.height}, the chain ends at {self._last}"
            self._findings.add("resume", point.height, "height", what)

    def _check_index(self) -> None:
        walk = self._walk
        meter = self._meter("index", "transactions", walk.indexed)
        expected = (walk.indexed, walk.fingerprint)
        if not check_index(self._store, self._setup.secret, expected, meter):
            self._index_skipped = find_index_faults(self._store, self._last, walk.indexed, self._findings)
        meter.finish()

    def _check_state(self) -> None:
        replay, tail = self._replay, self._walk.tail
        meter = self._meter("state", "keys", 0)
        if replay is not None and replay.height == self._last:
            compare_state(self._store, self._scratch, self._last, self._findings, meter)
            check_state_root(self._store, replay.root, self._last, self._findings)
        elif tail is not None:
            root = EMPTY_ROOT if tail.header is None else tail.header.state_root
            check_state_root(self._store, root, self._last, self._findings)
        meter.finish()

    def _report(self) -> Report:
        walk, findings = self._walk, self._findings
        checked, left = self._coverage()
        tail = walk.tail
        executed = Height(0) if self._replay is None else self._replay.height
        known = tail is not None and tail.height == walk.height and not self._foreign
        verdict = Verdict.INCOMPLETE if self._interrupted else Verdict.VALID
        return Report(
            verdict=Verdict.INVALID if findings else verdict,
            store=self._options.name,
            level=self._level.word,
            height=walk.height,
            head=tail.hash.hex() if known and tail is not None else "",
            blocks=walk.blocks,
            transactions=walk.transactions,
            certified=walk.certified,
            attested=walk.attested,
            executed=executed,
            checked=tuple(checked),
            not_checked=tuple(left),
            faults=tuple(_placed(fault, self._last) for fault in findings.faults),
            more_faults=findings.more,
            blamed=tuple(sorted(findings.blamed)),
        )

    def _coverage(self) -> tuple[list[str], list[str]]:
        """Return what was checked and what was not, in the words that docs/audit.md explains."""
        if self._foreign:
            return ["chain"], [f"everything else: {self._foreign}"]
        level, attested = self._level, self._walk.attested
        checked, left = list(_HEADERS), []
        if self._interrupted:
            left.append(f"blocks above height {self._reached()}: {self._interrupted}")
        if level >= Level.CERTIFICATES:
            checked.append("certificates")
            (left if self._records is None else checked).extend(_RECORDS)
            if attested:
                checked.append(f"attestations up to height {attested}")
        else:
            left += ["certificates", *_RECORDS]
        if attested < self._last:
            left.append(f"attestations above height {attested}")
        trusted = min(self._trusted_height(), self._last)
        if trusted and level >= Level.CERTIFICATES:
            left.append(f"signatures up to height {trusted}: an earlier run verified them")
        if self._replay is None:
            left += _CONTENTS
            left.append(f"results above height {attested}" if attested else "results")
            left += _STATE
        else:
            checked += _CONTENTS
            self._cover_results(self._replay, checked, left)
        return checked, left

    def _cover_results(self, replay: Replay, checked: list[str], left: list[str]) -> None:
        if replay.height == self._last:
            checked.append("results")
        else:
            left.append(f"results above height {replay.height}")
        if self._interrupted:
            left += _STATE
            return
        checked += _STATE
        if replay.height < self._last:
            left.append("stored state by re-execution")
        if self._index_skipped:
            left.append("index of blocks with faults")

    def _reached(self) -> int:
        tail = self._walk.tail
        return 0 if tail is None else tail.height


_HEADERS = ("chain", "head", "headers", "links", "times", "batch digests")
_RECORDS = ("votes", "archive")
_CONTENTS = ("transactions", "client signatures", "transaction roots", "result roots")
_STATE = ("index", "stored state")


def _placed(fault: Fault, last: Height) -> Fault:
    """Say where a damaged log hurts: behind the last block that could be read."""
    if fault.height is None and fault.field.endswith(".log"):
        return replace(fault, height=Height(last + 1))
    return fault
