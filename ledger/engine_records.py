"""The engine's records in a store, and the tally by which it shows that none is missing.

What lives here: writing VOTES and ARCHIVE, and verifying that they are complete. What must not be known here:
what a record holds.

Blocks are linked and the state has a root, but a missing record of the engine's leaves no trace, and a
replica that forgets a vote may contradict itself. Files do get lost, cut off, or mixed with another store's.
So every write of records also writes, atomically, how many there are and the sum of their seals: against
decay, not against forgery, like the seals themselves.
"""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta, Struct

from crypto.codec import StrictDecoder, encode
from crypto.errors import CodecError
from ledger.errors import CorruptStore
from ledger.keyvalue import Change, Family, KeyValue
from ledger.store import SEAL_BYTES, ChainStore, seal, unseal

TALLY_KEY = b"records"
"""In META."""

_SUM_MODULUS = 1 << 8 * SEAL_BYTES


class Tally(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How many records VOTES and ARCHIVE have together, and the sum of their seals."""

    records: Annotated[int, Meta(ge=0)]
    total: Annotated[int, Meta(ge=0, lt=_SUM_MODULUS)]

    def replaced(self, before: bytes | None, after: bytes | None) -> "Tally":
        """Return the tally after a record sealed as `before` gave way to one sealed as `after`; `None`: no
        record. Of both only the seal at the end is looked at."""
        records, total = self.records, self.total
        if before is not None:
            records, total = records - 1, total - int.from_bytes(before[-SEAL_BYTES:], "big")
        if after is not None:
            records, total = records + 1, total + int.from_bytes(after[-SEAL_BYTES:], "big")
        return Tally(records, total % _SUM_MODULUS)

    def sealed(self) -> bytes:
        """Return what is stored under `TALLY_KEY`."""
        return seal(Family.META, TALLY_KEY, encode(self))


NOTHING = Tally(0, 0)
"""What a store without such a record has."""

tallies = StrictDecoder(Tally, 64)


class EngineRecords:
    """The records of one store. Made by `open`."""

    def __init__(self, disk: KeyValue, tally: Tally, votes: dict[bytes, bytes]) -> None:
        self._disk = disk
        self._tally = tally
        self._votes = votes
        """The seals of VOTES, which is cut at every stable checkpoint, and so stays small."""

    @classmethod
    def open(cls, disk: KeyValue, store: ChainStore) -> "EngineRecords":
        """Verify all records in `disk`. Raises `CorruptStore`."""
        tally, votes = NOTHING, {}
        for family in (Family.VOTES, Family.ARCHIVE):
            for key, _, stored in store.sealed_rows(family):
                tally = tally.replaced(None, stored)
                if family is Family.VOTES:
                    votes[key] = stored[-SEAL_BYTES:]
        noted = _noted(disk)
        if noted != tally:
            raise CorruptStore(
                "records of the engine's are missing, or are another store's: "
                f"there are {tally.records}, {noted.records} were written",
                store.head.height,
            )
        return cls(disk, tally, votes)

    def write(
        self, records: Sequence[tuple[bytes, bytes | None]], archive: Sequence[tuple[bytes, bytes]]
    ) -> None:
        """Write records (`None` deletes one) and what is archived, in one write. Raises `StoreError`; then
        nothing is changed."""
        if not records and not archive:
            return
        tally = self._tally
        changes: list[Change] = []
        votes: dict[bytes, bytes | None] = {}
        for key, value in records:
            stored = None if value is None else seal(Family.VOTES, key, value)
            tally = tally.replaced(votes.get(key, self._votes.get(key)), stored)
            votes[key] = stored and stored[-SEAL_BYTES:]
            changes.append((Family.VOTES, key, stored))
        kept: dict[bytes, bytes] = {}
        for key, value in archive:
            stored = seal(Family.ARCHIVE, key, value)
            tally = tally.replaced(kept.get(key) or self._disk.get(Family.ARCHIVE, key), stored)
            kept[key] = stored
            changes.append((Family.ARCHIVE, key, stored))
        changes.append((Family.META, TALLY_KEY, tally.sealed()))
        self._disk.write(changes)
        self._commit(tally, votes)

    def _commit(self, tally: Tally, votes: dict[bytes, bytes | None]) -> None:
        self._tally = tally
        for key, stored in votes.items():
            if stored is None:
                self._votes.pop(key, None)
            else:
                self._votes[key] = stored


def _noted(disk: KeyValue) -> Tally:
    stored = disk.get(Family.META, TALLY_KEY)
    if stored is None:
        return NOTHING
    try:
        return tallies.decode(unseal(Family.META, TALLY_KEY, stored))
    except CodecError as error:
        raise CorruptStore(f"the tally of the engine's records does not decode: {error}") from None
