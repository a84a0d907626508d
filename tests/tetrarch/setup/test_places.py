"""hosts.toml: whatever cannot be is named by its line and key, and what can be is not refused."""

from pathlib import Path

import pytest

from tests.tetrarch.command_line import ran
from tetrarch.errors import ConfigurationError
from tetrarch.setup.errors import SetupError
from tetrarch.setup.network import make_network
from tetrarch.setup.places import Host, load_hosts
from tetrarch.setup.plan import NetworkPlan

R, B = "[[replicas]]\n", "[[brokers]]\n"


def loaded(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "hosts.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("", "replicas", None),
        (f"{R}peer_port = 7000", "replicas[0].host", 1),
        (f"{R}host = 'a'\ncolour = 'red'", "replicas[0].colour", 3),
        (f"{R}host = 'a'\n[[replica]]\nhost = 'b'", "replica", 3),
        (f"{R}host = 'a'\n{B}host = 'b'\ntls = true", "brokers[0].tls", 5),
        (f"{R}host = 'a'\npeer_port = 0", "replicas[0].peer_port", 3),
        (f"{R}host = 'a'\n{R}host = 'b'\nclient_port = 65536", "replicas[1].client_port", 5),
        (f"{R}host = 'a'\n{B}host = 'b'\nport = 65536", "brokers[0].port", 5),
        (f"{R}host = 'a'\n{R}host = 'a'", "replicas[1].peer_port", 3),
        (f"{R}host = 'a'\n{R}host = 'A.'\npeer_port = 7001\nclient_port = 9", "replicas[1].peer_port", 5),
        (f"{R}host = '::1'\n{R}host = '0:0::1'\npeer_port = 9", "replicas[1].client_port", 3),
        (f"{R}host = 'a'\npeer_port = 7001", "replicas[0].client_port", 1),
        (f"{R}host = 'a'\nname='x'\n{R}host = 'b'\nname='x'", "replicas[1].name", 6),
        (f"{R}host = 'a'\nname='x'\n{R}host = 'b'\nname='X'", "replicas[1].name", 6),
        (f"{R}host = 'a'\nname='replica-1'\n{R}host = 'b'", "replicas[1].name", 4),
        (f"{R}host = 'a'\nname='..'", "replicas[0].name", 3),
        (f"{R}host = 'a'\nname='a b'", "replicas[0].name", 3),
        (f"{R}host = 'a'\nname='certificates'", "replicas[0].name", 3),
        (f"{R}host = 'a'\nname='client'", "replicas[0].name", 3),
        (f"{R}host = 'a'\nname='broker-0'", "replicas[0].name", 3),
        (f"{R}host = 'a b'", "replicas[0].host", 2),
        (f"{R}host = '10.0.0'", "replicas[0].host", 2),
        (f"{R}host = '10.0.0.1:7000'", "replicas[0].host", 2),
        (f"{R}host = '[::1]'", "replicas[0].host", 2),
        (f"{R}host = 'fe80::1%eth0'", "replicas[0].host", 2),
        (f"{R}host = 'a'\nlisten = '*'", "replicas[0].listen", 3),
        (f"{R}host = 'client'", "replicas[0].host", 2),
        (f"{R}host = '2001:db8::1'\n{R}host = '2001-db8--1'", "replicas[1].host", 4),
        (f"{R}host = 'a'\ntransport = 'mqtt'", "replicas[0].transport", 3),
        (f"{R}host = 'a'\ntransport = 'mqtt'\npeer_port = 9\n{B}host = 'b'", "replicas[0].peer_port", 4),
        (f"{R}host = 'a'\n{B}host = 'a'\nport = 7001", "brokers[0].port", 5),
        (f"{R}host = 'a'\n{B}host = 'b'\n{B}host = 'b'", "brokers[1].port", 5),
        (f"{R}host = 'a'\n{B}host = '-'", "brokers[0].host", 4),
        (f"{R}host = 'a'\n{B}host = 'b'\nlisten = 'c'\nauthority = 'f'", "brokers[0].listen", 5),
    ],
)
def test_a_wrong_hosts_file_is_named_by_line_and_key(
    tmp_path: Path, text: str, key: str, line: int | None
) -> None:
    path = loaded(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        load_hosts(path)
    assert (caught.value.path, caught.value.key, caught.value.line) == (path, key, line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"{R}host = 'a'\n{R}host = 'a'\npeer_port = 8000\nclient_port = 8001",
        f"{R}host = 'a'\ntransport = 'mqtt'\n{R}host = 'a'\ntransport = 'mqtt'\n{B}host = 'a'",
        f"{R}host = 'ledger.example.org'\nlisten = '0.0.0.0'\n{R}host = '2001:db8::1'\nlisten = '::'",
        f"{R}host = 'berlin'\nname = 'berlin'",
    ],
)
def test_what_only_looks_alike_is_no_contradiction(tmp_path: Path, text: str) -> None:
    assert load_hosts(loaded(tmp_path, text)).replicas


def test_an_authority_lies_beside_the_file_that_names_it(tmp_path: Path) -> None:
    path = loaded(tmp_path, f"{R}host = 'a'\n{B}host = 'b'\nauthority = 'ca.pem'")
    assert load_hosts(path).brokers[0].authority == str(tmp_path / "ca.pem")


def test_the_command_line_says_the_line_and_the_key(tmp_path: Path) -> None:
    path = loaded(tmp_path, f"{R}host = 'a'\n{R}host = 'a'")
    result = ran("init", str(tmp_path / "net"), "--hosts", str(path))
    expected = f"{path}: line 3: replicas[1].peer_port: port 7000 of a is for the peers of replica-0 already"
    assert (result.code, result.err) == (2, f"tetrarch: {expected}\n")


def test_a_plan_is_held_to_the_same_rules_as_a_file(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="peer_port"):
        make_network(tmp_path / "net", NetworkPlan((Host("127.0.0.1"),) * 4))
    assert not list(tmp_path.iterdir())
