"""Rules of backing off: longer with every failure, spread, capped, repeatable."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from network.backoff import Backoff


@given(st.integers(1, 10**9), st.integers(0, 2**32), st.integers(1, 1_000), st.integers(1, 100_000))
def test_a_delay_lies_between_half_and_all_of_what_it_may_be(
    failures: int, seed: int, first: int, cap: int
) -> None:
    longest = min(cap, first * 2 ** min(failures - 1, 40))
    assert longest / 2 <= Backoff(first, cap).delay_ms(failures, Random(seed)) <= longest


def test_delays_double_up_to_the_cap() -> None:
    class Highest(Random):
        def random(self) -> float:
            return 1.0

    delays = [Backoff(50, 1_000).delay_ms(failures, Highest()) for failures in range(1, 8)]
    assert delays == [50, 100, 200, 400, 800, 1_000, 1_000]


def test_delays_are_spread_and_the_same_for_the_same_seed() -> None:
    def delays(seed: int) -> list[float]:
        source = Random(seed)
        return [Backoff(50, 1_000).delay_ms(failures, source) for failures in range(1, 20)]

    assert delays(1) == delays(1)
    assert delays(1) != delays(2)
    assert len(set(delays(1)[6:])) > 5
