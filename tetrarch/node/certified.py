"""Judges a block out of another member's store, trusting nothing that the block says of itself.

The transactions give their ids, the ids the transaction root, root, height and timestamp the batch digest;
and that digest is what a quorum certified. The rest of the header is not believed: executing computes it
again. What is left to verify is returned as signature checks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from consensus.contract import Decision, Request
from crypto.batch import batch_digest, transaction_root
from crypto.digest import ChainId
from crypto.errors import CryptoError
from crypto.keys import Check
from crypto.roster import MemberId
from ledger.block import Block, Header
from ledger.certificates import CertificateVerifier
from ledger.errors import BlockError, TransactionRefused
from ledger.transaction import ParsedTransaction, parse_transaction


@dataclass(frozen=True, slots=True)
class Candidate:
    """A block whose form is right, and the checks on which it still stands."""

    source: MemberId
    decision: Decision
    parsed: Sequence[ParsedTransaction]
    header: Header
    """As served: compared, loudly, with what executing gives."""
    certificate_checks: Sequence[Check]


class BlockJudge:
    """Turns served blocks into candidates for one chain."""

    def __init__(
        self, chain_id: ChainId, max_transaction_bytes: int, max_batch: int, verifier: CertificateVerifier
    ) -> None:
        self._chain_id = chain_id
        self._max_transaction_bytes = max_transaction_bytes
        self._max_batch = max_batch
        self._verifier = verifier

    def judge(self, block: Block, source: MemberId) -> Candidate:
        """Return `block` as a candidate. Raises `BlockError` saying what is wrong with it."""
        header = block.header
        height = header.height
        if len(block.transactions) > self._max_batch:
            raise BlockError(f"block {height} holds {len(block.transactions)} transactions")
        try:
            parsed = [
                parse_transaction(raw, self._chain_id, self._max_transaction_bytes)
                for raw in block.transactions
            ]
        except TransactionRefused as refusal:
            raise BlockError(f"block {height} holds a transaction that is {refusal}") from None
        root = transaction_root([transaction.id for transaction in parsed])
        digest = batch_digest(self._chain_id, height, header.proposed, root)
        try:
            checks = self._verifier.checks(height, digest, block.certificate)
        except CryptoError as error:
            raise BlockError(f"the certificate of block {height}: {error}") from None
        requests = tuple(
            Request(transaction.id, transaction.transaction.valid_until, transaction.raw)
            for transaction in parsed
        )
        decision = Decision(height, digest, header.proposed, requests, block.certificate)
        return Candidate(source, decision, parsed, header, checks)


def unverified(
    candidate: Candidate,
    verified_before: Callable[[ParsedTransaction], bool],
    unknown: Callable[[Sequence[Check]], list[Check]],
) -> list[Check]:
    """Return the checks of `candidate` that nobody has done yet."""
    checks = unknown(candidate.certificate_checks)
    checks += [parsed.check for parsed in candidate.parsed if not verified_before(parsed)]
    return checks
