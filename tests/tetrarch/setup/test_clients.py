"""A client's own key and account: made where it is used, and admitted once, to the right brokers."""

import json
import stat
from pathlib import Path

import pytest

from tests.tetrarch.command_line import Ran, ran
from tests.tetrarch.setup.parties import BROKERS, NAMES, gathered, joined, refused, rewritten
from tetrarch.client.config import ClientConfig


@pytest.fixture
def network(tmp_path: Path) -> Path:
    for name in NAMES:
        joined(tmp_path, name)
    assert gathered(tmp_path, *BROKERS).code == 0
    return tmp_path


def client(home: Path, name: str = "alice", directory: str = "alice") -> Ran:
    return ran("init", str(home / directory), "--client", name, "--network", str(home / "net" / "public"))


def broker(home: Path) -> Path:
    return home / "net" / "broker.example.org" / "broker-0"


def admitted(home: Path, name: str = "alice", directory: str = "alice") -> Ran:
    return ran("init", str(broker(home)), "--admit", str(home / directory / f"{name}.account"))


def test_a_client_makes_all_that_is_secret_itself(network: Path) -> None:
    assert client(network).code == 0
    config = ClientConfig.load(network / "alice" / "client.toml")
    assert {account.user for account in config.brokers} == {"alice"}
    assert len(config.endpoints) == 4
    for file in ("client.key", "client.password"):
        assert stat.S_IMODE((network / "alice" / file).stat().st_mode) == 0o600
    password = (network / "alice" / "client.password").read_text().strip()
    assert password not in (network / "alice" / "alice.account").read_text()


def test_without_brokers_there_is_no_account(network: Path) -> None:
    assert gathered(network, net="direct").code == 0
    public = str(network / "direct" / "public")
    assert ran("init", str(network / "bob"), "--client", "bob", "--network", public).code == 0
    own = {"client.toml", "client.key", "genesis.json", "certificates"}
    assert {path.name for path in (network / "bob").iterdir()} == own


def test_a_key_can_be_made_before_there_is_a_network_that_names_it(network: Path) -> None:
    first = ran("init", str(network / "alice"), "--client", "alice", "--json")
    key = json.loads(first.out)["public_key"]
    issuers = ("--app", "assets", "--parameter", f"issuers={key}")
    assert gathered(network, *issuers, net="assets").code == 0
    public = str(network / "assets" / "public")
    second = ran("init", str(network / "alice"), "--client", "alice", "--network", public, "--json")
    assert json.loads(second.out)["public_key"] == key
    assert ClientConfig.load(network / "alice" / "client.toml").signer().public_key.hex() == key


def test_an_admitted_account_may_use_its_own_topics_and_is_added_once(network: Path) -> None:
    assert client(network).code == 0
    access, passwords = broker(network) / "access.acl", broker(network) / "passwords"
    before = access.read_text(), passwords.read_text()
    assert admitted(network).code == 0
    assert access.read_text().startswith(before[0])
    added = access.read_text().removeprefix(before[0]).split()
    assert added[:2] == ["user", "alice"]
    assert all("/alice/" in word for word in added if word.startswith("tetrarch/"))
    assert passwords.read_text().startswith(before[1])
    assert passwords.read_text().removeprefix(before[1]).startswith("alice:$7$101$")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (access, passwords)} == {0o600}
    after = access.read_text(), passwords.read_text()
    refused(admitted(network), "has an account")
    assert (access.read_text(), passwords.read_text()) == after


def test_admitting_that_was_interrupted_can_be_repeated(network: Path) -> None:
    assert client(network).code == 0
    before = (broker(network) / "passwords").read_bytes()
    assert admitted(network).code == 0
    after = (broker(network) / "access.acl").read_text()
    (broker(network) / "passwords").write_bytes(before)
    assert admitted(network).code == 0
    assert (broker(network) / "access.acl").read_text() == after


@pytest.mark.parametrize("name", NAMES)
def test_no_client_takes_a_members_account(network: Path, name: str) -> None:
    refused(client(network, name), "is a member of this network")
    assert client(network, "alice").code == 0
    rewritten(network / "alice" / "alice.account", lambda content: content.update(user=name))
    before = (broker(network) / "passwords").read_bytes()
    refused(admitted(network), "has an account")
    assert (broker(network) / "passwords").read_bytes() == before


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("user", "alice\nuser berlin"),
        ("user", "#"),
        ("user", ""),
        ("password", "$7$101$x\nroot:y"),
        ("password", ""),
        ("chain_id", "00"),
        ("format", "tetrarch-account-2"),
    ],
)
def test_an_account_can_say_nothing_else_to_a_broker(network: Path, key: str, value: str) -> None:
    assert client(network).code == 0
    rewritten(network / "alice" / "alice.account", lambda content: content.update({key: value}))
    refused(admitted(network), "alice.account", key)


def test_an_account_of_another_chain_is_refused(network: Path) -> None:
    assert client(network).code == 0
    rewritten(network / "alice" / "alice.account", lambda content: content.update(chain_id="00" * 32))
    refused(admitted(network), "another chain")


def test_what_is_no_broker_admits_nobody(network: Path) -> None:
    assert client(network).code == 0
    account = str(network / "alice" / "alice.account")
    refused(ran("init", str(network / "alice"), "--admit", account), "holds no broker")


def test_clients_and_members_have_directories_of_their_own(network: Path) -> None:
    public = str(network / "net" / "public")
    assert ran("init", str(network / "rome"), "--join", "rome", "--network", public).code == 0
    refused(client(network, "alice", "rome"), "exists already")
    assert client(network).code == 0
    refused(ran("init", str(network / "alice"), "--join", "bonn", "--host", "a"), "is a client's")
    assert not (network / "alice" / "bonn").exists()


def test_a_client_overwrites_nothing(network: Path) -> None:
    assert client(network).code == 0
    key = (network / "alice" / "client.key").read_bytes()
    refused(client(network), "exists already")
    refused(client(network, "bob"), "exists already")
    assert (network / "alice" / "client.key").read_bytes() == key
