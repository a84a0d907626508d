"""Digests: domains and parts can never be read as one another."""

from hypothesis import given
from hypothesis import strategies as st

from crypto.digest import digest, framed, tag

parts = st.lists(st.binary(max_size=12), max_size=4)


@given(parts, parts)
def test_other_parts_give_another_digest_however_they_are_cut(one: list[bytes], two: list[bytes]) -> None:
    assert (digest("a", *one) == digest("a", *two)) == (one == two)
    assert (framed(*one) == framed(*two)) == (one == two)


@given(parts)
def test_the_same_parts_in_another_domain_give_another_digest(one: list[bytes]) -> None:
    assert digest("block", *one) != digest("batch", *one)


@given(st.text("abc", min_size=1, max_size=5), st.text("abc", min_size=1, max_size=5))
def test_no_tag_is_the_beginning_of_another(one: str, two: str) -> None:
    assert one == two or not tag(one).startswith(tag(two))


def test_the_digest_is_the_one_that_is_written_down() -> None:
    """Pinned: a change of this value makes another protocol."""
    assert digest("block", b"x").hex() == "8abcedd3ad30bb9f27208a7004d97b70d30298dd5c94e43a081852f444a0e8f6"
