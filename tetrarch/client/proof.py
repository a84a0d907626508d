"""What a single answer of a replica proves by itself: headers, results, reads and blocks, each checked alone.

What lives here: pure checks of one frame against the trust root; `ReplicaFault` names the check that failed.
What must not be known here: connections, time, and how many members have to agree (`witnesses`).
"""

from collections.abc import Sequence

from crypto import merkle
from crypto.attestation import Attestation, attested
from crypto.batch import TxId, batch_digest, transaction_root
from crypto.digest import Digest
from crypto.errors import CertificateError, CodecError
from crypto.keys import verify
from crypto.roster import MemberId, Roster
from crypto.signed import Envelope, envelope_check
from ledger.block import Block, Header, block_hash, result_leaf
from ledger.state.errors import ProofError
from ledger.state.proof import decode_proof, verify_absence, verify_presence
from ledger.transaction import transaction_id
from tetrarch.trust import TrustRoot
from tetrarch.wire import NotExecuted, ReadReply, Refusals, Results, statement_kinds


class ReplicaFault(Exception):
    """A replica answered with something that no correct replica sends; another one is asked instead."""

    def __init__(self, check: str, what: str) -> None:
        super().__init__(f"{check}: {what}")
        self.check = check
        self.what = what


class ProvenResults:
    """Entries of one block, verified to be leaves under a header that is itself still to be believed.

    Paths for single receipts are computed on demand: a stream of thousands of outcomes does not need them.
    """

    __slots__ = ("_leaves", "_positions", "_proof", "block_hash", "header", "size")

    def __init__(self, frame: Results, leaves: Sequence[bytes]) -> None:
        self.header = frame.header
        self.block_hash = block_hash(frame.header)
        self.size = frame.size
        self._positions = [entry.position for entry in frame.entries]
        self._leaves = leaves
        self._proof = frame.proof

    def path(self, entry: int) -> tuple[int, tuple[Digest, ...]]:
        """Return position and audit path (leaf to root) of the entry with this index in the frame."""
        position = place = self._positions[entry]
        path: list[Digest] = []
        for known in merkle_levels(self.size, self._positions, self._leaves, self._proof):
            sibling = known.get(place ^ 1)
            if sibling is not None:
                path.append(Digest(sibling))
            place >>= 1
        return position, tuple(path)


def merkle_levels(
    size: int, positions: Sequence[int], leaves: Sequence[bytes], proof: Sequence[bytes]
) -> list[dict[int, bytes]]:
    """Return, per level below the root, the hashes that a verified multiproof gives or implies."""
    steps = iter(proof)
    level = dict(zip(positions, leaves, strict=True))
    levels: list[dict[int, bytes]] = []
    while size > 1:
        above: dict[int, bytes] = {}
        for position in sorted(level):
            if position ^ 1 < size and position ^ 1 not in level:
                level[position ^ 1] = next(steps)
        for position in sorted(level):
            left, right = level.get(position & ~1), level.get(position | 1)
            if left is not None:
                above[position >> 1] = left if right is None else merkle.node_hash(left, right)
        levels.append(level)
        level, size = above, (size + 1) >> 1
    return levels


def check_envelope(roster: Roster, member: MemberId, envelope: Envelope) -> None:
    """Guard: the replica that sent this signed it. Raises `ReplicaFault`."""
    if envelope.signer != member:
        raise ReplicaFault("signer", f"member {member} sent a statement of member {envelope.signer}")
    try:
        check = envelope_check(roster, envelope)
    except CertificateError as error:
        raise ReplicaFault("statement", str(error)) from None
    if envelope.beside:
        raise ReplicaFault("statement", "data beside it")
    if not verify(*check):
        raise ReplicaFault("signature", f"member {member}'s over its {envelope.kind} does not verify")


def check_refusals(roster: Roster, member: MemberId, envelope: Envelope) -> Refusals:
    """Return the refusals that `member` signed. Raises `ReplicaFault`."""
    statement = _statement(envelope)
    if not isinstance(statement, Refusals):
        raise ReplicaFault("statement", f"{envelope.kind} where refusals belong")
    check_envelope(roster, member, envelope)
    return statement


def check_not_executed(roster: Roster, member: MemberId, envelope: Envelope) -> NotExecuted:
    """Return what `member` signed about a transaction that it did not execute. Raises `ReplicaFault`."""
    statement = _statement(envelope)
    if not isinstance(statement, NotExecuted):
        raise ReplicaFault("statement", f"{envelope.kind} where not-executed belongs")
    check_envelope(roster, member, envelope)
    return statement


def _statement(envelope: Envelope) -> object:
    try:
        return statement_kinds.decode(envelope)
    except CodecError as error:
        raise ReplicaFault("statement", str(error)) from None


def attestation_in(envelope: Envelope) -> Attestation:
    """Return what an envelope attests, its signature not verified. Raises `ReplicaFault`."""
    try:
        return attested(envelope)
    except CodecError as error:
        raise ReplicaFault("attestation", str(error)) from None


def check_header(trust: TrustRoot, envelope: Envelope, header: Header) -> Digest:
    """Return the header's hash, if it is the attested block's and of this chain. Raises `ReplicaFault`."""
    said = attestation_in(envelope)
    if header.chain_id != trust.chain_id or header.epoch != trust.roster.epoch:
        raise ReplicaFault("header", "is of another chain or epoch")
    computed = block_hash(header)
    if (said.height, said.block_hash) != (header.height, computed):
        raise ReplicaFault("block hash", f"the header at height {header.height} is not the one attested")
    return computed


def check_results(trust: TrustRoot, frame: Results) -> ProvenResults:
    """Return the results of a frame, each proven under its header. Raises `ReplicaFault`."""
    check_header(trust, frame.attestation, frame.header)
    leaves = merkle.leaf_hashes([entry.tx_id + entry.result for entry in frame.entries])
    entries = [(entry.position, leaf) for entry, leaf in zip(frame.entries, leaves, strict=True)]
    proof = merkle.Multiproof(frame.proof)
    try:
        merkle.verify_multiproof(frame.header.result_root, frame.size, entries, proof)
    except merkle.MerkleError as error:
        raise ReplicaFault("result path", str(error)) from None
    return ProvenResults(frame, leaves)


def check_read(trust: TrustRoot, frame: ReadReply, key: bytes, min_height: int) -> Digest:
    """Return the hash of the header under which the value, or the absence, of `key` is proven.

    Raises `ReplicaFault`.
    """
    computed = check_header(trust, frame.attestation, frame.header)
    if frame.header.height < min_height:
        raise ReplicaFault("height", f"{frame.header.height}, at least {min_height} was asked for")
    root = frame.header.state_root
    try:
        proof = decode_proof(frame.proof)
        if frame.value is None:
            verify_absence(root, key, proof)
        else:
            verify_presence(root, key, frame.value, proof)
    except ProofError as error:
        raise ReplicaFault("state proof", str(error)) from None
    return computed


def check_block(trust: TrustRoot, block: Block, height: int) -> list[TxId]:
    """Return the ids of a block whose transactions and results are those that its header binds.

    Raises `ReplicaFault`. Whether the header is believed is for its attestations to show.
    """
    header = block.header
    if header.chain_id != trust.chain_id or header.epoch != trust.roster.epoch or header.height != height:
        raise ReplicaFault("header", f"is not of block {height} of this chain")
    if len(block.transactions) != len(block.results):
        raise ReplicaFault("results", f"{len(block.results)} for {len(block.transactions)} transactions")
    ids = [transaction_id(raw) for raw in block.transactions]
    root = transaction_root(ids)
    if root != header.transaction_root:
        raise ReplicaFault("transaction root", f"of block {height} is {root.hex()}")
    if batch_digest(trust.chain_id, header.height, header.proposed, root) != header.batch:
        raise ReplicaFault("batch digest", f"of block {height}")
    result_root = merkle.root(map(result_leaf, ids, block.results))
    if result_root != header.result_root:
        raise ReplicaFault("result root", f"of block {height} is {result_root.hex()}")
    return ids
