"""Executed blocks with their result trees, ready for proofs: recent ones kept, old ones built anew."""

from collections.abc import Sequence
from dataclasses import dataclass

from crypto.attestation import Height
from crypto.batch import TxId
from crypto.digest import Digest
from crypto.merkle import Tree
from crypto.signed import Envelope
from ledger.block import Block, Header, block_hash, result_leaf
from ledger.ledger import Executed, Ledger
from ledger.transaction import transaction_id
from tetrarch.wire import Entry, Results

ENTRY_BYTES = 400
"""What one transaction costs beside its result: id, leaf, and its share of the tree."""


@dataclass(frozen=True, slots=True)
class Proven:
    """One executed block: enough to prove the result of any of its transactions."""

    header: Header
    block_hash: Digest
    ids: Sequence[TxId]
    results: Sequence[bytes]
    tree: Tree

    @classmethod
    def of(cls, executed: Executed) -> "Proven":
        """Keep what execution computed."""
        return cls(executed.header, executed.block_hash, executed.ids, executed.results, executed.result_tree)

    @classmethod
    def rebuild(cls, block: Block) -> "Proven":
        """Compute the ids and the result tree of a stored block."""
        ids = [transaction_id(raw) for raw in block.transactions]
        leaves = [result_leaf(tx_id, result) for tx_id, result in zip(ids, block.results, strict=True)]
        return cls(block.header, block_hash(block.header), ids, block.results, Tree.of_leaves(leaves))

    @property
    def weight(self) -> int:
        """About how many bytes this keeps."""
        return sum(map(len, self.results)) + ENTRY_BYTES * len(self.ids)

    def prove(self, request: int, attestation: Envelope, positions: Sequence[int]) -> Results:
        """Return the results at `positions` (ascending) with one multiproof."""
        ids, results = self.ids, self.results
        entries = tuple(Entry(position, ids[position], results[position]) for position in positions)
        proof = tuple(Digest(node) for node in self.tree.multiproof(positions).hashes)
        return Results(request, attestation, self.header, len(ids), entries, proof)


class ProvenBlocks:
    """Recent blocks up to a number of bytes; the one used longest ago leaves first."""

    def __init__(self, ledger: Ledger, max_bytes: int) -> None:
        self._ledger = ledger
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: dict[Height, Proven] = {}

    def add(self, proven: Proven) -> None:
        """Keep one block; it is kept even where it alone exceeds the bound."""
        height = proven.header.height
        if height in self._kept:
            return
        self._kept[height] = proven
        self._bytes += proven.weight
        while self._bytes > self._max_bytes and len(self._kept) > 1:
            self._bytes -= self._kept.pop(next(iter(self._kept))).weight

    def kept(self, height: Height) -> Proven | None:
        """Return the block at `height` if no work is needed for it."""
        proven = self._kept.pop(height, None)
        if proven is not None:
            self._kept[height] = proven
        return proven

    def get(self, height: Height) -> Proven | None:
        """Return the block at `height`, rebuilt where needed; `None` above the head."""
        proven = self.kept(height)
        if proven is None:
            block = self._ledger.block(height)
            if block is None:
                return None
            proven = Proven.rebuild(block)
            self.add(proven)
        return proven
