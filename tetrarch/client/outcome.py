"""What is submitted and what becomes of it, as the public API shows them.

What lives here: `Submission` and `Outcome`. What must not be known here: how an outcome was reached.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from crypto.attestation import Height
from crypto.batch import Millis, TxId
from ledger.attestations import Attestations
from ledger.result import Result
from tetrarch.client.proof import ProvenResults
from tetrarch.client.receipt import Receipt
from tetrarch.errors import TetrarchError

Payload = Mapping[str, Any] | bytes
"""A JSON object, or the exact bytes that an application of one's own understands."""

Status = Literal["committed", "refused", "expired", "unknown"]

_json = msgspec.json.Encoder(order="deterministic")


def payload_bytes(payload: Payload) -> bytes:
    """Return what is signed for `payload`: JSON with sorted keys, or the bytes as they are.

    Raises `TypeError` for values that JSON does not have, `ValueError` for numbers and texts.
    """
    if isinstance(payload, bytes):
        return payload
    data = _json.encode(payload)
    if b"null" in data and not _finite(payload):
        # The encoder writes null for these, and what is signed would not be what was meant.
        raise ValueError("NaN and infinite numbers are not in JSON")
    return data


def _finite(value: object) -> bool:
    """Whether there is no NaN and no infinite number in `value`."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(map(_finite, value.values())) and all(map(_finite, value))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_finite, value))
    return True


class Submission(Struct, frozen=True):
    """One transaction to be submitted."""

    payload: Payload
    idempotency_key: str | None = None
    valid_until: Millis | None = None
    """Ms since the epoch; by default as far ahead as the client's `validity_ms`."""


class Proof:
    """Where the proof of one result lies: a receipt is built of it on demand."""

    __slots__ = ("attestations", "entry", "proven", "result_bytes")

    def __init__(
        self, proven: ProvenResults, entry: int, result_bytes: bytes, attestations: Attestations
    ) -> None:
        self.proven = proven
        self.entry = entry
        self.result_bytes = result_bytes
        self.attestations = attestations

    def receipt(self, transaction: bytes) -> Receipt:
        """Return the receipt for the transaction with these wire bytes."""
        position, path = self.proven.path(self.entry)
        header, size = self.proven.header, self.proven.size
        return Receipt(transaction, self.result_bytes, position, size, path, header, self.attestations)


class Outcome:
    """What became of one transaction.

    `status` is `committed` (it stands in a block; `result` says whether the application refused it there),
    `refused` or `expired` (never executed), or `unknown` (the time was up). `error` is what `submit` would
    have raised, `None` for committed ones.
    """

    __slots__ = (
        "_proof",
        "_receipt",
        "_transaction",
        "error",
        "height",
        "idempotency_key",
        "index",
        "result",
        "status",
        "tx_id",
    )

    def __init__(
        self,
        index: int,
        tx_id: TxId,
        status: Status,
        *,
        idempotency_key: str | None = None,
        height: Height = Height(0),  # a NewType of an int
        result: Result | None = None,
        error: TetrarchError | None = None,
        transaction: bytes = b"",
        proof: Proof | None = None,
        receipt: Receipt | None = None,
    ) -> None:
        self.index = index
        """The place in what was given to `submit_many`, from 0."""
        self.tx_id = tx_id
        self.status = status
        self.idempotency_key = idempotency_key
        self.height = height
        self.result = result
        self.error = error
        self._transaction = transaction
        self._proof = proof
        self._receipt = receipt

    @property
    def receipt(self) -> Receipt | None:
        """The receipt, where the transaction stands in a block and the proof came with this outcome.

        An outcome that the outbox remembers from before comes without: `Client.receipt(tx_id)` fetches it.
        """
        if self._receipt is None and self._proof is not None:
            self._receipt = self._proof.receipt(self._transaction)
        return self._receipt

    def at(self, index: int) -> "Outcome":
        """Return the same outcome for another place in what was submitted."""
        return Outcome(
            index,
            self.tx_id,
            self.status,
            idempotency_key=self.idempotency_key,
            height=self.height,
            result=self.result,
            error=self.error,
            transaction=self._transaction,
            proof=self._proof,
            receipt=self._receipt,
        )

    def __repr__(self) -> str:
        return f"Outcome({self.index}, {self.tx_id.hex()}, {self.status!r}, height={self.height})"
