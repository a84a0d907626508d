"""Replicas that are killed: nothing acknowledged is lost or repeated, and who comes back takes part again."""

import signal
from pathlib import Path

import pytest

from tests.processes.running import puts, running, submit

pytestmark = [pytest.mark.processes, pytest.mark.slow]


def test_the_primary_may_be_killed_in_the_middle_and_come_back(tmp_path: Path) -> None:
    with running(tmp_path / "net") as net, net.client() as client:
        primary = net.network.replicas[net.primary()]
        outcomes = submit(client, puts(3000), at=200, then=lambda: primary.signal(signal.SIGKILL))
        assert {outcome.status for outcome in outcomes} == {"committed"}
        assert len(outcomes) == 3000
        # Whatever was under way at the kill is settled: this one needs another primary.
        receipt = client.submit({"op": "put", "key": "after", "value": "1"}, timeout=60)
        net.executed_once(client, outcomes)
        net.up()
        states = net.wait_until_level(receipt.height)
        assert len({state.state_root for state in states}) == 1
        assert min(state.view for state in states) > 0
        assert client.get("k2999", min_height=receipt.height).value == "2999"


def test_a_backup_may_be_killed_and_nobody_notices(tmp_path: Path) -> None:
    with running(tmp_path / "net") as net, net.client() as client:
        place = (net.primary() + 1) % 4
        backup = net.network.replicas[place]
        outcomes = submit(client, puts(2000), at=200, then=lambda: backup.signal(signal.SIGKILL))
        assert {outcome.status for outcome in outcomes} == {"committed"}
        height = max(outcome.height for outcome in outcomes)
        answered = client.query({"op": "get", "key": "k1999"}, min_height=height)
        assert (answered.value, len(answered.members)) == ("1999", 2)
        assert place not in answered.members
        net.up()
        states = net.wait_until_level(height)
        assert len({state.head for state in states}) == 1
        net.executed_once(client, outcomes)


def test_all_may_be_killed_at_once_and_go_on_with_what_was_acknowledged(tmp_path: Path) -> None:
    with running(tmp_path / "net") as net:
        acknowledged = []

        def kill_all() -> None:
            for replica in net.network.replicas:
                replica.signal(signal.SIGKILL)
            for replica in net.network.replicas:
                assert replica.wait(10)
            net.up()

        with net.client() as client:
            acknowledged = submit(client, puts(3000), at=300, then=kill_all)
            assert {outcome.status for outcome in acknowledged} == {"committed"}
            net.executed_once(client, acknowledged)
        states = net.wait_until_level(max(outcome.height for outcome in acknowledged))
        assert len({state.state_root for state in states}) == 1


def test_a_network_of_seven_survives_two(tmp_path: Path) -> None:
    with running(tmp_path / "net", replicas=7) as net, net.client() as client:
        first, second = (net.network.replicas[(net.primary() + place) % 7] for place in (0, 3))
        second.kill()
        outcomes = submit(client, puts(600), at=100, then=lambda: first.signal(signal.SIGKILL))
        assert {outcome.status for outcome in outcomes} == {"committed"}
        net.executed_once(client, outcomes)


def test_a_stopped_network_goes_on_where_it_was(tmp_path: Path) -> None:
    with running(tmp_path / "net") as net:
        with net.client() as client:
            receipt = client.submit({"op": "put", "key": "a", "value": "1"})
        assert set(net.network.stop().values()) == {"stopped"}
        net.up()
        with net.client() as client:
            verified = client.get("a", min_height=receipt.height)
            assert verified.value == "1"
            assert client.receipt(receipt.tx_id).height == receipt.height


def test_a_single_replica_for_development_works(tmp_path: Path) -> None:
    with running(tmp_path / "net", replicas=1) as net, net.client() as client:
        receipt = client.submit({"op": "put", "key": "a", "value": "1"})
        assert client.get("a", min_height=receipt.height).value == "1"
