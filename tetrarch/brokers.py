"""`[[brokers]]` in node.toml and client.toml: where brokers are, how they are recognised, as whom one logs
in.

What lives here: the form of an entry, and the step from it to a `Broker`. What must not be known here: how
these files are made (`tetrarch.setup.brokers`), connections.

    [[brokers]]
    address = "broker.example.org:8883"
    user = "replica-0"
    password_file = "broker.password"         # its owner alone may read it
    certificate = "../certificates/broker-0.crt"   # exactly this certificate, or
    # authority = "ca.pem"                    # one for this host by this authority, or
    # tls = false                             # none: whoever is between reads names, sizes and the password
"""

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta, Struct

from crypto.errors import CryptoError
from crypto.tls import (
    MAX_CERTIFICATE_BYTES,
    certificate_der,
    client_context_anonymous,
    client_context_authority,
)
from ledger.jsonfile import FileFault, read_bounded
from network.address import Address
from network.errors import AddressError
from network.mqtt.broker import MAX_BROKERS, Broker, Password
from network.mqtt.topics import USER
from tetrarch.errors import ConfigurationError
from tetrarch.passwords import read_password
from tetrarch.toml_file import toml_string

MAX_PASSWORD: Final = 1024
"""Characters: MQTT would carry 65,535 bytes, and nobody needs as many."""

_Path = Annotated[str, Meta(min_length=1, max_length=4096)]


class BrokerText(Struct, frozen=True, forbid_unknown_fields=True):
    """One entry."""

    address: Annotated[str, Meta(min_length=3, max_length=300)]
    user: Annotated[str, Meta(min_length=1, max_length=64)]
    password_file: _Path
    certificate: _Path | None = None
    authority: _Path | None = None
    tls: bool = True


BrokerTexts = Annotated[list[BrokerText], Meta(max_length=MAX_BROKERS)]


def load_brokers(path: Path, texts: Sequence[BrokerText]) -> tuple[Broker, ...]:
    """Return the brokers in a file, `path`, with what it names read. Raises `ConfigurationError`."""
    brokers: list[Broker] = []
    for place, text in enumerate(texts):
        key = f"brokers[{place}]"
        try:
            address = Address.parse(text.address)
        except AddressError as error:
            raise ConfigurationError(path, f"{key}.address", str(error)) from None
        if address in [broker.address for broker in brokers]:
            raise ConfigurationError(path, f"{key}.address", "stands there twice")
        if not USER.fullmatch(text.user):
            what = "a user name is 1 to 64 of a-z A-Z 0-9 . _ -, since it stands in topics"
            raise ConfigurationError(path, f"{key}.user", what)
        if text.user != texts[0].user:
            what = f"is not that of brokers[0], {texts[0].user!r}: topics hold one name, at every broker"
            raise ConfigurationError(path, f"{key}.user", what)
        password = _password(path.parent / text.password_file)
        context = _context(path, key, text)
        brokers.append(Broker(address, context, text.user, password))
    return tuple(brokers)


def _password(path: Path) -> Password:
    """Return the password in a file, which must be one that MQTT can carry. Raises `ConfigurationError`."""
    try:
        text = read_password(path).decode()
    except UnicodeDecodeError:
        raise ConfigurationError(path, "", "is not UTF-8, as passwords at brokers have to be") from None
    if len(text) > MAX_PASSWORD or not text.isprintable():
        what = f"holds more than one line of {MAX_PASSWORD} printable characters"
        raise ConfigurationError(path, "", what)
    return Password(text)


def _context(path: Path, key: str, text: BrokerText) -> ssl.SSLContext | None:
    """Return what the broker's certificate is judged by."""
    given = [name for name in ("certificate", "authority") if getattr(text, name) is not None]
    if not text.tls:
        if given:
            raise ConfigurationError(path, f"{key}.tls", f"is false, so {given[0]} means nothing")
        return None
    if len(given) != 1:
        what = "needs either a certificate, or an authority, or tls = false" if not given else "has both"
        raise ConfigurationError(path, key, f"{what}: a broker is recognised in one way")
    try:
        if text.authority is not None:
            return client_context_authority(path.parent / text.authority)
        pem = read_bounded(path.parent / str(text.certificate), MAX_CERTIFICATE_BYTES)
        return client_context_anonymous([certificate_der(pem)])
    except FileFault as fault:
        raise ConfigurationError(path, f"{key}.certificate", f"{text.certificate} {fault.what}") from None
    except CryptoError as error:
        raise ConfigurationError(path, f"{key}.{given[0]}", str(error)) from None


def brokers_toml(texts: Sequence[BrokerText]) -> str:
    """Return the text of the entries, each after an empty line."""
    lines = []
    for text in texts:
        lines += ["", "[[brokers]]"]
        for name in ("address", "user", "password_file", "certificate", "authority"):
            value = getattr(text, name)
            if value is not None:
                lines.append(f"{name} = {toml_string(value)}")
        if not text.tls:
            lines.append("tls = false")
    return "".join(f"{line}\n" for line in lines)
