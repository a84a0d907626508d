"""How `tetrarch top` looks: one frame, for whatever width the terminal has.

What lives here: rich's tables, and what fits into them. What must not be known here: how replicas are asked.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from ledger.genesis import Genesis
from tetrarch.cli.output import printable
from tetrarch.cli.status import rows
from tetrarch.client.states import ReplicaStatus
from tetrarch.rates import Rate
from tetrarch.setup.plan import tolerated

WIDE: Final = 110
"""Columns from which on there is room for what is of use, and not of daily need."""

MATRIX: Final = 16
"""Members up to which a replica's connections are shown one by one."""

HISTORY: Final = 512
"""Looks of which the speed is remembered: the widest terminal."""

REASONS: Final = 8
"""Reasons shown, those that rose last: more would push the replicas off a small screen."""

OTHER_COLUMNS: Final = 34
"""What the columns beside a reason need."""

_BARS: Final = "▁▂▃▄▅▆▇█"
_STYLES: Final = {"primary": "bold green", "backup": "green", "halted": "bold red"}
_LABEL: Final = "dim"


class History:
    """Speed at the last looks, and when each reason for refusing last rose."""

    def __init__(self) -> None:
        self.speeds: deque[float] = deque(maxlen=HISTORY)
        self.rose: dict[str, int] = {}
        """By reason: at which look it last rose."""
        self._looks = 0

    def add(self, speed: float | None, rates: Sequence[Rate]) -> None:
        """Take up one look."""
        self._looks += 1
        if speed is not None:
            self.speeds.append(speed)
        for rate in rates:
            self.rose.update(dict.fromkeys(rate.refused, self._looks))


@dataclass(frozen=True, slots=True)
class Frame:
    """What one look found. A rich renderable."""

    genesis: Genesis
    reports: Sequence[ReplicaStatus]
    rates: Sequence[Rate]
    history: History
    at: datetime
    interval: float
    """Seconds between two looks."""

    @property
    def height(self) -> int:
        """The highest of all replicas."""
        return max((report.reply.height for report in self.reports if report.reply), default=0)

    @property
    def transactions_per_s(self) -> float | None:
        """What the network does: the fastest replica, since all execute the same."""
        return max(
            (r.transactions_per_s for r in self.rates if r.transactions_per_s is not None), default=None
        )

    @property
    def blocks_per_s(self) -> float | None:
        """The same for blocks."""
        return max((rate.blocks_per_s for rate in self.rates if rate.blocks_per_s is not None), default=None)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        width = options.max_width
        yield self._title(width)
        yield self._speed(width)
        yield Text("")
        yield self._table(width)
        yield from self._notes()
        yield Text("")
        yield self._reasons(width)

    def _title(self, width: int) -> Table:
        reached = sum(report.reply is not None for report in self.reports)
        n = len(self.reports)
        left = Text.assemble(
            (self.genesis.name, "bold"),
            (f"  {self.genesis.application}", "cyan"),
            (f"  {n} replicas, {tolerated(n)} may fail", _LABEL),
        )
        if reached < n:
            left.append(f"  {n - reached} unreachable", "bold red")
        every = f"every {self.interval:g} s  " if width >= WIDE else ""
        right = Text.assemble((every, _LABEL), (self.at.astimezone().strftime("%H:%M:%S"), "bold"))
        line = Table.grid(expand=True)
        line.add_column(no_wrap=True, overflow="ellipsis")
        line.add_column(justify="right", no_wrap=True)
        line.add_row(left, right)
        return line

    def _speed(self, width: int) -> Text:
        """Height and speed, and how the speed was."""
        line = Text(no_wrap=True, overflow="crop")
        line.append("height ", _LABEL).append(f"{self.height:,}", "bold")
        line.append("   tx/s ", _LABEL).append(_rate(self.transactions_per_s), "bold")
        line.append("   blocks/s ", _LABEL).append(_rate(self.blocks_per_s), "bold").append("   ")
        room = width - line.cell_len
        speeds = [*self.history.speeds][-room:] if room > 0 else []
        highest = max(speeds, default=0.0)
        for speed in speeds:
            level = 0 if highest == 0 else round(speed / highest * (len(_BARS) - 1))
            line.append(_BARS[level], "green" if speed else _LABEL)
        return line

    def _table(self, width: int) -> Table:
        wide = width >= WIDE
        table = Table(box=None, pad_edge=False, padding=(0, 2 if wide else 1, 0, 0), header_style=_LABEL)
        n = len(self.reports)
        table.add_column("replica", no_wrap=True, overflow="ellipsis", max_width=24 if wide else 12)
        table.add_column("role", no_wrap=True, min_width=11)
        for name in ("view", "height", "lag", "tx/s", "blk/s", "pending", "memory"):
            table.add_column(name, justify="right", no_wrap=True)
        if wide:
            for name in ("stable", "voted", "up"):
                table.add_column(name, justify="right", no_wrap=True)
        numbers = "".join(str(place % 10) for place in range(n))
        table.add_column(f"peers {numbers}" if n <= MATRIX else "peers", justify="right", no_wrap=True)
        for row, rate in zip(rows(self.reports), self.rates, strict=True):
            table.add_row(*(self._cells(row, rate, wide) if row["reachable"] else _absent(row)))
        return table

    def _cells(self, row: dict[str, Any], rate: Rate, wide: bool) -> list[Text]:
        lag, pending = row["lag"], row["pending"]
        cells = [
            Text(printable(row["name"])),
            Text(printable(row["role"]), _STYLES.get(row["role"], "bold yellow")),
            Text(str(row["view"])),
            Text(f"{row['height']:,}"),
            Text(f"{lag:,}", "yellow" if lag else _LABEL),
            Text(_rate(rate.transactions_per_s)),
            Text(_rate(rate.blocks_per_s)),
            Text(f"{pending:,}", "" if pending else _LABEL),
            Text(f"{row['memory_mb']:,.0f} MB"),
        ]
        if wide:
            cells += [Text(f"{row['stable']:,}"), Text(f"{row['last_vote']:,}"), Text(_span(row["uptime_s"]))]
        return [*cells, _peers(row["peers"], row["id"])]

    def _notes(self) -> RenderResult:
        """Why somebody cannot be reached, or takes no part."""
        for row in rows(self.reports):
            what = row.get("cause") or row.get("halted")
            if what:
                line = f"{printable(row['name'])}: {printable(str(what))}"
                yield Text(line, "red", no_wrap=True, overflow="ellipsis")

    def _reasons(self, width: int) -> Table | Text:
        """What replicas did not take, the latest first: in all, since the last look, and at which."""
        totals: dict[str, int] = {}
        lately: dict[str, int] = {}
        where: dict[str, list[str]] = {}
        for report, rate in zip(self.reports, self.rates, strict=True):
            for reason, count in report.reply.ignored if report.reply else ():
                totals[reason] = totals.get(reason, 0) + count
                lately[reason] = lately.get(reason, 0) + rate.refused.get(reason, 0)
                where.setdefault(reason, []).append(str(report.member))
        if not totals:
            return Text("nothing was refused, ignored or dropped", _LABEL)
        rose = self.history.rose
        latest = sorted(totals, key=lambda each: (-rose.get(each, 0), -lately[each], -totals[each], each))
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=_LABEL)
        table.add_column(
            "refused, ignored, dropped", no_wrap=True, overflow="ellipsis", max_width=width - OTHER_COLUMNS
        )
        table.add_column("lately", justify="right", no_wrap=True)
        table.add_column("in all", justify="right", no_wrap=True)
        table.add_column("at", no_wrap=True, overflow="ellipsis")
        for reason in latest[:REASONS]:
            rising = lately[reason]
            table.add_row(
                Text(printable(reason), "" if rising else _LABEL),
                Text(f"+{rising:,}" if rising else "", "yellow"),
                Text(f"{totals[reason]:,}", "" if rising else _LABEL),
                Text(" ".join(where[reason]), _LABEL),
            )
        return table


def _absent(row: dict[str, Any]) -> list[Text]:
    return [Text(printable(row["name"])), Text("unreachable", "bold red")]


def _peers(peers: Sequence[bool], own: int) -> Text:
    """One mark for each member, or, for many, how many there are."""
    if len(peers) > MATRIX:
        connected, others = sum(peers) - 1, len(peers) - 1
        return Text(f"{connected}/{others}", "" if connected == others else "red")
    marks = Text()
    for member, connected in enumerate(peers):
        if member == own:
            marks.append("·", _LABEL)
        else:
            marks.append("●" if connected else "○", "green" if connected else "bold red")
    return marks


def _rate(rate: float | None) -> str:
    """A rate in three or more digits, or a dash where it is not known."""
    if rate is None:
        return "-"
    return f"{rate:,.0f}" if rate >= 100 or rate == 0 else f"{rate:.1f}"


def _span(seconds: float) -> str:
    """A time in its largest two units."""
    minutes, hours = int(seconds) // 60, int(seconds) // 3600
    if hours >= 24:
        return f"{hours // 24}d {hours % 24}h"
    if hours:
        return f"{hours}h {minutes % 60}m"
    return f"{minutes}m {int(seconds) % 60}s" if minutes else f"{int(seconds)}s"
