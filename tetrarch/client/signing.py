"""Making transactions: from a submission to signed bytes.

What lives here: nonces, default validity, and what is refused before anything is sent, because every replica
would refuse it for ever. What must not be known here: outboxes, replicas.
"""

import secrets
from collections.abc import Callable

from crypto.batch import MAX_MILLIS, Millis, TxId
from crypto.digest import ChainId, Digest, digest
from crypto.keys import PublicKey, Signer
from ledger.genesis import Genesis
from ledger.outbox import check_key, content_digest
from ledger.refusals import RefusalCode
from ledger.transaction import NONCE_BYTES, sign_transaction, transaction_id
from tetrarch.client.outcome import Submission, payload_bytes
from tetrarch.client.tuning import Tuning
from tetrarch.errors import Rejected


class Draft:
    """A submission whose payload is fixed, not signed yet."""

    __slots__ = ("content", "index", "key", "payload", "valid_until")

    def __init__(
        self, index: int, key: str | None, payload: bytes, valid_until: Millis | None, content: Digest
    ) -> None:
        self.index = index
        self.key = key
        self.payload = payload
        self.valid_until = valid_until
        self.content = content
        """What an idempotency key stands for (`ledger.outbox`)."""


class Signature:
    """One signed transaction."""

    __slots__ = ("raw", "tx_id", "valid_until")

    def __init__(self, raw: bytes, tx_id: TxId, valid_until: Millis) -> None:
        self.raw = raw
        self.tx_id = tx_id
        self.valid_until = valid_until


class Pen:
    """Signs as one key for one chain."""

    def __init__(self, genesis: Genesis, signer: Signer, tuning: Tuning, wall: Callable[[], Millis]) -> None:
        self._chain_id: ChainId = genesis.chain_id
        self._signer = signer
        self._limit = genesis.max_transaction_bytes
        self._latest_ms = genesis.horizon_ms + genesis.clock_bound_ms
        self._validity_ms = min(tuning.validity_ms, genesis.horizon_ms // 2)
        self._wall = wall

    @property
    def sender(self) -> PublicKey:
        """The key that signs."""
        return self._signer.public_key

    def draft(self, index: int, submission: Submission, *, remembered: bool) -> Draft:
        """Return what is to be signed for `submission`; `remembered`: an outbox keeps keys.

        Raises `TypeError` for a payload that JSON does not have, `ValueError` for a key or time that cannot
        be.
        """
        key, valid_until = submission.idempotency_key, submission.valid_until
        payload = payload_bytes(submission.payload)
        if key is not None:
            check_key(key)
            if valid_until is None and not remembered:
                raise ValueError("an idempotency key needs an outbox, or a valid_until to be given again")
        if valid_until is not None:
            self._require_possible(valid_until)
        content = content_digest(self.sender, payload) if key is not None else _NO_CONTENT
        return Draft(index, key, payload, valid_until, content)

    def sign(self, draft: Draft) -> Signature:
        """Return the signed transaction. Raises `Rejected` for one that is larger than the genesis allows."""
        key = draft.key
        nonce = secrets.token_bytes(NONCE_BYTES) if key is None else nonce_of(self.sender, key)
        valid_until = draft.valid_until
        if valid_until is None:
            valid_until = Millis(self._wall() + self._validity_ms)
        raw = sign_transaction(self._signer, self._chain_id, nonce, valid_until, draft.payload)
        tx_id = transaction_id(raw)
        if len(raw) > self._limit:
            reason = f"{len(raw)} bytes, at most {self._limit} are allowed"
            raise Rejected(RefusalCode.TOO_LARGE.value, reason, tx_id)
        return Signature(raw, tx_id, valid_until)

    def _require_possible(self, valid_until: int) -> None:
        if not 0 <= valid_until <= MAX_MILLIS:
            raise ValueError(f"valid_until is a time in ms since the epoch, not {valid_until}")
        latest = self._wall() + self._latest_ms
        if valid_until > latest:
            ahead = valid_until - self._wall()
            raise ValueError(f"valid_until lies {ahead} ms ahead; the chain allows {self._latest_ms}")


_NO_CONTENT = Digest(b"")


def nonce_of(sender: PublicKey, key: str) -> bytes:
    """Return the nonce that stands for an idempotency key of a sender: the same key, the same nonce."""
    return digest("idempotency-nonce", sender, key.encode())[:NONCE_BYTES]
