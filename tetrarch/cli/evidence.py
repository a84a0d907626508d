"""`tetrarch evidence`: finds proofs of misbehaviour in replicas' stores, and verifies one offline."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tetrarch.cli.output import Exit, console, json_option, print_json

if TYPE_CHECKING:
    from crypto.attestation import Height
    from tetrarch.errors import VerificationError
    from tetrarch.evidence import Discovery, Evidence, Piece

SHOWN_FAULTS = 10
"""--json tells all that were kept."""

genesis_option = click.option(
    "--genesis",
    "-g",
    type=click.Path(path_type=Path),
    required=True,
    help="The genesis.json that you trust: it says whose signatures count.",
)


@click.group()
def evidence() -> None:
    """Find proofs of misbehaviour, and verify them offline."""


@evidence.command(name="list")
@click.argument("paths", metavar="PATH…", nargs=-1, required=True, type=click.Path(path_type=Path))
@genesis_option
@click.option(
    "--save",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write one file for each piece of evidence into DIR.",
)
@json_option
def list_evidence(paths: tuple[Path, ...], genesis: Path, save: Path | None, as_json: bool) -> int:
    """List the evidence in stores: what replicas kept, and what shows when all they hold is put together.

    PATH is a store, a replica's directory, or a whole network. Replicas may be running; nothing is changed.

    Exit codes: 0 whether or not anything was found, 4 if not everything could be read.
    """
    from tetrarch.auditing import search_stores

    with _progress(as_json) as tell:
        found = search_stores(paths, genesis, tell)
    files = _saved(found.pieces, save)
    if as_json:
        print_json(_plain(found, files))
    else:
        _show(found, files)
    return Exit.INCOMPLETE if found.faults else Exit.FINE


@evidence.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@genesis_option
@json_option
def verify(path: Path, genesis: Path, as_json: bool) -> int:
    """Verify the evidence in FILE, without any network or store.

    Exit codes: 0 it convicts the member, 1 it does not, 2 it cannot be read.
    """
    from tetrarch.errors import VerificationError
    from tetrarch.evidence import Evidence
    from tetrarch.trust import TrustRoot

    trust = TrustRoot.load(genesis)
    found = Evidence.load(path)
    try:
        proven = found.verify(trust)
    except VerificationError as error:
        return _tell_failure(found, error, as_json)
    contradiction = proven.contradiction
    if as_json:
        told = {"valid": True, "member": proven.member, "name": proven.name, "kind": contradiction.kind}
        told |= {"what": proven.what, "why": contradiction.why, "says": list(contradiction.says)}
        print_json(told | {"failed_check": None, "checked": list(proven.checked)})
        return Exit.FINE
    click.echo(f"VALID: {proven.what}")
    for says in contradiction.says:
        click.echo(f"  {says}")
    click.echo(f"  both signatures hold; {contradiction.why}")
    return Exit.FINE


def _tell_failure(found: "Evidence", error: "VerificationError", as_json: bool) -> int:
    if as_json:
        print_json(
            {
                "valid": False,
                "member": found.member,
                "failed_check": error.check,
                "expected": error.expected,
                "actual": error.actual,
                "checked": list(error.passed),
            }
        )
    else:
        click.echo(f"NOT VALID: {error.check}\n  expected {error.expected}\n  found    {error.actual}")
    return Exit.FAILED


@contextmanager
def _progress(as_json: bool) -> "Iterator[Any]":
    """How far the search is, on a terminal."""
    screen = console(stderr=True)
    if as_json or not screen.is_terminal:
        yield None
        return
    with screen.status("reading records") as status:

        def tell(height: "Height") -> None:
            status.update(f"reading certificates: height {height:,}")

        yield tell


def _saved(pieces: "tuple[Piece, ...]", directory: Path | None) -> list[Path | None]:
    """Write the pieces; a piece has the same name wherever and whenever it is found."""
    if directory is None:
        return [None] * len(pieces)
    directory.mkdir(parents=True, exist_ok=True)
    files: list[Path | None] = []
    for piece in pieces:
        one = piece.evidence
        file = directory / f"member-{one.member}-{one.kind}-{piece.digest[:16]}.json"
        one.save(file)
        files.append(file)
    return files


def _plain(found: "Discovery", files: list[Path | None]) -> dict[str, Any]:
    from msgspec import to_builtins

    return {
        "blamed": list(found.blamed),
        "evidence": [
            {
                "member": piece.evidence.member,
                "name": piece.evidence.name,
                "kind": piece.evidence.kind,
                "what": piece.evidence.what,
                "why": piece.evidence.why,
                "says": list(piece.evidence.says),
                "stores": list(piece.stores),
                "archived": piece.archived,
                "digest": piece.digest,
                "file": None if file is None else str(file),
            }
            for piece, file in zip(found.pieces, files, strict=True)
        ],
        "left_out": {str(member): count for member, count in sorted(found.left_out.items())},
        "faults": to_builtins(found.faults),
        "more_faults": found.more_faults,
    }


def _show(found: "Discovery", files: list[Path | None]) -> None:
    if not found.pieces:
        click.echo("no evidence against anybody")
    else:
        _show_table(found, files)
        members = ", ".join(map(str, found.blamed))
        pieces, convict = ("piece", "it convicts") if len(found.pieces) == 1 else ("pieces", "they convict")
        of_whom = "member" if len(found.blamed) == 1 else "members"
        click.echo(f"{len(found.pieces)} {pieces} of evidence; {convict} {of_whom} {members}")
    for member, count in sorted(found.left_out.items()):
        click.echo(f"against member {member} {count} more were found, and left out")
    for fault in found.faults[:SHOWN_FAULTS]:
        click.echo(f"{click.style('not read', fg='yellow')}: {fault.store}, {fault.field}: {fault.what}")
    more = len(found.faults) - SHOWN_FAULTS + found.more_faults
    if more > 0:
        click.echo(f"… and {more} more")


def _show_table(found: "Discovery", files: list[Path | None]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("member", no_wrap=True)
    table.add_column("what")
    table.add_column("in", overflow="fold")
    for piece in found.pieces:
        stores = "\n".join(piece.stores)
        table.add_row(Text(piece.evidence.name), Text(piece.evidence.what), Text(stores))
    console().print(table)
    for file in files:
        if file is not None:
            click.echo(f"saved {file}")
