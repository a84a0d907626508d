"""A client of a network that others made: its key, client.toml, and an account at the brokers.

What lives here: those, and adding an account to a broker. What must not be known here: members.

A client that only knows the public directory makes everything that is secret itself. What the operators of
the brokers need is NAME.account: a name, and the hash of a drawn password.
"""

import os
import secrets
from pathlib import Path
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from crypto.digest import ChainId
from crypto.files import sync_directory
from crypto.keyfile import read_key_file, read_private_file, write_key_file, write_private_file
from crypto.keys import PublicKey, SigningKey
from ledger.jsonfile import FileFault, parse_json, read_bounded, write_json
from ledger.receipt_text import Hex32
from network.mqtt.topics import USER, Topics
from tetrarch.errors import ConfigurationError
from tetrarch.layout import BROKER_FILE, CLIENT_FILE, CLIENT_KEY, CLIENT_PASSWORD, GENESIS_FILE
from tetrarch.passwords import read_password
from tetrarch.setup.brokers import ACCESS_FILE, PASSWORDS_FILE, access_text, hashed, new_password
from tetrarch.setup.bundles import copy_public
from tetrarch.setup.directories import PRIVATE, faults
from tetrarch.setup.errors import SetupError
from tetrarch.setup.identities import write_secret
from tetrarch.setup.public_network import PublicNetwork
from tetrarch.setup.public_part import Hashed
from tetrarch.setup.texts import client_text

ACCOUNT: Final = "account"
FORMAT: Final = "tetrarch-account-1"
MAX_ACCOUNT_BYTES: Final = 4096
MAX_ACCOUNTS_BYTES: Final = 16 * 1024 * 1024
"""Of passwords or access lists: tens of thousands of accounts."""


class Account(Struct, frozen=True, forbid_unknown_fields=True):
    """What NAME.account says."""

    format: Literal["tetrarch-account-1"]
    chain_id: Hex32
    user: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,64}\Z")]
    password: Hashed


class NewClient(Struct, frozen=True):
    """What was made for a client."""

    public_key: PublicKey
    network: PublicNetwork | None
    account: Path | None
    """For the operators of the brokers, where there are any."""


def make_client(
    directory: Path, name: str, public: Path | None, password_file: Path | None = None
) -> NewClient:
    """Make a client's key in `directory`, if it has none, and what it needs to use the network in `public`.

    `public` is `None` as long as there is no network: a genesis can name a client's key before. Raises
    `SetupError`, `ConfigurationError`.
    """
    network = None if public is None else PublicNetwork.load(public)
    if network is not None and name in [part.name for part in network.parts]:
        raise SetupError(f"{name!r} is a member of this network: choose another name")
    if not USER.fullmatch(name):
        raise SetupError(f"{name!r} is no name for an account: 1 to 64 of a-z A-Z 0-9 . _ -")
    file = directory / f"{name}.{ACCOUNT}"
    for made in (directory / CLIENT_FILE, directory / CLIENT_PASSWORD, directory / GENESIS_FILE, file):
        if made.exists():
            raise SetupError(f"{made} exists already, and is never overwritten: choose another directory")
    with faults(directory):
        directory.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
        signer = _signer(directory / CLIENT_KEY, password_file)
        if network is None or public is None:
            return NewClient(signer.public_key, None, None)
        copy_public(public, directory, network.certificates())
        if network.brokers:
            secret = new_password()
            write_secret(directory / CLIENT_PASSWORD, secret)
            write_json(file, Account(FORMAT, network.genesis.chain_id.hex(), name, hashed(secret)))
        (directory / CLIENT_FILE).write_text(client_text(network.plan(), network.genesis, name))
    return NewClient(signer.public_key, network, file if network.brokers else None)


def _signer(path: Path, password_file: Path | None) -> SigningKey:
    """The key that is there, or else a new one."""
    password = None if password_file is None else read_password(password_file)
    if path.exists():
        return SigningKey(read_key_file(path, password))
    signer = SigningKey.generate()
    write_key_file(path, signer.seed, password)
    return signer


def admit(file: Path, broker: Path) -> Account:
    """Add the account in `file` to the broker in the directory `broker`, which has to read it then.

    Raises `SetupError`, `ConfigurationError`.
    """
    try:
        account = parse_json(read_bounded(file, MAX_ACCOUNT_BYTES), Account, file)
    except FileFault as fault:
        raise ConfigurationError(file, fault.key, fault.what) from None
    if not (broker / BROKER_FILE).is_file():
        raise SetupError(f"{broker} holds no broker: there is no {BROKER_FILE}")
    with faults(broker):
        passwords = read_private_file(broker / PASSWORDS_FILE, MAX_ACCOUNTS_BYTES).decode()
        access = read_private_file(broker / ACCESS_FILE, MAX_ACCOUNTS_BYTES).decode()
        topics = Topics(ChainId(bytes.fromhex(account.chain_id)))
        if topics.root not in access:
            raise SetupError(f"{file} is for another chain than that of {broker}")
        if any(line.partition(":")[0] == account.user for line in passwords.splitlines()):
            raise SetupError(f"{account.user!r} has an account at {broker} already: choose another name")
        # In this order: who is interrupted between them repeats it.
        if f"user {account.user}" not in access.splitlines():
            rights = access_text({account.user: topics.client_rights(account.user)})
            _replace(broker / ACCESS_FILE, f"{access.rstrip()}\n\n{rights}")
        _replace(broker / PASSWORDS_FILE, f"{passwords}{account.user}:{account.password}\n")
    return account


def _replace(path: Path, text: str) -> None:
    """Put a private file in the place of another one, for the same owner."""
    owner = path.stat()
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    write_private_file(beside, text.encode())
    if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(beside, owner.st_uid, owner.st_gid)
    beside.replace(path)
    sync_directory(path.parent)
