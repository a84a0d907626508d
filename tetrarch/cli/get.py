"""`tetrarch get`: a verified read."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tetrarch.cli.connect import network_argument, reading_client, timeout_option
from tetrarch.cli.output import Exit, fail, json_option, print_json

if TYPE_CHECKING:
    from tetrarch.client.reading import Verified


@click.command()
@network_argument
@click.argument("key", metavar="KEY")
@click.option(
    "--min-height",
    type=click.IntRange(0, 2**53 - 1),
    default=0,
    help="As of this block or a later one (a receipt's).",
)
@timeout_option
@json_option
def get(directory: Path, key: str, min_height: int, timeout: float | None, as_json: bool) -> int:
    """Read KEY from the state, with its proof verified.

    KEY is, for kv, the key itself; for assets, account/NAME; for notary, document/DIGEST.

    Exit code 1 if the key is proven to be absent.
    """
    from tetrarch.client.reading import key_bytes
    from tetrarch.event_loop import run

    try:
        # What the shell gave, also where its locale is not UTF-8.
        key = key.encode("utf-8", "surrogateescape").decode()
        key_bytes(key)
    except ValueError as error:
        fail(Exit.USAGE, f"KEY: {error}")

    async def work() -> "Verified":
        async with reading_client(directory) as client:
            return await client.get(key, min_height, timeout)

    verified = run(work())
    _show(key, verified, as_json)
    return Exit.FINE if verified.present else Exit.FAILED


def _show(key: str, verified: "Verified", as_json: bool) -> None:
    try:
        value = verified.value
    except ValueError:
        value = None
    if as_json:
        print_json(
            {
                "key": key,
                "present": verified.present,
                "value": value,
                "raw": None if verified.raw is None else verified.raw.hex(),
                "height": verified.height,
                "time": verified.time,
                "block_hash": verified.block_hash.hex(),
                "signers": list(verified.signers),
            }
        )
    elif verified.raw is None:
        click.echo(f"{key} is absent at height {verified.height} (proven)", err=True)
    else:
        click.echo(verified.raw.decode(errors="backslashreplace"))
        click.echo(
            f"proven at height {verified.height}, attested by members"
            f" {', '.join(map(str, verified.signers))}",
            err=True,
        )
