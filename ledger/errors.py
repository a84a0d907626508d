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


class StoreLocked(StoreError):
    """Another process, or this one, has the store open already."""


class OtherChain(StoreError):
    """The store belongs to another genesis."""


class DiskFull(StoreError):
    """A write or a sync failed for want of room. Nothing of it may be counted as durable."""


class CorruptStore(StoreError):
    """What the store holds does not verify. `height` is that of the block concerned, where there is one."""

    def __init__(self, what: str, height: int | None = None) -> None:
        place = "the store is corrupt" if height is None else f"the store is corrupt at height {height}"
        super().__init__(f"{place}: {what}. {REMEDY}")
        self.what = what
        self.height = height


REMEDY = (
    "What does not verify is not served. Move the store aside, keep it for the audit, and start with an "
    "empty one and restored_from_backup = true in node.toml, for that start: the replica fetches the chain "
    "from the others, and votes again when that is safe"
)
"""What whoever runs a replica does about a corrupt store. Without its votes it must not vote at once: that is
what the setting, of its node.toml, says."""


class BlockError(LedgerError):
    """A block that is malformed, not linked, or not certified."""


class ApplicationError(LedgerError):
    """An application that cannot be loaded, does not fit the interface, or was given wrong parameters."""
