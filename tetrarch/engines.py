"""Which ordering engines there are: the name in a genesis, and all that a node or an audit needs of one.

The one place where an engine's package is named. A crash-fault engine comes in here with its own parts.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from msgspec import Struct

from consensus.contract import Engine
from consensus.evidence import EvidenceJudge
from consensus.milestones import MilestoneReader
from consensus.quorum import Quorums
from crypto.attestation import Height
from crypto.batch import Millis
from crypto.keys import Check, Signer
from crypto.roster import MemberId, Roster
from crypto.signed import MAX_ENVELOPE_BYTES, Envelope, Signed
from ledger.audit.records import EngineRecord, EngineRecordsVerifier, HeldTransaction, Judged
from ledger.certificates import CertificateVerifier
from ledger.genesis import Genesis
from pbft import (
    CommitVerifier,
    Limits,
    Pbft,
    PbftEvidence,
    PbftMilestones,
    RecordsJudge,
    Tuning,
    largest_new_view,
)
from pbft import Door as PbftDoor


class Door(Protocol):
    """An engine's ingress: turns an envelope into a message and the signatures it stands on."""

    def open(self, envelope: Envelope) -> tuple[Signed[Any], list[Check]]:
        """Return the message and all checks, nested ones included. Raises `CryptoError`."""
        ...


class UnusableGenesis(ValueError):
    """A genesis that this version cannot run: an engine it does not have, or numbers that its engine cannot
    work with. One line."""


class Ordering(Struct, frozen=True):
    """One engine's parts, for one genesis."""

    make: Callable[[MemberId, Signer, Tuning | None, bool], Engine]
    """Member, its signer, local tuning, and whether its disk is older than its votes may be."""
    door: Door
    verifier: CertificateVerifier
    acceptance: int
    """How many matching attestations make a client believe."""
    records: EngineRecordsVerifier
    """Judges what the engine stored, for the audit."""
    evidence: EvidenceJudge
    """Knows which statements contradict each other, and finds them."""
    milestones: MilestoneReader
    """Tells from messages and records how far a batch has come."""


class PbftRecords:
    """PBFT's judge of stored records, in the audit's words."""

    def __init__(self, judge: RecordsJudge) -> None:
        self._judge = judge
        self.acceptance = judge.acceptance

    def judge(self, record: EngineRecord) -> Judged:
        """Return what `record` stands on. Raises `CryptoError` where it is not what the engine writes."""
        found = self._judge.judge(record)
        held = [HeldTransaction(each.id, each.valid_until, each.body) for each in found.requests]
        return Judged(found.checks, found.attestations, found.height, found.guilty, held)

    def liars(
        self, height: Height, certificates: tuple[bytes, bytes], records: Iterable[EngineRecord]
    ) -> tuple[MemberId, ...]:
        """Return the members that two certificates of different batches at `height` convict."""
        return self._judge.liars(height, certificates, records)


def _pbft(genesis: Genesis, roster: Roster) -> Ordering:
    if largest_new_view(roster.n, genesis.window) > MAX_ENVELOPE_BYTES:
        raise UnusableGenesis(
            f"with {roster.n} members and a checkpoint interval of {genesis.checkpoint_interval}, a NEW-VIEW"
            f" could become larger than the {MAX_ENVELOPE_BYTES // 2**20} MiB of an envelope, and views could"
            " never change: make a genesis with a shorter interval"
        )
    limits = Limits(
        checkpoint_interval=genesis.checkpoint_interval,
        window=genesis.window,
        max_batch_transactions=genesis.max_batch_transactions,
        max_batch_bytes=genesis.max_batch_bytes,
        horizon_ms=Millis(genesis.horizon_ms),
        clock_bound_ms=Millis(genesis.clock_bound_ms),
    )

    def make(member: MemberId, signer: Signer, tuning: Tuning | None, marked: bool) -> Engine:
        return Pbft(member, roster, signer, limits, tuning, marked)

    door = PbftDoor(roster, limits.window, limits.max_batch_transactions)
    records = PbftRecords(RecordsJudge(roster, limits.window, limits.max_batch_transactions))
    acceptance = Quorums.byzantine(roster.n).weak
    verifier, evidence = CommitVerifier(roster), PbftEvidence(roster)
    return Ordering(make, door, verifier, acceptance, records, evidence, PbftMilestones())


ENGINES: Mapping[str, Callable[[Genesis, Roster], Ordering]] = {"pbft": _pbft}


def ordering(genesis: Genesis, roster: Roster) -> Ordering:
    """Return the parts of the engine that `genesis` names. Raises `UnusableGenesis`."""
    make = ENGINES.get(genesis.engine)
    if make is None:
        known = ", ".join(sorted(ENGINES))
        raise UnusableGenesis(f"the genesis names the engine {genesis.engine!r}; this version has: {known}")
    return make(genesis, roster)
