"""What the state's tests share: a state beside a plain dict, and keys found to lie close together."""

from collections.abc import Mapping

from hypothesis import strategies as st

from crypto.digest import Digest
from ledger.state import MemorySource, StateTree, state_root

CLOSE_KEYS = tuple(
    str(number).encode()
    for number in (
        # Their paths begin with five zero digits: their buckets lie below nodes that are stored.
        *(237820, 1435233, 2487782, 4144924, 5167852, 7306605, 9044890, 9258839, 10010195, 10673925),
        *(10674112, 10923224, 12001313, 12887888, 12896265, 14756272, 14971863, 15993692, 17991718, 18065247),
        *(18335738, 19832175, 20424086, 20682704, 20779888, 21752282, 21986807, 22310200, 22472861, 22591518),
        *(22785510, 22819828, 22888713, 23486577, 24190974, 27178600, 28837319, 31018169, 31168124, 31735495),
    )
)

keys = st.one_of(
    st.sampled_from(CLOSE_KEYS),
    st.integers(0, 400).map(lambda number: b"account/%d" % number),
    st.binary(max_size=8),
)
values = st.one_of(st.integers(0, 9).map(lambda number: b"%d" % number), st.binary(max_size=40))
batches = st.dictionaries(keys, st.one_of(st.none(), values), max_size=30)
worlds = st.dictionaries(keys, values, max_size=120)


class World:
    """A tree over a source in memory, and the dict that it should equal."""

    def __init__(self, cached_buckets: int = 0) -> None:
        self.source = MemorySource()
        self.tree = StateTree.open(self.source, cached_buckets=cached_buckets)
        self.model: dict[bytes, bytes] = {}

    def apply(self, changes: Mapping[bytes, bytes | None]) -> Digest:
        """Commit a batch as the ledger does: write first, then take over."""
        pending = self.tree.update(changes)
        self.source.apply(pending.writes)
        pending.commit()
        for key, value in changes.items():
            if value is None:
                self.model.pop(key, None)
            else:
                self.model[key] = value
        return self.tree.root

    def fresh_root(self) -> Digest:
        """The root of the dict, computed with nothing that the tree remembers."""
        return state_root(self.model.items())


def accounts(count: int, start: int = 0) -> dict[bytes, bytes]:
    return {b"account/%d" % number: b"%d" % (number * 7) for number in range(start, start + count)}
