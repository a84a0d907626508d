"""Which connection waits for the outcome of which transaction. Bounded per connection and in all."""

from collections.abc import Iterable, Sequence

from crypto.batch import TxId
from tetrarch.node.effects import ConnectionId, Counters
from tetrarch.node.limits import NodeLimits

MAX_CONNECTIONS_PER_ID = 16
"""Clients that are told of one transaction: its sender, and a few that watch it."""


class Waits:
    """Ids to connections and back, so that a block and a lost connection both cost what they hold."""

    def __init__(self, limits: NodeLimits, counters: Counters) -> None:
        self._most, self._most_per_connection = limits.waits, limits.waits_per_connection
        self._counters = counters
        self._by_id: dict[TxId, tuple[ConnectionId, ...]] = {}
        self._by_connection: dict[ConnectionId, dict[TxId, bool]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, connection: ConnectionId, tx_id: TxId, full: bool) -> None:
        """Tell `connection` when `tx_id` is executed; `full`: with its result and proof.

        Beyond the limits nothing is noted, and the client has to ask.
        """
        waiting = self._by_connection.get(connection)
        if waiting is None:
            waiting = self._by_connection[connection] = {}
        if tx_id in waiting:
            waiting[tx_id] = waiting[tx_id] or full
            return
        others = self._by_id.get(tx_id, ())
        if (
            len(waiting) >= self._most_per_connection
            or len(self._by_id) >= self._most
            or len(others) >= MAX_CONNECTIONS_PER_ID
        ):
            self._counters.count("client: too many waits")
            return
        waiting[tx_id] = full
        self._by_id[tx_id] = (*others, connection)

    def executed(self, ids: Sequence[TxId]) -> dict[ConnectionId, list[int]]:
        """Take out all who wait for any of a block's `ids`: the positions that each wants in full.

        A connection that wants the attestation alone has no positions.
        """
        told: dict[ConnectionId, list[int]] = {}
        by_id, by_connection = self._by_id, self._by_connection
        if not by_id:
            return told
        for position, tx_id in enumerate(ids):
            connections = by_id.pop(tx_id, None)
            if connections is None:
                continue
            for connection in connections:
                full = by_connection[connection].pop(tx_id)
                positions = told.get(connection)
                if positions is None:
                    positions = told[connection] = []
                if full:
                    positions.append(position)
        return told

    def waiting(self, tx_id: TxId) -> tuple[ConnectionId, ...]:
        """Return who waits for `tx_id`."""
        return self._by_id.get(tx_id, ())

    def forget(self, ids: Iterable[TxId]) -> None:
        """These will never be executed."""
        for tx_id in ids:
            for connection in self._by_id.pop(tx_id, ()):
                del self._by_connection[connection][tx_id]

    def gone(self, connection: ConnectionId) -> None:
        """Forget all that this connection waited for."""
        for tx_id in self._by_connection.pop(connection, ()):
            others = tuple(other for other in self._by_id[tx_id] if other != connection)
            if others:
                self._by_id[tx_id] = others
            else:
                del self._by_id[tx_id]
