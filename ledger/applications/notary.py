"""`notary`: records that a document existed at a time, by its digest alone. The one operation, in JSON:

| operation | fields | value of the result |
|---|---|---|
| `record` | `digest` | the first record, and in `new` whether it is this one |

A record is the height and time (ms since the epoch) of its block, and the key that sent it. Whoever records
the same digest again gets the first record, which nothing changes. In the state it is `document/DIGEST`. A
digest is the SHA-256 of the document, 64 lower-case hexadecimal digits, which the ledger cannot check against
anything.
"""

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta, Struct, json

from ledger.application import (
    ApplicationContext,
    PayloadDecoder,
    StateReader,
    StateView,
    canonical_json,
    refuse_parameters,
)

PREFIX = b"document/"

HexDigest = Annotated[str, Meta(min_length=64, max_length=64, pattern=r"^[0-9a-f]{64}\Z")]


class Record(Struct, frozen=True, tag_field="op", tag="record", forbid_unknown_fields=True):
    """Record a digest."""

    digest: HexDigest


class Find(Struct, frozen=True, tag_field="op", tag="find", forbid_unknown_fields=True):
    """The question for a digest's record."""

    digest: HexDigest


class Recorded(Struct, frozen=True):
    """A record, as it lies in the state. Fields in the order of their names: its JSON is canonical."""

    height: int
    sender: str
    """The sender's public key in hexadecimal."""
    time: int
    """The block's time, in ms since the epoch."""


_records = json.Decoder(Recorded)


class Notary:
    """The application."""

    def __init__(self, parameters: Mapping[str, str]) -> None:
        refuse_parameters("notary", parameters, frozenset())
        self._payloads: PayloadDecoder[Record] = PayloadDecoder(Record)
        self._questions: PayloadDecoder[Find] = PayloadDecoder(Find)

    def check(self, payload: bytes) -> None:
        """Raise `Invalid` unless `payload` is a record in canonical JSON."""
        self._payloads.check(payload)

    def execute(self, context: ApplicationContext, payload: bytes, state: StateView) -> bytes:
        """Record a digest, or return what was recorded first. Raises `Invalid`."""
        key = PREFIX + self._payloads.decode(payload).digest.encode()
        stored = state.get(key)
        if stored is None:
            record = Recorded(context.height, context.sender.hex(), context.time)
            state.put(key, json.encode(record))
        else:
            record = _records.decode(stored)
        return canonical_json(
            {"height": record.height, "new": stored is None, "sender": record.sender, "time": record.time}
        )

    def query(self, question: bytes, state: StateReader) -> bytes:
        """Answer `{"op": "find", "digest": ...}`: the record, or `null`. Raises `Invalid`."""
        record = state.get(PREFIX + self._questions.decode(question).digest.encode())
        return b"null" if record is None else record
