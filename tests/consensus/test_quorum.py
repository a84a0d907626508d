"""Quorum sizes: two quorums always share a correct member, and one can always be had."""

import pytest

from consensus.quorum import Quorums


@pytest.mark.parametrize("n", range(1, 101))
def test_two_quorums_share_a_correct_member_and_one_can_be_had_without_the_faulty(n: int) -> None:
    q = Quorums.byzantine(n)
    assert 2 * q.quorum - n >= q.f + 1
    assert q.quorum <= n - q.f
    assert q.weak == q.f + 1


@pytest.mark.parametrize(
    ("n", "f", "quorum"), [(1, 0, 1), (4, 1, 3), (5, 1, 4), (6, 1, 4), (7, 2, 5), (10, 3, 7)]
)
def test_known_sizes(n: int, f: int, quorum: int) -> None:
    assert Quorums.byzantine(n) == Quorums(n=n, f=f, quorum=quorum, weak=f + 1)


def test_a_network_without_members_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Quorums.byzantine(0)
