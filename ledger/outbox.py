"""The client's outbox: the signed bytes behind every idempotency key, durable before they are first sent.

What lives here: one SQLite file per client, and the rules of keys. What must not be known here: replicas,
retries, when a transaction is sent.

The rules:

- a key stands for one transaction, that is, for one sender and one payload: whoever brings the key again gets
  the bytes that were signed first, and with another payload or sender an `IdempotencyConflict`;
- `put` returns when the bytes are on the disk (one fsync for all of one call);
- an open entry is never dropped; there are at most `MAX_OPEN` of them. Settled entries lose their bytes and
  keep key, id and outcome; the last `keep_settled` of them are kept, so a key is remembered for that many
  later transactions, and free again afterwards;
- two processes may use one outbox: SQLite's lock orders them, and of two that put one key, the first wins.

A byte flipped by the disk is found before it is sent: what is read back must carry its sender's signature.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NoReturn, TypeVar

from msgspec import Struct

from crypto.batch import Millis, TxId
from crypto.digest import ChainId, Digest, digest
from crypto.keys import PublicKey, verify
from ledger.errors import LedgerError, TransactionRefused
from ledger.transaction import MAX_TRANSACTION_BYTES, parse_transaction

FORMAT: Final = 1
_APPLICATION_ID: Final = 0x54747278
"""Marks the SQLite file as ours ("Ttrx")."""

KEEP_SETTLED: Final = 200_000
"""Settled entries kept by default: about 60 MB."""

MAX_OPEN: Final = 100_000
"""Open entries: more means that outcomes are never asked for. About 50 MB of small transactions."""

MAX_KEY_CHARACTERS: Final = 200
"""An idempotency key is a name: an order number, a file and line, a UUID."""

BUSY_SECONDS: Final = 5.0
"""How long another process may hold the outbox; it holds it for one write at a time."""

_CHUNK: Final = 500
"""Values in one statement, below SQLite's smallest limit of 999."""

T = TypeVar("T")

_SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE entries (
    key TEXT PRIMARY KEY,
    tx_id BLOB NOT NULL UNIQUE,
    content BLOB NOT NULL,
    valid_until INTEGER NOT NULL,
    raw BLOB,
    settled INTEGER,
    outcome TEXT NOT NULL DEFAULT '',
    height INTEGER NOT NULL DEFAULT 0,
    code TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;
CREATE INDEX by_settled ON entries (settled);
"""
_COLUMNS: Final = "key, tx_id, content, valid_until, raw, outcome, height, code, reason"


class OutboxError(LedgerError):
    """The outbox cannot be used: locked, full, damaged, or another chain's. One line that names the file."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path}: {what}")
        self.path = path
        self.what = what


class IdempotencyConflict(LedgerError, ValueError):
    """An idempotency key that stands for another transaction."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(f"idempotency key {key!r}: {what}")
        self.key = key
        self.what = what


class NewEntry(Struct, frozen=True):
    """A signed transaction to be kept under `key`. `content` is `content_digest` of it."""

    key: str
    tx_id: TxId
    content: Digest
    valid_until: Millis
    raw: bytes


class Settled(Struct, frozen=True):
    """What became of a transaction: `outcome` is committed, refused or expired."""

    tx_id: TxId
    outcome: str
    height: int = 0
    code: str = ""
    reason: str = ""


class Entry(Struct, frozen=True):
    """What is kept under a key."""

    key: str
    tx_id: TxId
    content: Digest
    valid_until: Millis
    raw: bytes | None
    """The signed bytes; gone once the outcome is known."""
    outcome: str = ""
    """Empty while it is open."""
    height: int = 0
    code: str = ""
    reason: str = ""

    def require(self, content: Digest) -> None:
        """Raise `IdempotencyConflict` unless the key was used for this sender and payload."""
        if self.content != content:
            raise IdempotencyConflict(self.key, "was used for another payload or by another sender")


def content_digest(sender: PublicKey, payload: bytes) -> Digest:
    """Return what a key stands for: the digest of sender and payload."""
    return digest("outbox", sender, payload)


def check_key(key: str) -> str:
    """Return `key` if it can be one. Raises `ValueError`."""
    if not 0 < len(key) <= MAX_KEY_CHARACTERS:
        raise ValueError(f"an idempotency key has 1 to {MAX_KEY_CHARACTERS} characters, not {len(key)}")
    if not key.isprintable():
        raise ValueError("an idempotency key consists of printable characters")
    return key


class Outbox:
    """One outbox file. Every method blocks for the disk; any thread may call them, one at a time gets on."""

    def __init__(
        self, path: Path, chain_id: ChainId, database: sqlite3.Connection, keep_settled: int
    ) -> None:
        self.path = path
        self._chain_id = chain_id
        self._database = database
        self._keep_settled = keep_settled
        self._lock = threading.Lock()
        self._closed = False

    @classmethod
    def open(cls, path: str | Path, chain_id: ChainId, keep_settled: int = KEEP_SETTLED) -> "Outbox":
        """Open the outbox in a file, or make one (mode 0600) for this chain. Raises `OutboxError`."""
        where = Path(path)
        try:
            # SQLite creates files that everybody may read; payloads are the owner's business.
            os.close(os.open(where, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            database = sqlite3.connect(
                where, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error, ValueError) as error:
            raise OutboxError(where, f"cannot be opened: {error}") from None
        outbox = cls(where, chain_id, database, keep_settled)
        try:
            outbox._guarded(outbox._prepare)
        except OutboxError:
            database.close()
            raise
        return outbox

    def find(self, keys: Iterable[str]) -> dict[str, Entry]:
        """Return the entries that there are for `keys`. Raises `OutboxError`."""
        wanted = list(keys)
        return self._guarded(lambda: self._select("key", wanted))

    def find_ids(self, ids: Iterable[TxId]) -> dict[TxId, Entry]:
        """Return the entries that there are for transaction ids. Raises `OutboxError`."""
        wanted = list(ids)
        found = self._guarded(lambda: self._select("tx_id", wanted))
        return {entry.tx_id: entry for entry in found.values()}

    def put(self, entries: Sequence[NewEntry]) -> list[Entry]:
        """Keep `entries`, durably, and return what now stands under their keys, in the same order.

        A key that is taken keeps what it has. Raises, and then keeps none of `entries`: `IdempotencyConflict`
        where that is another transaction, `OutboxError` where the disk fails or too many are open.
        """
        return self._guarded(lambda: self._put(entries))

    def settle(self, outcomes: Sequence[Settled]) -> None:
        """Note final outcomes, durably; unknown and settled ids are passed over. Raises `OutboxError`."""
        self._guarded(lambda: self._settle(outcomes))

    def open_entries(self, limit: int, after: str = "") -> list[Entry]:
        """Return up to `limit` open entries with keys above `after`, by key. Raises `OutboxError`."""
        query = f"SELECT {_COLUMNS} FROM entries WHERE settled IS NULL AND key > ? ORDER BY key LIMIT ?"
        return self._guarded(
            lambda: [self._entry(row) for row in self._database.execute(query, (after, limit))]
        )

    def counts(self) -> tuple[int, int]:
        """Return how many entries are open, and how many settled ones are kept. Raises `OutboxError`."""
        return self._guarded(lambda: (self._count("settled IS NULL"), self._count("settled IS NOT NULL")))

    def close(self) -> None:
        """Close the file. May be called again."""
        with self._lock:
            self._closed = True
            self._database.close()

    def _guarded(self, work: Callable[[], T]) -> T:
        """Run `work` alone, and turn what SQLite reports into one clear line."""
        with self._lock:
            if self._closed:
                raise OutboxError(self.path, "is closed")
            try:
                return work()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                    what = f"is held by another process for more than {BUSY_SECONDS:g} s"
                    raise OutboxError(self.path, what) from None
                raise OutboxError(self.path, f"cannot be read or written: {error}") from None
            except sqlite3.DatabaseError as error:
                raise OutboxError(self.path, f"is damaged, or is no outbox: {error}") from None

    def _prepare(self) -> None:
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._write(self._require_ours)

    def _require_ours(self) -> None:
        [(application,)] = self._database.execute("PRAGMA application_id").fetchall()
        tables = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not application and not tables:
            for statement in _SCHEMA.split(";"):
                self._database.execute(statement)
            self._database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            values = [("format", FORMAT.to_bytes(4, "big")), ("chain_id", self._chain_id)]
            self._database.executemany("INSERT INTO meta VALUES (?, ?)", values)
            return
        if application != _APPLICATION_ID:
            raise OutboxError(self.path, "is an SQLite file of another program")
        meta = dict(self._database.execute("SELECT name, value FROM meta").fetchall())
        if meta.get("format") != FORMAT.to_bytes(4, "big"):
            raise OutboxError(self.path, "has a format of another version")
        if meta.get("chain_id") != self._chain_id:
            raise OutboxError(self.path, f"belongs to another chain than {self._chain_id.hex()}")

    def _write(self, work: Callable[[], T]) -> T:
        """Run `work` in one write transaction: all of it is durable, or none of it happened."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            value = work()
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")
        return value

    def _put(self, entries: Sequence[NewEntry]) -> list[Entry]:
        def insert() -> list[Entry]:
            taken = self._select("key", [entry.key for entry in entries])
            kept: list[Entry] = []
            fresh: list[tuple[str, bytes, bytes, int, bytes]] = []
            for new in entries:
                there = taken.get(new.key)
                if there is None:
                    there = Entry(new.key, new.tx_id, new.content, new.valid_until, new.raw)
                    taken[new.key] = there
                    fresh.append((new.key, new.tx_id, new.content, new.valid_until, new.raw))
                there.require(new.content)
                kept.append(there)
            if fresh and self._count("settled IS NULL") + len(fresh) > MAX_OPEN:
                what = f"holds {MAX_OPEN} transactions whose outcome was never learnt; ask for them first"
                raise OutboxError(self.path, what)
            self._database.executemany(
                "INSERT INTO entries (key, tx_id, content, valid_until, raw) VALUES (?, ?, ?, ?, ?)", fresh
            )
            return kept

        return self._write(insert)

    def _settle(self, outcomes: Sequence[Settled]) -> None:
        def update() -> None:
            last = self._database.execute("SELECT coalesce(max(settled), 0) FROM entries").fetchone()[0]
            for number, settled in enumerate(outcomes, last + 1):
                self._database.execute(
                    "UPDATE entries SET raw = NULL, settled = ?, outcome = ?, height = ?, code = ?,"
                    " reason = ? WHERE tx_id = ? AND settled IS NULL",
                    (number, settled.outcome, settled.height, settled.code, settled.reason, settled.tx_id),
                )
            horizon = last + len(outcomes) - self._keep_settled
            self._database.execute("DELETE FROM entries WHERE settled <= ?", (horizon,))

        self._write(update)

    def _count(self, condition: str) -> int:
        count: int = self._database.execute(f"SELECT count(*) FROM entries WHERE {condition}").fetchone()[0]
        return count

    def _select(self, column: str, values: Sequence[str] | Sequence[bytes]) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for first in range(0, len(values), _CHUNK):
            part = values[first : first + _CHUNK]
            places = ",".join("?" * len(part))
            query = f"SELECT {_COLUMNS} FROM entries WHERE {column} IN ({places})"
            with closing(self._database.execute(query, part)) as rows:
                found.update((row[0], self._entry(row)) for row in rows)
        return found

    def _entry(self, row: tuple[str, bytes, bytes, int, bytes | None, str, int, str, str]) -> Entry:
        key, tx_id, content, valid_until, raw, outcome, height, code, reason = row
        if raw is not None:
            self._require_intact(key, tx_id, raw)
        return Entry(
            key, TxId(tx_id), Digest(content), Millis(valid_until), raw, outcome, height, code, reason
        )

    def _require_intact(self, key: str, tx_id: bytes, raw: bytes) -> None:
        """Guard: the bytes that will be sent again are the ones that were signed."""
        try:
            parsed = parse_transaction(raw, self._chain_id, MAX_TRANSACTION_BYTES)
        except TransactionRefused as refused:
            self._damaged(key, str(refused))
        if parsed.id != tx_id or not verify(*parsed.check):
            self._damaged(key, "the bytes are not those that were signed")

    def _damaged(self, key: str, what: str) -> NoReturn:
        raise OutboxError(self.path, f"is damaged at key {key!r}: {what}")
