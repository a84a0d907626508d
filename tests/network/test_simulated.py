"""Rules of the simulated network: the same seed gives the same run, and links do what their policies say."""

import random
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network.links import USUAL
from network.simulated import (
    MILLISECOND,
    SECOND,
    Constant,
    Happening,
    LinkPolicy,
    SimulatedNetwork,
    Tailed,
    TraceEvent,
    Uniform,
)

CHECKSUM = 2441121626
"""CRC-32 of `eventful_run(7)`, the same on every interpreter: who replays a failing seed may have another."""

WILD = LinkPolicy(Tailed(100, 3_000, 0.2, 50_000), loss=0.1, repeat=0.1, reorder=0.3)


def network_of(n: int, policy: LinkPolicy | None = None, seed: int = 1, trace=None):
    """Endpoints that note (time, source, frame) of what they get."""
    network = SimulatedNetwork(seed, policy, trace=trace)
    got: list[list] = [[] for _ in range(n)]

    def noting(arrivals: list):
        return lambda source, frame: arrivals.append((network.now_us, source, frame))

    for member in range(n):
        network.attach(member, noting(got[member]))
    return network, got


def eventful_run(seed: int) -> str:
    """A run with everything in it: endpoints that answer, partitions, crashes, changes of policy."""
    lines: list[str] = []
    network = SimulatedNetwork(seed, WILD, trace=lambda event: lines.append(str(event)))

    def answering(member: int):
        def deliver(source, frame: bytes) -> None:
            if len(frame) < 12:
                network.send(member, source, frame + b"!")

        return deliver

    for member in range(5):
        network.attach(member, answering(member))
    network.attach("client", lambda source, frame: None)
    for number in range(200):
        source, destination = number % 5, (number * 3 + 1) % 5
        network.scheduler.at(number * MILLISECOND, network.send, source, destination, b"%d" % number)
        network.scheduler.at(number * MILLISECOND, network.send, "client", destination, b"%d" % number)
    at = network.scheduler.at
    at(20 * MILLISECOND, network.partition, {0, 1}, {2, 3, 4})
    at(50 * MILLISECOND, network.heal)
    at(60 * MILLISECOND, network.crash, 3)
    at(90 * MILLISECOND, network.restart, 3)
    at(100 * MILLISECOND, network.cut, 0, 1)
    at(120 * MILLISECOND, network.set_policy, LinkPolicy(Constant(7)), 2)
    at(150 * MILLISECOND, network.isolate, 4)
    network.scheduler.run_until(SECOND)
    return "\n".join(lines)


def test_the_same_seed_gives_the_same_trace_byte_for_byte() -> None:
    assert eventful_run(7) == eventful_run(7)


def test_another_seed_gives_another_trace() -> None:
    assert eventful_run(7) != eventful_run(8)


def test_a_trace_is_the_same_on_every_version_of_python() -> None:
    assert zlib.crc32(eventful_run(7).encode()) == CHECKSUM


def test_global_chance_and_hash_seeds_have_no_part_in_a_run() -> None:
    random.seed(1)
    first = eventful_run(3)
    random.seed(2)
    state = random.getstate()
    assert eventful_run(3) == first
    assert random.getstate() == state
    assert "asyncio" not in sys.modules["network.simulated"].__dict__


def test_a_trace_tells_frames_apart_by_their_content() -> None:
    traces: list[list[TraceEvent]] = []
    for content in (b"a", b"b"):
        events: list[TraceEvent] = []
        network, _ = network_of(2, trace=events.append)
        network.send(0, 1, content)
        network.scheduler.run_for(SECOND)
        traces.append([event._replace(checksum=0) for event in events])
        traces.append(list(events))
    assert traces[0] == traces[2]
    assert traces[1] != traces[3]


def test_a_trace_reads_as_lines() -> None:
    events: list[TraceEvent] = []
    network, _ = network_of(2, LinkPolicy(Constant(1_500)), trace=events.append)
    network.send(0, 1, b"abc")
    network.scheduler.run_for(SECOND)
    network.crash(1)
    assert [" ".join(str(event).split()) for event in events] == [
        "0 attach 0",
        "0 attach 1",
        "0 sent 0 > 1 #1 3 352441c2",
        "1500 delivered 0 > 1 #1 3 352441c2",
        "1000000 crash 1",
    ]


# Delays and order.


def test_a_frame_arrives_once_after_its_delay() -> None:
    network, got = network_of(2, LinkPolicy(Constant(1_500)))
    network.scheduler.run_until(10)
    network.send(0, 1, b"x")
    network.scheduler.run_for(SECOND)
    assert got == [[], [(1_510, 0, b"x")]]


@given(st.integers(0, 2**32))
def test_a_link_keeps_the_order_of_frames_unless_its_policy_reorders(seed: int) -> None:
    network, got = network_of(2, LinkPolicy(Uniform(0, 5_000)), seed)
    for number in range(30):
        network.scheduler.at(number * 100, network.send, 0, 1, bytes([number]))
    network.scheduler.run_for(SECOND)
    assert [frame for _, _, frame in got[1]] == [bytes([number]) for number in range(30)]


def test_a_reordering_link_lets_frames_overtake() -> None:
    network, got = network_of(2, LinkPolicy(Uniform(0, 5_000), reorder=1.0))
    for number in range(30):
        network.scheduler.at(number * 100, network.send, 0, 1, bytes([number]))
    network.scheduler.run_for(SECOND)
    frames = [frame for _, _, frame in got[1]]
    assert frames != sorted(frames)
    assert sorted(frames) == [bytes([number]) for number in range(30)]


@given(st.integers(0, 2**32), st.integers(0, 1_000), st.integers(0, 1_000))
def test_uniform_delays_lie_within_their_bounds(seed: int, low: int, more: int) -> None:
    chance = random.Random(seed).random
    delays = [Uniform(low, low + more).draw(chance) for _ in range(20)]
    assert all(low <= delay <= low + more for delay in delays)


def test_uniform_delays_reach_both_bounds_and_lie_evenly_between() -> None:
    chance = random.Random(5).random
    delays = [Uniform(10, 19).draw(chance) for _ in range(10_000)]
    counts = [delays.count(delay) for delay in range(10, 20)]
    assert sum(counts) == 10_000
    assert all(850 < count < 1_150 for count in counts)


def test_tailed_delays_are_mostly_short_sometimes_long_and_never_above_the_cap() -> None:
    chance = random.Random(5).random
    delays = [Tailed(100, 200, 0.1, 5_000).draw(chance) for _ in range(10_000)]
    longer = sum(delay > 200 for delay in delays)
    assert 850 < longer < 1_150
    assert min(delays) >= 100
    assert max(delays) <= 5_000
    always = Tailed(100, 200, 1.0, 5_000).draw(chance)
    assert always == 5_000


@pytest.mark.parametrize(
    "make",
    [
        lambda: Constant(-1),
        lambda: Uniform(5, 4),
        lambda: Tailed(1, 10, 0.5, 9),
        lambda: Tailed(1, 10, 1.5, 100),
        lambda: LinkPolicy(loss=-0.1),
        lambda: LinkPolicy(repeat=1.1),
        lambda: LinkPolicy(reorder=float("nan")),
    ],
)
def test_policies_that_make_no_sense_are_refused(make) -> None:
    with pytest.raises(ValueError, match=r"from 0 to 1|begin at 0"):
        make()


# Loss and repetition.


def test_frames_are_lost_as_often_as_the_policy_says() -> None:
    network, got = network_of(2, LinkPolicy(loss=0.2), seed=11)
    for _ in range(10_000):
        network.send(0, 1, b"x")
    network.scheduler.run_for(SECOND)
    traffic = network.traffic
    assert 1_850 < traffic.lost < 2_150
    assert len(got[1]) == traffic.delivered == 10_000 - traffic.lost


def test_frames_are_repeated_as_often_as_the_policy_says() -> None:
    network, got = network_of(2, LinkPolicy(repeat=0.3), seed=11)
    for _ in range(10_000):
        network.send(0, 1, b"x")
    network.scheduler.run_for(SECOND)
    assert 2_800 < network.traffic.repeated < 3_200
    assert len(got[1]) == 10_000 + network.traffic.repeated


def test_frames_are_delayed_that_take_longer_than_on_any_usual_link() -> None:
    network, _ = network_of(3, LinkPolicy(USUAL, repeat=0.1))
    network.set_policy(LinkPolicy(Constant(USUAL.high_us + 1)), source=2)
    for _ in range(100):
        network.send(0, 1, b"usual")
        network.scheduler.run_for(USUAL.high_us)
    assert network.traffic.delayed == 0
    for _ in range(3):
        network.send(2, 1, b"late")
    assert network.traffic.delayed == 3


def test_what_happens_on_one_link_changes_nothing_on_another() -> None:
    def arrivals(other_traffic: bool) -> list:
        network, got = network_of(3, WILD, seed=4)
        for number in range(50):
            network.send(0, 1, bytes([number]))
            if other_traffic:
                network.send(2, 1, b"other")
                network.send(1, 0, b"other")
        network.scheduler.run_for(SECOND)
        return [arrival for arrival in got[1] if arrival[1] == 0]

    assert arrivals(other_traffic=True) == arrivals(other_traffic=False)


def test_a_policy_may_be_set_for_all_links_for_one_end_or_for_one_direction() -> None:
    network, got = network_of(3, LinkPolicy(Constant(1)))
    network.set_policy(LinkPolicy(Constant(10)))
    network.set_policy(LinkPolicy(Constant(20)), source=0)
    network.set_policy(LinkPolicy(Constant(30)), destination=2)
    network.set_policy(LinkPolicy(Constant(40)), 1, 0)
    network.attach("late", lambda source, frame: None)
    for source, destination in ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)):
        network.send(source, destination, b"%d>%d" % (source, destination))
    network.scheduler.run_for(SECOND)
    times = {frame: time for arrivals in got for time, _, frame in arrivals}
    assert times == {b"0>1": 20, b"0>2": 30, b"1>0": 40, b"1>2": 30, b"2>0": 10, b"2>1": 10}
    network.send("late", 0, b"late")
    network.scheduler.run_for(SECOND)
    assert got[0][-1] == (SECOND + 10, "late", b"late")


# Partitions.


def test_a_cut_link_lets_nothing_pass_in_its_direction_alone() -> None:
    network, got = network_of(2)
    network.cut(0, 1)
    network.send(0, 1, b"there")
    network.send(1, 0, b"back")
    network.scheduler.run_for(SECOND)
    assert (len(got[0]), len(got[1]), network.traffic.cut) == (1, 0, 1)
    network.mend(0, 1)
    network.send(0, 1, b"there")
    network.scheduler.run_for(SECOND)
    assert len(got[1]) == 1


def test_a_frame_on_its_way_is_lost_when_its_link_is_cut() -> None:
    network, got = network_of(2, LinkPolicy(Constant(100)))
    network.send(0, 1, b"x")
    network.scheduler.at(50, network.cut, 0, 1)
    network.scheduler.run_for(SECOND)
    assert (got[1], network.traffic.cut) == ([], 1)


def test_a_partition_separates_its_groups_and_nobody_else() -> None:
    network, got = network_of(5)
    network.partition({0, 1}, [2, 3])
    for source in range(5):
        for destination in range(5):
            if source != destination:
                network.send(source, destination, b"%d" % source)
    network.scheduler.run_for(SECOND)
    heard = [{source for _, source, _ in arrivals} for arrivals in got]
    assert heard == [{1, 4}, {0, 4}, {3, 4}, {2, 4}, {0, 1, 2, 3}]


def test_an_isolated_endpoint_neither_hears_nor_is_heard_until_all_is_healed() -> None:
    network, got = network_of(3)
    network.isolate(1)
    for source, destination in ((0, 1), (1, 0), (0, 2)):
        network.send(source, destination, b"x")
    network.scheduler.run_for(SECOND)
    assert [len(arrivals) for arrivals in got] == [0, 0, 1]
    network.heal()
    for source, destination in ((0, 1), (1, 0)):
        network.send(source, destination, b"x")
    network.scheduler.run_for(SECOND)
    assert [len(arrivals) for arrivals in got] == [1, 1, 1]


# Crashes.


def test_a_frame_to_an_endpoint_that_crashed_meanwhile_is_lost_even_if_it_is_back() -> None:
    network, got = network_of(2, LinkPolicy(Constant(100)))
    network.send(0, 1, b"before")
    network.scheduler.at(20, network.crash, 1)
    network.scheduler.at(30, network.send, 0, 1, b"while down")
    network.scheduler.at(60, network.restart, 1)
    network.scheduler.at(70, network.send, 0, 1, b"after")
    network.scheduler.run_for(SECOND)
    assert [frame for _, _, frame in got[1]] == [b"after"]
    assert network.traffic.destination_down == 2


def test_a_frame_that_was_sent_before_its_source_crashed_arrives() -> None:
    network, got = network_of(2)
    network.send(0, 1, b"last words")
    network.crash(0)
    network.scheduler.run_for(SECOND)
    assert len(got[1]) == 1


def test_an_endpoint_that_is_down_sends_nothing() -> None:
    network, got = network_of(2)
    network.crash(0)
    assert not network.is_up(0)
    network.send(0, 1, b"x")
    network.scheduler.run_for(SECOND)
    assert (got[1], network.traffic.source_down, network.traffic.sent) == ([], 1, 0)


def test_a_timer_does_not_survive_a_crash() -> None:
    network, _ = network_of(1)
    rung: list[str] = []
    network.timer(0, 100, lambda: rung.append("before"))
    network.scheduler.at(50, network.restart, 0)
    network.scheduler.at(60, lambda: network.timer(0, 100, lambda: rung.append("after")))
    network.scheduler.run_for(SECOND)
    assert rung == ["after"]


def test_a_restarted_endpoint_may_receive_elsewhere() -> None:
    network, got = network_of(2)
    anew: list[bytes] = []
    network.restart(1, lambda source, frame: anew.append(frame))
    network.send(0, 1, b"x")
    network.scheduler.run_for(SECOND)
    assert (got[1], anew) == ([], [b"x"])


def test_endpoints_must_be_attached_once() -> None:
    network, _ = network_of(1)
    assert network.endpoints == (0,)
    with pytest.raises(ValueError, match="attached already"):
        network.attach(0, lambda source, frame: None)
    with pytest.raises(ValueError, match="'nobody' was never attached"):
        network.send(0, "nobody", b"x")


def test_every_kind_of_event_is_traced() -> None:
    events: list[TraceEvent] = []
    network = SimulatedNetwork(3, WILD, trace=events.append)
    for member in (0, 1):
        network.attach(member, lambda source, frame: None)
    for number in range(100):
        network.scheduler.at(number * 100, network.send, 0, 1, b"x")
    network.scheduler.at(2_000, network.crash, 1)
    network.scheduler.at(3_000, network.restart, 1)
    network.scheduler.at(4_000, network.cut, 0, 1)
    network.scheduler.at(5_000, network.heal)
    network.scheduler.at(6_000, network.set_policy, LinkPolicy(loss=0.5))
    network.scheduler.at(8_000, network.crash, 0)
    network.scheduler.run_for(SECOND)
    assert {event.what for event in events} == set(Happening)
