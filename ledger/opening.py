"""What is verified when a store is opened, and how its state is loaded.

What lives here: the checks of a start, within budgets that keep it short. What must not be known here:
executing.
"""

from collections.abc import Iterator

from crypto.attestation import Height
from crypto.digest import Digest
from crypto.errors import CodecError
from ledger.block import Block
from ledger.errors import CorruptStore
from ledger.keyvalue import Family, KeyValue
from ledger.result import ResultCode, results
from ledger.state.errors import CorruptState
from ledger.state.tree import EMPTY_ROOT, StateTree
from ledger.store import ChainStore, height_key, verify_contents
from ledger.transaction import transaction_id

RECENT_BLOCKS = 1000
RECENT_TRANSACTIONS = 100_000
"""How far back a start verifies blocks and their index, whichever is reached first: about a second's work."""


class StateRows:
    """The family STATE, as the state tree reads it."""

    def __init__(self, disk: KeyValue) -> None:
        self._disk = disk

    def get(self, key: bytes) -> bytes | None:
        """Return the row under `key`, or `None`."""
        return self._disk.get(Family.STATE, key)

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows from `start` up to, not including, `end`."""
        return self._disk.scan(Family.STATE, start, end)


def open_state(disk: KeyValue, store: ChainStore) -> StateTree:
    """Return the state of the store's head, all of it verified. Raises `CorruptStore`."""
    header = store.header(store.head.height)
    expected = EMPTY_ROOT if header is None else header.state_root
    try:
        return StateTree.open(StateRows(disk), expected)
    except CorruptState as error:
        raise CorruptStore(str(error), store.head.height) from error


def verify_recent(disk: KeyValue, store: ChainStore, first_parent: Digest) -> None:
    """Verify that the head is the last block; and the last blocks, with the index of their transactions.

    Raises `CorruptStore`, which names the height.
    """
    head = store.head
    for family in (Family.BLOCKS, Family.CERTIFICATES):
        last = next((key for key, _ in disk.scan(family, reverse=True)), height_key(Height(0)))
        if last != height_key(head.height):
            raise CorruptStore(
                f"the last record of {family.column} is {last.hex()}, the head is {head.height}", head.height
            )
    if not head.height and head.block_hash != first_parent:
        raise CorruptStore("the head is before the first block, but is not the chain's beginning")
    transactions = 0
    for block in store.backwards():
        verify_contents(block)
        store.certificate(block.header.height)
        _verify_index(store, block)
        if block.header.height == 1 and block.header.parent != first_parent:
            raise CorruptStore("the first block does not begin this chain", 1)
        transactions += len(block.transactions)
        if transactions >= RECENT_TRANSACTIONS or block.header.height <= head.height - RECENT_BLOCKS:
            return


def _verify_index(store: ChainStore, block: Block) -> None:
    """Verify that the index has every transaction that this block executed, or says was executed before."""
    height = block.header.height
    ids = [transaction_id(raw) for raw in block.transactions]
    for position, (tx_id, place) in enumerate(zip(ids, store.places(ids), strict=True)):
        try:
            result = results.decode(block.results[position])
        except CodecError as error:
            raise CorruptStore(
                f"the result of transaction {position} does not decode: {error}", height
            ) from None
        if result.code is ResultCode.EXPIRED:
            continue
        found = None if place is None else place.height
        expected = height if result.executed else result.first_height
        if found != expected or (result.executed and place is not None and place.position != position):
            raise CorruptStore(f"the index does not lead to transaction {tx_id.hex()}", height)
