"""Re-execution: what every block's results and state must be, computed from the empty state.

What lives here: the state, exactly-once, comparing with what the blocks say. What must not be known here:
stores, signatures, whether blocks are linked: they come inspected, in order.
"""

from collections import deque
from collections.abc import Sequence

import msgspec

from crypto.attestation import Height
from crypto.batch import Millis, TxId
from crypto.digest import DIGEST_BYTES, Digest
from crypto.keys import SIGNATURE_BYTES
from ledger.application import Application
from ledger.audit.inspection import BlockFault, shown_result
from ledger.audit.scratch import ScratchState
from ledger.block import Block, block_time
from ledger.executor import execute_batch
from ledger.keyvalue import Family
from ledger.state.tree import StateTree
from ledger.transaction import ParsedTransaction, Transaction

_blocks = msgspec.msgpack.Decoder(Block)
_transactions = msgspec.msgpack.Decoder(Transaction)
"""Not strict: what they read was found canonical when it was inspected."""


class Executed:
    """The ids that were executed and could still come again: those whose validity has not ended.

    A block's time only grows, and whatever comes after its valid_until is expired: so what is remembered is
    bounded by the genesis' horizon. `ledger.ledger` keeps all ids for ever, which comes to the same.
    """

    def __init__(self) -> None:
        self._heights: dict[bytes, Height] = {}
        self._blocks: deque[tuple[int, list[TxId]]] = deque()

    def __len__(self) -> int:
        return len(self._heights)

    def find(self, ids: Sequence[TxId]) -> list[Height | None]:
        """Return for each id where it was executed, if that still matters."""
        return list(map(self._heights.get, ids))

    def add(self, height: Height, ids: list[TxId], latest: int) -> None:
        """Remember the ids that a block executed; `latest` is their latest valid_until."""
        if ids:
            self._heights.update(dict.fromkeys(ids, height))
            self._blocks.append((latest, ids))

    def forget(self, time: Millis) -> None:
        """Forget ids that every block from `time` on would find expired."""
        while self._blocks and self._blocks[0][0] < time:
            for tx_id in self._blocks.popleft()[1]:
                self._heights.pop(tx_id, None)


class Replay:
    """Executes a chain's blocks one after another. Stops for good at the first difference."""

    def __init__(self, application: Application, scratch: ScratchState) -> None:
        self._application = application
        self._scratch = scratch
        self._tree = StateTree.open(scratch)
        self._executed = Executed()
        self._time = Millis(0)
        self.height = Height(0)
        """The last block that gave what it says."""
        self.stopped = False

    @property
    def root(self) -> Digest:
        """The root of the state after the last block executed."""
        return self._tree.root

    def stop(self) -> None:
        """Execute nothing more: from here on the state is not known."""
        self.stopped = True

    def execute(self, raw: bytes, ids: bytes) -> list[BlockFault]:
        """Execute a block, given its canonical bytes and its transactions' ids; return what differs."""
        block = _blocks.decode(raw)
        header = block.header
        transactions = _parsed(block, ids)
        time = block_time(header.proposed, self._time)
        self._executed.forget(time)
        outcome = execute_batch(
            self._application,
            self._tree.get,
            header.height,
            time,
            transactions,
            self._executed.find([parsed.id for parsed in transactions]),
        )
        pending = self._tree.update(outcome.changes)
        faults = _differences(block, outcome.results, pending.root)
        if faults:
            self.stop()
            return faults
        self._scratch.apply(pending.writes)
        pending.commit()
        done = [transactions[position] for position in outcome.executed]
        latest = max((parsed.transaction.valid_until for parsed in done), default=0)
        self._executed.add(header.height, [parsed.id for parsed in done], latest)
        self._time, self.height = time, header.height
        return []


def _parsed(block: Block, ids: bytes) -> list[ParsedTransaction]:
    decode = _transactions.decode
    return [
        ParsedTransaction(TxId(ids[at : at + DIGEST_BYTES]), decode(raw[SIGNATURE_BYTES:]), raw)
        for at, raw in zip(range(0, len(ids), DIGEST_BYTES), block.transactions, strict=True)
    ]


def _differences(block: Block, results: Sequence[bytes], root: Digest) -> list[BlockFault]:
    faults: list[BlockFault] = []
    if list(block.results) != results:
        for position, (stored, computed) in enumerate(zip(block.results, results, strict=False)):
            if stored != computed:
                what = f"stored {shown_result(stored)}, re-execution gives {shown_result(computed)}"
                faults.append(BlockFault(Family.BLOCKS, f"results[{position}]", what))
        if len(block.results) != len(results):
            what = f"{len(block.results)} stored, re-execution gives {len(results)}"
            faults.append(BlockFault(Family.BLOCKS, "results", what))
    if root != block.header.state_root:
        what = f"re-execution gives {root.hex()}, not {block.header.state_root.hex()}"
        faults.append(BlockFault(Family.BLOCKS, "header.state_root", what))
    return faults
