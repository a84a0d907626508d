"""tetrarch init: a whole network or nothing, keys for their owner alone, and nothing ever overwritten."""

import json
import socket
import stat
from pathlib import Path

import pytest

from tests.tetrarch.command_line import ran
from tetrarch.client.config import ClientConfig
from tetrarch.config import load_node
from tetrarch.setup.errors import SetupError
from tetrarch.setup.network import make_network
from tetrarch.setup.places import Host, local_hosts
from tetrarch.setup.plan import NetworkPlan

HOSTS = tuple(Host("127.0.0.1", 7000 + 2 * i, 7001 + 2 * i) for i in range(4))


def test_what_init_makes_can_be_run_and_used(tmp_path: Path) -> None:
    result = ran("init", str(tmp_path / "net"), "--json")
    assert result.code == 0
    made = json.loads(result.out)
    members = [load_node(tmp_path / "net" / each["name"]).member for each in made["replicas"]]
    assert members == [0, 1, 2, 3]
    config = ClientConfig.load(tmp_path / "net" / "client.toml")
    assert config.trust.chain_id.hex() == made["chain_id"]
    assert {endpoint.address.port for endpoint in config.endpoints.values()} == {
        each["client_port"] for each in made["replicas"]
    }


def test_no_file_with_a_key_can_be_opened_by_others(tmp_path: Path) -> None:
    make_network(tmp_path / "net", NetworkPlan(HOSTS))
    keys = [*tmp_path.rglob("*.key")]
    assert len(keys) == 4 * 2 + 1
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_two_networks_of_one_plan_are_different_chains(tmp_path: Path) -> None:
    first, second = (make_network(tmp_path / name, NetworkPlan(HOSTS)) for name in ("a", "b"))
    assert first.chain_id != second.chain_id


def test_an_existing_directory_with_anything_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "mine").write_text("precious")
    result = ran("init", str(tmp_path / "net"))
    assert result.code == 2
    assert "never overwritten" in result.err
    assert [path.name for path in (tmp_path / "net").iterdir()] == ["mine"]


def test_an_empty_directory_may_be_used(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    assert ran("init", str(tmp_path / "net")).code == 0


def test_a_failing_init_leaves_nothing_behind(tmp_path: Path) -> None:
    hosts = (*HOSTS[:3], Host("not a host", 7006, 7007))
    with pytest.raises(SetupError, match="not a host"):
        make_network(tmp_path / "net", NetworkPlan(hosts))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--replicas", "2"], "tolerate no fault"),
        (["--replicas", "3"], "3f + 1"),
        (["--replicas", "1"], "--dev"),
        (["--replicas", "0"], "0 is not in the range"),
        (["--replicas", "four"], "is not a valid integer"),
        (["--app", "chess"], "neither one of assets, kv, notary"),
        (["--app", "no.such.module:Game"], "cannot be imported"),
        (["--app", "json:Missing"], "has no class"),
        (["--parameter", "colour"], "NAME=VALUE"),
        (["--parameter", "colour=red"], "unknown parameter colour"),
        (["--parameter", "a=1", "--parameter", "a=2"], "given twice"),
        (["--transport", "pigeon"], "is not one of 'tcp', 'mqtt'"),
        (["--base-port", "65530"], "need 8 ports"),
        (["--metrics-port", "65533"], "4 ports are needed"),
        (["--base-port", "40000", "--metrics-port", "40005"], "40005 is another one of"),
        (["--hosts", "nowhere.toml"], "there is no such file"),
        (["--password-file", "nowhere"], "there is no such file"),
    ],
)
def test_what_cannot_be_made_is_refused_with_the_reason(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    result = ran("init", str(tmp_path / "net"), *arguments)
    assert result.code == 2
    assert words in result.err
    assert not (tmp_path / "net").exists()


def test_one_replica_is_allowed_for_development_and_says_so(tmp_path: Path) -> None:
    result = ran("init", str(tmp_path / "net"), "--dev")
    assert result.code == 0
    assert "tolerates no fault" in result.out
    (own,) = load_node(tmp_path / "net" / "replica-0").peers
    assert own is not None
    assert own.host == "127.0.0.1"


def test_ports_in_use_are_not_chosen_and_not_accepted(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(SetupError, match="not all of the ports"):
            local_hosts(4, port)
    chosen = local_hosts(4)
    ports = [port for host in chosen for port in (host.peer_port, host.client_port)]
    assert ports == list(range(ports[0], ports[0] + 8))


def test_the_client_that_init_makes_may_issue_and_others_may_not(tmp_path: Path) -> None:
    genesis = make_network(tmp_path / "net", NetworkPlan(HOSTS, application="assets"))
    signer = ClientConfig.load(tmp_path / "net" / "client.toml").signer()
    assert dict(genesis.parameters) == {"issuers": signer.public_key.hex()}


def test_hosts_give_each_replica_its_place(tmp_path: Path) -> None:
    (tmp_path / "hosts.toml").write_text(
        '[[replicas]]\nhost = "10.0.0.1"\nname = "berlin"\nlisten = "0.0.0.0"\n'
        '[[replicas]]\nhost = "10.0.0.2"\n'
        '[[replicas]]\nhost = "ledger.example.org"\npeer_port = 17000\nclient_port = 17001\n'
        '[[replicas]]\nhost = "2001:db8::1"\n'
    )
    result = ran("init", str(tmp_path / "net"), "--hosts", str(tmp_path / "hosts.toml"))
    assert result.code == 0
    berlin = load_node(tmp_path / "net" / "10.0.0.1" / "berlin")
    assert str(berlin.peer_listen) == "0.0.0.0:7000"
    assert [str(address) for address in berlin.peers][1:] == [
        "10.0.0.2:7000",
        "ledger.example.org:17000",
        "[2001:db8::1]:7000",
    ]
    client = ClientConfig.load(tmp_path / "net" / "client" / "client.toml")
    assert str(client.endpoints[berlin.member].address) == "10.0.0.1:7001"


def test_a_large_network_gets_a_checkpoint_interval_that_its_view_changes_can_bear(tmp_path: Path) -> None:
    members = {4: 64, 60: 32}
    for count, interval in members.items():
        hosts = tuple(Host("127.0.0.1", 7000 + 2 * n, 7001 + 2 * n) for n in range(count))
        assert make_network(tmp_path / f"net-{count}", NetworkPlan(hosts)).checkpoint_interval == interval


def test_the_numbers_that_were_asked_for_are_used_or_refused(tmp_path: Path) -> None:
    hosts = tuple(Host("127.0.0.1", 7000 + 2 * place, 7001 + 2 * place) for place in range(4))
    genesis = make_network(tmp_path / "net", NetworkPlan(hosts, checkpoint_interval=5, largest_batch=7))
    assert (genesis.checkpoint_interval, genesis.max_batch_transactions) == (5, 7)
    with pytest.raises(SetupError, match="shorter interval"):
        make_network(tmp_path / "other", NetworkPlan(hosts, checkpoint_interval=100_000))


def test_a_network_too_large_for_any_view_change_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    hosts = tuple(Host("127.0.0.1", 7000 + 2 * n, 7001 + 2 * n) for n in range(200))
    with pytest.raises(SetupError, match="200 members"):
        make_network(tmp_path / "net", NetworkPlan(hosts))
    assert not list(tmp_path.iterdir())


def test_metrics_get_a_port_of_their_own_on_loopback_where_asked_for(tmp_path: Path) -> None:
    result = ran("init", str(tmp_path / "net"), "--metrics-port", "9464", "--json")
    assert result.code == 0
    made = json.loads(result.out)["replicas"]
    assert [each["metrics_port"] for each in made] == [9464, 9465, 9466, 9467]
    listens = [load_node(tmp_path / "net" / each["name"]).metrics for each in made]
    assert [str(listen) for listen in listens] == [f"127.0.0.1:{9464 + place}" for place in range(4)]
