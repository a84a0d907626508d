"""From what a user types as DIR to a client: where its client.toml is, and which key it needs."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tetrarch.cli.output import Exit, fail
from tetrarch.layout import CLIENT_FILE

if TYPE_CHECKING:
    from crypto.keys import Signer
    from ledger.genesis import Genesis
    from tetrarch.client.async_client import AsyncClient
    from tetrarch.client.config import ClientConfig
    from tetrarch.client.transport import Dialer

network_argument = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
"""A network's directory, or a client.toml."""

transport_option = click.option(
    "--transport",
    type=click.Choice(["tcp", "mqtt"]),
    default="tcp",
    show_default=True,
    help="How replicas are reached: directly, or by way of an MQTT broker.",
)

timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(0.1, 86_400),
    help="Seconds to wait for the outcome.  [default: client.toml's]",
)


def config_of(directory: Path) -> "ClientConfig":
    """Return the client configuration in a network's directory (or file). Raises `ConfigurationError`."""
    from tetrarch.client.config import ClientConfig

    return ClientConfig.load(directory / CLIENT_FILE if directory.is_dir() else directory)


def dialer_of(directory: Path) -> "Dialer":
    """Return what opens connections to the replicas of a network. Raises `ConfigurationError`."""
    return config_of(directory).dialer()


def genesis_of(directory: Path) -> "Genesis":
    """Return the genesis that a client configuration names. Raises `ConfigurationError`."""
    return config_of(directory).trust.genesis


def reading_client(directory: Path) -> "AsyncClient":
    """Return a client that signs nothing of worth: no key is opened for reading. To be made in a loop."""
    from crypto.keys import SigningKey
    from tetrarch.client.async_client import AsyncClient

    config = config_of(directory)
    return AsyncClient(config.trust, SigningKey.generate(), config.dialer(), tuning=config.tuning)


def writing_client(
    config: "ClientConfig", password: bytes | Callable[[], bytes], keep_settled: int = 0
) -> "AsyncClient":
    """Return the client that a client.toml describes. To be made in a loop.

    `keep_settled`: how many idempotency keys the outbox must remember, if the file says less.
    """
    from msgspec.structs import replace as struct_replace

    from tetrarch.client.async_client import AsyncClient

    signer: Signer = config.signer(password)
    tuning = config.tuning
    if keep_settled > tuning.keep_settled:
        tuning = struct_replace(tuning, keep_settled=keep_settled)
        config = replace(config, tuning=tuning)
    return AsyncClient(
        config.trust, signer, config.dialer(), outbox=config.open_outbox(), tuning=config.tuning
    )


def ask_password() -> bytes:
    """Ask for the password of a key on the terminal, or say where else it can be given."""
    if not sys.stdin.isatty():
        what = "the signing key is encrypted, and there is no terminal to ask for its password"
        fail(Exit.USAGE, f"{what}: name a password_file in node.toml, or give --password-file")
    password: str = click.prompt("Password of the signing key", hide_input=True, err=True)
    return password.encode()
