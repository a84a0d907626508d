"""How fast a store is audited at level full: `python -m benchmarks.audit [TRANSACTIONS] [PER_BLOCK]`.

Makes a store of transfers between accounts, with real signatures and commit certificates, audits it with as
many processes as there are processors, and prints the rate as a share of what verifying signatures alone,
on all of them, would allow: processors / (time of one PyNaCl verification), measured in the same run. Both
are taken by the clock on the wall, so other work on the machine lowers the share; the processor time is
printed beside it.
"""

import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from crypto.attestation import Height
from crypto.batch import Millis, batch_digest, transaction_root
from crypto.codec import encode
from crypto.digest import digest
from crypto.keys import SigningKey, verify
from crypto.roster import MemberId, Roster
from crypto.signed import Certificate, Vote
from ledger.application import canonical_json, load_application
from ledger.audit.audit import Options, audit_path
from ledger.audit.workers import available_processors
from ledger.genesis import FORMAT, Genesis, GenesisMember
from ledger.keyvalue import RocksKeyValue
from ledger.ledger import Ledger
from ledger.transaction import ParsedTransaction, parse_transaction, sign_transaction
from pbft import CommitVerifier
from pbft.messages import COMMIT, Commit, View

MEMBERS = 4
ACCOUNTS = 2_000
START = 1_700_000_000_000
VERIFICATIONS = 3_000

KEYS = [SigningKey(bytes([member]) * 32) for member in range(1, MEMBERS + 1)]
CLIENT = SigningKey(bytes(32))


def make_genesis() -> Genesis:
    """Return the genesis of a network of MEMBERS members that runs `assets`."""
    members = tuple(
        GenesisMember(f"replica-{number}", key.public_key, digest("tls", bytes([number])))
        for number, key in enumerate(KEYS)
    )
    return Genesis(FORMAT, "audit", 1, "pbft", "assets", members)


class Writer:
    """Writes a chain, block by block."""

    def __init__(self, genesis: Genesis, path: Path) -> None:
        self.genesis, self.roster = genesis, genesis.roster()
        self.disk = RocksKeyValue.open(path)
        self.ledger = Ledger.open(genesis, load_application("assets", {}), self.disk)
        self.made = 0

    def transaction(self, payload: dict[str, object]) -> ParsedTransaction:
        """Return a signed transaction of the one client."""
        self.made += 1
        until = Millis(START + 1000 * self.ledger.height + 60_000)
        nonce = self.made.to_bytes(16, "big")
        raw = sign_transaction(CLIENT, self.genesis.chain_id, nonce, until, canonical_json(payload))
        return parse_transaction(raw, self.genesis.chain_id, self.genesis.max_transaction_bytes)

    def write(self, payloads: list[dict[str, object]]) -> None:
        """Execute and certify one block."""
        transactions = [self.transaction(payload) for payload in payloads]
        height, proposed = Height(self.ledger.height + 1), Millis(START + 1000 * self.ledger.height)
        root = transaction_root([parsed.id for parsed in transactions])
        batch = batch_digest(self.genesis.chain_id, height, proposed, root)
        body = encode(Commit(View(0), height, batch))
        certificate = encode(Certificate(COMMIT, self.roster.epoch, body, _votes(self.roster, body)))
        self.ledger.execute(height, batch, proposed, transactions, certificate)


def _votes(roster: Roster, body: bytes) -> tuple[Vote, ...]:
    signed = roster.signing_bytes(COMMIT, body)
    return tuple(Vote(MemberId(member), KEYS[member].sign(signed)) for member in range(3))


def make_store(genesis: Genesis, path: Path, transactions: int, per_block: int) -> None:
    """Write a store of ACCOUNTS accounts and so many transfers between them."""
    writer, dice = Writer(genesis, path), random.Random(1)
    for first in range(0, ACCOUNTS, per_block):
        names = [f"account-{number}" for number in range(first, min(first + per_block, ACCOUNTS))]
        writer.write([{"op": "open", "account": name} for name in names])
        writer.write([{"op": "issue", "account": name, "amount": 10**6} for name in names])
    for _ in range(0, transactions, per_block):
        pairs = [(dice.randrange(ACCOUNTS), dice.randrange(ACCOUNTS)) for _ in range(per_block)]
        writer.write(
            [
                {"op": "transfer", "from": f"account-{giver}", "to": f"account-{taker}", "amount": 1}
                for giver, taker in pairs
            ]
        )
    writer.ledger.sync()
    writer.disk.close()


def seconds(work: Callable[[], object], clock: Callable[[], float]) -> float:
    """Return how long `work` takes by `clock`."""
    began = clock()
    work()
    return clock() - began


def verification(clock: Callable[[], float]) -> float:
    """Return the time of one verification, in seconds."""
    message = bytes(200)
    key, signature = CLIENT.public_key, CLIENT.sign(message)

    def work() -> None:
        for _ in range(VERIFICATIONS):
            verify(key, message, signature)

    return seconds(work, clock) / VERIFICATIONS


def processor_seconds() -> float:
    """Return the processor time of this process and of those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    """Measure and print."""
    transactions = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    per_block = int(sys.argv[2]) if len(sys.argv) > 2 else 400
    genesis = make_genesis()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "store"
        make_store(genesis, path, transactions, per_block)
        verify_wall, verify_used = verification(time.perf_counter), verification(time.process_time)
        used, began = processor_seconds(), time.perf_counter()
        report = audit_path(path, genesis, CommitVerifier(genesis.roster()), None, Options())
        wall, used = time.perf_counter() - began, processor_seconds() - used
    count, cores = report.transactions, available_processors()
    limit, even = cores / verify_wall, verify_used * count / used
    print(f"{report.verdict}: {report.blocks} blocks, {count} transactions in {wall:.1f} s")
    print(f"verify {verify_wall * 1e6:.1f} us, limit {limit:.0f} tps on {cores} processors")
    print(f"{count / wall:.0f} tps, {count / wall / limit:.2f} of the limit")
    print(f"processor time {used / count * 1e6:.1f} us per transaction, {even:.2f} of it verifying:")
    print("the share that an idle machine would show, since the work is spread evenly")


if __name__ == "__main__":
    main()
