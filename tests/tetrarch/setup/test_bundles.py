"""A network on several machines: each gets all that it needs, and no byte of another one's secrets."""

import json
import stat
from pathlib import Path

import pytest

from tests.tetrarch.command_line import ran
from tetrarch.client.config import ClientConfig
from tetrarch.config import load_node

HOSTS = """\
[[replicas]]
host = "10.0.0.1"
name = "berlin"
[[replicas]]
host = "10.0.0.1"
name = "bonn"
peer_port = 8000
client_port = 8001
[[replicas]]
host = "2001:db8::2"
transport = "mqtt"
[[replicas]]
host = "ledger.example.org"
[[brokers]]
host = "10.0.0.1"
[[brokers]]
host = "mqtt.example.org"
"""
MACHINES = {
    "10.0.0.1": ["berlin", "bonn", "broker-0"],
    "2001-db8--2": ["replica-2"],
    "ledger.example.org": ["replica-3"],
    "mqtt.example.org": ["broker-1"],
}
SECRET = {"signing.key", "tls.key", "broker.password", "broker.key", "client.key", "client.password"}


@pytest.fixture
def net(tmp_path: Path) -> Path:
    (tmp_path / "hosts.toml").write_text(HOSTS)
    result = ran("init", str(tmp_path / "net"), "--hosts", str(tmp_path / "hosts.toml"), "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["machines"] == MACHINES
    return tmp_path / "net"


def secrets(bundle: Path) -> dict[Path, bytes]:
    """What each secret file holds that nobody else may know."""
    found = {}
    for path in bundle.rglob("*"):
        if path.name in SECRET:
            lines = [line for line in path.read_bytes().splitlines() if b"-----" not in line]
            found[path] = next((line for line in lines if line.startswith(b"seed")), max(lines, key=len))
    return found


def test_each_machine_has_its_own_parts_and_what_is_public(net: Path) -> None:
    assert {path.name for path in net.iterdir()} == {*MACHINES, "client"}
    for machine, parts in MACHINES.items():
        units = [f"tetrarch-{part}.service" for part in parts]
        expected = {*parts, *units, "genesis.json", "certificates", "compose.yaml"}
        assert {path.name for path in (net / machine).iterdir()} == expected
    own = {"client.toml", "client.key", "client.password", "genesis.json", "certificates"}
    assert {path.name for path in (net / "client").iterdir()} == own


def test_no_byte_of_a_secret_is_in_another_bundle(net: Path) -> None:
    bundles = {bundle: secrets(bundle) for bundle in net.iterdir()}
    assert sum(len(found) for found in bundles.values()) == 4 * 3 + 2 + 2
    for bundle, found in bundles.items():
        for other in net.iterdir():
            if other == bundle:
                continue
            held = b"".join(path.read_bytes() for path in other.rglob("*") if path.is_file())
            for path, secret in found.items():
                assert len(secret) >= 32
                assert secret not in held, f"{path} is known to {other}"


def test_bundles_are_closed_and_no_secret_in_them_is_open(net: Path) -> None:
    for bundle in net.iterdir():
        assert stat.S_IMODE(bundle.stat().st_mode) == 0o700
        for path in bundle.rglob("*"):
            mode = stat.S_IMODE(path.stat().st_mode)
            if path.is_dir() and path.name != "certificates":
                assert mode == 0o700, path
            if path.name in SECRET | {"passwords", "access.acl"}:
                assert mode == 0o600, path


def test_every_bundle_can_be_run_where_it_is_moved_to(net: Path, tmp_path: Path) -> None:
    for machine, parts in MACHINES.items():
        moved = tmp_path / "elsewhere" / machine
        moved.parent.mkdir(exist_ok=True)
        (net / machine).rename(moved)
        for part in parts:
            if not part.startswith("broker"):
                assert load_node(moved / part).name == part
    client = (net / "client").rename(tmp_path / "alone")
    config = ClientConfig.load(client / "client.toml")
    assert len(config.endpoints) == 3
    assert len(config.brokers) == 2


def test_a_password_file_is_named_and_never_copied(tmp_path: Path) -> None:
    (tmp_path / "hosts.toml").write_text(
        "".join(f"[[replicas]]\nhost = '10.0.0.{number}'\n" for number in range(4))
    )
    password = tmp_path / "pass$word"
    password.write_text("correct horse battery staple")
    password.chmod(0o600)
    net = tmp_path / "net"
    hosts = str(tmp_path / "hosts.toml")
    assert ran("init", str(net), "--hosts", hosts, "--password-file", str(password)).code == 0
    held = b"".join(path.read_bytes() for path in net.rglob("*") if path.is_file())
    assert b"correct horse" not in held
    assert b"seed = " not in held.replace(b"sealed_seed = ", b"")
    assert f'password_file = "{password}"' in (net / "10.0.0.0" / "replica-0" / "node.toml").read_text()
    assert "pass$$word:" in (net / "10.0.0.0" / "compose.yaml").read_text()


def test_nothing_is_left_of_bundles_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "hosts.toml").write_text(HOSTS + 'authority = "nowhere.pem"\n')
    result = ran("init", str(tmp_path / "net"), "--hosts", str(tmp_path / "hosts.toml"))
    assert result.code == 2
    assert "nowhere.pem: there is no such file" in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["hosts.toml"]


@pytest.mark.parametrize("command", ["up", "status"])
def test_the_directory_of_all_bundles_is_no_network_itself(net: Path, command: str) -> None:
    result = ran(command, str(net))
    assert result.code == 2
    assert len(result.err.splitlines()) == 1


def test_a_directory_with_a_genesis_alone_has_nothing_to_run(net: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (net / "client" / "genesis.json").rename(tmp_path / "empty" / "genesis.json")
    result = ran("up", str(tmp_path / "empty"))
    expected = f"tetrarch: {tmp_path / 'empty'}: holds neither a replica nor a broker\n"
    assert (result.code, result.err) == (2, expected)


def test_what_does_not_run_fails_its_check(net: Path) -> None:
    result = ran("node", "--check", str(net / "10.0.0.1" / "berlin"))
    assert (result.code, result.err) == (3, "berlin: does not run\n")
