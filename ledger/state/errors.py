"""The errors of the authenticated state: ours (a store that lies, a misuse) and a peer's (a proof that
fails)."""

from enum import StrEnum

from ledger.errors import LedgerError


class StateError(LedgerError):
    """Something of the state is not what it must be."""


class CorruptState(StateError):
    """What the store holds does not hash to what the tree above it says. The replica must stop.

    `path` names the place: the hexadecimal digits that lead from the root to the node, empty for the root.
    `expected` and `actual` are readable: digests in hexadecimal, or words where something is missing.
    """

    def __init__(self, path: str, expected: str, actual: str) -> None:
        super().__init__(f"state corrupt at path {path or '(root)'}: expected {expected}, found {actual}")
        self.path = path
        self.expected = expected
        self.actual = actual


class StateLimitExceeded(StateError, ValueError):
    """A key or value that is longer than the state holds."""


class UpdateOutdated(StateError, RuntimeError):
    """An update that was already committed or discarded, or whose base is no longer the tree's state."""


class ProofCheck(StrEnum):
    """The check that a proof or chunk failed."""

    FORM = "form"
    """Not the canonical bytes of a proof, or a part of a length that no proof has."""
    LIMIT = "limit"
    """The key, the value or the whole is larger than allowed."""
    PRESENCE = "presence"
    """A proof of presence given for absence or the other way round, or a bucket that shows an absent key."""
    RANGE = "range"
    """A chunk's range or its records are out of order, or do not begin where they must."""
    ROOT = "root"
    """What the proof shows does not hash to the root."""


class ProofError(StateError, ValueError):
    """A proof or chunk does not prove what it should; `check` says which check failed."""

    def __init__(self, check: ProofCheck, detail: str) -> None:
        super().__init__(f"state proof, {check}: {detail}")
        self.check = check
