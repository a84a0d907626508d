"""Chains made by hand, for tests: real keys, signatures, headers and trees, without engine or store."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from crypto import merkle
from crypto.attestation import ATTESTATION, Attestation, Height, attest
from crypto.batch import Millis, batch_digest, transaction_root
from crypto.digest import ChainId, Digest, digest
from crypto.keys import SigningKey
from crypto.roster import Epoch, MemberId, Roster
from crypto.signed import Certificate, Envelope, Vote, make_certificate
from ledger.block import Block, Header, block_hash, block_time, result_leaf
from ledger.genesis import FORMAT, Genesis, GenesisMember
from ledger.receipt import Receipt
from ledger.transaction import sign_transaction, transaction_id

STATE = digest("test-state")
START = Millis(1_700_000_000_000)


def key_of(number: int) -> SigningKey:
    return SigningKey(number.to_bytes(32, "big"))


CLIENT_KEY = key_of(1000)


def genesis_of(n: int, name: str = "test", **changes: object) -> Genesis:
    members = tuple(
        GenesisMember(f"replica-{i}", key_of(i + 1).public_key, digest("test-tls", bytes([i])))
        for i in range(n)
    )
    values: dict[str, object] = {"engine": "pbft", "application": "kv", "members": members, **changes}
    return Genesis(format=FORMAT, name=name, created=1, **values)  # type: ignore[arg-type]


@dataclass
class Trusting:
    """What `Receipt.verify` needs to know, with the thresholds given by hand."""

    roster: Roster
    acceptance: int
    quorum: int

    @property
    def chain_id(self) -> ChainId:
        return self.roster.chain_id


@dataclass
class Chain:
    """A chain of `n` members, extended block by block."""

    n: int = 4
    genesis: Genesis = field(init=False)
    blocks: list[Block] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.genesis = genesis_of(self.n)
        self.roster = self.genesis.roster()
        self.chain_id = self.genesis.chain_id

    def transaction(self, number: int, payload: bytes = b"{}", valid_until: int = START + 10**9) -> bytes:
        nonce = number.to_bytes(16, "big")
        return sign_transaction(CLIENT_KEY, self.chain_id, nonce, Millis(valid_until), payload)

    def extend(self, transactions: Sequence[bytes], results: Sequence[bytes], state: Digest = STATE) -> Block:
        """Add a block that executed `transactions` with `results`."""
        previous = self.blocks[-1].header if self.blocks else None
        height = Height(len(self.blocks) + 1)
        ids = [transaction_id(raw) for raw in transactions]
        root = transaction_root(ids)
        proposed = Millis(START + height * 1000)
        header = Header(
            chain_id=self.chain_id,
            epoch=Epoch(0),
            height=height,
            parent=block_hash(previous) if previous else self.genesis.first_parent(),
            batch=batch_digest(self.chain_id, height, proposed, root),
            proposed=proposed,
            time=block_time(proposed, previous.time if previous else Millis(0)),
            transaction_root=root,
            result_root=merkle.root(map(result_leaf, ids, results)),
            state_root=state,
        )
        block = Block(header, tuple(transactions), tuple(results), b"")
        self.blocks.append(block)
        return block

    def attestation(self, member: int, header: Header) -> Envelope:
        statement = Attestation(header.height, block_hash(header))
        return attest(self.roster, MemberId(member), key_of(member + 1), statement).envelope

    def certificate(self, header: Header, members: Iterable[int]) -> Certificate:
        envelopes = [self.attestation(member, header) for member in members]
        votes = [vote_of(envelope) for envelope in envelopes]
        if not envelopes:
            return Certificate(ATTESTATION, Epoch(0), self.attestation(0, header).body, ())
        return make_certificate(envelopes[0], votes)

    def receipt(self, height: int, position: int, members: Iterable[int], upto: int | None = None) -> Receipt:
        """The receipt of a transaction, attested by `members` at its height or at `upto`."""
        following = [block.header for block in self.blocks[height : upto or height]]
        head = following[-1] if following else self.blocks[height - 1].header
        return Receipt.of_block(self.blocks[height - 1], position, self.certificate(head, members), following)

    def trust(self) -> Trusting:
        f = (self.n - 1) // 3
        return Trusting(self.roster, f + 1, (self.n + f + 2) // 2)


def vote_of(envelope: Envelope) -> Vote:
    return Vote(envelope.signer, envelope.signature)
