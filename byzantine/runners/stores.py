"""What honest members of a real network left behind: their stores and logs.

What lives here: chains, audits, and what logs tell. What must not be known here: how the run went.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from msgspec import DecodeError
from msgspec.json import Decoder

from byzantine.runners.simulated import LedgerChain
from ledger.application import load_application
from ledger.audit.audit import Options
from ledger.audit.report import Report, Verdict
from ledger.genesis import Genesis
from ledger.keyvalue import RocksKeyValue
from ledger.ledger import Ledger
from tetrarch.auditing import audit_store, search_stores

VIEWS = ("view_active", "view_change", "started")
"""Events that name the view a replica is in, or on its way to."""

_events = Decoder(dict[str, object])


@contextmanager
def opened_chain(store: Path, genesis: Genesis) -> Iterator[LedgerChain]:
    """The chain in the store of a replica that has ended. Raises `StoreError`."""
    with ExitStack() as stack:
        disk = RocksKeyValue.open(store)
        stack.callback(disk.close)
        application = load_application(genesis.application, dict(genesis.parameters))
        yield LedgerChain(Ledger.open(genesis, application, disk))


def audited(store: Path, genesis: Genesis) -> Report:
    """Return what the audit says of a store. Raises `ConfigurationError`."""
    return audit_store(store, genesis, Options(processes=1))


def faults(report: Report) -> list[str]:
    """Return what is wrong according to an audit, in words."""
    if report.verdict is Verdict.VALID:
        return []
    found = [f"{fault.family} {fault.height or ''} {fault.field}: {fault.what}" for fault in report.faults]
    return found or [f"the audit calls it {report.verdict}"]


class Proof(NamedTuple):
    """What the stores of several replicas prove."""

    held: dict[int, set[str]]
    """Against whom a replica holds proof that it saw by itself, and of what."""
    convicted: frozenset[int]
    """Whom all stores together convict, where each may hold half of the proof."""


def proof_in(stores: Sequence[Path], genesis: Path) -> Proof:
    """Return what stores prove of members. Raises `ConfigurationError`."""
    found = search_stores(stores, genesis)
    held: dict[int, set[str]] = {}
    for piece in found.pieces:
        if piece.archived:
            held.setdefault(int(piece.evidence.member), set()).add(piece.evidence.what)
    return Proof(held, frozenset(map(int, found.blamed)))


def highest_view(log: Path) -> int:
    """Return the highest view that the log of a replica names, over all its lives."""
    highest = 0
    for file in log.parent.glob(f"{log.name}*"):
        for line in file.read_bytes().splitlines():
            with suppress(DecodeError):  # the last line of a process that was killed
                event = _events.decode(line)
                if event.get("event") in VIEWS and isinstance(view := event.get("view"), int):
                    highest = max(highest, view)
    return highest
