"""What an audit found: faults with their place, what was and what was not checked, the verdict.

What lives here: the report's data and the bounded collection of faults. What must not be known here: how
anything is checked.
"""

from enum import IntEnum, StrEnum

from msgspec import Struct

from crypto.attestation import Height
from crypto.roster import MemberId
from ledger.keyvalue import Family

MAX_FAULTS = 100
"""One fault can bring thousands in its train; who wants to know where it began needs the first few."""

MAX_PLACES = 100_000
"""Blocks known to have faults, so that consequences elsewhere are not listed as well. With so many, that no
longer matters."""

SHOWN_BYTES = 48
"""How much of a key or value a fault shows."""


class Level(IntEnum):
    """How deep an audit goes. Each level includes those before it."""

    HEADERS = 1
    CERTIFICATES = 2
    FULL = 3

    @property
    def word(self) -> str:
        """The level as users write it: `headers`, `certificates`, `full`."""
        return self.name.lower()


class Verdict(StrEnum):
    """What an audit comes to."""

    VALID = "valid"
    """Everything that the level asks for was checked, and holds."""
    INVALID = "invalid"
    """There is a fault at least."""
    INCOMPLETE = "incomplete"
    """No fault, but the audit ended before it had checked what its level asks for."""


class Fault(Struct, frozen=True):
    """One thing that is not what it must be, and where."""

    store: str
    """The store's name: its path, usually."""
    family: str
    """The column family; `files` for RocksDB's files themselves, `resume` for the resume point."""
    height: Height | None
    """The block concerned; None where the fault belongs to no block, or where it cannot be known."""
    field: str
    """Which part, as `transactions[3].signature`."""
    what: str


class Report(Struct, frozen=True):
    """The outcome of one store's audit. `heights` count from 1; 0 stands for none."""

    verdict: Verdict
    store: str
    level: str
    height: Height
    """The last block that was found."""
    head: str
    """Its hash, in hexadecimal; that of no block is the chain id."""
    blocks: int
    """Blocks read."""
    transactions: int
    """Transactions in them."""
    certified: Height
    """Up to here every block's order was proven by commit certificates verified in this run or, where
    `not_checked` says so, in an earlier one."""
    attested: Height
    """Up to here enough members attested this very chain, results included."""
    executed: Height
    """Up to here re-execution gave the same results and states."""
    checked: tuple[str, ...]
    not_checked: tuple[str, ...]
    faults: tuple[Fault, ...]
    more_faults: int
    """Faults beyond those listed."""
    blamed: tuple[MemberId, ...]
    """Members that certainly lied."""


class Findings:
    """Collects the faults of one store. The order in which they are found is kept."""

    def __init__(self, store: str) -> None:
        self.store = store
        self.faults: list[Fault] = []
        self.more = 0
        self.blamed: set[MemberId] = set()
        self._blocks: set[tuple[str, int]] = set()

    def add(self, family: Family | str, height: int | None, field: str, what: str) -> None:
        """Note a fault. Beyond MAX_FAULTS they are only counted."""
        name = family.name.lower() if isinstance(family, Family) else family
        if height is not None and len(self._blocks) < MAX_PLACES:
            self._blocks.add((name, height))
        if len(self.faults) < MAX_FAULTS:
            place = None if height is None else Height(height)
            self.faults.append(Fault(self.store, name, place, field, what))
        else:
            self.more += 1

    def has(self, family: Family, height: int) -> bool:
        """Return whether a fault of `family` at `height` is known."""
        return (family.name.lower(), height) in self._blocks

    def __bool__(self) -> bool:
        return bool(self.faults)


def shown(data: bytes | None) -> str:
    """Return bytes as a fault shows them: text where it is printable, hexadecimal where not, cut when
    long."""
    if data is None:
        return "nothing"
    part = data[:SHOWN_BYTES]
    text = part.decode("ascii") if part.isascii() and part.decode("ascii").isprintable() else part.hex()
    return text + (f"... ({len(data)} bytes)" if len(data) > SHOWN_BYTES else "")
