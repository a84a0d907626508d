"""One block by itself: everything about it that needs no other block. This is what worker processes do.

What lives here: decoding, header, roots, transactions, signatures and the certificate of single blocks.
What must not be known here: parents, state, stores, processes.

Nothing is taken from the store's own reading: bytes are decoded strictly, and what they claim is computed
again.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

from msgspec import Struct

from crypto import merkle
from crypto.attestation import Height
from crypto.batch import TxId, batch_digest, transaction_root
from crypto.digest import Digest
from crypto.errors import CodecError, CryptoError
from crypto.keys import Check, SignatureChecker
from ledger.audit.report import Level, shown
from ledger.block import Block, Header, block_hash, blocks, result_leaf
from ledger.certificates import CertificateVerifier
from ledger.errors import CorruptStore, TransactionRefused
from ledger.genesis import Genesis
from ledger.keyvalue import Family
from ledger.result import results
from ledger.store import SEAL_BYTES, height_key, index_changes, unseal
from ledger.transaction import ParsedTransaction, check_sender, parse_transaction, transaction_id

KNOWN_SENDERS = 65_536
"""Senders whose keys were checked already: one check costs as much as half a signature."""

SEAL = "seal"
"""The field of a record whose own checksum does not hold, whatever else is wrong with it."""


class BlockRow(NamedTuple):
    """A block as stored: both records of one height, None where one is missing."""

    height: int
    block: bytes | None
    certificate: bytes | None
    trusted: bool
    """Whether signatures were verified by an earlier run, which the report then says."""


class BlockFault(NamedTuple):
    """What is wrong with a block, and in which family's record."""

    family: Family
    field: str
    what: str
    fatal: bool = False
    """Whether what was agreed is not known any more, so that nothing from here on can be executed."""


class Inspected(Struct, frozen=True):
    """What is known of a block once it has been inspected."""

    height: int
    faults: Sequence[BlockFault]
    header: Header | None
    """None where the block cannot be read."""
    hash: Digest | None
    sound: bool
    """Whether its transactions are known to be those of the header, so that it can be executed."""
    certified: bool
    transactions: int
    ids: bytes
    """The transactions' ids, joined."""
    indexed: int
    """How many records of INDEX the block must have."""
    fingerprint: int
    """The sum of the fingerprints of these records."""


class Setup(NamedTuple):
    """What an inspector must know. Travels to worker processes, so the verifier and the checker must be
    picklable."""

    genesis: Genesis
    level: Level
    verifier: CertificateVerifier
    checker: SignatureChecker
    secret: bytes
    """Drawn anew for every audit: see `Fingerprints`."""


class _Unparsed(NamedTuple):
    """A transaction that is none: its bytes' id, and why."""

    of: TxId
    why: str


class Fingerprints:
    """Fingerprints of records, under one secret.

    Two sets of records are compared by the sums of their fingerprints, whatever the order. Since the secret
    is drawn after the store was made, nobody can prepare records whose sums agree.
    """

    def __init__(self, secret: bytes) -> None:
        # A copied state that has swallowed the secret costs less than a keyed hash of its own.
        self._state = sha256(secret)

    def of(self, record: bytes) -> int:
        """Return the fingerprint of a record: key and stored value, joined; the key has a fixed length."""
        state = self._state.copy()
        state.update(record)
        return int.from_bytes(state.digest(), "big")


class Inspector:
    """Inspects blocks. Keeps nothing from one to the next but which senders' keys are good."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._genesis = setup.genesis
        self._chain_id = setup.genesis.chain_id
        self._epoch = setup.genesis.roster().epoch
        self._fingerprints = Fingerprints(setup.secret)
        self._senders: set[bytes] = set()

    def inspect(self, rows: Sequence[BlockRow]) -> list[Inspected]:
        """Inspect every row. Never raises for what a store holds."""
        return [self._inspect(row) for row in rows]

    def _inspect(self, row: BlockRow) -> Inspected:
        faults: list[BlockFault] = []
        seals: list[BlockFault] = []
        block = None
        if row.block is not None:
            block = _block(_opened(Family.BLOCKS, row.height, row.block, seals), faults)
        if block is None:
            return Inspected(row.height, [*faults, *seals], None, None, False, False, 0, b"", 0, 0)
        header = block.header
        faults += self._header_faults(header, row.height)
        certified = False
        if self._setup.level >= Level.CERTIFICATES and row.certificate is not None:
            certificate = _opened(Family.CERTIFICATES, row.height, row.certificate, seals)
            certified = self._certify(header, certificate, row.trusted, faults)
        ids: list[TxId] = []
        sound, indexed, mark = True, 0, 0
        if self._setup.level is Level.FULL:
            parsed = [self._parse(raw) for raw in block.transactions]
            ids = [one.id if isinstance(one, ParsedTransaction) else one.of for one in parsed]
            contents = [
                *self._transaction_faults(header, parsed, row.trusted),
                *self._root_faults(block, ids),
            ]
            faults += contents
            sound = not any(fault.fatal for fault in contents)
            indexed, mark = self._index(row.height, block, ids)
        return Inspected(
            height=row.height,
            faults=[*faults, *seals],
            header=header,
            hash=block_hash(header),
            sound=sound,
            certified=certified,
            transactions=len(block.transactions),
            ids=b"".join(ids),
            indexed=indexed,
            fingerprint=mark,
        )

    def _header_faults(self, header: Header, height: int) -> Iterator[BlockFault]:
        expected: tuple[tuple[str, object, object], ...] = (
            ("header.height", height, header.height),
            ("header.chain_id", self._chain_id.hex(), header.chain_id.hex()),
            ("header.epoch", self._epoch, header.epoch),
        )
        for field, right, found in expected:
            if right != found:
                yield BlockFault(Family.BLOCKS, field, f"expected {right}, found {found}")
        batch = batch_digest(header.chain_id, header.height, header.proposed, header.transaction_root)
        if batch != header.batch:
            what = f"its parts give {batch.hex()}, not {header.batch.hex()}"
            yield BlockFault(Family.BLOCKS, "header.batch", what)

    def _certify(self, header: Header, certificate: bytes, trusted: bool, faults: list[BlockFault]) -> bool:
        """Return whether the certificate proves that the batch was agreed for this height."""
        verifier = self._setup.verifier
        # Not the header's own digest: what counts is what chain, height, time and transactions make.
        batch = batch_digest(self._chain_id, header.height, header.proposed, header.transaction_root)
        try:
            checks = verifier.checks(Height(header.height), batch, certificate)
            signers = verifier.signers(certificate)
        except CryptoError as error:
            faults.append(BlockFault(Family.CERTIFICATES, "certificate", str(error)))
            return False
        if trusted:
            return True
        bad = [at for at, valid in enumerate(self._setup.checker.check(checks)) if not valid]
        for at in bad:
            who = f"of member {signers[at]}" if len(signers) == len(checks) else f"{at}"
            what = f"the signature {who} does not verify"
            faults.append(BlockFault(Family.CERTIFICATES, f"certificate.votes[{at}].signature", what))
        return not bad and bool(checks)

    def _parse(self, raw: bytes) -> ParsedTransaction | _Unparsed:
        try:
            parsed = parse_transaction(raw, self._chain_id, self._genesis.max_transaction_bytes)
            self._require_sender(parsed)
        except TransactionRefused as refusal:
            return _Unparsed(transaction_id(raw), str(refusal))
        return parsed

    def _transaction_faults(
        self, header: Header, transactions: Sequence[ParsedTransaction | _Unparsed], trusted: bool
    ) -> Iterator[BlockFault]:
        if len(transactions) > self._genesis.max_batch_transactions:
            what = f"{len(transactions)}, at most {self._genesis.max_batch_transactions} are allowed"
            yield BlockFault(Family.BLOCKS, "transactions", what)
        horizon = header.proposed + self._genesis.horizon_ms
        checks: list[Check] = []
        positions: list[int] = []
        for position, parsed in enumerate(transactions):
            if isinstance(parsed, _Unparsed):
                yield BlockFault(Family.BLOCKS, f"transactions[{position}]", parsed.why, True)
                continue
            if parsed.transaction.valid_until > horizon:
                what = f"{parsed.transaction.valid_until} lies beyond the proposal's horizon, {horizon}"
                yield BlockFault(Family.BLOCKS, f"transactions[{position}].valid_until", what)
            checks.append(parsed.check)
            positions.append(position)
        if trusted:
            return
        for position, valid in zip(positions, self._setup.checker.check(checks), strict=True):
            if not valid:
                what = "it does not verify under the sender's key"
                yield BlockFault(Family.BLOCKS, f"transactions[{position}].signature", what)

    @staticmethod
    def _root_faults(block: Block, ids: Sequence[TxId]) -> Iterator[BlockFault]:
        header = block.header
        root = transaction_root(ids)
        if root != header.transaction_root:
            what = f"the transactions give {root.hex()}, not {header.transaction_root.hex()}"
            yield BlockFault(Family.BLOCKS, "header.transaction_root", what, True)
        if len(block.results) != len(ids):
            what = f"{len(block.results)} results of {len(ids)} transactions"
            yield BlockFault(Family.BLOCKS, "results", what)
            return
        root = merkle.root(map(result_leaf, ids, block.results))
        if root != header.result_root:
            what = f"the results give {root.hex()}, not {header.result_root.hex()}"
            yield BlockFault(Family.BLOCKS, "header.result_root", what)

    def _require_sender(self, parsed: ParsedTransaction) -> None:
        sender = parsed.transaction.sender
        if sender not in self._senders:
            check_sender(sender)
            if len(self._senders) >= KNOWN_SENDERS:
                self._senders.clear()
            self._senders.add(sender)

    def _index(self, height: int, block: Block, ids: Sequence[TxId]) -> tuple[int, int]:
        """Return how many index records the block's results call for, and the sum of their fingerprints."""
        if len(ids) != len(block.results):
            return 0, 0
        rows = index_rows(height, block, ids)
        of = self._fingerprints.of
        return len(rows), sum([of(key + stored) for key, stored in rows])


def index_rows(height: int, block: Block, ids: Sequence[TxId]) -> list[tuple[bytes, bytes]]:
    """Return the records of INDEX that a block's stored results call for."""
    executed = [at for at, result in enumerate(block.results) if _executed(result)]
    changes = index_changes(Height(height), ids, executed)
    return [(key, stored) for _, key, stored in changes if stored is not None]


def _block(data: bytes, faults: list[BlockFault]) -> Block | None:
    try:
        block = blocks.decode(data)
    except CodecError as error:
        faults.append(BlockFault(Family.BLOCKS, "block", str(error)))
        return None
    if block.certificate:
        what = "the block holds a certificate, which belongs into its own record"
        faults.append(BlockFault(Family.BLOCKS, "certificate", what))
    return block


def _executed(result: bytes) -> bool:
    try:
        return results.decode(result).executed
    except CodecError:
        return False


def _opened(family: Family, height: int, stored: bytes, faults: list[BlockFault]) -> bytes:
    """Return a record's value, also where its seal does not hold: the damage may show more exactly inside."""
    try:
        return unseal(family, height_key(Height(height)), stored)
    except CorruptStore:
        faults.append(BlockFault(family, SEAL, "the record's checksum does not hold"))
        return stored[:-SEAL_BYTES]


def shown_result(result: bytes) -> str:
    """Return a result as a fault shows it."""
    try:
        decoded = results.decode(result)
    except CodecError:
        return shown(result)
    text = decoded.reason or shown(decoded.value)
    return f"{decoded.code.value} ({text})" if text else decoded.code.value
