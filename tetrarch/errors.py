"""The errors of the public API: one family, `TetrarchError`.

What lives here: the errors and what a caller may conclude from each. What must not be known here: how they
come about; nothing is imported but the types of what they carry.

| error | the transaction, if there is one | what to do |
|---|---|---|
| `Rejected` | was never executed, and these bytes never will be | correct it |
| `Expired` | was not executed, and never will be | submit anew, under another key |
| `OutcomeUnknown` | may or may not be executed | the same call with the same idempotency key |
| `Unreachable` | was sent to nobody, by this call | try again later |
| `NotEnoughReplies` | as before (reads, questions, look-ups) | try again later |
| `IdempotencyConflict` | the key stands for another transaction | another key |
| `VerificationError`, `ForkDetected` | nothing may be concluded | show it to whoever runs the network |
| `ConfigurationError` | | correct the file or value |
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tetrarch.client.evidence import ForkEvidence
    from tetrarch.client.receipt import Receipt


class TetrarchError(Exception):
    """The base of all errors that this package raises for what others did or gave."""


class Rejected(TetrarchError):
    """A weak quorum of replicas refuse exactly these bytes for good; `code` is one of `RefusalCode`.

    For a question to the application it is `invalid`, and there is no transaction.
    """

    def __init__(self, code: str, reason: str, tx_id: bytes = b"") -> None:
        super().__init__(f"{code}: {reason}" if reason else code)
        self.code = code
        self.reason = reason
        self.tx_id = tx_id


class OutcomeUnknown(TetrarchError, TimeoutError):
    """The time was up before the outcome was known. Safe to repeat with the same idempotency key."""

    def __init__(self, tx_id: bytes, why: str = "") -> None:
        super().__init__(f"the outcome of {tx_id.hex()} is not known yet" + (f": {why}" if why else ""))
        self.tx_id = tx_id
        self.why = why


class Expired(TetrarchError):
    """The transaction's valid_until has passed on the ledger, and it was not executed."""

    def __init__(self, tx_id: bytes, receipt: "Receipt | None" = None) -> None:
        super().__init__(f"{tx_id.hex()} expired and was not executed")
        self.tx_id = tx_id
        self.receipt = receipt
        """The proof, where the transaction stands in a block as expired; else the replicas' word for it."""


class NotEnoughReplies(TetrarchError):
    """Replicas were reached, but in time only `got` of them answered in a way that counts."""

    def __init__(self, got: int, need: int, why: str = "") -> None:
        super().__init__(f"{got} replies, {need} are needed" + (f": {why}" if why else ""))
        self.got = got
        self.need = need
        self.why = why


class Unreachable(TetrarchError, ConnectionError):
    """Too few replicas could be reached."""

    def __init__(self, reached: int, need: int, causes: Sequence[str] = ()) -> None:
        detail = "".join(f"; {cause}" for cause in causes)
        super().__init__(f"{reached} replicas could be reached, {need} are needed{detail}")
        self.reached = reached
        self.need = need
        self.causes = tuple(causes)


class VerificationError(TetrarchError):
    """A proof does not hold. `check` names what failed; `passed` are the checks that held before it."""

    def __init__(self, check: str, expected: str, actual: str, passed: Sequence[object] = ()) -> None:
        super().__init__(f"{check}: expected {expected}, found {actual}")
        self.check = check
        self.expected = expected
        self.actual = actual
        self.passed = tuple(passed)


class ForkDetected(TetrarchError):
    """Enough members vouch for two chains that exclude each other: more than f are malicious."""

    def __init__(self, evidence: "ForkEvidence") -> None:
        super().__init__(str(evidence))
        self.evidence = evidence


class IdempotencyConflict(TetrarchError, ValueError):
    """The idempotency key was used before, for something else."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(f"idempotency key {key!r}: {what}")
        self.key = key
        self.what = what


class ConfigurationError(TetrarchError, ValueError):
    """A configuration, key, outbox or genesis file that cannot be used. One line: file, the line in
    it where that is known, key, reason."""

    def __init__(self, path: Path, key: str, what: str, line: int | None = None) -> None:
        where = [str(path), f"line {line}" if line else "", key]
        super().__init__(": ".join([*filter(None, where), what]))
        self.path = path
        self.key = key
        self.what = what
        self.line = line
