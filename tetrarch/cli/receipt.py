"""`tetrarch receipt get` and `receipt verify`: receipts from a network, verified without one."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tetrarch.cli.connect import network_argument, reading_client, timeout_option
from tetrarch.cli.output import Exit, json_option, print_json
from tetrarch.cli.tx import parse_id

if TYPE_CHECKING:
    from tetrarch.client.receipt import Receipt
    from tetrarch.errors import VerificationError


@click.group()
def receipt() -> None:
    """Fetch receipts, and verify them offline."""


@receipt.command(name="get")
@network_argument
@click.argument("tx_id", metavar="TXID")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The file to write.",
)
@timeout_option
@json_option
def get_receipt(directory: Path, tx_id: str, output: Path, timeout: float | None, as_json: bool) -> int:
    """Fetch the receipt of an executed transaction, verify it, and save it."""
    from tetrarch.event_loop import run

    wanted = parse_id(tx_id)

    async def work() -> "Receipt":
        async with reading_client(directory) as client:
            found = await client.receipt(wanted, timeout)
            found.verify(client.trust)
            found.save(output)
            return found

    found = run(work())
    if as_json:
        print_json(
            {
                "file": str(output),
                "tx_id": found.tx_id.hex(),
                "height": found.height,
                "signers": list(found.signers),
                "code": found.result.code.value,
            }
        )
    else:
        signers = ", ".join(map(str, found.signers))
        click.echo(f"{output}: executed at height {found.height}, attested by members {signers}")
    return Exit.FINE


@receipt.command()
@click.argument("path", metavar="F", type=click.Path(path_type=Path))
@click.option(
    "--genesis",
    "-g",
    type=click.Path(path_type=Path),
    required=True,
    help="The genesis.json that you trust: it says whose signatures count.",
)
@click.option("--quorum", is_flag=True, help="Ask for a quorum of members, not only for as many as a client.")
@click.option("--explain", is_flag=True, help="Show every check, and over what.")
@json_option
def verify(path: Path, genesis: Path, quorum: bool, explain: bool, as_json: bool) -> int:
    """Verify the receipt in the file F, without any network.

    Exit code 1 if it does not hold.
    """
    from tetrarch.client.receipt import Receipt
    from tetrarch.errors import VerificationError
    from tetrarch.trust import TrustRoot

    trust = TrustRoot.load(genesis)
    found: Receipt | None = None
    try:
        found = Receipt.load(path)
        verification = found.verify(trust, quorum=quorum)
    except VerificationError as error:
        return _tell_failure(found, error, explain, as_json)
    checks = [(check.check, check.what) for check in verification.checked]
    if as_json:
        print_json(
            {
                "valid": True,
                "tx_id": verification.tx_id.hex(),
                "height": verification.height,
                "signers": list(verification.signers),
                "failed_check": None,
                "need": verification.need,
                "code": found.result.code.value,
                "result": _result(found),
                **_explained(checks, explain),
            }
        )
        return Exit.FINE
    if explain:
        _explain(checks)
    signers = ", ".join(trust.genesis.members[member].name for member in verification.signers)
    click.echo(f"VALID: {found.result.code.value} at height {verification.height}: {_result_text(found)}")
    click.echo(f"attested by {len(verification.signers)} members ({signers}), {verification.need} are needed")
    return Exit.FINE


def _tell_failure(found: "Receipt | None", error: "VerificationError", explain: bool, as_json: bool) -> int:
    checks = [(getattr(check, "check", ""), getattr(check, "what", "")) for check in error.passed]
    if as_json:
        print_json(
            {
                "valid": False,
                "tx_id": None if found is None else found.tx_id.hex(),
                "height": None if found is None else found.height,
                "signers": [] if found is None else list(found.signers),
                "failed_check": error.check,
                "expected": error.expected,
                "actual": error.actual,
                **_explained(checks, explain),
            }
        )
        return Exit.FAILED
    if explain:
        _explain(checks)
    click.echo(f"NOT VALID: {error.check}\n  expected {error.expected}\n  found    {error.actual}")
    return Exit.FAILED


def _explained(checks: list[tuple[str, str]], explain: bool) -> dict[str, Any]:
    return {"checked": [{"check": check, "what": what} for check, what in checks]} if explain else {}


def _explain(checks: list[tuple[str, str]]) -> None:
    for check, what in checks:
        click.echo(f"{click.style('holds', fg='green')}  {check:<22} {what}")


def _result(found: "Receipt") -> Any:
    try:
        return found.value
    except ValueError:
        return found.result.value.hex()


def _result_text(found: "Receipt") -> str:
    return found.result.reason or json.dumps(_result(found), ensure_ascii=False)
