"""A simulated disk: it forgets what was not synced, fills up, turns bits over, and can be put back to an
earlier state.

What lives here: faults of one store. What must not be known here: what is stored.

A crash keeps a prefix of the writes that were not synced. A write that was torn by it is gone whole, since
the store drops an incomplete record at its log's end; a bit that turned over stays in a value that was
synced. Records have seals, which show that; only rows of the state have none, and there it shows in the
checksum that RocksDB keeps of each part of a file. So reading such a row fails here as well.
"""

from collections.abc import Iterator, Sequence
from random import Random

from ledger.errors import CorruptStore
from ledger.keyvalue import Change, Family, MemoryKeyValue


class SimulatedDisk(MemoryKeyValue):
    """One member's disk, which outlives its process."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: tuple[dict[bytes, bytes], ...] | None = None
        self.damaged = False
        """Whether a bit was turned over: its replica may refuse to go on, loudly."""
        self._unreadable: set[bytes] = set()
        """Keys of the state's rows whose checksum does not hold."""

    def get(self, family: Family, key: bytes) -> bytes | None:
        """Return the value under `key`, or `None`. Raises `CorruptStore`."""
        if self._unreadable:
            self._check(family, key)
        return self._rows[family].get(key)

    def get_many(self, family: Family, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values under `keys`, in their order. Raises `CorruptStore`."""
        return [self.get(family, key) for key in keys]

    def scan(
        self, family: Family, start: bytes = b"", end: bytes | None = None, reverse: bool = False
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values from `start` up to, not including, `end`. Raises `CorruptStore`."""
        rows = super().scan(family, start, end, reverse)
        return self._checked(family, rows) if self._unreadable else rows

    def _checked(self, family: Family, rows: Iterator[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        for key, value in rows:
            self._check(family, key)
            yield key, value

    def _check(self, family: Family, key: bytes) -> None:
        if family is Family.STATE and key in self._unreadable:
            raise CorruptStore(f"a checksum does not hold (family {family.column}, key {key.hex()})")

    def _apply(self, change: Change) -> Change:
        if change[0] is Family.STATE:
            self._unreadable.discard(change[1])
        return super()._apply(change)

    def keep(self) -> None:
        """Make a backup."""
        self._kept = tuple(dict(rows) for rows in self._rows)

    def put_back(self) -> None:
        """Restore the backup; an empty disk where none was made."""
        self._replace(self._kept or tuple({} for _ in Family))

    def lose(self) -> None:
        """Hold nothing any more."""
        self._replace(tuple({} for _ in Family))

    def flip(self, random: Random) -> str:
        """Turn one bit of one stored value over; returns where, in words."""
        places = [(family, key) for family in Family for key in sorted(self._rows[family])]
        if not places:
            return "nothing stored"
        family, key = random.choice(places)
        value = bytearray(self._rows[family][key])
        if value:
            bit = random.randrange(8 * len(value))
            value[bit // 8] ^= 1 << bit % 8
            self._rows[family][key] = bytes(value)
            self.damaged = True
            if family is Family.STATE:
                self._unreadable.add(key)
        return f"{family.column} {key.hex()}"

    def forget_votes(self, tally_key: bytes) -> None:
        """Lose the engine's records, and the tally that would show it: what a liar does to its own disk."""
        for family in (Family.VOTES, Family.ARCHIVE):
            self._rows[family].clear()
            self._order[family] = None
        self._rows[Family.META].pop(tally_key, None)
        self._order[Family.META] = None
        self._unsynced.clear()

    def _replace(self, rows: tuple[dict[bytes, bytes], ...]) -> None:
        self._rows = tuple(dict(each) for each in rows)
        self._order = [None for _ in Family]
        self._unsynced.clear()
        self._unreadable.clear()
        self.full = self.damaged = False
