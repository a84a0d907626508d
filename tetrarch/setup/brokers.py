"""The files of a Mosquitto broker for one network: configuration, certificate, accounts, access list.

What lives here: their text. What must not be known here: how brokers are run (`tetrarch.processes`),
replicas' files.

Everyone has an account of their own, and may read and write no topic but their own (`network.mqtt.topics`). A
broker that is run by somebody else is given the same accounts and rights in its own way: `ACCESS_FILE` lists
them. Source: mosquitto.conf(5) of version 2.0.
"""

import base64
import getpass
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from crypto.digest import ChainId
from crypto.keyfile import write_private_file
from crypto.roster import MemberId
from crypto.tls import client_context_authority, make_identity
from network.address import Address
from network.mqtt.connection import MAX_MESSAGE_BYTES
from network.mqtt.topics import Rights, Topics
from tetrarch.layout import BROKER_FILE, CLIENT
from tetrarch.setup.places import BrokerHost, broker_name
from tetrarch.setup.texts import broker_certificate

CLIENT_USER: Final = CLIENT
"""The account that client.toml uses. Others can be added beside it."""

ACCESS_FILE: Final = "access.acl"
PASSWORDS_FILE: Final = "passwords"
CERTIFICATE_FILE: Final = "broker.crt"
KEY_FILE: Final = "broker.key"

SERVICE_USER: Final = "tetrarch"
"""Whom processes run as on machines that are set up for them."""

PASSWORD_BYTES: Final = 24
"""Drawn, so guessing is hopeless however the broker hashes them."""

_SALT_BYTES: Final = 12
ITERATIONS: Final = 101
"""As mosquitto_passwd(1) does: the form of the file allows more, but passwords are drawn."""

QUEUED_BYTES: Final = 64 * 1024 * 1024
QUEUED_MESSAGES: Final = 100_000
"""What the broker keeps for one slow reader, where Mosquitto's own 1,000 messages are a second's work of a
busy replica: whatever is beyond is dropped, and resent by whoever wants it."""

_CONFIGURATION: Final = """\
# Mosquitto 2.0 for the chain {name}. Paths are relative: run it in this directory.
#     mosquitto -c {file}
listener {port} {interface}
certfile {certificate}
keyfile {key}
tls_version tlsv1.3
allow_anonymous false
password_file {passwords}
acl_file {access}

# Nothing is kept for those who are away: what is lost is resent.
persistence false
max_queued_messages {queued_messages}
max_queued_bytes {queued_bytes}
max_packet_size {packet_bytes}

# A vote that waits for a fuller packet delays everybody.
set_tcp_nodelay true
log_dest stderr
connection_messages false
sys_interval 60

# Where root starts it.
user {user}
"""


def new_password() -> str:
    """Return a password that nobody guesses."""
    return secrets.token_urlsafe(PASSWORD_BYTES)


def access_rights(
    chain_id: ChainId, members: Mapping[str, MemberId], clients: tuple[str, ...]
) -> dict[str, Rights]:
    """Return what each account may do: of members by name, and of clients."""
    topics = Topics(chain_id)
    rights = {name: topics.member_rights(member) for name, member in members.items()}
    return rights | {user: topics.client_rights(user) for user in clients}


def write_broker(
    directory: Path,
    name: str,
    listen: Address,
    host: str,
    rights: Mapping[str, Rights],
    hashes: Mapping[str, str],
    run_as: str,
) -> bytes:
    """Write the files of a broker into `directory`, and return its certificate (PEM).

    `name`: of the network, for people. `host`: what it is called by those who connect. `hashes`: of
    passwords, by account. `run_as`: the user that Mosquitto becomes where root starts it. Raises `OSError`,
    `TlsError`.
    """
    directory.mkdir(mode=0o700)
    certificate, key = make_identity(f"broker.{host}"[:64].rstrip("."), [host])
    (directory / CERTIFICATE_FILE).write_bytes(certificate)
    write_private_file(directory / KEY_FILE, key)
    lines = "".join(f"{user}:{hashed}\n" for user, hashed in hashes.items())
    write_private_file(directory / PASSWORDS_FILE, lines.encode())
    write_private_file(directory / ACCESS_FILE, access_text(rights).encode())
    (directory / BROKER_FILE).write_text(
        _CONFIGURATION.format(
            name=name,
            file=BROKER_FILE,
            port=listen.port,
            interface=listen.host,
            certificate=CERTIFICATE_FILE,
            key=KEY_FILE,
            passwords=PASSWORDS_FILE,
            access=ACCESS_FILE,
            queued_messages=QUEUED_MESSAGES,
            queued_bytes=QUEUED_BYTES,
            packet_bytes=2 * MAX_MESSAGE_BYTES,
            user=run_as,
        )
    )
    return certificate


def write_brokers(
    directory: Path,
    certificates: Path,
    name: str,
    brokers: Sequence[BrokerHost],
    rights: Mapping[str, Rights],
    hashes: Mapping[str, str],
) -> None:
    """Write the files of each broker of one's own below `directory`, and into `certificates` that by which
    each broker is recognised. Raises `SetupError`, `OSError`, `TlsError`."""
    local = all(_is_loopback(broker.host) for broker in brokers)
    run_as = getpass.getuser() if local else SERVICE_USER
    for number, broker in enumerate(brokers):
        if broker.authority is not None:
            authority = Path(broker.authority)
            client_context_authority(authority)
            (certificates / broker_certificate(number, broker)).write_bytes(authority.read_bytes())
            continue
        listen = Address(broker.listen or broker.host, broker.port)
        home = directory / broker_name(number)
        certificate = write_broker(home, name, listen, broker.host, rights, hashes, run_as)
        (certificates / broker_certificate(number, broker)).write_bytes(certificate)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def access_text(rights: Mapping[str, Rights]) -> str:
    """Return the text of Mosquitto's access list."""
    blocks = []
    for user, allowed in rights.items():
        lines = [f"user {user}"]
        lines += [f"topic read {pattern}" for pattern in allowed.reads]
        lines += [f"topic write {pattern}" for pattern in allowed.writes]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def hashed(password: str) -> str:
    """Return a password as Mosquitto keeps it: PBKDF2 with HMAC-SHA-512 (RFC 8018, 5.2)."""
    salt = secrets.token_bytes(_SALT_BYTES)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    return f"$7${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"
