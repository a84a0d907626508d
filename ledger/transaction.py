"""Transactions: what a client signs, and how its bytes are read.

On the wire and in the store a transaction is its 64-byte Ed25519 signature followed by the canonical
bytes of `Transaction`. Its id is the SHA-256 of the signed bytes, the signature left out: whoever
attaches another signature, good or bad, does not make another transaction.
"""

from hashlib import sha256
from typing import Annotated

from msgspec import Meta, Struct

from crypto.batch import Millis, MillisField, TxId
from crypto.codec import StrictDecoder, encode
from crypto.digest import ChainId, ChainIdField, tag
from crypto.errors import CodecError, KeyRefused
from crypto.keys import SIGNATURE_BYTES, Check, PublicKeyField, Signer, check_public_key
from ledger.errors import TransactionRefused
from ledger.refusals import RefusalCode

NONCE_BYTES = 16
MAX_TRANSACTION_BYTES = 64 * 1024
"""The most that any genesis may allow for one transaction, all included."""

_TAG = tag("transaction")


class Transaction(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a client signs. `valid_until` is in ms since the epoch, compared with block time alone."""

    chain_id: ChainIdField
    sender: PublicKeyField
    nonce: Annotated[bytes, Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
    valid_until: MillisField
    payload: bytes


_decoder = StrictDecoder(Transaction, MAX_TRANSACTION_BYTES)


class ParsedTransaction(Struct, frozen=True):
    """A transaction as received: decoded, its signature not verified yet."""

    id: TxId
    transaction: Transaction
    raw: bytes
    """The bytes as received, signature first."""

    @property
    def check(self) -> Check:
        """The signature check that these bytes need."""
        return Check(self.transaction.sender, _TAG + self.raw[SIGNATURE_BYTES:], self.raw[:SIGNATURE_BYTES])


def sign_transaction(
    signer: Signer, chain_id: ChainId, nonce: bytes, valid_until: Millis, payload: bytes
) -> bytes:
    """Return the wire bytes of a new transaction of `signer`'s."""
    body = encode(Transaction(chain_id, signer.public_key, nonce, valid_until, payload))
    return signer.sign(_TAG + body) + body


def transaction_id(raw: bytes) -> TxId:
    """Return the id of a transaction from its wire bytes."""
    return TxId(sha256(_TAG + raw[SIGNATURE_BYTES:]).digest())


def parse_transaction(raw: bytes, chain_id: ChainId, limit: int) -> ParsedTransaction:
    """Return the transaction in `raw`, all checked but its signature and its time.

    Raises `TransactionRefused` with one of the codes `too_large`, `malformed`, `wrong_chain`.
    """
    if len(raw) > limit:
        raise TransactionRefused(RefusalCode.TOO_LARGE, f"{len(raw)} bytes, at most {limit} are allowed")
    try:
        transaction = _decoder.decode(raw[SIGNATURE_BYTES:])
    except CodecError as error:
        raise TransactionRefused(RefusalCode.MALFORMED, str(error)) from None
    if transaction.chain_id != chain_id:
        raise TransactionRefused(RefusalCode.WRONG_CHAIN, f"it is for chain {transaction.chain_id.hex()}")
    return ParsedTransaction(transaction_id(raw), transaction, raw)


def check_sender(key: bytes) -> None:
    """Raise `TransactionRefused` (`bad_key`) unless `key` may sign transactions."""
    try:
        check_public_key(key)
    except KeyRefused as error:
        raise TransactionRefused(RefusalCode.BAD_KEY, str(error)) from None
