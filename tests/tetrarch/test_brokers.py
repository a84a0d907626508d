"""Rules of `[[brokers]]` in node.toml and client.toml: every fault is told by file and key."""

from pathlib import Path

import pytest
from msgspec import convert

from crypto.keyfile import write_private_file
from crypto.tls import make_identity
from tetrarch.brokers import BrokerText, brokers_toml, load_brokers
from tetrarch.errors import ConfigurationError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A client.toml with what its brokers need beside it."""
    certificate, _ = make_identity("broker.example.org")
    (tmp_path / "broker.crt").write_bytes(certificate)
    write_private_file(tmp_path / "password", b"correct horse\n")
    return tmp_path / "client.toml"


def text(**changes: object) -> BrokerText:
    fields = {"address": "10.0.0.1:8883", "user": "client", "password_file": "password"}
    return convert(fields | {"certificate": "broker.crt"} | changes, BrokerText)


def test_a_broker_is_read_with_its_password_and_what_it_is_recognised_by(file: Path) -> None:
    [broker] = load_brokers(file, [text()])
    assert str(broker.address) == "10.0.0.1:8883"
    assert (broker.user, broker.password.text) == ("client", "correct horse")
    assert broker.context is not None
    assert not broker.context.check_hostname  # the certificate itself is compared


def test_a_broker_without_tls_has_to_be_asked_for(file: Path) -> None:
    [broker] = load_brokers(file, [text(certificate=None, tls=False)])
    assert broker.context is None


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"address": "10.0.0.1"}, "brokers[0].address"),
        ({"user": "a/b"}, "brokers[0].user"),
        ({"user": "#"}, "brokers[0].user"),
        ({"certificate": None}, "brokers[0]"),
        ({"authority": "ca.pem"}, "brokers[0]"),
        ({"tls": False}, "brokers[0].tls"),
        ({"certificate": "nowhere.crt"}, "brokers[0].certificate"),
        ({"certificate": "password"}, "brokers[0].certificate"),
        ({"certificate": None, "authority": "nowhere.pem"}, "brokers[0].authority"),
        ({"certificate": None, "authority": "password"}, "brokers[0].authority"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(file: Path, changes: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_brokers(file, [text(**changes)])
    assert (caught.value.path, caught.value.key) == (file, key)


def test_a_broker_twice_and_a_user_of_two_names_are_refused(file: Path) -> None:
    for second in (text(), text(address="10.0.0.2:8883", user="other")):
        with pytest.raises(ConfigurationError, match=r"brokers\[1\]"):
            load_brokers(file, [text(), second])


@pytest.mark.parametrize("password", [b"\xff\xfe\n", b"two\nlines\n", b"null\x00\n", b"x" * 2000, b"\n"])
def test_a_password_that_cannot_be_sent_is_refused_before_anything_runs(file: Path, password: bytes) -> None:
    (file.parent / "other").touch(0o600)
    (file.parent / "other").write_bytes(password)
    with pytest.raises(ConfigurationError) as caught:
        load_brokers(file, [text(password_file="other")])
    assert caught.value.path == file.parent / "other"


def test_a_password_that_others_may_read_is_refused(file: Path) -> None:
    (file.parent / "password").chmod(0o644)
    with pytest.raises(ConfigurationError, match="password"):
        load_brokers(file, [text()])


def test_what_is_written_says_the_same_when_it_is_read() -> None:
    written = brokers_toml([text(), text(address="10.0.0.2:8883", certificate=None, tls=False)])
    assert written.count("[[brokers]]") == 2
    assert written.endswith("tls = false\n")
