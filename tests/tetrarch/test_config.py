"""node.toml: a fault is one line with file and key, and a good file gives settings that fit the genesis."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from network.address import Address
from network.tcp import ListenerLimits
from tetrarch.config import load_door, load_log_path, load_node, load_trace
from tetrarch.errors import ConfigurationError
from tetrarch.passwords import read_password
from tetrarch.setup.network import make_network
from tetrarch.setup.places import Host, local_places
from tetrarch.setup.plan import NetworkPlan, local_plan

HOSTS = tuple(Host("127.0.0.1", 7000 + 2 * i, 7001 + 2 * i) for i in range(4))


@pytest.fixture
def net(tmp_path: Path) -> Path:
    make_network(tmp_path / "net", NetworkPlan(HOSTS))
    return tmp_path / "net"


def edited(net: Path, edit: Callable[[str], str]) -> ConfigurationError:
    path = net / "replica-1" / "node.toml"
    before = path.read_text()
    path.write_text(edit(before))
    assert path.read_text() != before
    with pytest.raises(ConfigurationError) as caught:
        load_node(path)
    assert "\n" not in str(caught.value)
    return caught.value


def replaced(net: Path, old: str, new: str) -> ConfigurationError:
    return edited(net, lambda text: text.replace(old, new, 1))


def test_a_replica_knows_every_member_by_address_and_certificate(net: Path) -> None:
    settings = load_node(net / "replica-2")
    genesis = settings.genesis
    assert (settings.member, settings.name) == (2, "replica-2")
    assert settings.signer.public_key == genesis.members[2].public_key
    assert settings.peers == tuple(Address("127.0.0.1", 7000 + 2 * i) for i in range(4))
    assert settings.client_listen == Address("127.0.0.1", 7005)
    assert len(set(settings.peer_certificates)) == 4
    assert settings.store == net / "replica-2" / "store"


def test_the_file_may_be_named_instead_of_its_directory(net: Path) -> None:
    assert load_node(net / "replica-0" / "node.toml").name == "replica-0"


@pytest.mark.parametrize(
    ("listens", "reached"),
    [("0.0.0.0", "127.0.0.1:7003"), ("[::]", "[::1]:7003"), ("10.0.0.7", "10.0.0.7:7003")],
)
def test_a_replica_is_asked_on_its_own_machine_where_it_listens(
    net: Path, listens: str, reached: str
) -> None:
    file = net / "replica-1" / "node.toml"
    file.write_text(file.read_text().replace('clients = "127.0.0.1:', f'clients = "{listens}:'))
    (net / "replica-1" / "signing.key").unlink()  # nobody who only asks needs it
    door = load_door(file.parent)
    assert (door.member, str(door.address)) == (1, reached)
    assert door.certificate == load_node(net / "replica-0").peer_certificates[1]


def test_who_listens_nowhere_cannot_be_asked_directly(tmp_path: Path) -> None:
    places = local_places(4, "mqtt")
    make_network(tmp_path / "net", local_plan(places))
    with pytest.raises(ConfigurationError, match="by way of its brokers alone"):
        load_door(tmp_path / "net" / "replica-0")


def test_a_replica_behind_brokers_listens_where_it_is_told_to(tmp_path: Path) -> None:
    places = local_places(4, "mqtt")
    hosts = tuple(replace(host, listen="127.0.0.1") for host in places.replicas)
    make_network(tmp_path / "net", local_plan(replace(places, replicas=hosts)))
    settings = load_node(tmp_path / "net" / "replica-3")
    assert str(settings.client_listen) == "127.0.0.1:7001"
    assert settings.peers[:3] == (None,) * 3
    assert settings.brokers


def test_what_may_wait_of_clients_can_be_tuned(net: Path) -> None:
    file = net / "replica-0" / "node.toml"
    file.write_text(
        f"{file.read_text()}\n[tuning]\npool = 70\nclient_share = 30\nclient_patience_ms = 6000\n"
    )
    settings = load_node(file)
    assert settings.tuning.pool.max_requests == 70
    assert settings.limits.coming_per_connection == 30
    listener = settings.listener
    assert (listener.frame_ms, listener.stalled_ms, listener.handshake_ms) == (6_000, 6_000, 5_000)
    file.write_text(file.read_text().replace("6000", "4000"))
    assert load_node(file).listener.handshake_ms == 4_000


def test_clients_have_their_usual_time_where_nothing_is_tuned(net: Path) -> None:
    assert load_node(net / "replica-0").listener == ListenerLimits()


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('name = "replica-1"\n', "", "name"),
        ('name = "replica-1"\n', "name = 1\n", "name"),
        ('name = "replica-1"\n', 'name = "replica-9"\n', "name"),
        ('store = "store"', 'store = "store"\nstorage = "x"', "storage"),
        ("[listen]", "[listen]\nport = 7", "listen.port"),
        ('peers = "127.0.0.1:7002"', 'peers = "127.0.0.1"', "listen.peers"),
        ('peers = "127.0.0.1:7002"', 'peers = "127.0.0.1:70000"', "listen.peers"),
        ('clients = "127.0.0.1:7003"', 'clients = "::1:7003"', "listen.clients"),
        ('address = "127.0.0.1:7000"', 'address = "127.0.0.1:seven"', "peers[0].address"),
        ('name = "replica-0"', 'name = "replica-7"', "peers[0].name"),
        ('name = "replica-0"', 'name = "replica-1"', "peers[0].name"),
        ("certificates/replica-0.crt", "certificates/replica-2.crt", "peers[0].certificate"),
        ("certificates/replica-0.crt", "certificates/none.crt", "peers[0].certificate"),
        ("certificates/replica-0.crt", "genesis.json", "peers[0].certificate"),
        ('certificate = "tls.crt"', 'certificate = "../certificates/replica-0.crt"', "keys.certificate"),
        ("restored_from_backup = false", "restored_from_backup = 0", "restored_from_backup"),
        ("restored_from_backup = false", "[tuning]\npipeline_depth = 0", "tuning.pipeline_depth"),
        ("restored_from_backup = false", "[tuning]\nchecking_processes = 65", "tuning.checking_processes"),
        ("restored_from_backup = false", "[tuning]\npool = 0", "tuning.pool"),
        ("restored_from_backup = false", "[tuning]\nclient_share = 0", "tuning.client_share"),
        ("restored_from_backup = false", "[tuning]\nclient_patience_ms = 0", "tuning.client_patience_ms"),
        ("restored_from_backup = false", "[tuning]\nrequest_timeout_ms = 2.5", "tuning.request_timeout_ms"),
    ],
)
def test_a_wrong_value_is_named_by_its_key(net: Path, old: str, new: str, key: str) -> None:
    error = replaced(net, old, new)
    assert (error.path, error.key) == (net / "replica-1" / "node.toml", key)


def test_a_peer_that_stands_there_twice_is_named(net: Path) -> None:
    error = edited(net, lambda text: text + text[text.rindex("[[peers]]") :])
    assert error.key == "peers[3].name"


def test_a_missing_peer_is_named(net: Path) -> None:
    error = edited(net, lambda text: text[: text.rindex("[[peers]]")])
    assert error.key == "peers"
    assert "replica-3" in error.what


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"[" * 5000, b"x" * 300_000])
def test_what_is_no_toml_is_one_line(net: Path, content: bytes) -> None:
    path = net / "replica-1" / "node.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load_node(path)
    assert caught.value.path == path
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["replica-1/node.toml", "genesis.json", "replica-1/signing.key"])
def test_a_missing_file_is_named(net: Path, name: str) -> None:
    (net / name).unlink()
    with pytest.raises(ConfigurationError, match=r"there is no such file") as caught:
        load_node(net / "replica-1" / "node.toml")
    assert caught.value.path.resolve() == (net / name).resolve()


def test_another_replicas_signing_key_is_refused(net: Path) -> None:
    (net / "replica-1" / "signing.key").unlink()
    (net / "replica-2" / "signing.key").rename(net / "replica-1" / "signing.key")
    with pytest.raises(ConfigurationError, match="is not the key of 'replica-1'") as caught:
        load_node(net / "replica-1")
    assert caught.value.path.name == "signing.key"


def test_a_signing_key_that_others_may_read_is_refused_with_the_remedy(net: Path) -> None:
    (net / "replica-1" / "signing.key").chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_node(net / "replica-1")


def test_an_encrypted_key_opens_with_the_password_file_that_init_was_given(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    password.chmod(0o600)
    make_network(tmp_path / "net", NetworkPlan(HOSTS[:1], development=True, password_file=password))
    assert re.search(r'protection = "password"', (tmp_path / "net/replica-0/signing.key").read_text())
    assert load_node(tmp_path / "net" / "replica-0").member == 0
    password.write_text("wrong\n")
    with pytest.raises(ConfigurationError, match="the password is wrong"):
        load_node(tmp_path / "net" / "replica-0")


@pytest.mark.parametrize(("content", "mode"), [(b"\n", 0o600), (b"", 0o600), (b"open", 0o644)])
def test_a_password_file_that_protects_nothing_is_refused(tmp_path: Path, content: bytes, mode: int) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(ConfigurationError) as caught:
        read_password(path)
    assert caught.value.path == path


def test_metrics_and_traces_are_off_unless_asked_for(net: Path) -> None:
    settings = load_node(net / "replica-0")
    assert settings.metrics is None
    assert settings.trace == "none"


def test_metrics_and_traces_are_read(net: Path) -> None:
    file = net / "replica-0" / "node.toml"
    file.write_text(
        f'{file.read_text()}\n[metrics]\nlisten = "127.0.0.1:9464"\n\n[trace]\ntransactions = "a7"\n'
    )
    settings = load_node(file)
    assert settings.metrics == Address("127.0.0.1", 9464)
    assert settings.trace == load_trace(net / "replica-0") == "a7"


@pytest.mark.parametrize("choice", ["A7", "some", "", "0x", "alla", "a" * 65])
def test_a_trace_of_what_is_no_beginning_of_an_id_is_refused(net: Path, choice: str) -> None:
    fault = edited(net, lambda text: f'{text}\n[trace]\ntransactions = "{choice}"\n')
    assert fault.key == "trace.transactions"


def test_an_address_for_metrics_that_is_none_is_refused(net: Path) -> None:
    assert edited(net, lambda text: f'{text}\n[metrics]\nlisten = "9464"\n').key == "metrics.listen"


def test_where_the_log_lies_is_known_without_a_key(net: Path) -> None:
    (net / "replica-0" / "signing.key").unlink()
    assert load_log_path(net / "replica-0") == net / "replica-0" / "node.log"
