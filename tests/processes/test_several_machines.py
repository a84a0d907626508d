"""Networks whose parties have a directory each, as real processes: nobody has a network's directory."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.network.mqtt.brokers import require_mosquitto
from tests.processes.running import PATIENCE, Ended, command, json_of
from tetrarch.layout import ERROR_FILE, GENESIS_FILE
from tetrarch.ports import take_ports
from tetrarch.processes import LocalNetwork

pytestmark = pytest.mark.processes

NAMES = ("berlin", "paris", "rome", "oslo")
PUT = '{"op": "put", "key": "a", "value": "1"}'


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Where all parties have their directories; whatever runs in one of them ends with the test."""
    try:
        yield tmp_path
    finally:
        for genesis in tmp_path.rglob(GENESIS_FILE):
            LocalNetwork(genesis.parent).kill()


def ports(count: int) -> list[int]:
    first = take_ports(count)
    assert first is not None
    return list(range(first, first + count))


def up(directory: Path) -> dict[str, bool]:
    return {part["name"]: part["listens"] for part in json_of("up", str(directory))}


def committed_everywhere(client: Path) -> None:
    """A transaction commits, and all members come to its height."""
    outcome = json_of("tx", "submit", str(client), PUT)
    assert outcome["outcome"] == "committed"
    until = time.monotonic() + PATIENCE
    while {state["height"] for state in json_of("status", str(client))} != {outcome["height"]}:
        assert time.monotonic() < until
    assert json_of("get", str(client), "a")["value"] == "1"


def write_hosts(path: Path, brokers: int = 0) -> None:
    """Two machines, as which this one is known by two names, with two replicas each."""
    taken = iter(ports(8 + brokers))
    text = ""
    for number in range(4):
        host = "127.0.0.1" if number % 2 else "localhost"
        text += f'[[replicas]]\nhost = "{host}"\npeer_port = {next(taken)}\nclient_port = {next(taken)}\n'
    path.write_text(text)


def test_each_machine_runs_its_own_part_of_a_network(home: Path) -> None:
    write_hosts(home / "hosts.toml")
    command("init", str(home / "net"), "--hosts", str(home / "hosts.toml"))
    first, second = home / "here", home / "there"
    (home / "net" / "localhost").rename(first)
    (home / "net" / "127.0.0.1").rename(second)
    assert up(first) == {"replica-0": True, "replica-2": True}
    assert up(second) == {"replica-1": True, "replica-3": True}
    assert up(second) == {"replica-1": True, "replica-3": True}
    committed_everywhere(home / "net" / "client")
    command("node", "--check", str(first / "replica-0"))
    log = LocalNetwork(first).replicas[0].log
    assert "handshake_failed" not in log.read_text(), "a check is no failed handshake"
    stopped = {each["name"]: each["outcome"] for each in json_of("down", str(first))}
    assert stopped == {"replica-0": "stopped", "replica-2": "stopped"}
    command("node", "--check", str(first / "replica-0"), code=3)
    command("node", "--check", str(second / "replica-1"))


def test_what_cannot_start_is_told_with_its_reason(home: Path) -> None:
    write_hosts(home / "hosts.toml")
    command("init", str(home / "net"), "--hosts", str(home / "hosts.toml"))
    part = home / "net" / "localhost"
    (part / "replica-2" / "tls.key").unlink()
    told = {each["name"]: each for each in json_of("up", str(part), code=3)}
    assert told["replica-0"]["listens"]
    assert "tls.key: there is no such file" in told["replica-2"]["cause"]


def test_a_replica_that_is_halted_before_it_listens_is_not_taken_to_run(home: Path) -> None:
    write_hosts(home / "hosts.toml")
    command("init", str(home / "net"), "--hosts", str(home / "hosts.toml"))
    part = home / "net" / "localhost"
    network = LocalNetwork(part)
    halted = network.replicas[0]
    halted.start()
    try:
        assert halted.signal(signal.SIGSTOP)
        told = {each["name"]: each for each in json_of("up", str(part), "--timeout", "3", code=3)}
        assert not told["replica-0"]["listens"]
        command("node", "--check", str(halted.directory), code=3)
        assert halted.signal(signal.SIGCONT)
        assert up(part) == {"replica-0": True, "replica-2": True}
    finally:
        network.kill()


def join_all(home: Path, *more: str) -> None:
    taken = iter(ports(8))
    for name in NAMES:
        where = ("--host", "127.0.0.1", "--peer-port", str(next(taken)), "--client-port", str(next(taken)))
        command("init", str(home / name), "--join", name, *(more or where))


def public_parts(home: Path) -> list[str]:
    return [str(home / name / f"{name}.public") for name in NAMES]


def settle_all(home: Path) -> set[str]:
    """The chain ids that the parties were shown, one by one."""
    network = str(home / "net" / "public")
    return {
        json_of("init", str(home / name), "--join", name, "--network", network)["chain_id"] for name in NAMES
    }


def test_a_network_whose_members_never_met_commits(home: Path) -> None:
    join_all(home)
    made = json_of("init", str(home / "net"), "--members", *public_parts(home))
    assert settle_all(home) == {made["chain_id"]}
    command("init", str(home / "alice"), "--client", "alice", "--network", str(home / "net" / "public"))
    for name in NAMES:
        assert up(home / name) == {name: True}
    committed_everywhere(home / "alice")


def test_members_and_a_client_that_never_met_meet_at_a_broker(home: Path) -> None:
    require_mosquitto()
    join_all(home, "--host", "127.0.0.1", "--transport", "mqtt")
    [port] = ports(1)
    address = f"127.0.0.1:{port}"
    command("init", str(home / "net"), "--members", *public_parts(home), "--broker", address)
    assert len(settle_all(home)) == 1
    network = str(home / "net" / "public")
    command("init", str(home / "alice"), "--client", "alice", "--network", network)
    machine = home / "net" / "127.0.0.1"
    assert up(machine) == {"broker-0": True}
    for name in NAMES:
        assert up(home / name) == {name: True}
    with pytest.raises(Ended):
        command("tx", "submit", str(home / "alice"), PUT, "--timeout", "3")
    command("init", str(machine / "broker-0"), "--admit", str(home / "alice" / "alice.account"))
    [broker] = LocalNetwork(machine).brokers
    assert broker.signal(signal.SIGHUP)
    until = time.monotonic() + PATIENCE
    while "Reloading config" not in (broker.directory / ERROR_FILE).read_text():
        assert time.monotonic() < until
    committed_everywhere(home / "alice")
