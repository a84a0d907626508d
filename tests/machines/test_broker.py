"""Replicas that meet at a broker in a host of its own, and bad networks between them and it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machines.cabling import Delay
from tests.machines.ending import all_is_well
from tests.machines.replicas import BROKER, CLIENT, Deployed, deployed, require_laboratory
from tests.network.mqtt.brokers import require_mosquitto

pytestmark = [pytest.mark.processes, pytest.mark.slow]

PATIENCE = 60.0


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Deployed]:
    """Four replicas, a broker and a client in hosts of their own."""
    require_laboratory()
    require_mosquitto()
    with deployed(tmp_path / "net", transport="mqtt") as found:
        yield found


def test_nobody_needs_anybody_but_the_broker(net: Deployed) -> None:
    everybody = [*net.members, CLIENT]
    net.lab.partition(*([each] for each in everybody))
    with net.load() as load:
        load.wait_for(30, PATIENCE)
    # Whatever is sent past the broker is heard by nobody, and nobody misses it.
    assert set(net.lab.dropped("cut").values()) == {0}
    assert {state.view for state in net.wait_until(lambda _: True)} == {0}
    all_is_well(net, load)


def test_who_was_cut_off_from_the_broker_catches_up(net: Deployed) -> None:
    alone = net.members[3]
    with net.load() as load:
        load.wait_for(10, PATIENCE)
        net.lab.partition([alone], [BROKER])
        load.wait_for(30, PATIENCE)
        net.lab.mend()
        missed = max(load.committed.values())
        net.wait_until(lambda states: states[3].height >= missed)
    dropped = net.lab.dropped("cut")
    assert dropped[alone] > 0
    assert dropped[BROKER] > 0
    all_is_well(net, load)


@pytest.mark.long
def test_a_broker_that_nobody_reaches_stops_everything_and_its_return_everything_moves(net: Deployed) -> None:
    with net.load() as load:
        load.wait_for(10, PATIENCE)
        net.lab.partition([BROKER], net.members)
        # The client still reaches the broker: what it sends is lost there, and sent again.
        load.until_open(20, PATIENCE)
        before = len(load.committed)
        net.lab.mend()
        load.wait_for(40, PATIENCE)
        assert len(load.committed) >= before + 40
    assert net.lab.dropped("cut")[BROKER] > 0
    all_is_well(net, load)


@pytest.mark.long
def test_a_twentieth_of_all_packets_may_be_lost_and_the_others_be_late(net: Deployed) -> None:
    net.lab.delay(Delay(25))
    net.lab.lose(0.05)
    with net.load(per_second=5) as load:
        load.wait_for(30, 2 * PATIENCE)
    lost = net.lab.dropped("lost")
    assert all(lost.values()), lost
    net.lab.lose(0)
    net.lab.delay(Delay(0))
    all_is_well(net, load)
