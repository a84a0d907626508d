"""`tetrarch tx submit` and `tx get`: transactions from the command line or a file, and their outcomes."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tetrarch.cli.connect import (
    ask_password,
    config_of,
    network_argument,
    reading_client,
    timeout_option,
    writing_client,
)
from tetrarch.cli.outcomes import advice, describe, kind_of, outcome_row, verdict
from tetrarch.cli.output import Exit, fail, json_option, print_json

if TYPE_CHECKING:
    from crypto.batch import TxId
    from tetrarch.client.config import ClientConfig
    from tetrarch.client.outcome import Outcome, Submission

ID_DIGITS = 64


@click.group()
def tx() -> None:
    """Submit transactions, and look them up."""


@tx.command()
@network_argument
@click.argument("payload", metavar="[JSON]", required=False)
@click.option(
    "--file",
    "path",
    metavar="F.jsonl",
    type=click.Path(path_type=Path),
    help="Submit every line of a file, many at once.",
)
@click.option("--key", metavar="TEXT", help="Idempotency key: the same key never executes twice.")
@click.option("--save-receipt", "-o", type=click.Path(path_type=Path), help="Save the receipt to this file.")
@click.option("--password-file", type=click.Path(path_type=Path), help="Opens an encrypted signing key.")
@timeout_option
@json_option
def submit(
    directory: Path,
    payload: str | None,
    path: Path | None,
    key: str | None,
    save_receipt: Path | None,
    password_file: Path | None,
    timeout: float | None,
    as_json: bool,
) -> int:
    """Submit one transaction (JSON), or one a line (--file), and wait until they are believed.

    In a file, a line is a payload, or {"key": "…", "payload": {…}} with an idempotency key of your own.
    Without one, a line's key is made of the file's digest and the line's number: the same file submitted
    again repeats nothing. Lines usually execute in the file's order, but many are under way at once.

    Exit codes: 0 all executed, 1 some refused, failed or expired, 3 unreachable, 4 some outcome unknown.
    """
    if (payload is None) == (path is None):
        raise click.UsageError("give either JSON or --file")
    if path is not None and (key is not None or save_receipt is not None):
        raise click.UsageError("--key and --save-receipt are for a single transaction")
    config = config_of(directory)
    password = _password(password_file)
    if path is not None:
        from tetrarch.cli.submit_file import submit_file

        return submit_file(config, password, path, timeout, as_json)
    return _submit_one(config, password, _submission(payload or "", key), timeout, save_receipt, as_json)


def _password(path: Path | None) -> bytes | Callable[[], bytes]:
    if path is None:
        return ask_password
    from tetrarch.passwords import read_password

    return read_password(path)


def _submission(payload: str, key: str | None) -> "Submission":
    from ledger.jsonfile import FileFault, parse_json
    from ledger.outbox import check_key
    from tetrarch.client.outcome import Submission

    try:
        if key is not None:
            check_key(key)
    except ValueError as error:
        fail(Exit.USAGE, f"--key: {error}")
    try:
        value = parse_json(payload.encode("utf-8", "surrogateescape"), dict[str, Any], Path())
    except FileFault as fault:
        fail(
            Exit.USAGE, f"the payload {fault.what}" if fault.what.startswith("is ") else f"JSON: {fault.what}"
        )
    return Submission(value, key)


def _submit_one(
    config: "ClientConfig",
    password: bytes | Callable[[], bytes],
    submission: "Submission",
    timeout: float | None,
    save_receipt: Path | None,
    as_json: bool,
) -> int:
    from tetrarch.event_loop import run

    async def work() -> "list[Outcome]":
        async with writing_client(config, password) as client:
            outcomes = [outcome async for outcome in client.submit_many([submission], timeout)]
            for outcome in outcomes:
                if save_receipt is not None and outcome.status == "committed":
                    receipt = outcome.receipt or await client.receipt(outcome.tx_id, timeout)
                    receipt.save(save_receipt)
        return outcomes

    [outcome] = run(work())
    row = outcome_row(1, outcome)
    if as_json:
        print_json(row)
    else:
        click.echo(describe(row))
        if save_receipt is not None and outcome.status == "committed":
            click.echo(f"receipt saved: {save_receipt}")
    if what_to_do := advice(row, submission.idempotency_key is not None):
        click.echo(what_to_do, err=True)
    return verdict([kind_of(row)])


@tx.command(name="get")
@network_argument
@click.argument("tx_id", metavar="TXID")
@timeout_option
@json_option
def get_transaction(directory: Path, tx_id: str, timeout: float | None, as_json: bool) -> int:
    """Show what became of the transaction with the id TXID, proven by replicas."""
    from tetrarch.client.outcome import Outcome
    from tetrarch.errors import OutcomeUnknown
    from tetrarch.event_loop import run

    wanted = parse_id(tx_id)

    async def work() -> "Outcome":
        async with reading_client(directory) as client:
            return await client.outcome(wanted, timeout)

    try:
        outcome = run(work())
    except OutcomeUnknown as unknown:
        outcome = Outcome(0, wanted, "unknown", error=unknown)
    row = outcome_row(1, outcome)
    if as_json:
        print_json(row)
    else:
        click.echo(describe(row))
    return Exit.FINE if row["outcome"] == "committed" else verdict([kind_of(row)])


def parse_id(text: str) -> "TxId":
    """Return a transaction's id from 64 hexadecimal digits; ends the command for anything else."""
    from crypto.batch import TxId

    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(text) != ID_DIGITS or len(raw) != ID_DIGITS // 2:
        fail(Exit.USAGE, f"{text!r} is no transaction id: it has {ID_DIGITS} hexadecimal digits")
    return TxId(raw)
