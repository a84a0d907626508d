"""`tetrarch tx submit --file`: a file of transactions, with progress for people, rows for programs."""

import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tetrarch.cli.connect import writing_client
from tetrarch.cli.outcomes import Row, kind_of, line_row, verdict
from tetrarch.cli.output import console, print_json, tell

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from tetrarch.client.config import ClientConfig
    from tetrarch.journal import Journal, LineOutcome

MAX_KEPT_KEYS = 1_000_000
"""As many idempotency keys as an outbox may be told to remember: what it forgets could be repeated."""

SHOWN = 25
"""Lines of each kind that are told to people one by one; --json tells all of them."""

LATENCIES = 100_000
"""Latencies kept for the summary: of a longer file, those of so many transactions evenly spread."""


@dataclass(slots=True)
class Tally:
    """Counts of a file's outcomes, in bounded memory."""

    started: float = field(default_factory=time.perf_counter)
    kinds: Counter[str] = field(default_factory=Counter)
    told: int = 0
    remembered: int = 0
    """Transactions whose outcome an earlier run learnt, and the outbox kept."""
    _latencies: list[float] = field(default_factory=list)
    _every: int = 1
    _seen: int = 0

    def add(self, line: "LineOutcome", row: Row) -> str:
        """Count one line; returns what it counts as."""
        kind = kind_of(row)
        self.kinds[kind] += 1
        self.remembered += row.get("remembered", False)
        if line.outcome is not None and line.outcome.result is not None:
            self._seen += 1
            if self._seen % self._every == 0:
                self._latencies.append(line.latency_ms)
            if len(self._latencies) >= LATENCIES:
                self._latencies = self._latencies[1::2]
                self._every *= 2
        return kind

    @property
    def total(self) -> int:
        """All lines so far."""
        return self.kinds.total()

    @property
    def untold(self) -> int:
        """Lines that were not executed as asked, and not told to people one by one."""
        return self.total - self.kinds["executed"] - self.told

    def percentile(self, share: float) -> float:
        """Return a latency in ms that `share` of the transactions did not exceed."""
        ordered = sorted(self._latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def summary(self) -> dict[str, object]:
        """Return the end of the story as plain values."""
        seconds = time.perf_counter() - self.started
        done = self.kinds["executed"] + self.kinds["failed"]
        return {
            "lines": self.total,
            **{kind: self.kinds[kind] for kind in ("executed", "failed", "refused", "expired", "unknown")},
            "unreachable": self.kinds["unreachable"],
            "remembered": self.remembered,
            "seconds": round(seconds, 3),
            "per_second": round(done / seconds, 1) if seconds else 0.0,
            "p50_ms": round(self.percentile(0.50), 2),
            "p99_ms": round(self.percentile(0.99), 2),
        }


def submit_file(
    config: "ClientConfig",
    password: bytes | Callable[[], bytes],
    path: Path,
    timeout: float | None,
    as_json: bool,
) -> int:
    """Submit a file, tell what became of each line, and return the exit code."""
    from tetrarch.event_loop import run
    from tetrarch.journal import Journal, submit_journal

    journal = Journal(path)
    tally = Tally()

    async def work() -> None:
        keys = min(MAX_KEPT_KEYS, 2 * journal.count)
        async with writing_client(config, password, keys) as client:
            outcomes = submit_journal(client, journal, timeout)
            if as_json:
                await _tell_programs(outcomes, tally)
            else:
                await tell_people(outcomes, tally, journal)

    try:
        run(work())
    except KeyboardInterrupt:
        click.echo("The same command again goes on from here and repeats nothing.", err=True)
        raise
    if not as_json:
        show_summary(tally)
    return verdict(kind for kind, count in tally.kinds.items() if count)


async def _tell_programs(outcomes: "AsyncIterator[LineOutcome]", tally: Tally) -> None:
    async for line in outcomes:
        row = line_row(line)
        tally.add(line, row)
        print_json(row)


async def tell_people(
    outcomes: "AsyncIterator[LineOutcome]",
    tally: Tally,
    journal: "Journal",
    also: "Callable[[LineOutcome, Row], None] | None" = None,
    shown: "Mapping[str, int] | None" = None,
    indent: str = "",
    screen: "Console | None" = None,
) -> None:
    """Show progress, and of lines that were not executed as asked SHOWN of each kind, or what `shown` says of
    a kind; `also` is called with every outcome."""
    most = shown or {}
    with progress_bar(screen or console(stderr=True)) as progress:
        task = progress.add_task(f"{indent}submitting", total=journal.count, executed=0, refused=0)
        async for line in outcomes:
            row = line_row(line)
            kind = tally.add(line, row)
            if kind != "executed" and tally.kinds[kind] <= most.get(kind, SHOWN):
                tally.told += 1
                tell(progress.console, refused_line(row, kind), indent)
            executed = tally.kinds["executed"]
            progress.update(task, completed=tally.total, executed=executed, refused=tally.total - executed)
            if also is not None:
                also(line, row)
        progress.update(task, total=tally.total)


def refused_line(row: Row, kind: str) -> str:
    """Return what people are told of a line that was not executed as asked."""
    if kind == "failed":
        return f"line {row['line']}: refused by the application at height {row['height']}: {row['reason']}"
    return f"line {row['line']}: {kind} ({row.get('code')}): {row.get('reason')}"


def progress_bar(screen: "Console") -> "Progress":
    """Return a progress bar; it shows nothing where `screen` is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("[green]{task.fields[executed]} executed[/] [yellow]{task.fields[refused]} not[/]"),
        TimeRemainingColumn(),
        console=screen,
        disable=not screen.is_terminal,
    )


def show_summary(tally: Tally) -> None:
    """Print how it went."""
    summary = tally.summary()
    if tally.untold:
        click.echo(f"… and {tally.untold} more lines like these: --json tells all of them")
    kinds = ("executed", "failed", "refused", "expired", "unknown", "unreachable")
    counts = ", ".join(f"{summary[kind]} {kind}" for kind in kinds if summary[kind])
    known = f" ({tally.remembered} of them by an earlier run)" if tally.remembered else ""
    click.echo(f"{summary['lines']} lines: {counts or 'nothing to do'}{known}")
    if tally.kinds["executed"] > tally.remembered:
        click.echo(
            f"{summary['seconds']} s, {summary['per_second']} transactions/s,"
            f" latency p50 {summary['p50_ms']} ms, p99 {summary['p99_ms']} ms"
        )
