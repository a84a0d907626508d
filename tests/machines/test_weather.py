"""Bad networks: packets that are lost, late, out of order or held back. The ledger goes on, and stays one."""

import time

import pytest

from tests.machines.cabling import Delay
from tests.machines.ending import all_is_well
from tests.machines.replicas import CLIENT, Deployed

pytestmark = [pytest.mark.processes, pytest.mark.slow]

PATIENCE = 60.0


def test_a_fifth_of_all_packets_may_be_lost(net: Deployed) -> None:
    before = net.lab.cabling.counts()["carried"]
    net.lab.lose(0.2)
    with net.load() as load:
        load.wait_for(50, PATIENCE)
    lost, carried = net.lab.dropped("lost"), net.lab.cabling.counts()["carried"] - before
    assert all(lost.values()), lost
    assert 0.1 * carried < sum(lost.values()) < 0.3 * carried
    net.lab.lose(0)
    all_is_well(net, load)


@pytest.mark.long
def test_packets_may_take_a_tenth_of_a_second_and_overtake_each_other(net: Deployed) -> None:
    net.lab.delay(Delay(100, jitter_ms=20, overtaking=0.2))
    before = net.lab.cabling.counts()
    with net.load(per_second=20) as load:
        load.wait_for(60, PATIENCE)
    counts = net.lab.cabling.counts()
    assert counts["delayed"] > before.get("delayed", 0) + 100
    assert counts["overtook"] > 10
    # A client's way there and back, and three of the protocol's steps; who overtakes takes half as long.
    assert min(sample.seconds for sample in load.samples) >= 0.25
    net.lab.delay(Delay(0))
    all_is_well(net, load)


@pytest.mark.long
def test_replicas_may_have_little_bandwidth(net: Deployed) -> None:
    net.lab.limit(100, net.members)
    primary = net.members[0]
    until = time.monotonic() + PATIENCE
    with net.load(per_second=30) as load:
        load.wait_for(50, PATIENCE)
        while net.lab.held_back()[primary] < 100:
            assert time.monotonic() < until
            load.wait_for(10, PATIENCE)
    assert net.lab.held_back()[CLIENT] == 0
    net.lab.limit(None)
    all_is_well(net, load)
