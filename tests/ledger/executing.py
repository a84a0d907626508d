"""Ledgers for tests: batches made of payloads, executed as an engine's decisions would be."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from crypto.attestation import Height
from crypto.batch import Millis, batch_digest, transaction_root
from crypto.codec import encode
from crypto.digest import digest
from crypto.keys import SIGNATURE_BYTES, PublicKey, SigningKey
from ledger.application import Application, load_application
from ledger.genesis import FORMAT, Genesis, GenesisMember
from ledger.keyvalue import KeyValue
from ledger.ledger import Executed, Ledger
from ledger.result import Result, results
from ledger.transaction import ParsedTransaction, Transaction, parse_transaction
from tests.ledger.disks import Disk

START = Millis(1_700_000_000_000)
SENDER = SigningKey(b"\x05" * 32)


def genesis_of(application: str = "kv", name: str = "test") -> Genesis:
    member = GenesisMember("replica-0", SigningKey(b"\x01" * 32).public_key, digest("test-tls"))
    return Genesis(FORMAT, name, 1, "pbft", application, (member,))


def put(key: str, value: str) -> bytes:
    return b'{"key":"%s","op":"put","value":"%s"}' % (key.encode(), value.encode())


def read_results(executed: Executed) -> list[Result]:
    return [results.decode(result) for result in executed.results]


@dataclass
class Chain:
    """A ledger on a disk, and what is needed to extend it."""

    disk: Disk
    genesis: Genesis = field(default_factory=genesis_of)
    application: Application | None = None
    nonces: int = 0

    def __post_init__(self) -> None:
        self.ledger = self.open()

    def open(self) -> Ledger:
        """Open the ledger on its disk, which must not be open."""
        application = self.application or load_application(self.genesis.application, {})
        self.store: KeyValue = self.disk.open()
        self.ledger = Ledger.open(self.genesis, application, self.store)
        return self.ledger

    def reopen(self) -> Ledger:
        self.ledger.sync()
        self.disk.close()
        return self.open()

    def transaction(
        self, payload: bytes, valid_until: int = START + 10**6, sender: PublicKey = SENDER.public_key
    ) -> ParsedTransaction:
        """A new transaction. The ledger never looks at signatures, so it carries none."""
        self.nonces += 1
        body = Transaction(
            self.genesis.chain_id, sender, self.nonces.to_bytes(16, "big"), Millis(valid_until), payload
        )
        return parse_transaction(bytes(SIGNATURE_BYTES) + encode(body), self.genesis.chain_id, 64 * 1024)

    def execute(self, transactions: Sequence[ParsedTransaction], timestamp: int | None = None) -> Executed:
        """Execute the next batch; its timestamp is a second after the last one's, unless given."""
        height = Height(self.ledger.height + 1)
        proposed = Millis(START + 1000 * height if timestamp is None else timestamp)
        root = transaction_root([parsed.id for parsed in transactions])
        agreed = batch_digest(self.genesis.chain_id, height, proposed, root)
        return self.ledger.execute(height, agreed, proposed, transactions, b"certificate %d" % height)

    def run(self, *payloads: bytes) -> list[Result]:
        """Execute one block of new transactions with these payloads."""
        return read_results(self.execute([self.transaction(payload) for payload in payloads]))
