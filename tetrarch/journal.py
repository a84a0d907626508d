"""Files of transactions, one JSON object a line: read as a stream, submitted so that no rerun repeats any.

What lives here: what a line may be, which idempotency key it gets, and what becomes of each. What must not be
known here: terminals and the command line.

A line is a payload for the application, as `{"op": "put", "key": "a", "value": "1"}`; or a payload with an
idempotency key of one's own, `{"key": "order-17", "payload": {...}}`. A line without one gets a key of the
file's digest and its number: the same file submitted again continues where it was, and repeats nothing that
the client's outbox remembers. Blank lines are passed over. A line that cannot be a transaction is refused by
itself.
"""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from hashlib import sha256
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from ledger.jsonfile import FileFault, parse_json
from tetrarch.client.async_client import AsyncClient
from tetrarch.client.outcome import Outcome, Payload, Submission
from tetrarch.errors import ConfigurationError

MAX_LINE_BYTES: Final = 256 * 1024
"""A transaction has at most 64 KiB, which JSON may spread by escapes."""

KEY_DIGITS: Final = 32
"""Hex digits of a file's digest in a key: 128 bits."""

CHUNK_BYTES: Final = 1024 * 1024

_KEYED: Final = frozenset({"key", "payload"})


class Line(Struct, frozen=True):
    """One line: what is to be submitted, or why it cannot be."""

    number: int
    """From 1, as editors count."""
    submission: Submission | None
    fault: str = ""


class LineOutcome(Struct, frozen=True):
    """What became of one line."""

    line: int
    outcome: Outcome | None
    """`None` for a line that was refused here, for `fault`."""
    fault: str = ""
    latency_ms: float = 0.0
    """From reading the line to believing its outcome."""


class Journal:
    """A file of transactions. Read twice: for its digest and size, and to be submitted."""

    def __init__(self, path: Path) -> None:
        """Raises `ConfigurationError` where the file cannot be read."""
        self.path = path
        digest, self.count, last = sha256(), 0, b"\n"
        try:
            with closing(self._opened()) as file:
                while chunk := file.read(CHUNK_BYTES):
                    digest.update(chunk)
                    self.count += chunk.count(b"\n")
                    last = chunk[-1:]
        except OSError as error:
            raise ConfigurationError(path, "", f"cannot be read: {error.strerror}") from None
        self.digest = digest.hexdigest()
        self.count += last != b"\n"

    def lines(self) -> Iterator[Line]:
        """Yield every line that is not blank. Raises `ConfigurationError` where reading fails."""
        number = 0
        with closing(self._opened()) as file:
            while True:
                try:
                    raw = file.readline(MAX_LINE_BYTES + 1)
                    whole = len(raw) <= MAX_LINE_BYTES or raw.endswith(b"\n")
                    while not whole:
                        rest = file.readline(MAX_LINE_BYTES)
                        whole = not rest or rest.endswith(b"\n")
                except OSError as error:
                    raise ConfigurationError(self.path, "", f"cannot be read: {error.strerror}") from None
                if not raw:
                    return
                number += 1
                if len(raw) > MAX_LINE_BYTES:
                    yield Line(number, None, f"it has more than {MAX_LINE_BYTES} bytes")
                elif raw.strip():
                    yield self._line(number, raw)

    def _opened(self) -> BufferedReader:
        try:
            if not self.path.is_file():
                what = "is no regular file" if self.path.exists() else "there is no such file"
                raise ConfigurationError(self.path, "", what)
            return self.path.open("rb")
        except OSError as error:
            raise ConfigurationError(self.path, "", f"cannot be read: {error.strerror}") from None

    def _line(self, number: int, raw: bytes) -> Line:
        try:
            value = parse_json(raw.strip(), dict[str, Any], self.path)
        except FileFault as fault:
            return Line(number, None, fault.what)
        if not value.keys() <= _KEYED or "payload" not in value:
            return Line(number, Submission(value, self._key(number)))
        key, payload = value.get("key", self._key(number)), value["payload"]
        if not isinstance(payload, dict):
            return Line(number, None, "payload: is no JSON object")
        if not isinstance(key, str):
            return Line(number, None, "key: is no text")
        return Line(number, Submission(payload, key))

    def _key(self, number: int) -> str:
        return f"{self.digest[:KEY_DIGITS]}:{number}"


async def submit_journal(
    client: AsyncClient,
    journal: Journal,
    timeout: float | None = None,  # noqa: ASYNC109  # what becomes of a transaction then is an outcome
) -> AsyncIterator[LineOutcome]:
    """Submit every line and yield what became of it, as outcomes come, in bounded memory.

    `timeout` (s) counts for each transaction. Raises as `AsyncClient.submit_many` does.
    """
    pipeline = client.pipeline(timeout)
    source = journal.lines()
    taken: dict[int, float] = {}
    more = True
    while more or pipeline.open:
        room = pipeline.room if more else 0
        lines = list(islice(source, room))
        more = more and len(lines) == room
        items: list[tuple[int, Payload | Submission]] = []
        for line in lines:
            if line.submission is None:
                yield LineOutcome(line.number, None, line.fault)
            else:
                taken[line.number] = time.perf_counter()
                items.append((line.number, line.submission))
        for outcome in await pipeline.exchange(items, wait=not more):
            latency = (time.perf_counter() - taken.pop(outcome.index)) * 1000
            yield LineOutcome(outcome.index, outcome, latency_ms=latency)
