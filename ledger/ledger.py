"""The ledger of one replica: executes agreed batches, keeps the chain, answers what was asked of it.

What lives here: the joining of application, state tree and store into one atomic write per block, and what is
verified when a store is opened. What must not be known here: ordering, networks, when a write is synced.

What a start verifies, so that nothing unverified is ever served or voted on:

* whose store it is, and that its head is its last block;
* the last blocks (RECENT_BLOCKS, RECENT_TRANSACTIONS): seals, contents, parent links, certificates' presence,
  and the index of their transactions in both directions;
* the whole state, against the head's state root (`ledger.state`);
* every record of the engine's, and that none of them is missing.

Older blocks are verified when they are read, older index records by their seals; all of it by the audit.
"""

from collections.abc import Sequence

from msgspec import Struct

from crypto.attestation import Height
from crypto.batch import Millis, TxId, batch_digest, transaction_root
from crypto.digest import Digest
from crypto.merkle import Tree
from crypto.roster import Epoch
from ledger.application import Application, Invalid
from ledger.block import Block, Header, block_hash, block_time, result_leaf
from ledger.engine_records import EngineRecords
from ledger.errors import BlockError, CorruptStore, TransactionRefused
from ledger.executor import BatchOutcome, execute_batch
from ledger.genesis import Genesis
from ledger.keyvalue import Family, KeyValue
from ledger.opening import open_state, verify_recent
from ledger.question import answer
from ledger.refusals import RefusalCode
from ledger.result import given_reason
from ledger.state.errors import CorruptState
from ledger.state.proof import encode_proof
from ledger.state.tree import PendingUpdate, StateTree
from ledger.store import ChainStore, block_changes, index_changes
from ledger.transaction import ParsedTransaction, check_sender, transaction_id
from ledger.values import RecentValues

KNOWN_SENDERS = 65_536
"""Senders whose keys were checked already, 6 MB: checking one costs as much as half a signature."""


class Executed(Struct, frozen=True):
    """One executed block. `result_tree` is the tree over (id, result), for proofs of any of them."""

    header: Header
    block_hash: Digest
    ids: list[TxId]
    results: list[bytes]
    """Canonical bytes of `ledger.result.Result`, in the order of the ids."""
    result_tree: Tree
    faults: list[tuple[TxId, str]]
    """What the application raised though it should not, for the log: the first few."""


class Ledger:
    """The chain and the state of one replica. Made by `open`. For one thread; `sync` alone may run beside."""

    def __init__(
        self,
        genesis: Genesis,
        application: Application,
        disk: KeyValue,
        store: ChainStore,
        state: StateTree,
        engine_records: EngineRecords,
    ) -> None:
        self._genesis = genesis
        self._chain_id = genesis.chain_id
        self._application = application
        self._disk = disk
        self._store = store
        self._state = state
        self._engine_records = engine_records
        self._values = RecentValues(state.get)
        self._senders: set[bytes] = set()
        self.head: Header | None = store.header(store.head.height)
        """The last block's header; `None` before the first block."""

    @classmethod
    def open(cls, genesis: Genesis, application: Application, disk: KeyValue) -> "Ledger":
        """Open the ledger of `genesis` in `disk`, which may be empty.

        Raises `OtherChain`, `CorruptStore` (which names the height, and what to do), or another `StoreError`.
        """
        store = ChainStore.open(disk, genesis.chain_id)
        verify_recent(disk, store, genesis.first_parent())
        state = open_state(disk, store)
        return cls(genesis, application, disk, store, state, EngineRecords.open(disk, store))

    @property
    def height(self) -> Height:
        """The last block's height; 0 before the first block."""
        return self._store.head.height

    @property
    def head_hash(self) -> Digest:
        """The last block's hash; what stands as parent in the first block before there is one."""
        return self._store.head.block_hash

    @property
    def time(self) -> Millis:
        """The last block's time, in ms since the epoch; 0 before the first block."""
        return self.head.time if self.head is not None else Millis(0)

    @property
    def state_root(self) -> Digest:
        """The root of the state after the last block."""
        return self._state.root

    def execute(
        self,
        height: Height,
        batch: Digest,
        timestamp: Millis,
        transactions: Sequence[ParsedTransaction],
        certificate: bytes,
    ) -> Executed:
        """Execute the batch agreed for `height` and write its block, in one atomic write that is not synced.

        Raises `BlockError` where `height` is not the next one or `batch` not the digest of what is given, and
        `StoreError`, `DiskFull` among them; the ledger then is as it was before.
        """
        ids = [parsed.id for parsed in transactions]
        root = self._agreed_root(height, batch, timestamp, ids)
        time = block_time(timestamp, self.time)
        outcome, pending = self._carry_out(height, time, transactions, ids)
        tree = Tree.of_leaves(map(result_leaf, ids, outcome.results))
        header = Header(
            chain_id=self._chain_id,
            epoch=Epoch(0),
            height=height,
            parent=self.head_hash,
            batch=batch,
            proposed=timestamp,
            time=time,
            transaction_root=root,
            result_root=tree.root,
            state_root=pending.root,
        )
        hashed = block_hash(header)
        bodies = tuple([parsed.raw for parsed in transactions])
        changes = block_changes(Block(header, bodies, tuple(outcome.results), certificate), hashed)
        changes += index_changes(height, ids, outcome.executed)
        # In order, since inserting keys in order costs RocksDB a third less.
        changes += [(Family.STATE, key, row) for key, row in sorted(pending.writes.items())]
        self._disk.write(changes)
        pending.commit()
        self._values.commit(outcome.changes)
        self._store.advance(header, hashed)
        self.head = header
        faults = [(ids[position], what) for position, what in outcome.faults]
        return Executed(header, hashed, ids, outcome.results, tree, faults)

    def located(self, ids: Sequence[TxId]) -> list[Height | None]:
        """Return for each id the height at which it was executed, or `None`. Raises `CorruptStore`."""
        return [None if place is None else place.height for place in self._store.places(ids)]

    def receipt_parts(self, tx_id: TxId) -> tuple[Block, int] | None:
        """Return the verified block that executed a transaction, and its position there. Raises
        `CorruptStore`."""
        place = self._store.places([tx_id])[0]
        if place is None:
            return None
        block = self._store.block(place.height)
        found = block.transactions[place.position : place.position + 1] if block is not None else ()
        if block is None or not found or transaction_id(found[0]) != tx_id:
            raise CorruptStore(f"the index leads to another place for {tx_id.hex()}", place.height)
        return block, place.position

    def block(self, height: Height) -> Block | None:
        """Return the verified block at `height`, its certificate included. Raises `CorruptStore`."""
        return self._store.block(height)

    def header(self, height: Height) -> Header | None:
        """Return the verified header at `height`; cheap for the last few hundred. Raises `CorruptStore`."""
        return self._store.header(height)

    def certificate(self, height: Height) -> bytes | None:
        """Return the engine's certificate for the batch at `height`. Raises `CorruptStore`."""
        return self._store.certificate(height) if 0 < height <= self.height else None

    def blocks_from(self, first: Height, last: Height, max_bytes: int) -> list[Block]:
        """Return verified blocks with certificates from `first` up to `last`, while they have `max_bytes` in
        all; at least one, if there is one. Raises `CorruptStore`."""
        return self._store.blocks(first, last, max_bytes)

    def read(self, key: bytes) -> tuple[bytes | None, bytes]:
        """Return the value of a state key at the head, and the encoded proof of it, or of its absence.

        Raises `StateLimitExceeded` for a key that is too long, and `CorruptStore`.
        """
        try:
            return self._state.get_verified(key), encode_proof(self._state.prove(key))
        except CorruptState as error:
            raise CorruptStore(str(error), self.height) from error

    def query(self, question: bytes) -> bytes:
        """Return the application's answer to a question about the state at the head.

        Raises `Invalid` where the application finds the question so, `QuestionFailed` where it fails at it,
        and `CorruptStore`.
        """
        try:
            return answer(self._application, self._state.get_verified, question)
        except CorruptState as error:
            raise CorruptStore(str(error), self.height) from error

    def check(self, parsed: ParsedTransaction, wall: Millis) -> None:
        """Check whether a transaction may be admitted at the wall clock's time `wall` (ms), its signature
        apart.

        Raises `TransactionRefused`: `bad_key`, `expired`, `too_far`, or `invalid` by the application.
        """
        transaction = parsed.transaction
        if transaction.sender not in self._senders:
            check_sender(transaction.sender)
            if len(self._senders) >= KNOWN_SENDERS:
                self._senders.clear()
            self._senders.add(transaction.sender)
        valid_until = transaction.valid_until
        now = max(wall, self.time)
        if valid_until < now:
            raise TransactionRefused(RefusalCode.EXPIRED, f"valid_until passed {now - valid_until} ms ago")
        if valid_until > wall + self._genesis.horizon_ms:
            raise TransactionRefused(
                RefusalCode.TOO_FAR,
                f"valid_until lies {valid_until - wall} ms ahead, more than {self._genesis.horizon_ms}",
            )
        self._check_payload(transaction.payload)

    def engine_records(self) -> list[tuple[bytes, bytes]]:
        """Return keys and values of all the engine's records, in the order of the keys. Raises
        `CorruptStore`."""
        return list(self._store.sealed(Family.VOTES))

    def write_engine_records(
        self,
        records: Sequence[tuple[bytes, bytes | None]],
        archive: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        """Write records of the engine's (`None` deletes one), and what it archives, in one write, not
        synced."""
        self._engine_records.write(records, archive)

    def archive(self, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        """Return keys and values of what the engine archived under `prefix`. Raises `CorruptStore`."""
        return list(self._store.sealed(Family.ARCHIVE, prefix))

    def sync(self) -> None:
        """Make everything written so far durable. Blocks; may run in another thread. Raises `StoreError`."""
        self._disk.sync()

    def _check_payload(self, payload: bytes) -> None:
        try:
            self._application.check(payload)
        except Invalid as error:
            reason = given_reason(error, "the payload is not valid")
            raise TransactionRefused(RefusalCode.INVALID, reason) from None
        except KeyboardInterrupt:  # the operator's, not the application's
            raise
        except BaseException as error:  # a user's code may raise anything, and must not stop a replica
            reason = f"the application cannot check it: {type(error).__name__}"
            raise TransactionRefused(RefusalCode.INVALID, reason) from error

    def _carry_out(
        self, height: Height, time: Millis, transactions: Sequence[ParsedTransaction], ids: Sequence[TxId]
    ) -> tuple[BatchOutcome, PendingUpdate]:
        """Return what the batch comes to, and what the state becomes by it; nothing is changed yet."""
        first_heights = self.located(ids)
        try:
            outcome = execute_batch(
                self._application, self._values.get, height, time, transactions, first_heights
            )
            return outcome, self._state.update(outcome.changes)
        except CorruptState as error:
            raise CorruptStore(str(error), self.height) from error

    def _agreed_root(self, height: Height, batch: Digest, timestamp: Millis, ids: Sequence[TxId]) -> Digest:
        """Return the transaction root, once sure that this is the batch agreed for the next height."""
        if height != self.height + 1:
            raise BlockError(f"a batch for height {height}, the next block is {self.height + 1}")
        root = transaction_root(ids)
        if batch_digest(self._chain_id, height, timestamp, root) != batch:
            raise BlockError(f"the transactions for height {height} are not those of the agreed digest")
        return root
