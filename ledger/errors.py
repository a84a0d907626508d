"""The errors of this package."""

from ledger.refusals import RefusalCode


class LedgerError(Exception):
    """Something of the ledger is not what it must be."""


class TransactionRefused(LedgerError):
    """A transaction that is not admitted; `code` says why."""

    def __init__(self, code: RefusalCode, reason: str) -> None:
        super().__init__(f"{code.value}: {reason}")
        self.code = code
        self.reason = reason


class StoreError(LedgerError):
    """The store cannot be opened, is of another chain, or holds what does not verify."""


class BlockError(LedgerError):
    """A block that is malformed, not linked, or not certified."""
