"""The pool: bounded, in order of arrival, with a reserved lane for what others pass on."""

from hypothesis import given
from hypothesis import strategies as st

from consensus.contract import Request
from consensus.pool import BatchLimits, Pool, PoolLimits
from crypto.batch import Millis, TxId
from crypto.roster import MemberId

NOW = Millis(1000)
LIMITS = BatchLimits(max_requests=10, max_bytes=1000, horizon_ms=Millis(10_000))


def request(number: int, valid_until: int = 5000, size: int = 10) -> Request:
    return Request(TxId(number.to_bytes(32, "big")), Millis(valid_until), bytes(size))


def numbers(batch: list[Request]) -> list[int]:
    return [int.from_bytes(item.id, "big") for item in batch]


def leading(limits: PoolLimits | None = None) -> Pool:
    pool = Pool(limits or PoolLimits())
    pool.lead([])
    return pool


def test_a_batch_takes_requests_in_order_of_arrival_and_each_once() -> None:
    pool = leading()
    for number in (3, 1, 2):
        pool.add(request(number), None)
    pool.add(request(1), None)
    assert numbers(pool.take(NOW, LIMITS)) == [3, 1, 2]
    assert pool.take(NOW, LIMITS) == []
    assert pool.waiting == 0


def test_a_full_pool_takes_no_more_in_number_or_bytes() -> None:
    few = leading(PoolLimits(max_requests=2))
    assert [few.add(request(number), None) for number in range(3)] == [True, True, False]
    small = leading(PoolLimits(max_bytes=25))
    assert [small.add(request(number), None) for number in range(3)] == [True, True, False]


def test_what_is_known_already_is_known_though_the_pool_is_full() -> None:
    pool = leading(PoolLimits(max_requests=1))
    pool.add(request(1), None)
    assert pool.add(request(1), None)


def test_relayed_requests_come_first_and_have_a_place_in_a_full_pool() -> None:
    pool = leading(PoolLimits(max_requests=2, lane_quota=1))
    pool.add(request(1), None)
    pool.add(request(2), None)
    assert pool.add(request(7), MemberId(3))
    assert not pool.add(request(8), MemberId(3)), "one member has its quota and no more"
    assert pool.add(request(9), MemberId(2))
    assert numbers(pool.take(NOW, LIMITS)) == [9, 7, 1, 2]


def test_a_relayed_request_that_waits_already_moves_forward() -> None:
    pool = leading()
    for number in (1, 2, 3):
        pool.add(request(number), None)
    pool.add(request(3), MemberId(1))
    assert numbers(pool.take(NOW, LIMITS)) == [3, 1, 2]


def test_a_batch_leaves_out_what_has_expired_and_lets_wait_what_lies_beyond_the_horizon() -> None:
    pool = leading()
    pool.add(request(1, valid_until=999), None)
    pool.add(request(2, valid_until=11_001), None)
    pool.add(request(3), None)
    assert numbers(pool.take(NOW, LIMITS)) == [3]
    assert numbers(pool.take(Millis(1001), LIMITS)) == [2]
    assert pool.expired(NOW) == [request(1).id]


def test_a_batch_is_bounded_in_number_and_bytes() -> None:
    pool = leading()
    for number in range(30):
        pool.add(request(number, size=150), None)
    assert numbers(pool.take(NOW, LIMITS)) == [0, 1, 2, 3, 4, 5]
    for _ in range(4):
        pool.take(NOW, LIMITS)
    assert pool.waiting == 0


def test_a_new_leader_proposes_what_is_known_and_not_in_flight() -> None:
    pool = Pool(PoolLimits())
    for number in range(4):
        pool.add(request(number), None)
    pool.lead([request(1).id])
    assert numbers(pool.take(NOW, LIMITS)) == [0, 2, 3]
    pool.follow()
    pool.lead([])
    assert numbers(pool.take(NOW, LIMITS)) == [0, 1, 2, 3]


@given(st.lists(st.tuples(st.sampled_from(["add", "relay", "take", "discard", "lead"]), st.integers(0, 12))))
def test_nothing_is_taken_twice_or_lost_and_the_bounds_hold(steps: list[tuple[str, int]]) -> None:
    limits = PoolLimits(max_requests=5, lane_quota=2)
    pool = leading(limits)
    known: set[int] = set()
    flying: set[int] = set()
    for step, number in steps:
        match step:
            case "add" if pool.add(request(number), None):
                known.add(number)
            case "relay" if pool.add(request(number), MemberId(number % 3)):
                known.add(number)
            case "take":
                batch = numbers(pool.take(NOW, LIMITS))
                assert len(batch) == len(set(batch))
                assert not flying & set(batch)
                assert set(batch) == known - flying
                flying |= set(batch)
            case "discard":
                pool.discard([request(number).id])
                known.discard(number)
                flying.discard(number)
            case "lead":
                pool.lead([request(n).id for n in sorted(flying)])
        assert set(numbers(list(pool))) == known
        assert pool.waiting == len(known - flying)
        assert len(pool) <= limits.max_requests + 3 * limits.lane_quota
