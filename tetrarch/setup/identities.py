"""The keys of one member: what it signs with, and what it shows over TLS.

What lives here: making and keeping them. What must not be known here: networks.
"""

from pathlib import Path

from crypto.keyfile import write_key_file, write_private_file
from crypto.keys import SigningKey
from crypto.tls import make_identity
from tetrarch.layout import SIGNING_KEY, TLS_CERTIFICATE, TLS_KEY


def write_identity(directory: Path, name: str, host: str, password: bytes | None) -> tuple[SigningKey, bytes]:
    """Make a member's keys in `directory`; returns what it signs with, and its certificate (PEM).

    `host`: what it is called by those who connect. `password`: encrypts the signing key. Raises `OSError`,
    `CryptoError`.
    """
    signer = SigningKey.generate()
    write_key_file(directory / SIGNING_KEY, signer.seed, password)
    certificate, key = make_identity(name, [host])
    write_private_file(directory / TLS_KEY, key)
    (directory / TLS_CERTIFICATE).write_bytes(certificate)
    return signer, certificate


def write_secret(path: Path, secret: str) -> None:
    """Write a password into a file that its owner alone may read. Raises `CryptoError`."""
    write_private_file(path, f"{secret}\n".encode())
