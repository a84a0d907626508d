"""The bank's books, kept a second time: what the ledger's order of transactions must have led to.

What lives here: the rules of `assets` in their shortest form, applied to the blocks that a client followed.
What must not be known here: how the ledger executes. That both agree is the point.
"""

from collections.abc import Mapping
from typing import Any

from crypto.attestation import Height
from crypto.batch import TxId
from ledger.result import ResultCode
from tetrarch.client.following import BlockEvent


class BooksDiffer(RuntimeError):
    """The ledger and the books disagree. One line that says where."""


class Books:
    """Accounts and executed transactions, taken from blocks in their order."""

    def __init__(self) -> None:
        self.balances: dict[str, int] = {}
        self.executed: dict[TxId, Height] = {}
        self.repeats = 0
        """Markers of transactions that came twice and were not executed again."""

    def add(self, block: BlockEvent) -> None:
        """Enter a block. Raises `BooksDiffer`."""
        for transaction in block.transactions:
            if not transaction.result.executed:
                self.repeats += 1
                continue
            if transaction.tx_id in self.executed:
                first = self.executed[transaction.tx_id]
                raise BooksDiffer(
                    f"{transaction.tx_id.hex()} was executed at height {first} and again at {block.height}"
                )
            self.executed[transaction.tx_id] = block.height
            possible = self._apply(transaction.value)
            if possible != (transaction.result.code is ResultCode.OK):
                raise BooksDiffer(
                    f"{transaction.tx_id.hex()} at height {block.height}: the ledger says"
                    f" {transaction.result.code.value}, the books say {'ok' if possible else 'failed'}"
                )

    def _apply(self, operation: Mapping[str, Any]) -> bool:
        """Enter one operation; returns whether it is possible."""
        match operation:
            case {"op": "open", "account": account}:
                possible = account not in self.balances
                self.balances.setdefault(account, 0)
                return possible
            case {"op": "issue", "account": account, "amount": amount}:
                if account in self.balances:
                    self.balances[account] += amount
                return account in self.balances
            case {"op": "transfer", "from": source, "to": target, "amount": amount}:
                if target not in self.balances or self.balances.get(source, -1) < amount:
                    return False
                self.balances[source] -= amount
                self.balances[target] += amount
                return True
        raise BooksDiffer(f"an operation that nobody submitted: {dict(operation)}")
