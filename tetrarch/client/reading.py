"""Verified reads, and receipts of transactions by id: one replica proves, others vouch for the block.

What lives here: asking one replica after the other until a proof holds and its block is believed. What must
not be known here: open transactions, outboxes.

A read is as fresh as the head of the replica that answers; `min_height` (a receipt's height, to read one's
own writes) is the lower bound that a caller can ask for. Reads that are linearizable go through the order.
"""

import asyncio
from typing import Any

import msgspec
from msgspec import Struct

from crypto.attestation import MAX_HEIGHT, Height
from crypto.batch import Millis, TxId
from crypto.digest import DIGEST_BYTES, Digest
from crypto.keys import verify
from crypto.roster import MemberId
from ledger.errors import TransactionRefused
from ledger.state.nodes import MAX_KEY_BYTES
from ledger.transaction import parse_transaction, transaction_id
from tetrarch.client.links import Link
from tetrarch.client.outcome import Proof
from tetrarch.client.proof import ReplicaFault, check_block, check_read
from tetrarch.client.receipt import Receipt
from tetrarch.client.session import Answer, Session, Turns
from tetrarch.errors import OutcomeUnknown
from tetrarch.wire import AskBlocks, AskRead, AskReceipt, Blocks, ReadReply, Unknown


class Verified(Struct, frozen=True):
    """The value of one key in one believed block, or its absence: proven."""

    key: str
    raw: bytes | None
    """The stored bytes; `None` where the key is absent."""
    height: Height
    time: Millis
    """The block's time, ms since the epoch."""
    block_hash: Digest
    signers: tuple[MemberId, ...]

    @property
    def present(self) -> bool:
        """Whether the key has a value."""
        return self.raw is not None

    @property
    def value(self) -> Any:
        """The value decoded from JSON; `None` where the key is absent.

        Raises `ValueError` where an application of one's own stored something else (see `raw`).
        """
        return None if self.raw is None else msgspec.json.decode(self.raw)


async def read(session: Session, key: str, min_height: int, deadline: float) -> Verified:
    """Return the proven value of `key` at some replica's head, at least at `min_height`.

    Raises `Unreachable`, `NotEnoughReplies`, `ForkDetected`; `ValueError` for arguments that cannot be.
    """
    name, wanted = key_bytes(key), height_of(min_height, "min_height")
    got = 0
    turns = Turns(session, deadline)
    while (turn := await turns.next()) is not None:
        link, patience = turn
        answer = await session.ask(link, lambda request: AskRead(request, name, wanted), patience)
        if not isinstance(answer, ReadReply):
            got = max(got, int(isinstance(answer, Unknown)))
            continue
        try:
            block_hash = check_read(session.trust, answer, name, min_height)
            attestations = session.attest(link, answer.attestation)
        except ReplicaFault as fault:
            session.distrust(link, fault)
            continue
        until = min(deadline, asyncio.get_running_loop().time() + patience)
        if await session.vouched(attestations, until):
            session.believe(answer.header)
            header, signers = answer.header, attestations.members
            return Verified(key, answer.value, header.height, header.time, block_hash, signers)
        got = max(got, len(attestations))
    raise session.shortfall(got, session.trust.acceptance, f"for {key!r} at height {min_height} or later")


def key_bytes(key: str) -> bytes:
    """Return a key as it stands in the state. Raises `ValueError` for one that no state holds.

    Checked here, since a replica closes the connection on a question of another form.
    """
    if not isinstance(key, str):
        raise TypeError(f"a key is a text, not {type(key).__name__}")
    try:
        name = key.encode()
    except UnicodeEncodeError:
        raise ValueError("a key is a text in UTF-8") from None
    if len(name) > MAX_KEY_BYTES:
        raise ValueError(f"a key has at most {MAX_KEY_BYTES} bytes, not {len(name)}")
    return name


def height_of(number: int, name: str) -> Height:
    """Return the argument `name` as a height. Raises `ValueError`, `TypeError` for one that cannot be."""
    if type(number) is not int:  # a bool is encoded as one, which replicas refuse
        raise TypeError(f"{name} is a whole number, not {number!r:.80}")
    if not 0 <= number <= MAX_HEIGHT:
        raise ValueError(f"{name} is from 0 to {MAX_HEIGHT}, not {number}")
    return Height(number)


def _require_id(tx_id: object) -> None:
    if not isinstance(tx_id, bytes) or len(tx_id) != DIGEST_BYTES:
        what = f"a transaction's id is {DIGEST_BYTES} bytes (bytes.fromhex of its text)"
        raise ValueError(f"{what}, not {tx_id!r:.80}")


async def receipt(session: Session, tx_id: TxId, raw: bytes | None, deadline: float) -> Receipt:
    """Return the receipt of an executed transaction, whose bytes (`raw`) are fetched too where unknown.

    Raises `OutcomeUnknown` where no replica has executed it, `Unreachable`, `NotEnoughReplies`,
    `ForkDetected`; `ValueError` for what is no id.
    """
    _require_id(tx_id)
    got, absent = 0, set[MemberId]()
    turns = Turns(session, deadline)
    while (turn := await turns.next()) is not None:
        link, patience = turn
        answer = await session.ask(link, lambda request: AskReceipt(request, tx_id), patience)
        if isinstance(answer, Unknown):
            absent.add(link.member)
            if len(absent) >= session.trust.quorum:
                raise OutcomeUnknown(tx_id, "no replica has executed it")
        if not isinstance(answer, Answer):
            continue
        proof = _proof_of(answer, tx_id)
        until = min(deadline, asyncio.get_running_loop().time() + patience)
        if proof is None or not await session.vouched(answer.attestations, until):
            got = max(got, len(answer.attestations))
            continue
        session.believe(answer.proven.header)
        transaction = raw or await _transaction(session, link, answer, tx_id, patience)
        if transaction is not None:
            return proof.receipt(transaction)
    raise session.shortfall(got, session.trust.acceptance, f"for the receipt of {tx_id.hex()}")


def _proof_of(answer: Answer, tx_id: TxId) -> Proof | None:
    for index, entry in enumerate(answer.frame.entries):
        if entry.tx_id == tx_id:
            return Proof(answer.proven, index, entry.result, answer.attestations)
    return None


async def _transaction(
    session: Session, link: Link, answer: Answer, tx_id: TxId, patience: float
) -> bytes | None:
    """Fetch the block of a proven result, and return the transaction's bytes with a signature that holds."""
    height = answer.proven.header.height
    reply = await session.ask(link, lambda request: AskBlocks(request, height, True), patience)
    if not isinstance(reply, Blocks) or not reply.blocks:
        return None
    block = reply.blocks[0]
    try:
        check_block(session.trust, block, height)
        found = [raw for raw in block.transactions if transaction_id(raw) == tx_id]
        if block.header != answer.proven.header or not found:
            raise ReplicaFault("block", f"of height {height} is not the one that was proven")
        limit = session.trust.genesis.max_transaction_bytes
        parsed = parse_transaction(found[0], session.trust.chain_id, limit)
        if not verify(*parsed.check):
            raise ReplicaFault("transaction signature", f"in block {height} does not verify")
    except TransactionRefused as refused:
        session.distrust(link, ReplicaFault("transaction", str(refused)))
        return None
    except ReplicaFault as fault:
        session.distrust(link, fault)
        return None
    return found[0]
