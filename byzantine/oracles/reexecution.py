"""Every block executed anew, from the empty state: what an application without a model is judged by.

What lives here: the second execution, and what is wrong with the first. What must not be known here: any
application, and who holds the blocks.

Each transaction is given an application made for it alone: what one keeps in itself, beside the state, is
lost at a restart, and so must make no difference.
"""

from collections.abc import Iterable

from crypto.digest import Digest
from ledger.application import ApplicationContext, StateReader, StateView, load_application
from ledger.block import Block
from ledger.genesis import Genesis
from ledger.keyvalue import MemoryKeyValue
from ledger.ledger import Executed, Ledger
from ledger.result import Result, ResultCode, results
from ledger.transaction import parse_transaction

SHOWN = 60
"""Characters of a result in words."""


class Forgetful:
    """A genesis' application, made anew for every call (`ledger.application.Application`)."""

    def __init__(self, genesis: Genesis) -> None:
        """Raises `ApplicationError`."""
        self._name, self._parameters = genesis.application, dict(genesis.parameters)
        load_application(self._name, self._parameters)

    def check(self, payload: bytes) -> None:
        """Raise `Invalid` for a payload that no state would allow."""
        load_application(self._name, self._parameters).check(payload)

    def execute(self, context: ApplicationContext, payload: bytes, state: StateView) -> bytes:
        """Carry out `payload`."""
        return load_application(self._name, self._parameters).execute(context, payload, state)

    def query(self, question: bytes, state: StateReader) -> bytes:
        """Answer a question."""
        return load_application(self._name, self._parameters).query(question, state)


def first_difference(genesis: Genesis, chain: Iterable[tuple[Block, Digest]]) -> str | None:
    """Return what is wrong with the first block that comes out otherwise, in words; `None` for none.

    `chain`: blocks from the first on, each with the hash that it is known by. Raises `ApplicationError`.
    """
    ledger = Ledger.open(genesis, Forgetful(genesis), MemoryKeyValue())
    for block, known_as in chain:
        header = block.header
        parsed = [parse_transaction(raw, genesis.chain_id, len(raw)) for raw in block.transactions]
        again = ledger.execute(header.height, header.batch, header.proposed, parsed, b"")
        if again.block_hash != known_as:
            return f"block {header.height}: {_difference(block, again)}"
    return None


def _difference(block: Block, again: Executed) -> str:
    for tx_id, first, second in zip(again.ids, block.results, again.results, strict=True):
        if first != second:
            return f"{tx_id.hex()[:12]} came to {_in_words(first)}, and executed anew to {_in_words(second)}"
    if block.header.state_root != again.header.state_root:
        return "executed anew its transactions have the same results, and leave another state"
    return "its header is another one when it is executed anew"


def _in_words(raw: bytes) -> str:
    result: Result = results.decode(raw)
    said = result.value.decode("utf-8", "replace") if result.code is ResultCode.OK else result.reason
    return f"{result.code} {said}"[:SHOWN].rstrip()
