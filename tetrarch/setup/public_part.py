"""NAME.public: what a member tells all others before there is a network.

What lives here: its form, its signature, and the checks of one that came from somebody else. What must not be
known here: networks, and who else takes part.

It is signed with the key that it names, over the canonical bytes of all its other values: so whoever hands it
in holds that key, and nobody altered it since. Whose key it is, a signature cannot tell: for that the chain
id is compared by all in the end.
"""

import re
import ssl
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct
from msgspec.structs import astuple, replace

from crypto.codec import encode
from crypto.digest import Digest, tag
from crypto.errors import CryptoError, KeyRefused
from crypto.keys import PublicKey, Signer, check_public_key, verify
from crypto.tls import MAX_CERTIFICATE_BYTES, certificate_der, client_context_anonymous, fingerprint
from ledger.genesis import GenesisMember
from ledger.jsonfile import FileFault, parse_json, read_bounded, write_json
from ledger.receipt_text import Hex32
from tetrarch.errors import ConfigurationError
from tetrarch.setup.brokers import ITERATIONS
from tetrarch.setup.places import (
    CLIENT_PORT,
    PEER_PORT,
    BrokerHost,
    Host,
    HostName,
    Places,
    Port,
    ReplicaName,
    Transport,
    contradictions,
)

FORMAT: Final = "tetrarch-member-1"
MAX_PART_BYTES: Final = 32 * 1024
"""A certificate, and about 600 bytes."""

HASHED: Final = rf"\A\$7\${ITERATIONS}\$[A-Za-z0-9+/]{{16}}\$[A-Za-z0-9+/]{{86}}==\Z"
"""A password as `hashed` writes it: nothing that could be another line of Mosquitto's file, or cost a broker
more work at every login."""

Hashed = Annotated[str, Meta(pattern=HASHED)]
_Signature = Annotated[str, Meta(pattern=r"\A[0-9a-f]{128}\Z")]

_UNSIGNED: Final = "0" * 128
SOMEWHERE: Final = (BrokerHost("broker.invalid"),)
"""Stands for brokers where it is not known yet whether there are any."""


class PublicPart(Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in the file."""

    format: Literal["tetrarch-member-1"]
    name: ReplicaName
    host: HostName
    transport: Transport
    peer_port: Port | None
    client_port: Port | None
    """Ports of those alone that are reached over TCP."""
    public_key: Hex32
    certificate: Annotated[str, Meta(max_length=MAX_CERTIFICATE_BYTES)]
    """PEM: what it shows over TLS."""
    broker_password: Hashed
    """The hash of its password at brokers, should there be any. The password is drawn: no guess finds it."""
    signature: _Signature

    @property
    def member(self) -> GenesisMember:
        """The member as the genesis will name it."""
        der = certificate_der(self.certificate.encode())
        return GenesisMember(self.name, PublicKey(bytes.fromhex(self.public_key)), Digest(fingerprint(der)))

    def place(self, listen: str | None = None) -> Host:
        """Where it is reached; `listen`: the interface it binds to, which is nobody else's concern."""
        ports = (self.peer_port or PEER_PORT, self.client_port or CLIENT_PORT)
        return Host(self.host, *ports, listen, self.transport, self.name)


def signed_part(signer: Signer, host: Host, name: str, certificate: bytes, password_hash: str) -> PublicPart:
    """Return the public part of a member that is to be reached at `host`, signed."""
    direct = host.transport == "tcp"
    part = PublicPart(
        format=FORMAT,
        name=name,
        host=host.host,
        transport=host.transport,
        peer_port=host.peer_port if direct else None,
        client_port=host.client_port if direct else None,
        public_key=signer.public_key.hex(),
        certificate=certificate.decode(),
        broker_password=password_hash,
        signature=_UNSIGNED,
    )
    return replace(part, signature=signer.sign(_signed_bytes(part)).hex())


def _signed_bytes(part: PublicPart) -> bytes:
    return tag("joining") + encode(astuple(part)[:-1])


def load_part(path: Path) -> PublicPart:
    """Return the part in a file, checked. Raises `ConfigurationError`."""
    try:
        part = parse_json(read_bounded(path, MAX_PART_BYTES), PublicPart, path)
    except FileFault as fault:
        raise ConfigurationError(path, fault.key, fault.what) from None
    check_part(part, path)
    return part


def save_part(part: PublicPart, path: Path) -> None:
    """Write a part. Raises `ConfigurationError`."""
    try:
        write_json(path, part)
    except FileFault as fault:
        raise ConfigurationError(path, fault.key, fault.what) from None


def check_part(part: PublicPart, path: Path, prefix: str = "") -> None:
    """Raise `ConfigurationError` unless a part is what its key's owner signed, and can be used.

    `path`, and the `prefix` of keys, say where it stands.
    """

    def fault(key: str, what: str) -> ConfigurationError:
        return ConfigurationError(path, f"{prefix}{key}", what)

    try:
        key = check_public_key(bytes.fromhex(part.public_key))
    except KeyRefused as error:
        raise fault("public_key", str(error)) from None
    if not verify(key, _signed_bytes(part), bytes.fromhex(part.signature)):
        raise fault("signature", f"is not by the key of {part.name}: something here was altered")
    try:
        der = certificate_der(part.certificate.encode())
        client_context_anonymous([der])
    except CryptoError as error:
        raise fault("certificate", str(error)) from None
    if part.certificate != ssl.DER_cert_to_PEM_cert(der):
        raise fault("certificate", "holds more than a certificate, or is written in an unusual way")
    if {part.peer_port is None, part.client_port is None} != {part.transport == "mqtt"}:
        raise fault("peer_port", "both ports stand there with transport tcp, and none with mqtt")
    for where, what in contradictions(Places((part.place(),), SOMEWHERE)):
        raise fault(re.sub(r"^replicas\[0\]\.", "", where), what)
