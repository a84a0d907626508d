"""The parsed form of every transaction that the engine holds and nobody executed yet, and when each dies.

The engine's own pool bounds it: what the engine does not take is not kept here.
"""

from collections.abc import Iterable, Sequence

from consensus.contract import EngineFault, Request
from crypto.batch import Millis, TxId
from crypto.digest import ChainId
from ledger.errors import TransactionRefused
from ledger.transaction import ParsedTransaction, parse_transaction

BUCKET_MS = 1000
"""Transactions die by the second: finer would only cost more."""


class Pooled:
    """Parsed transactions by id, and their ids by the second in which their validity ends."""

    def __init__(self, chain_id: ChainId, limit: int) -> None:
        self._chain_id = chain_id
        self._limit = limit
        self._parsed: dict[TxId, ParsedTransaction] = {}
        self._dying: dict[int, dict[TxId, None]] = {}
        self._expired_to = 0

    def __len__(self) -> int:
        return len(self._parsed)

    def __contains__(self, tx_id: TxId) -> bool:
        return tx_id in self._parsed

    def get(self, tx_id: TxId) -> ParsedTransaction | None:
        """Return the transaction with this id, if it is held."""
        return self._parsed.get(tx_id)

    def add(self, parsed: ParsedTransaction) -> None:
        """Hold a transaction that the engine took."""
        self._parsed[parsed.id] = parsed
        second = parsed.transaction.valid_until // BUCKET_MS
        bucket = self._dying.get(second)
        if bucket is None:
            bucket = self._dying[second] = {}
        bucket[parsed.id] = None

    def discard(self, ids: Iterable[TxId]) -> None:
        """Let go of these: executed, or expired."""
        for tx_id in ids:
            parsed = self._parsed.pop(tx_id, None)
            if parsed is not None:
                second = parsed.transaction.valid_until // BUCKET_MS
                bucket = self._dying[second]
                del bucket[tx_id]
                if not bucket:
                    del self._dying[second]

    def expired(self, time: Millis) -> list[TxId]:
        """Return the ids whose validity ended a bucket or more before `time` (ms since the epoch)."""
        second = time // BUCKET_MS
        if second <= self._expired_to:
            return []
        self._expired_to = second
        dead = sorted(bucket for bucket in self._dying if bucket < second)
        return [tx_id for bucket in dead for tx_id in self._dying[bucket]]

    def parse(self, requests: Sequence[Request]) -> list[ParsedTransaction]:
        """Return the parsed forms of what the engine decided, parsing only what is not held.

        Raises `EngineFault` where a decided body does not parse: it was verified before it got in.
        """
        held = self._parsed
        parsed: list[ParsedTransaction] = []
        for request in requests:
            known = held.get(request.id)
            if known is None or known.raw != request.body:
                try:
                    known = parse_transaction(request.body, self._chain_id, self._limit)
                except TransactionRefused as refusal:
                    raise EngineFault(f"a decided transaction does not parse: {refusal}") from refusal
            parsed.append(known)
        return parsed
