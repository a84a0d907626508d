"""What the audit needs of an ordering engine: how its opaque records are judged, and who lied.

What lives here: the protocol that each engine implements beside `ledger.certificates.CertificateVerifier`.
What must not be known here: any engine.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from msgspec import Struct

from crypto.attestation import Height
from crypto.batch import Millis, TxId
from crypto.keys import Check
from crypto.roster import MemberId
from crypto.signed import Certificate
from ledger.keyvalue import Family


class EngineRecord(NamedTuple):
    """One record of the engine's, its seal taken off. `family` is VOTES or ARCHIVE."""

    family: Family
    key: bytes
    value: bytes


class HeldTransaction(NamedTuple):
    """A transaction that a record holds, and what it says of it."""

    id: TxId
    valid_until: Millis
    raw: bytes


class Judged(Struct, frozen=True):
    """What a well-formed record stands on, and what it says."""

    checks: Sequence[Check] = ()
    """Every signature in it, nested ones included. All must hold."""
    attestations: Sequence[Certificate] = ()
    """The attestations in it, whose signatures are among `checks`: the audit holds them against the chain."""
    height: Height | None = None
    """The block that it is about, for people."""
    guilty: tuple[MemberId, ...] = ()
    """Members that this record proves to have lied, once its checks hold: evidence that was archived."""
    transactions: Sequence[HeldTransaction] = ()
    """Clients' transactions in it: the audit verifies that they are what the record says of them."""


class EngineRecordsVerifier(Protocol):
    """Judges an engine's records, and what two of its certificates prove together. Implemented by each
    engine."""

    @property
    def acceptance(self) -> int:
        """How many members' matching attestations prove a result: more than may be faulty."""
        ...

    def judge(self, record: EngineRecord) -> Judged:
        """Return what `record` stands on. Raises `CryptoError` where it is not what the engine writes: key,
        form, members, epoch, kind, or a statement that its place contradicts."""
        ...

    def liars(
        self, height: Height, certificates: tuple[bytes, bytes], records: Iterable[EngineRecord]
    ) -> tuple[MemberId, ...]:
        """Return the members that certainly lied, given two verified certificates of different batches at
        `height`.

        `records` are all archived records of both stores, judged and verified. Only members that no correct
        one could be among: with PBFT, who signed COMMITs for both in one view; across views the VIEW-
        CHANGEs tell, for a correct member may rightly have signed both.
        """
        ...
