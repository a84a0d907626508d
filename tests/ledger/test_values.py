"""Recent values: never another value than the committed one, never more memory than allowed."""

from hypothesis import given
from hypothesis import strategies as st

from ledger import values
from ledger.values import RecentValues


def test_a_value_is_read_once_while_it_is_used() -> None:
    reads: list[bytes] = []

    def read(key: bytes) -> bytes | None:
        reads.append(key)
        return key * 2 if key != b"absent" else None

    recent = RecentValues(read)
    for _ in range(3):
        assert recent.get(b"a") == b"aa"
        assert recent.get(b"absent") is None
    assert reads == [b"a", b"absent"]


def test_a_committed_change_is_seen_without_reading() -> None:
    recent = RecentValues({b"a": b"1", b"b": b"1"}.get)
    assert (recent.get(b"a"), recent.get(b"b")) == (b"1", b"1")
    recent.commit({b"a": b"2", b"b": None})
    assert (recent.get(b"a"), recent.get(b"b")) == (b"2", None)


def test_what_is_kept_is_bounded_whatever_is_read() -> None:
    recent = RecentValues(lambda key: bytes(60_000))
    for number in range(2000):
        recent.get(b"%d" % number)
    kept = sum(len(value or b"") for part in (recent._young, recent._old) for value in part.values())
    assert 0 < kept <= 2 * values.GENERATION_BYTES


steps = st.lists(st.tuples(st.integers(0, 9), st.none() | st.binary(max_size=3), st.booleans()), max_size=60)


@given(steps)
def test_what_is_read_is_what_was_committed_last(steps: list[tuple[int, bytes | None, bool]]) -> None:
    committed: dict[bytes, bytes | None] = {}
    recent = RecentValues(committed.get)
    for number, value, reading in steps:
        key = b"%d" % number
        if reading:
            assert recent.get(key) == committed.get(key)
        else:
            committed[key] = value
            recent.commit({key: value})
