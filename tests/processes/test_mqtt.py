"""Whole networks whose members meet at a real broker: as users make and run them, and when it fails."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.network.mqtt.brokers import require_mosquitto
from tests.processes.running import PATIENCE, Running, command, json_of, puts, running, submit
from tetrarch.errors import Unreachable
from tetrarch.ports import LOOPBACK, take_ports
from tetrarch.setup.places import BrokerHost, Host, Places, local_hosts, local_places
from tetrarch.setup.plan import local_plan

pytestmark = pytest.mark.processes


@pytest.fixture(autouse=True)
def _broker_is_installed() -> None:
    require_mosquitto()


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path / "net", plan=local_plan(local_places(4, "mqtt"))) as found:
        yield found


def test_a_network_by_way_of_a_broker_is_used_like_any_other(tmp_path: Path) -> None:
    net = str(tmp_path / "net")
    made = json_of("init", net, "--transport", "mqtt")
    assert made["transport"] == "mqtt"
    try:
        assert all(replica["reachable"] for replica in json_of("up", net))
        outcome = json_of("tx", "submit", net, '{"op": "put", "key": "a", "value": "1"}')
        assert outcome["outcome"] == "committed"
        assert json_of("tx", "get", net, outcome["tx_id"])["outcome"] == "committed"
        assert json_of("get", net, "a")["value"] == "1"
        assert {state["reachable"] for state in json_of("status", net)} == {True}
        receipt = str(tmp_path / "a.receipt")
        command("receipt", "get", net, outcome["tx_id"], "-o", receipt)
        command("receipt", "verify", receipt, "--genesis", f"{net}/genesis.json")
    finally:
        stopped = {each["name"]: each["outcome"] for each in json_of("down", net)}
    assert stopped == {**{f"replica-{number}": "stopped" for number in range(4)}, "broker-0": "stopped"}
    stores = [f"{net}/replica-{number}/store" for number in range(4)]
    assert json_of("audit", *stores, "--genesis", f"{net}/genesis.json")["verdict"] == "valid"


def test_a_broker_killed_under_load_loses_nothing_and_service_is_back_when_it_is(network: Running) -> None:
    [broker] = network.network.brokers
    back: list[float] = []

    def restart() -> None:
        broker.kill()
        broker.start()
        back.append(time.monotonic())

    with network.client() as client:
        outcomes = submit(client, puts(4_000), at=500, then=restart)
        assert len(back) == 1
        assert {outcome.status for outcome in outcomes} == {"committed"}
        network.executed_once(client, outcomes)


def test_a_client_hears_that_nobody_can_be_reached_within_its_time_and_goes_on_when_the_broker_is_back(
    network: Running,
) -> None:
    [broker] = network.network.brokers
    with network.client() as client:
        client.submit({"op": "put", "key": "a", "value": "1"}, idempotency_key="before")
        broker.kill()
        began = time.monotonic()
        with pytest.raises(Unreachable) as caught:
            client.get("a", timeout=3)
        assert time.monotonic() - began < PATIENCE
        assert "broker 127.0.0.1" in str(caught.value)
        broker.start()
        put = {"op": "put", "key": "a", "value": "2"}
        receipt = client.submit(put, idempotency_key="after", timeout=PATIENCE)
        assert client.get("a", min_height=receipt.height).value == "2"


def test_some_members_may_be_reached_directly_and_others_by_way_of_a_broker(tmp_path: Path) -> None:
    port = take_ports(1)
    assert port is not None
    hosts = (*local_hosts(2), *(Host(LOOPBACK, transport="mqtt") for _ in range(2)))
    places = Places(hosts, (BrokerHost(LOOPBACK, port),))
    with running(tmp_path / "net", plan=local_plan(places)) as network, network.client() as client:
        outcomes = submit(client, puts(200))
        assert {outcome.status for outcome in outcomes} == {"committed"}
        # All four take part: three are a quorum, so each has to be stopped once while the others go on.
        for replica in network.network.replicas[1:]:
            assert replica.signal(signal.SIGSTOP)
            more = submit(client, puts(20, replica.name))
            assert {outcome.status for outcome in more} == {"committed"}
            assert replica.signal(signal.SIGCONT)
            network.wait_until_level()


def test_of_two_brokers_either_may_be_killed(tmp_path: Path) -> None:
    plan = local_plan(local_places(4, "mqtt", brokers=2))
    with running(tmp_path / "net", plan=plan) as network, network.client() as client:
        for broker in network.network.brokers:
            broker.kill()
            outcomes = submit(client, puts(100, broker.name))
            assert {outcome.status for outcome in outcomes} == {"committed"}
            broker.start()
            network.wait_until_level()
