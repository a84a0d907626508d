"""`tetrarch audit`: verifies stores offline, with progress, and says what was and what was not checked."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tetrarch.cli.output import Exit, console, error_line, json_option, print_json

if TYPE_CHECKING:
    from ledger.audit.compare import Comparison
    from ledger.audit.progress import Progress, ProgressCallback
    from ledger.audit.report import Fault, Report, Verdict

SHOWN_FAULTS = 10
"""The first ones tell where it began; --json tells all that were kept."""


@click.command()
@click.argument("paths", metavar="PATH…", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--genesis", "-g", type=click.Path(path_type=Path), required=True, help="The genesis.json that you trust."
)
@click.option(
    "--level",
    type=click.Choice(["headers", "certificates", "full"]),
    default="full",
    show_default=True,
    help="headers: links and roots; certificates: also who agreed; full: also every client's signature,"
    " results and state by re-execution.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Go on from this file, and note progress in it. Keep it where only you can write.",
)
@click.option("--compare", is_flag=True, help="Also compare the stores with each other, height by height.")
@click.option(
    "--processes", type=click.IntRange(0, 256), default=0, help="Worker processes.  [default: all cores]"
)
@json_option
def audit(
    paths: tuple[Path, ...],
    genesis: Path,
    level: str,
    resume: Path | None,
    compare: bool,
    processes: int,
    as_json: bool,
) -> int:
    """Verify stores: everything is computed again from their bytes and the genesis.

    PATH is a store, a replica's directory, or a whole network. Replicas may be running; nothing is changed.

    Exit codes: 0 valid, 1 invalid, 4 incomplete (Ctrl-C ends an audit early).
    """
    from ledger.audit.audit import Options
    from ledger.audit.report import Level, Verdict
    from tetrarch.auditing import audit_stores, require_two

    if compare:
        require_two(paths)
    with _progress(as_json) as (begin, progress), _stopped_by_interrupt() as stopped:
        options = Options(
            level={each.word: each for each in Level}[level],
            processes=processes,
            progress=progress,
            stop=lambda: bool(stopped),
        )
        reports = audit_stores(paths, genesis, options, resume, begin)
    comparison, verdict = _judged(paths, genesis, reports, compare)
    if as_json:
        combined = _combined(reports, comparison, verdict)
        print_json({**combined, "stores": [_plain(report) for report in reports]})
    else:
        for report in reports:
            _show(report)
        if comparison is not None:
            _show_comparison(comparison)
    codes = {Verdict.VALID: Exit.FINE, Verdict.INVALID: Exit.FAILED, Verdict.INCOMPLETE: Exit.INCOMPLETE}
    return codes[verdict]


def _judged(
    paths: tuple[Path, ...], genesis: Path, reports: "list[Report]", compare: bool
) -> "tuple[Comparison | None, Verdict]":
    """Compare the stores, if that is asked for; returns what came of it, and the verdict on everything."""
    from ledger.audit.report import Verdict
    from tetrarch.auditing import compare_stores, worst
    from tetrarch.errors import ConfigurationError

    verdict = worst(reports)
    if not compare:
        return None, verdict
    try:
        comparison = compare_stores(paths, genesis)
    except ConfigurationError as error:
        # What the audits found must not be lost over it.
        click.echo(f"tetrarch: {error_line(error)}", err=True)
        return None, verdict if verdict is Verdict.INVALID else Verdict.INCOMPLETE
    return comparison, Verdict.INVALID if comparison.verdict is Verdict.INVALID else verdict


@contextmanager
def _stopped_by_interrupt() -> Iterator[list[int]]:
    """Turn the first Ctrl-C into a request to stop, which keeps what was found; a second one ends all."""
    asked: list[int] = []

    def ask(number: int, _frame: object) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, before)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(as_json: bool) -> "Iterator[tuple[Any, ProgressCallback]]":
    """A bar with the rate and the time left, on a terminal."""
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    screen = console(stderr=True)
    columns = (
        TextColumn("{task.fields[store]}"),
        TextColumn("{task.description:<8}"),
        BarColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Bars(*columns, console=screen, disable=as_json or not screen.is_terminal, transient=True) as bars:
        task = bars.add_task("opening", store="", figures="", total=None)

        def begin(store: Path) -> None:
            bars.update(task, store=str(store), description="opening", figures="", completed=0, total=None)

        def tell(progress: "Progress") -> None:
            bars.update(
                task,
                description=progress.stage,
                completed=progress.done,
                total=progress.total or None,
                figures=_figures(progress),
            )

        yield begin, tell


def _figures(progress: "Progress") -> str:
    left = progress.seconds_left
    rest = "" if left is None else f", {left:,.0f} s left"
    return f"{progress.done:,} {progress.unit}, {progress.rate:,.0f}/s{rest}"


def _combined(reports: "Sequence[Report]", comparison: "Comparison | None", verdict: str) -> dict[str, Any]:
    """What all stores come to: the keys that other programs rely on."""
    from msgspec import to_builtins

    highest = max(reports, key=lambda report: report.height)
    faults = [fault for report in reports for fault in report.faults]
    blamed = {member for report in reports for member in report.blamed}
    if comparison is not None:
        faults += comparison.faults
        blamed |= set(comparison.blamed)
    combined = {
        "verdict": str(verdict),
        "height": highest.height,
        "head": highest.head,
        "blocks": sum(report.blocks for report in reports),
        "transactions": sum(report.transactions for report in reports),
        "checked": _in_all(report.checked for report in reports),
        "not_checked": sorted({name for report in reports for name in report.not_checked}),
        "faults": [_fault(fault) for fault in faults],
        "blamed": sorted(blamed),
    }
    return combined if comparison is None else combined | {"comparison": to_builtins(comparison)}


def _in_all(names: "Iterator[tuple[str, ...]]") -> list[str]:
    """The names that are in every one, in their order."""
    first, *rest = names
    return [name for name in first if all(name in other for other in rest)]


def _plain(report: "Report") -> dict[str, Any]:
    from msgspec import to_builtins

    plain: dict[str, Any] = to_builtins(report)
    return plain | {"faults": [_fault(fault) for fault in report.faults]}


def _fault(fault: "Fault") -> dict[str, Any]:
    return {
        "store": fault.store,
        "family": fault.family,
        "height": fault.height,
        "field": fault.field,
        "what": fault.what,
    }


def _show(report: "Report") -> None:
    style = {"valid": "green", "invalid": "red", "incomplete": "yellow"}[report.verdict.value]
    verdict = click.style(report.verdict.value.upper(), fg=style, bold=True)
    click.echo(f"{verdict} {report.store}: level {report.level}")
    click.echo(f"  height {report.height}, head {report.head}")
    click.echo(f"  {report.blocks:,} blocks, {report.transactions:,} transactions")
    for title, names in (("checked", report.checked), ("not checked", report.not_checked)):
        if names:
            click.echo(f"  {title}: {', '.join(names)}")
    for fault in report.faults[:SHOWN_FAULTS]:
        where = "" if fault.height is None else f"height {fault.height}, "
        click.echo(f"  {click.style('fault', fg='red')}: {where}{fault.family}, {fault.field}: {fault.what}")
    more = len(report.faults) - SHOWN_FAULTS + report.more_faults
    if more > 0:
        click.echo(f"  … and {more} more faults")
    if report.blamed:
        click.echo(f"  blamed: members {', '.join(map(str, report.blamed))}")


def _show_comparison(comparison: "Comparison") -> None:
    valid = comparison.verdict.value == "valid"
    verdict = click.style("THE SAME" if valid else "DIFFERENT", fg="green" if valid else "red", bold=True)
    click.echo(f"{verdict} up to height {comparison.same_up_to}, in {len(comparison.heights)} stores")
    for fault in comparison.faults[:SHOWN_FAULTS]:
        where = "" if fault.height is None else f"height {fault.height}, "
        click.echo(f"  {click.style('fault', fg='red')}: {where}{fault.field}: {fault.what}")
    if comparison.blamed:
        click.echo(f"  blamed: members {', '.join(map(str, comparison.blamed))}")
