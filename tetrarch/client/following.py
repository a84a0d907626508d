"""Following the chain: every block from a height on, checked, in order, none left out.

What lives here: fetching blocks from one replica and attestations from all, and what is shown of a block.
What must not be known here: open transactions, state.

Each block is checked as far as a client without the state can: its transactions and results are those that
the header binds, the header's parent is the block before, and enough members attest its hash. At most one
answer (some MB) is held at a time.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from msgspec import Struct

from crypto.attestation import Height
from crypto.batch import Millis, TxId
from crypto.digest import ChainId, Digest
from crypto.errors import CodecError
from crypto.keys import PublicKey
from crypto.roster import MemberId
from ledger.attestations import Attestations
from ledger.block import Block, block_hash
from ledger.errors import TransactionRefused
from ledger.result import Result, results
from ledger.transaction import MAX_TRANSACTION_BYTES, parse_transaction
from tetrarch.client.links import Link
from tetrarch.client.proof import ReplicaFault, check_block
from tetrarch.client.reading import height_of
from tetrarch.client.session import FIRST_PAUSE, Session, first_to_satisfy, longer
from tetrarch.errors import VerificationError
from tetrarch.wire import AskBlocks, Blocks

MAX_STEP: Final = 64
"""Blocks believed together: as many attestations as a replica sends in one answer."""


class Executed(Struct, frozen=True):
    """One transaction in a block and what it came to. The sender's signature is not part of what is
    attested."""

    tx_id: TxId
    sender: PublicKey
    valid_until: Millis
    payload: bytes
    result: Result

    @property
    def value(self) -> Any:
        """The payload decoded from JSON. Raises `ValueError` where it is something else."""
        return msgspec.json.decode(self.payload)


class BlockEvent(Struct, frozen=True):
    """A believed block."""

    height: Height
    time: Millis
    """Ms since the epoch."""
    block_hash: Digest
    transactions: tuple[Executed, ...]
    signers: tuple[MemberId, ...]


async def follow(session: Session, from_height: int) -> AsyncIterator[BlockEvent]:
    """Yield every block from `from_height` (at least 1) on, for ever; waits for those to come.

    Raises `Unreachable` where too few replicas can be used for too long, `ForkDetected`; `ValueError` and
    `TypeError` for a height that cannot be.
    """
    height = Height(max(height_of(from_height, "from_height"), 1))
    parent = session.trust.genesis.first_parent() if height == 1 else None
    place, pause = 0, FIRST_PAUSE
    while True:
        await session.connect(float("inf"))
        links = session.links.in_turn()
        link = links[place % len(links)]
        blocks = await _fetch(session, link, height, parent)
        for event in await _believed(session, link, blocks):
            yield event
            height, parent, pause = Height(event.height + 1), event.block_hash, FIRST_PAUSE
        session.require_one_chain()
        if not blocks:
            # Nothing new there, or it is silent, or lies: the next one may know more.
            place += 1
            await asyncio.sleep(pause)
            pause = longer(pause)


async def _fetch(session: Session, link: Link, height: Height, parent: Digest | None) -> list[Block]:
    """Ask one replica for the next blocks, and return those that are whole and linked; often none."""
    patience = session.tuning.poll_ms / 1000
    answer = await link.ask(lambda request: AskBlocks(request, height, True), patience)
    if not isinstance(answer, Blocks):
        return []
    blocks = list(answer.blocks[:MAX_STEP])
    try:
        for place, block in enumerate(blocks):
            check_block(session.trust, block, height + place)
            if parent is not None and block.header.parent != parent:
                raise ReplicaFault("parent link", f"of block {height + place}")
            parent = block_hash(block.header)
    except ReplicaFault as fault:
        session.distrust(link, fault)
        return []
    return blocks


async def _believed(session: Session, link: Link, blocks: list[Block]) -> list[BlockEvent]:
    """Return the events of those `blocks`, from the first on, that enough members attest."""
    if not blocks:
        return []
    loop = asyncio.get_running_loop()
    await _collect(session, blocks)
    events: list[BlockEvent] = []
    for block in blocks:
        hashed = block_hash(block.header)
        attestations = session.witnesses.expect(block.header.height, hashed)
        until = loop.time() + session.tuning.answer_ms / 1000
        if not await session.vouched(attestations, until):
            believed = session.witnesses.hash_at(block.header.height)
            if believed not in (None, hashed):
                session.distrust(
                    link, ReplicaFault("block", f"{block.header.height} is not the believed one")
                )
            break
        session.believe(block.header)
        events.append(_event(block, attestations))
    return events


async def _collect(session: Session, blocks: list[Block]) -> None:
    """Ask all replicas for their attestations of `blocks`, until there are enough for every one."""
    first = blocks[0].header.height
    patience = session.tuning.answer_ms / 1000
    wanted = {block.header.height: block_hash(block.header) for block in blocks}

    def enough() -> bool:
        return all(session.witnesses.hash_at(height) == hashed for height, hashed in wanted.items())

    async def ask(link: Link) -> None:
        answer = await link.ask(lambda request: AskBlocks(request, first, False), patience)
        if not isinstance(answer, Blocks):
            return
        try:
            for envelope in answer.attestations[: len(blocks)]:
                session.attest(link, envelope)
        except ReplicaFault as fault:
            session.distrust(link, fault)

    if not enough():
        await first_to_satisfy([ask(link) for link in session.links.up], enough)
    session.require_one_chain()


def _event(block: Block, attestations: Attestations) -> BlockEvent:
    header = block.header
    executed = tuple(
        _executed(header.chain_id, raw, result)
        for raw, result in zip(block.transactions, block.results, strict=True)
    )
    return BlockEvent(header.height, header.time, attestations.block_hash, executed, attestations.members)


def _executed(chain_id: ChainId, raw: bytes, result: bytes) -> Executed:
    """Read one transaction and its result out of a believed block. Raises `VerificationError`."""
    try:
        parsed = parse_transaction(raw, chain_id, MAX_TRANSACTION_BYTES)
        decoded = results.decode(result)
    except (TransactionRefused, CodecError) as error:
        raise VerificationError("block", "transactions and results that decode", str(error)) from None
    transaction = parsed.transaction
    return Executed(parsed.id, transaction.sender, transaction.valid_until, transaction.payload, decoded)
