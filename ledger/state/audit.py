"""Holding a stored state against itself and a root, row by row, trusting nothing.

What lives here: the list of everything that is wrong with what a store holds. What must not be known here:
how a tree in use recovers (it does not: it stops), blocks, re-execution.

What a state's own rows can show: every leaf is one and lies where its key says; every stored node is what
the leaves make of it; nothing is missing or left over; all of it hashes to the root. A changed value shows
in the root, and in every stored node above it: which one it was can only be told by those who know what it
should be.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from crypto.digest import Digest
from ledger.state.build import Builder, leaf_entry, root_digest
from ledger.state.errors import CorruptState
from ledger.state.nodes import (
    FIRST_STORED_PLACE,
    NODE_PREFIX,
    NODES_END,
    PATH_BYTES,
    VALUE_PREFIX,
    VALUES_END,
    VALUES_START,
    Entry,
    node_digest,
    node_key,
    path_text,
)
from ledger.state.source import NodeSource

MAX_FAULTS: Final = 1000
"""Faults listed at most: who has more has no state."""

LAST_KEY: Final = b"\xff" * 128
"""Longer and greater than any key that a state stores."""


class StateFault(Struct, frozen=True):
    """One thing that is wrong: where (digits of a path, empty for the root, or a row's key), and what."""

    path: str
    node: str
    """`leaf`, `node`, `row` (one that belongs to no state) or `root`."""
    expected: str
    actual: str


def find_faults(source: NodeSource, root: Digest) -> list[StateFault]:
    """Return everything that is wrong with the state in `source`, which should have this root; at most
    MAX_FAULTS.

    Reads every row once, in order of the keys, and holds in memory one number per stored inner node.
    """
    return _Audit(source).run(root)


class _Audit:
    def __init__(self, source: NodeSource) -> None:
        self._source = source
        self._faults: list[StateFault] = []
        self._stored: set[bytes] = set()

    def run(self, root: Digest) -> list[StateFault]:
        actual = root_digest(*Builder(self._entries(), on_inner=self._check_node).build())
        if actual != root:
            self._note("", "root", root.hex(), actual.hex())
        for key, _ in self._source.scan(NODE_PREFIX, NODES_END):
            if key not in self._stored:
                self._note(key.hex(), "row", "no node there", "one that belongs to no state")
        for start, end in ((b"", NODE_PREFIX), (NODES_END, VALUES_START), (VALUES_END, LAST_KEY)):
            for key, _ in self._source.scan(start, end):
                self._note(key.hex(), "row", "nothing", "a row that belongs to no state")
        return self._faults

    def _entries(self) -> Iterator[Entry]:
        for key, record in self._source.scan(VALUES_START, VALUES_END):
            if len(key) != len(VALUE_PREFIX) + PATH_BYTES:
                self._note(key.hex(), "row", "a leaf's path", f"{len(key)} bytes")
                continue
            try:
                yield leaf_entry(key, record)
            except CorruptState as fault:
                self._note(fault.path, "leaf", fault.expected, fault.actual)

    def _check_node(self, place: int, node: bytearray) -> None:
        if place < FIRST_STORED_PLACE:
            return
        key = node_key(place)
        self._stored.add(key)
        stored = self._source.get(key)
        if stored is None or stored != bytes(node):
            actual = "nothing" if stored is None else node_digest(stored).hex()
            self._note(path_text(place), "node", node_digest(node).hex(), actual)

    def _note(self, path: str, node: str, expected: str, actual: str) -> None:
        if len(self._faults) < MAX_FAULTS:
            self._faults.append(StateFault(path, node, expected, actual))
