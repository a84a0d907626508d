"""Receipts: the proof, checked without any network, that a transaction was executed and with what result.

What lives here: what a receipt holds, how it is verified, and its file. What must not be known here: how
it was collected, how a block was ordered, what the result means to the application.

A receipt joins five things, and `Receipt.verify` checks every joint, in this order:

* the transaction's bytes: canonical, of this chain, signed by their sender, and what the id is made of;
* (id, result): a leaf of the result tree whose root stands in the header;
* the header of the block; and, where the attested block is a later one, the headers after it, each naming
  the hash of the one before;
* the attestations: signatures of distinct members over height and hash of the last of these headers;
* how many: as many as a client believes (a weak quorum), or a quorum if asked for.

The result root does not bind the number of leaves, so `position` and `size` are what the replica said, and
prove the leaf's presence, not its place (see `crypto.merkle`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

from msgspec import Struct

from crypto import merkle
from crypto.attestation import ATTESTATION, Height
from crypto.batch import TxId
from crypto.digest import ChainId, Digest
from crypto.errors import CertificateError, CodecError, KeyRefused
from crypto.keys import InlineChecker, SignatureChecker, check_public_key, verify
from crypto.roster import MemberId, Roster
from crypto.signed import Certificate, certificate_checks
from ledger import receipt_text
from ledger.attestations import Attestations
from ledger.block import Block, Header, block_hash, result_leaf
from ledger.errors import LedgerError, TransactionRefused
from ledger.jsonfile import FileFault, NoFile, write_json
from ledger.refusals import RefusalCode
from ledger.result import Result, results
from ledger.transaction import (
    MAX_TRANSACTION_BYTES,
    ParsedTransaction,
    parse_transaction,
    transaction_id,
)

R = TypeVar("R", bound="Receipt")


class Trust(Protocol):
    """What a verifier believes beforehand: the chain, its members, and how many of them are enough."""

    @property
    def chain_id(self) -> ChainId:
        """The digest of the genesis."""
        ...

    @property
    def roster(self) -> Roster:
        """The members and their keys."""
        ...

    @property
    def acceptance(self) -> int:
        """Distinct members whose word is believed."""
        ...

    @property
    def quorum(self) -> int:
        """Distinct members of a quorum."""
        ...


class ReceiptCheck(StrEnum):
    """The checks of a receipt, in the order in which they are made."""

    FORMAT = "format"
    TRANSACTION = "transaction"
    CHAIN = "chain"
    SENDER_KEY = "sender key"
    TRANSACTION_SIGNATURE = "transaction signature"
    TRANSACTION_ID = "transaction id"
    RESULT_PATH = "result path"
    RESULT = "result"
    PARENT_LINK = "parent link"
    BLOCK_HASH = "block hash"
    ATTESTATION = "attestation"
    ATTESTATION_SIGNATURE = "attestation signature"
    ACCEPTANCE = "acceptance"
    QUORUM = "quorum"


class Checked(Struct, frozen=True):
    """A check that held, and over what."""

    check: str
    what: str


class ReceiptFault(LedgerError):
    """A receipt that does not hold: which check failed, what was expected, and what was there instead."""

    def __init__(self, check: str, expected: str, actual: str, passed: Sequence[Checked] = ()) -> None:
        super().__init__(f"{check}: expected {expected}, found {actual}")
        self.check = check
        self.expected = expected
        self.actual = actual
        self.passed = tuple(passed)
        """The checks that held before this one."""


class Verification(Struct, frozen=True):
    """What verifying a receipt has shown."""

    tx_id: TxId
    height: Height
    signers: tuple[MemberId, ...]
    need: int
    """How many distinct members were asked for."""
    checked: tuple[Checked, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Receipt:
    """One transaction, its result, and the proof of both.

    `signers` may grow while the client that made the receipt is open: what `save` writes is what was
    collected by then. Nothing in a receipt is believed before `verify` has returned.
    """

    transaction: bytes
    """The wire bytes: signature, then the canonical body."""
    result_bytes: bytes
    """The canonical bytes of the result, as they were hashed."""
    position: int
    size: int
    path: tuple[Digest, ...]
    """The audit path of the leaf (id, result) in the result tree, leaf to root."""
    header: Header
    attestations: Attestations
    following: tuple[Header, ...] = ()
    """The headers after the block, up to the attested one; empty where the block itself is attested."""

    @classmethod
    def of_block(
        cls: type[R], block: Block, position: int, certificate: Certificate, following: Sequence[Header] = ()
    ) -> R:
        """Return the receipt for the transaction at `position` of a stored block.

        `certificate` attests the block, or the last of the `following` headers (a stable checkpoint).
        Raises `IndexError` for a position that the block does not have, `CodecError` for a certificate of
        another kind. What was stored is not judged here: `verify` does that.
        """
        ids = [transaction_id(raw) for raw in block.transactions]
        leaves = map(result_leaf, ids, block.results)
        tree = merkle.Tree.of_leaves(leaves)
        return cls(
            transaction=block.transactions[position],
            result_bytes=block.results[position],
            position=position,
            size=tree.size,
            path=tuple(Digest(step) for step in tree.inclusion_proof(position)),
            header=block.header,
            attestations=Attestations.of(certificate),
            following=tuple(following),
        )

    @property
    def tx_id(self) -> TxId:
        """The transaction's id (32 bytes)."""
        return transaction_id(self.transaction)

    @property
    def result(self) -> Result:
        """What the transaction came to. Raises `CodecError` where the bytes are none (`verify` checks it)."""
        return results.decode(self.result_bytes)

    @property
    def height(self) -> Height:
        """The height of the block in which it was executed."""
        return self.header.height

    @property
    def signers(self) -> tuple[MemberId, ...]:
        """The members who attested the block so far, ascending."""
        return self.attestations.members

    def verify(
        self, trust: Trust, *, quorum: bool = False, checker: SignatureChecker | None = None
    ) -> Verification:
        """Check everything, without any network, and return what was checked.

        `quorum`: ask for a quorum of members instead of as many as a client believes. Raises
        `ReceiptFault`, with the first check that failed and those that held before.
        """
        need = trust.quorum if quorum else trust.acceptance
        verifier = _Verifier(self, trust, checker or InlineChecker())
        verifier.check_transaction()
        verifier.check_result()
        verifier.check_headers()
        verifier.check_attestations(need, ReceiptCheck.QUORUM if quorum else ReceiptCheck.ACCEPTANCE)
        return Verification(self.tx_id, self.height, self.signers, need, tuple(verifier.passed))

    def save(self, path: str | Path) -> None:
        """Write the receipt to a file, durably. Raises `FileFault`."""
        text = receipt_text.ReceiptText(
            format="tetrarch-receipt",
            version=receipt_text.VERSION,
            tx_id=self.tx_id.hex(),
            transaction=receipt_text.base64_text(self.transaction),
            result=receipt_text.base64_text(self.result_bytes),
            position=self.position,
            size=self.size,
            path=[step.hex() for step in self.path],
            header=receipt_text.header_to_text(self.header),
            following=[receipt_text.header_to_text(header) for header in self.following],
            attestation=receipt_text.attestations_to_text(self.attestations),
        )
        write_json(Path(path), text)

    @classmethod
    def load(cls: type[R], path: str | Path) -> R:
        """Read a receipt's file; nothing in it is believed yet.

        Raises `ReceiptFault` (`format`, or `transaction id`) for one that is not well-formed, `NoFile`.
        """
        try:
            receipt, stated = cls._read(Path(path))
        except NoFile:
            raise
        except FileFault as fault:
            raise ReceiptFault(ReceiptCheck.FORMAT.value, "a receipt's file", str(fault)) from None
        if receipt.tx_id.hex() != stated:
            raise ReceiptFault(ReceiptCheck.TRANSACTION_ID.value, receipt.tx_id.hex(), stated)
        return receipt

    @classmethod
    def _read(cls: type[R], path: Path) -> tuple[R, str]:
        text = receipt_text.read_receipt_text(path)
        receipt = cls(
            transaction=receipt_text.bytes_of(path, "transaction", text.transaction),
            result_bytes=receipt_text.bytes_of(path, "result", text.result),
            position=text.position,
            size=text.size,
            path=tuple(map(receipt_text.digest_of, text.path)),
            header=receipt_text.header_of_text(text.header),
            attestations=receipt_text.attestations_of_text(text.attestation),
            following=tuple(map(receipt_text.header_of_text, text.following)),
        )
        return receipt, text.tx_id


class _Verifier:
    """One verification: the checks made so far, and the methods that make them."""

    def __init__(self, receipt: Receipt, trust: Trust, checker: SignatureChecker) -> None:
        self.receipt = receipt
        self.trust = trust
        self.checker = checker
        self.passed: list[Checked] = []

    def note(self, check: ReceiptCheck, what: str) -> None:
        self.passed.append(Checked(check.value, what))

    def fail(self, check: ReceiptCheck, expected: str, actual: str) -> NoReturn:
        raise ReceiptFault(check.value, expected, actual, self.passed)

    def check_transaction(self) -> None:
        """Guard: these bytes are a transaction of this chain that its sender signed."""
        chain_id = self.trust.chain_id
        parsed = self._parsed(chain_id)
        self.note(ReceiptCheck.TRANSACTION, f"{len(parsed.raw)} bytes, canonical")
        if self.receipt.header.chain_id != chain_id:
            self.fail(ReceiptCheck.CHAIN, chain_id.hex(), self.receipt.header.chain_id.hex())
        self.note(ReceiptCheck.CHAIN, chain_id.hex())
        sender = parsed.transaction.sender
        try:
            check_public_key(sender)
        except KeyRefused as error:
            self.fail(ReceiptCheck.SENDER_KEY, "a key that may sign", str(error))
        self.note(ReceiptCheck.SENDER_KEY, sender.hex())
        if not verify(*parsed.check):
            actual = f"{parsed.check.signature.hex()}, which does not verify"
            self.fail(ReceiptCheck.TRANSACTION_SIGNATURE, f"the signature of {sender.hex()}", actual)
        self.note(ReceiptCheck.TRANSACTION_SIGNATURE, f"by {sender.hex()}")
        self.note(ReceiptCheck.TRANSACTION_ID, parsed.id.hex())

    def _parsed(self, chain_id: ChainId) -> ParsedTransaction:
        try:
            return parse_transaction(self.receipt.transaction, chain_id, MAX_TRANSACTION_BYTES)
        except TransactionRefused as refused:
            check = (
                ReceiptCheck.CHAIN if refused.code is RefusalCode.WRONG_CHAIN else ReceiptCheck.TRANSACTION
            )
            expected = chain_id.hex() if check is ReceiptCheck.CHAIN else "a canonical transaction"
            self.fail(check, expected, refused.reason)

    def check_result(self) -> None:
        """Guard: (id, result) is a leaf of the tree whose root the header states."""
        receipt = self.receipt
        leaf = result_leaf(receipt.tx_id, receipt.result_bytes)
        root = receipt.header.result_root
        try:
            merkle.verify_inclusion(root, receipt.size, receipt.position, leaf, receipt.path)
        except merkle.MerkleError as error:
            self.fail(ReceiptCheck.RESULT_PATH, f"a path to the result root {root.hex()}", str(error))
        self.note(ReceiptCheck.RESULT_PATH, f"{len(receipt.path)} hashes to the root {root.hex()}")
        try:
            self.note(ReceiptCheck.RESULT, receipt.result.code.value)
        except CodecError as error:
            self.fail(ReceiptCheck.RESULT, "the canonical bytes of a result", str(error))

    def check_headers(self) -> None:
        """Guard: the attested hash is this header's, or that of one which follows from it link by link."""
        head = self.receipt.header
        head_hash = block_hash(head)
        for header in self.receipt.following:
            if header.parent != head_hash:
                what = f"{head_hash.hex()} as the parent of block {header.height}"
                self.fail(ReceiptCheck.PARENT_LINK, what, header.parent.hex())
            if header.height != head.height + 1 or header.chain_id != head.chain_id:
                what = f"block {head.height + 1} of the same chain"
                self.fail(ReceiptCheck.PARENT_LINK, what, f"block {header.height}")
            head, head_hash = header, block_hash(header)
        if self.receipt.following:
            self.note(ReceiptCheck.PARENT_LINK, f"blocks {self.receipt.height} to {head.height}")
        attestations = self.receipt.attestations
        if (attestations.height, attestations.block_hash) != (head.height, head_hash):
            expected = f"{head_hash.hex()} at height {head.height}"
            actual = f"{attestations.block_hash.hex()} at height {attestations.height}"
            self.fail(ReceiptCheck.BLOCK_HASH, expected, actual)
        self.note(ReceiptCheck.BLOCK_HASH, f"{head_hash.hex()} at height {head.height}")

    def check_attestations(self, need: int, threshold: ReceiptCheck) -> None:
        """Guard: every signature is a member's over the attested hash, and there are enough members."""
        certificate = self.receipt.attestations.certificate()
        try:
            checks = certificate_checks(self.trust.roster, certificate, ATTESTATION, 0)
        except CertificateError as error:
            self.fail(ReceiptCheck.ATTESTATION, "attestations by members of the roster", str(error))
        self.note(ReceiptCheck.ATTESTATION, f"{len(checks)} of {self.trust.roster.n} members")
        for vote, valid in zip(certificate.votes, self.checker.check(checks), strict=True):
            if not valid:
                actual = f"{vote.signature.hex()}, which does not verify"
                expected = f"the signature of member {vote.signer}"
                self.fail(ReceiptCheck.ATTESTATION_SIGNATURE, expected, actual)
            self.note(ReceiptCheck.ATTESTATION_SIGNATURE, f"member {vote.signer}")
        if len(checks) < need:
            self.fail(threshold, f"{need} distinct members", f"{len(checks)}")
        self.note(threshold, f"{len(checks)} distinct members, {need} are needed")
