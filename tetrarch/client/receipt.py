"""`tetrarch.Receipt`: the ledger's receipt with this package's errors and a readable result.

What lives here: that translation alone. How receipts are proven stands in `ledger.receipt`.
"""

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from crypto.keys import SignatureChecker
from ledger import receipt as proven
from ledger.jsonfile import FileFault, NoFile
from ledger.receipt import Trust, Verification
from tetrarch.errors import ConfigurationError, VerificationError

R = TypeVar("R", bound="Receipt")


class Receipt(proven.Receipt):
    """The proof that a transaction was executed, with its result; it verifies without any network.

    A receipt from an open client goes on collecting signers: `save` writes those that came by then.
    """

    __slots__ = ()

    @property
    def value(self) -> Any:
        """What the application returned, decoded from JSON; `None` where it returned nothing.

        Raises `ValueError` where it is not JSON (an application of one's own: see `result.value`).
        """
        value = self.result.value
        return msgspec.json.decode(value) if value else None

    def verify(
        self, trust: Trust, *, quorum: bool = False, checker: SignatureChecker | None = None
    ) -> Verification:
        """Check everything and return what was checked (`ledger.receipt` lists the checks).

        `quorum`: ask for a quorum of members instead of as many as a client believes. Raises
        `VerificationError`.
        """
        try:
            return super().verify(trust, quorum=quorum, checker=checker)
        except proven.ReceiptFault as fault:
            raise VerificationError(fault.check, fault.expected, fault.actual, fault.passed) from None

    def save(self, path: str | Path) -> None:
        """Write the receipt to a file, durably. Raises `ConfigurationError` where that cannot be done."""
        try:
            super().save(path)
        except FileFault as fault:
            raise ConfigurationError(fault.path, fault.key, fault.what) from None

    @classmethod
    def load(cls: type[R], path: str | Path) -> R:
        """Read a receipt's file; nothing in it is believed before `verify`.

        Raises `VerificationError` for what is no receipt, `ConfigurationError` where no file can be read.
        """
        try:
            return super().load(path)
        except NoFile as fault:
            raise ConfigurationError(fault.path, fault.key, fault.what) from None
        except proven.ReceiptFault as fault:
            raise VerificationError(fault.check, fault.expected, fault.actual) from None
