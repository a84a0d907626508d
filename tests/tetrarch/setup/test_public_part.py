"""NAME.public: what was altered since it was signed, or makes no sense, is refused by file and key."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crypto.keyfile import read_key_file
from crypto.keys import SigningKey
from tests.tetrarch.setup.parties import (
    BROKERS,
    NAMES,
    gathered,
    joined,
    joined_all,
    public,
    refused,
    rewritten,
)
from tetrarch.setup.brokers import hashed
from tetrarch.setup.ceremony import join
from tetrarch.setup.places import Host
from tetrarch.setup.public_part import PublicPart, load_part, save_part, signed_part

COSTLY = hashed("x").replace("$101$", "$99999999$")


@pytest.fixture
def parties(tmp_path: Path) -> Path:
    return joined_all(tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "bonn"),
        ("host", "evil.example.org"),
        ("peer_port", 7002),
        ("client_port", 7002),
        ("public_key", SigningKey(bytes(32)).public_key.hex()),
        ("broker_password", hashed("known")),
        ("signature", "00" * 64),
    ],
)
def test_an_altered_public_part_is_not_by_its_key(parties: Path, key: str, value: object) -> None:
    rewritten(public(parties, "paris"), lambda content: content.update({key: value}))
    refused(gathered(parties, *BROKERS), "paris.public", "signature")


@pytest.mark.parametrize(
    ("edit", "key"),
    [
        (lambda content: content.update(colour="red"), "colour"),
        (lambda content: content.pop("host"), "host"),
        (lambda content: content.update(format="tetrarch-member-2"), "format"),
        (lambda content: content.update(name="../x"), "name"),
        (lambda content: content.update(peer_port=0), "peer_port"),
        (lambda content: content.update(public_key="00" * 32), "public_key"),
        (lambda content: content.update(broker_password="x\nroot:y"), "broker_password"),
        (lambda content: content.update(broker_password=COSTLY), "broker_password"),
    ],
)
def test_a_public_part_of_another_form_is_named_by_its_key(
    parties: Path, edit: Callable[[dict[str, Any]], object], key: str
) -> None:
    rewritten(public(parties, "paris"), edit)
    refused(gathered(parties, *BROKERS), "paris.public", key)


def resigned(parties: Path, name: str, **changes: Any) -> None:
    """A member's part with what that member, who holds its key, chose to say instead."""
    key = SigningKey(bytes([7]) * 32)
    old = load_part(public(parties, name))
    host = Host(**{"host": old.host, "name": name, **changes.pop("place", {})})
    certificate = changes.pop("certificate", old.certificate)
    part = signed_part(key, host, name, certificate.encode(), changes.pop("hashed", old.broker_password))
    save_part(part, public(parties, name))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"certificate": "none"}, "certificate"),
        ({"place": {"host": "a b"}}, "host"),
        ({"place": {"client_port": 7000}}, "client_port"),
    ],
)
def test_what_a_member_signed_must_make_sense_too(parties: Path, changes: dict[str, Any], key: str) -> None:
    resigned(parties, "paris", **changes)
    refused(gathered(parties, *BROKERS), f"paris.public: {key}")


def test_a_certificate_with_something_beside_it_is_refused(parties: Path) -> None:
    certificate = load_part(public(parties, "paris")).certificate
    resigned(parties, "paris", certificate=f"{certificate}\nand more\n")
    refused(gathered(parties, *BROKERS), "paris.public: certificate")


def test_anothers_certificate_is_refused(parties: Path) -> None:
    resigned(parties, "paris", certificate=load_part(public(parties, "rome")).certificate)
    refused(gathered(parties, *BROKERS), "certificate", "is that of")


def test_no_two_members_have_one_name_or_one_key(parties: Path) -> None:
    refused(gathered(parties, *BROKERS, names=(*NAMES, "rome")), "name: is that of")
    joined(parties, "Rome")
    refused(gathered(parties, *BROKERS, names=(*NAMES, "Rome")), "name: is that of")
    part = load_part(public(parties, "rome"))
    _copy_with_name(parties, part, "bonn")
    refused(gathered(parties, *BROKERS, names=("rome", "paris", "oslo", "bonn")), "public_key: is that of")


def _copy_with_name(parties: Path, part: PublicPart, name: str) -> None:
    """A second part by one key."""
    signer = SigningKey(read_key_file(parties / part.name / part.name / "signing.key"))
    (parties / name).mkdir()
    copied = signed_part(signer, Host(part.host, name=name), name, part.certificate.encode(), hashed("x"))
    save_part(copied, public(parties, name))


def test_members_that_would_share_a_port_are_named(parties: Path) -> None:
    resigned(parties, "paris", place={"host": "rome.example.org"})
    refused(gathered(parties, *BROKERS), "rome.public: peer_port", "the peers of paris")


def test_a_part_says_exactly_what_was_asked_for(tmp_path: Path) -> None:
    part = join(tmp_path / "d", Host("10.0.0.1", 70, 71, "0.0.0.0", name="berlin"), None)
    assert (part.host, part.peer_port, part.client_port) == ("10.0.0.1", 70, 71)
    assert load_part(tmp_path / "d" / "berlin.public") == part
