"""client.toml: whatever is wrong with it, or with a file it names, is told with file and key."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import tetrarch
from crypto.digest import Digest
from crypto.keyfile import write_key_file
from crypto.tls import certificate_der, fingerprint, make_identity
from ledger.outbox import Outbox
from tests.ledger.chain_maker import genesis_of, key_of
from tetrarch.client.config import ClientConfig, ReplicaText, client_toml
from tetrarch.client.tuning import Tuning
from tetrarch.genesis_file import save_genesis

IDENTITIES = [make_identity(f"replica-{member}") for member in range(4)]


def network(path: Path, name: str = "test") -> Path:
    """Write a client's files, as `tetrarch init` does."""
    genesis = genesis_of(4, name)
    members = tuple(
        msgspec.structs.replace(
            member, tls_fingerprint=Digest(fingerprint(certificate_der(IDENTITIES[place][0])))
        )
        for place, member in enumerate(genesis.members)
    )
    save_genesis(msgspec.structs.replace(genesis, members=members), path / "genesis.json")
    replicas = {}
    for place, (certificate, _) in enumerate(IDENTITIES):
        (path / f"{place}.pem").write_bytes(certificate)
        replicas[f"replica-{place}"] = ReplicaText(f"127.0.0.1:{7000 + place}", f"{place}.pem")
    if not (path / "client.key").exists():
        write_key_file(path / "client.key", key_of(9).seed, None)
    file = path / "client.toml"
    file.write_text(client_toml("genesis.json", "client.key", "client.outbox", replicas))
    return file


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    config = ClientConfig.load(network(tmp_path))
    assert config.trust == tetrarch.TrustRoot.load(tmp_path / "genesis.json")
    assert config.signer().public_key == key_of(9).public_key
    assert {str(endpoint.address) for endpoint in config.endpoints.values()} == {
        f"127.0.0.1:{7000 + place}" for place in range(4)
    }
    assert config.tuning == Tuning()
    outbox = config.open_outbox()
    assert isinstance(outbox, Outbox)
    outbox.close()
    assert (tmp_path / "client.outbox").exists()


def test_an_outbox_may_be_left_out(tmp_path: Path) -> None:
    file = network(tmp_path)
    file.write_text(file.read_text().replace('outbox = "client.outbox"\n', ""))
    assert ClientConfig.load(file).open_outbox() is None


def test_tuning_is_read_from_its_table(tmp_path: Path) -> None:
    file = network(tmp_path)
    file.write_text(file.read_text() + "\n[tuning]\ntimeout_ms = 7\nwindow = 9\n")
    assert ClientConfig.load(file).tuning == Tuning(timeout_ms=7, window=9)


Change = Callable[[str], str]

WRONG: dict[str, Change] = {
    "genesis": lambda text: text.replace('genesis = "genesis.json"\n', ""),
    "surprise": lambda text: "surprise = 1\n" + text,
    "key": lambda text: text.replace('key = "client.key"', "key = 7"),
    "replicas.replica-9": lambda text: text.replace('[replicas."replica-3"]', '[replicas."replica-9"]'),
    "replicas": lambda text: text[: text.index('[replicas."replica-1"]')],
    "replicas.replica-2.address": lambda text: text.replace("127.0.0.1:7002", "127.0.0.1"),
    "replicas.replica-1.certificate": lambda text: text.replace("1.pem", "2.pem"),
    "replicas.replica-0.certificate": lambda text: text.replace("0.pem", "absent.pem"),
    "tuning.timeout_ms": lambda text: text + "\n[tuning]\ntimeout_ms = 0\n",
    "tuning.pace": lambda text: text + "\n[tuning]\npace = 1\n",
}


@pytest.mark.parametrize("key", WRONG)
def test_a_wrong_key_is_named_with_its_file(tmp_path: Path, key: str) -> None:
    file = network(tmp_path)
    file.write_text(WRONG[key](file.read_text()))
    with pytest.raises(tetrarch.ConfigurationError) as caught:
        ClientConfig.load(file)
    assert (caught.value.path, caught.value.key.replace("`", "")) == (file, key)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["=", "\x00", "[a]\n[a]\n", "genesis = 'a"])
def test_a_file_that_is_no_toml_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "client.toml"
    file.write_text(text)
    with pytest.raises(tetrarch.ConfigurationError, match="is not proper TOML"):
        ClientConfig.load(file)


def test_a_certificate_that_is_none_is_refused(tmp_path: Path) -> None:
    file = network(tmp_path)
    (tmp_path / "2.pem").write_text("no certificate")
    with pytest.raises(tetrarch.ConfigurationError, match="replica-2"):
        ClientConfig.load(file)


@pytest.mark.parametrize("missing", ["genesis.json", "client.key", "client.toml"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, missing: str) -> None:
    file = network(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(tetrarch.ConfigurationError, match=f"{missing}: there is no such file"):
        tetrarch.AsyncClient.open(file)


def test_an_outbox_of_another_network_is_refused(tmp_path: Path) -> None:
    outbox = ClientConfig.load(network(tmp_path)).open_outbox()
    assert outbox is not None
    outbox.close()
    with pytest.raises(tetrarch.ConfigurationError, match="another chain"):
        tetrarch.Client.open(network(tmp_path, "other"))


def test_an_encrypted_key_asks_for_its_password(tmp_path: Path) -> None:
    file = network(tmp_path)
    (tmp_path / "client.key").unlink()
    write_key_file(tmp_path / "client.key", key_of(9).seed, b"secret")
    config = ClientConfig.load(file)
    assert config.signer(b"secret").public_key == key_of(9).public_key
    for password in (None, b"wrong"):
        with pytest.raises(tetrarch.ConfigurationError, match="password"):
            config.signer(password)
