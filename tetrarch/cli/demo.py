"""`tetrarch demo`: the whole story in one run, told on the terminal or as JSON."""

import json
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tetrarch.cli.connect import transport_option
from tetrarch.cli.output import (
    Exit,
    console,
    error_line,
    fail,
    json_option,
    print_json,
    shell,
    tell,
)
from tetrarch.layout import LOG_FILE, STORE
from tetrarch.signals import end_like_interrupt

if TYPE_CHECKING:
    from tetrarch.demo.story import Narrator, Story
    from tetrarch.journal import Journal, LineOutcome

MARK = ".tetrarch-demo"
"""Stands in a directory that a demo made, which the next one may therefore replace."""

JOURNAL = Path("examples/journal.jsonl")

OUTCOMES = "outcomes.jsonl"
"""What became of every line, as `tetrarch tx submit --json` tells it."""


@click.command()
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo"),
    show_default=True,
    help="Where everything is left to be looked at.",
)
@click.option(
    "--journal",
    "journal_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Transactions for `assets`.  [default: examples/journal.jsonl]",
)
@transport_option
@json_option
def demo(directory: Path, journal_file: Path | None, transport: str, as_json: bool) -> int:
    """Show the whole story: four replicas, a journal of transactions, a killed primary that comes back, a
    receipt verified offline, an audit of all stores, and one flipped bit that it finds.

    Every claim is checked; exit code 1 if one does not hold.
    """
    from tetrarch.demo.books import BooksDiffer
    from tetrarch.demo.story import StepFailed, Story
    from tetrarch.journal import Journal
    from tetrarch.setup.errors import SetupError

    journal = Journal(journal_file or _journal())
    _prepare(directory)
    end_like_interrupt()
    narrator: Narrator = _Silent() if as_json else _Teller()
    story = Story(directory.absolute(), journal, narrator, transport)
    started = time.monotonic()
    try:
        _tell(story)
    except SetupError as error:
        fail(Exit.USAGE, str(error))
    except (StepFailed, BooksDiffer) as error:
        if as_json:
            print_json({"passed": False, "failed": error_line(error), **story.facts})
        fail(Exit.FAILED, error_line(error))
    story.facts["seconds"] = round(time.monotonic() - started, 1)
    if as_json:
        print_json({"passed": True, **story.facts})
    else:
        _show_summary(story)
    return Exit.FINE


def _journal() -> Path:
    """The journal that comes with the source, from wherever it is called."""
    import tetrarch

    beside = Path(tetrarch.__file__).parent.parent / JOURNAL
    return JOURNAL if JOURNAL.is_file() or not beside.is_file() else beside


def _prepare(directory: Path) -> None:
    """Make the directory anew; one that no demo made is left alone."""
    if directory.exists():
        if any(directory.iterdir()) and not (directory / MARK).is_file():
            fail(Exit.USAGE, f"{directory} exists and was not made by a demo: choose another --directory")
        _stop_earlier(directory)
        shutil.rmtree(directory)
    directory.mkdir(parents=True)
    (directory / MARK).write_text("Made by `tetrarch demo`, and replaced by its next run.\n")


def _stop_earlier(directory: Path) -> None:
    """Stop what a demo that was itself killed may have left running."""
    from tetrarch.errors import ConfigurationError
    from tetrarch.processes import LocalNetwork

    try:
        LocalNetwork(directory / "net").kill()
    except ConfigurationError:
        return


def _tell(story: "Story") -> None:
    """Run all steps, in order; whatever happens, no process is left."""
    from tetrarch.auditing import audit_store
    from tetrarch.demo import proofs
    from tetrarch.demo import story as steps
    from tetrarch.event_loop import run

    network = steps.make(story)
    try:
        steps.start(story, network)
        receipt = run(_with_client(story, network))
        _write_outcomes(story)
        steps.bring_back(story, network)
        proofs.verify_receipt(story, receipt)
        proofs.audit_all(story, network, audit_store)
        proofs.flip_and_audit(story, network, audit_store)
        steps.summarize(story, network)
    finally:
        network.stop()


def _write_outcomes(story: "Story") -> None:
    from tetrarch.cli.outcomes import line_row

    with (story.directory / OUTCOMES).open("w", encoding="utf-8") as file:
        for line in sorted(story.outcomes, key=lambda each: each.line):
            file.write(json.dumps(line_row(line), ensure_ascii=False) + "\n")


async def _with_client(story: "Story", network: Any) -> Path:
    from tetrarch.cli.connect import ask_password, writing_client
    from tetrarch.demo import proofs
    from tetrarch.demo import story as steps

    async with writing_client(story.config, ask_password) as client:
        await steps.submit(story, network, client)
        await steps.check_books(story, client)
        return await proofs.keep_receipt(story, client)


class _Silent:
    """Says nothing: for programs."""

    @contextmanager
    def step(self, title: str) -> Iterator[None]:  # noqa: ARG002
        """Begin a step."""
        yield

    def say(self, line: str) -> None:
        """Say nothing."""

    async def follow(
        self,
        outcomes: "AsyncIterator[LineOutcome]",
        journal: "Journal",  # noqa: ARG002
        also: "Callable[[LineOutcome], None]",
    ) -> None:
        """Pass all outcomes on."""
        async for outcome in outcomes:
            also(outcome)


class _Teller:
    """Tells people, step by step."""

    def __init__(self) -> None:
        self._console = console()
        self._number = 0

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show a step's title, and how it ended."""
        self._number += 1
        self._console.print(f"\n[bold]{self._number}  {title}[/]")
        try:
            yield
        except BaseException:
            self._console.print("   [red]✗ failed[/]")
            raise
        self._console.print("   [green]✓ holds[/]")

    def say(self, line: str) -> None:
        """Show a detail."""
        tell(self._console, line, "   ")

    async def follow(
        self,
        outcomes: "AsyncIterator[LineOutcome]",
        journal: "Journal",
        also: "Callable[[LineOutcome], None]",
    ) -> None:
        """Show progress, and some of the refused lines."""
        from tetrarch.cli.submit_file import Tally, tell_people

        screen, tally = self._console, Tally()
        await tell_people(outcomes, tally, journal, lambda line, _: also(line), LINES_SHOWN, "   ", screen)
        if tally.untold:
            self.say(f"… and {tally.untold} more refused lines, each with its number in {OUTCOMES}")


LINES_SHOWN = {"refused": 40, "failed": 6}
"""All malformed lines of the shipped journal, one by one, and the first overdrafts."""


def _show_summary(story: "Story") -> None:
    from rich.table import Table

    from tetrarch.demo.story import WINDOW

    facts = story.facts
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    rows = (
        (
            "journal",
            f"{facts['lines']:,} lines: {facts['executed']:,} executed,"
            f" {facts['refused_by_application']} overdrafts refused, {facts['refused_lines']} lines refused,"
            f" {facts['repeated_lines']} repeated",
        ),
        (
            "throughput",
            f"{facts['throughput_tps']:,.0f} transactions/s before the kill,"
            f" {facts['throughput_with_kill_tps']:,.0f}/s in all",
        ),
        (
            "latency",
            f"p50 {facts['p50_ms']:,.0f} ms, p99 {facts['p99_ms']:,.0f} ms, up to {WINDOW} under way",
        ),
        ("view change", f"{facts['view_change_s']} s; longest pause {facts['longest_pause_s']} s"),
        ("catch-up", f"{facts['catch_up_s']} s, its start included"),
        ("all of it", f"{facts['seconds']} s"),
        ("network", str(story.net)),
        ("stores", f"{story.net}/replica-*/{STORE}"),
        ("logs", f"{story.net}/replica-*/{LOG_FILE}"),
        ("outcomes", str(story.directory / OUTCOMES)),
        ("receipt", facts["receipt"]),
        ("flipped", facts["flipped"]["file"]),
    )
    for row in rows:
        table.add_row(*row)
    screen = console()
    screen.print("\n[bold green]Everything held.[/]")
    screen.print(table)
    screen.print("\nOn with the same network:")
    for command in _commands(story.net):
        screen.print(f"  {command}", markup=False, soft_wrap=True)


def _commands(net: Path) -> "Iterator[str]":
    activate = Path(sys.executable).with_name("activate")
    if shutil.which("tetrarch") is None and activate.is_file():
        yield f". {shell(activate)}"
    yield f"tetrarch up {shell(net)}"
    yield f"tetrarch tx submit {shell(net)} --file F.jsonl"
    yield f"tetrarch down {shell(net)}"
