"""The ceremony: nobody holds two members' keys, and what was altered, mixed up or left out is one line."""

import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec import to_builtins

from crypto.keyfile import read_key_file
from crypto.keys import SigningKey
from tests.tetrarch.command_line import ran
from tests.tetrarch.setup.parties import (
    BROKERS,
    NAMES,
    gathered,
    joined,
    joined_all,
    public,
    refused,
    rewritten,
    settled,
)
from tetrarch.config import load_node
from tetrarch.setup.places import Host
from tetrarch.setup.public_part import load_part, signed_part


@pytest.fixture
def parties(tmp_path: Path) -> Path:
    return joined_all(tmp_path)


@pytest.fixture
def network(parties: Path) -> Path:
    result = gathered(parties, *BROKERS)
    assert result.code == 0, result.err
    return parties


# What each party has.


def test_all_who_took_part_can_run_their_own_replica_of_one_chain(network: Path) -> None:
    chains = set()
    for name in NAMES:
        result = settled(network, name, "net", "--json")
        assert result.code == 0, result.err
        chains.add(json.loads(result.out)["chain_id"])
        settings = load_node(network / name / name)
        assert settings.name == name
        chains.add(settings.genesis.chain_id.hex())
    assert len(chains) == 1
    berlin = load_node(network / "berlin" / "berlin")
    assert [str(peer) for peer in berlin.peers] == [
        *(f"{name}.example.org:7000" for name in NAMES[:3]),
        "None",
    ]
    own = {"berlin", "berlin.public", "genesis.json", "certificates", "compose.yaml"}
    assert {path.name for path in (network / "berlin").iterdir()} == own | {"tetrarch-berlin.service"}


def test_no_secret_of_a_party_leaves_its_directory(network: Path) -> None:
    for name in NAMES:
        assert settled(network, name).code == 0
    for name in NAMES:
        home = network / name / name
        assert stat.S_IMODE(home.stat().st_mode) == 0o700
        for file in ("signing.key", "tls.key", "broker.password"):
            assert stat.S_IMODE((home / file).stat().st_mode) == 0o600
            lines = [line for line in (home / file).read_bytes().splitlines() if b"-----" not in line]
            secret = next((line for line in lines if line.startswith(b"seed")), max(lines, key=len))
            others = [path for path in network.rglob("*") if path.is_file() and home not in path.parents]
            assert not [path for path in others if secret in path.read_bytes()]


def test_the_public_directory_holds_no_secret_and_the_brokers_lie_beside_it(network: Path) -> None:
    assert {path.name for path in (network / "net").iterdir()} == {"public", "broker.example.org"}
    held = {path.name for path in (network / "net" / "public").rglob("*")}
    certificates = {f"{name}.crt" for name in (*NAMES, "broker-0")}
    assert held == {"genesis.json", "network.json", "certificates"} | certificates
    passwords = network / "net" / "broker.example.org" / "broker-0" / "passwords"
    assert [line.partition(":")[0] for line in passwords.read_text().splitlines()] == list(NAMES)


def test_what_is_compared_is_printed_in_groups_and_covers_the_brokers(network: Path) -> None:
    first, second = settled(network, "berlin").out, settled(network, "paris").out
    printed = {line.strip() for line in first.splitlines()} & {line.strip() for line in second.splitlines()}
    [chain] = [line for line in printed if line.startswith("chain id")]
    assert [len(group) for group in chain.split()[2:]] == [4] * 16
    [brokers] = [line for line in printed if line.startswith("brokers")]
    rewritten(
        network / "net" / "public" / "network.json",
        lambda content: content["brokers"][0].update(host="elsewhere.example.org"),
    )
    other = settled(network, "rome").out
    assert chain in other
    assert brokers not in other


def test_where_a_replica_listens_and_its_password_file_are_its_own_affair(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse")
    password.chmod(0o600)
    for name in NAMES:
        joined(tmp_path, name, "--listen", "0.0.0.0", "--password-file", str(password), "--peer-port", "99")
    assert gathered(tmp_path).code == 0
    assert settled(tmp_path, "rome").code == 0
    assert str(load_node(tmp_path / "rome" / "rome").peer_listen) == "0.0.0.0:99"
    for path in (tmp_path / "net").rglob("*.json"):
        assert "0.0.0.0" not in path.read_text()
        assert str(password) not in path.read_text()


def test_one_party_may_have_two_replicas_on_a_machine(tmp_path: Path) -> None:
    for name in NAMES:
        host = ("--host", "10.0.0.1", "--peer-port", str(7000 + 10 * NAMES.index(name)))
        ports = (*host, "--client-port", str(7001 + 10 * NAMES.index(name)))
        assert ran("init", str(tmp_path / "own"), "--join", name, *ports).code == 0
    parts = [str(tmp_path / "own" / f"{name}.public") for name in NAMES]
    assert ran("init", str(tmp_path / "net"), "--members", *parts).code == 0
    for name in NAMES:
        network = str(tmp_path / "net" / "public")
        assert ran("init", str(tmp_path / "own"), "--join", name, "--network", network).code == 0
    text = (tmp_path / "own" / "compose.yaml").read_text()
    assert all(f"\n  {name}:\n" in text for name in NAMES)


# Wrong orders, and other networks.


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--join", "berlin"], "needs --host"),
        (["--join", "../berlin", "--host", "a"], "name:"),
        (["--join", "client", "--host", "a"], "name:"),
        (["--join", "berlin", "--host", "a b"], "host:"),
        (["--join", "berlin", "--host", "a", "--transport", "mqtt", "--peer-port", "8"], "peer_port:"),
        (["--join", "berlin", "--host", "a", "--replicas", "4"], "--replicas is not for --join"),
        (["--join", "berlin", "--network", "nowhere", "--host", "a"], "--host is not for --join --network"),
        (["--join", "berlin", "--network", "nowhere"], "genesis.json: there is no such file"),
        (["--join", "berlin", "--client", "alice"], "one at a time"),
        (["--members"], "needs the members' public parts"),
        (["--members", "nowhere.public"], "nowhere.public: there is no such file"),
        (["--members", "a.public", "--hosts", "h"], "--hosts is not for --members"),
        (["--client", "a/b"], "no name for an account"),
        (["--client", "alice", "--network", "nowhere"], "genesis.json: there is no such file"),
        (["--admit", "nowhere.account"], "nowhere.account: there is no such file"),
        (["--host", "a"], "--host means nothing without --join"),
        (["a.public"], "PART means nothing without --join"),
    ],
)
def test_what_does_not_go_together_is_one_line_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(ran("init", "dir", *arguments), words)
    assert not list(tmp_path.iterdir())


def test_joining_twice_overwrites_nothing(parties: Path) -> None:
    before = public(parties, "berlin").read_bytes()
    refused(ran("init", str(parties / "berlin"), "--join", "berlin", "--host", "a"), "is never overwritten")
    assert public(parties, "berlin").read_bytes() == before


def test_too_few_members_make_no_network(parties: Path) -> None:
    refused(gathered(parties, names=NAMES[:3]), "3f + 1")
    assert not (parties / "net").exists()


def test_who_is_reached_by_way_of_brokers_needs_some(parties: Path) -> None:
    refused(gathered(parties), "oslo.public: transport", "--broker")
    refused(gathered(parties, "--broker", "nonsense"), "--broker", "port is missing")
    refused(gathered(parties, "--broker", "rome.example.org:7000"), "--broker rome.example.org")


def test_issuers_are_named_since_nobody_is_meant_otherwise(parties: Path) -> None:
    refused(gathered(parties, *BROKERS, "--app", "assets"), "--parameter issuers=KEY")
    issuers = f"issuers={SigningKey(bytes(32)).public_key.hex()}"
    assert gathered(parties, *BROKERS, "--app", "assets", "--parameter", issuers).code == 0


def test_settling_needs_keys_and_happens_once(network: Path) -> None:
    refused(
        ran("init", str(network / "bonn"), "--join", "bonn", "--network", str(network / "net" / "public")),
        "bonn has no keys",
    )
    assert settled(network, "berlin").code == 0
    refused(settled(network, "berlin"), "node.toml exists already")


def test_who_was_left_out_is_told(parties: Path) -> None:
    joined(parties, "bonn")
    assert gathered(parties, *BROKERS).code == 0
    refused(settled(parties, "bonn"), "bonn is no member of this network")


def test_who_joined_anew_is_not_the_member_that_was_gathered(network: Path) -> None:
    shutil.rmtree(network / "paris")
    joined(network, "paris")
    refused(settled(network, "paris"), "this is not the network that paris joined")


def test_a_place_that_one_did_not_choose_is_refused_even_with_ones_own_signature(network: Path) -> None:
    part = load_part(public(network, "paris"))
    signer = SigningKey(read_key_file(network / "paris" / "paris" / "signing.key"))
    host = Host("elsewhere.example.org", name="paris")
    moved = signed_part(signer, host, "paris", part.certificate.encode(), part.broker_password)
    rewritten(
        network / "net" / "public" / "network.json",
        lambda content: content["members"].__setitem__(1, to_builtins(moved)),
    )
    refused(settled(network, "paris"), "members[1].host", "this is not the network that paris joined")


@pytest.mark.parametrize(
    ("file", "words"), [("tls.crt", "tls.key"), ("tls.key", "tls.key"), ("signing.key", "signing.key")]
)
def test_keys_that_are_not_those_of_the_public_part_are_refused(network: Path, file: str, words: str) -> None:
    shutil.copy(network / "rome" / "rome" / file, network / "paris" / "paris" / file)
    refused(settled(network, "paris"), words)


def test_an_exchanged_certificate_with_its_key_is_refused(network: Path) -> None:
    for file in ("tls.crt", "tls.key"):
        shutil.copy(network / "rome" / "rome" / file, network / "paris" / "paris" / file)
    refused(settled(network, "paris"), "tls.crt: is not that of paris.public")


def test_a_directory_holds_members_of_one_network_only(network: Path) -> None:
    assert settled(network, "berlin").code == 0
    (network / "berlin" / "berlin" / "node.toml").unlink()
    assert gathered(network, *BROKERS, net="other").code == 0
    refused(settled(network, "berlin", "other"), "is of another chain")


def swapped(content: dict[str, Any]) -> None:
    content["members"][0], content["members"][1] = content["members"][1], content["members"][0]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda content: content["members"].pop(), "members: are 3, and 4 in the genesis"),
        (swapped, "is not berlin as the genesis names it"),
        (lambda content: content["members"][3].update(host="evil.example.org"), "members[3].signature"),
        (lambda content: content["members"][1].update(peer_port=7002), "members[1].signature"),
        (lambda content: content.update(brokers=[]), "members[3].transport"),
        (lambda content: content["brokers"][0].update(port=0), "brokers[0].port"),
        (lambda content: content["brokers"][0].update(recognised_by="authority"), "broker-0.pem"),
        (lambda content: content.update(format="tetrarch-network-2"), "format"),
    ],
)
def test_an_altered_public_directory_is_refused(
    network: Path, edit: Callable[[dict[str, Any]], object], words: str
) -> None:
    rewritten(network / "net" / "public" / "network.json", edit)
    refused(settled(network, "berlin"), words)
    assert not (network / "berlin" / "berlin" / "node.toml").exists()


def test_a_genesis_with_another_key_is_another_network(network: Path) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["members"][2]["public_key"] = SigningKey(bytes(32)).public_key.hex()
        del content["chain_id"]

    rewritten(network / "net" / "public" / "genesis.json", edit)
    refused(settled(network, "berlin"), "is not rome as the genesis names it")


@pytest.mark.parametrize("name", ["paris.crt", "broker-0.crt"])
def test_a_certificate_that_was_exchanged_or_lost_is_named(network: Path, name: str) -> None:
    path = network / "net" / "public" / "certificates" / name
    path.write_text("none")
    refused(settled(network, "berlin"), name)
    path.unlink()
    refused(settled(network, "berlin"), name, "there is no such file")


def test_brokers_that_are_there_already_are_recognised_by_their_authority(parties: Path) -> None:
    authority = str(parties / "berlin" / "berlin" / "tls.crt")
    assert gathered(parties, *BROKERS, "--broker-authority", authority).code == 0
    assert {path.name for path in (parties / "net").iterdir()} == {"public"}
    assert settled(parties, "oslo").code == 0
    assert "broker-0.pem" in (parties / "oslo" / "oslo" / "node.toml").read_text()


def test_a_party_whose_public_part_is_lost_or_exchanged_does_not_settle(network: Path) -> None:
    shutil.copy(public(network, "rome"), public(network, "berlin"))
    refused(settled(network, "berlin"), "this is not the network that berlin joined")
    public(network, "berlin").unlink()
    refused(settled(network, "berlin"), "berlin.public: there is no such file")
