"""A summary for people at a terminal: a table, what failed and why, and one line of totals.

Two forms: a row per run, and a row per scenario for campaigns of thousands. On a terminal they take its
width; in a file or pipe nothing is cut, coloured or wrapped. Colours follow the console, NO_COLOR included.
"""

from collections.abc import Iterable, Sequence

from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from byzantine.reports.groups import Group, grouped
from byzantine.reports.wording import (
    YES_NO,
    Replay,
    clean,
    counted,
    duration,
    fired,
    fired_by,
    idle,
    live,
    named,
    replay_command,
    slandered,
)
from byzantine.verdicts import Result, Summary, Verdict
from tetrarch.cli.output import tell

STYLES = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.INCONCLUSIVE: "yellow"}
ROOMY = 100
"""Columns from which the behaviours are named; below, only how often they fired altogether."""
WHOLE = 28
"""Characters of a scenario's name that are kept on one line, also where it is narrow."""
MAX_EXPLAINED = 20
"""Failures explained one by one: more are not read. The other reports hold all."""
MANY = 60
"""Runs from which `show` prints a row per scenario: more rows would leave the first ones behind."""


def show(screen: Console, summary: Summary, replay: Replay = replay_command) -> None:
    """Print a summary in the form that suits its length."""
    if len(summary.results) > MANY:
        show_groups(screen, summary, replay)
    else:
        show_runs(screen, summary, replay)


def show_runs(screen: Console, summary: Summary, replay: Replay = replay_command) -> None:
    """Print a row per run, then the failures, then the totals."""
    roomy = screen.width >= ROOMY or not screen.is_terminal
    names = (result.name for result in summary.results)
    table = _table(names, left=("fired",) if roomy else (), right=() if roomy else ("fired",))
    for result in summary.results:
        table.add_row(*_run(result, roomy))
    show_table(screen, table)
    explain(screen, summary.failures, replay)
    _totals(screen, summary)


def show_groups(screen: Console, summary: Summary, replay: Replay = replay_command) -> None:
    """Print a row per scenario, then the failures, then the totals."""
    table = plain_table()
    groups = grouped(summary.results)
    table.add_column("scenario", overflow="fold", no_wrap=_fit(group.name for group in groups))
    for name in ("n", "runs", "blocks", "fired", "pass", "fail", "unclear", "median", "max"):
        table.add_column(name, justify="right", overflow="fold")
    for group in groups:
        table.add_row(*_group(group))
    show_table(screen, table)
    explain(screen, summary.failures, replay)
    _totals(screen, summary)


def explain(screen: Console, failures: Sequence[Result], replay: Replay = replay_command) -> None:
    """Print for each run that is no pass which oracles said so, why, and how to see it again."""
    for result in failures[:MAX_EXPLAINED]:
        heading = Text()
        heading.append(result.verdict.value, STYLES[result.verdict])
        heading.append(f"  {clean(result.name)}, n = {result.n}, seed {result.seed}", "bold")
        screen.print()
        screen.print(heading, soft_wrap=not screen.is_terminal)
        for finding in result.failed:
            tell(screen, f"{clean(finding.oracle)}: {clean(finding.why) or finding.verdict.value}", "  ")
        if not result.findings:
            tell(screen, "no oracle looked at this run", "  ")
        if wronged := slandered(result):
            tell(screen, f"blamed without having lied: {named(wronged)}", "  ")
        if who := fired_by(result):
            tell(screen, f"fired at {who}", "  ")
        for name in idle(result):
            tell(screen, f"never fired: {clean(name)}", "  ")
        tell(screen, f"again: {clean(replay(result))}", "  ")
    if len(failures) > MAX_EXPLAINED:
        screen.print()
        tell(
            screen, f"and {len(failures) - MAX_EXPLAINED:,} more, which the JSON, JUnit and HTML reports list"
        )


def plain_table() -> Table:
    """Return a table without lines, to which columns are to be added."""
    return Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))


def _fit(names: Iterable[str]) -> bool:
    """Return whether names are short enough that rather all else is wrapped."""
    return all(len(name) <= WHOLE for name in names)


def _table(names: Iterable[str], left: tuple[str, ...], right: tuple[str, ...]) -> Table:
    table = plain_table()
    table.add_column("scenario", overflow="fold", no_wrap=_fit(names))
    for name in ("n", "seed", *right):
        table.add_column(name, justify="right", overflow="fold")
    for name in (*left, "safe", "live", "blamed", "verdict"):
        table.add_column(name, overflow="fold")
    return table


def _run(result: Result, roomy: bool) -> list[Text]:
    idle_style = "yellow" if idle(result) or not result.fired else ""
    count = fired(result.fired) or "nothing" if roomy else f"{sum(result.fired.values()):,}"
    return [
        Text(clean(result.name)),
        Text(str(result.n)),
        Text(str(result.seed)),
        Text(count, idle_style),
        Text(YES_NO[result.safe], STYLES[result.safe]),
        Text(live(result), STYLES[result.live]),
        Text(named(result.blamed) or "-", "bold red" if slandered(result) else ""),
        Text(result.verdict.value, STYLES[result.verdict]),
    ]


def _group(group: Group) -> list[Text]:
    failed, unclear = group.count(Verdict.FAIL), group.count(Verdict.INCONCLUSIVE)
    return [
        Text(clean(group.name)),
        Text(" ".join(map(str, group.sizes))),
        Text(f"{len(group.results):,}"),
        Text(str(group.median_blocks)),
        Text(f"{group.fired:,}", "yellow" if group.silent else ""),
        Text(f"{group.count(Verdict.PASS):,}"),
        Text(f"{failed:,}", STYLES[Verdict.FAIL] if failed else ""),
        Text(f"{unclear:,}", STYLES[Verdict.INCONCLUSIVE] if unclear else ""),
        Text("-" if group.median_ms is None else duration(group.median_ms)),
        Text("-" if group.max_ms is None else duration(group.max_ms)),
    ]


def show_table(screen: Console, table: Table) -> None:
    """Print a table: as wide as the terminal, elsewhere as wide as it must be for nothing to be cut."""
    if screen.is_terminal:
        screen.print(table)
        return
    table.width = _natural_width(screen, table)
    screen.print(table, crop=False, soft_wrap=True)


def _natural_width(screen: Console, table: RenderableType) -> int:
    return Measurement.get(screen, screen.options.update(max_width=10_000), table).maximum


def _totals(screen: Console, summary: Summary) -> None:
    results = summary.results
    failed = sum(result.verdict is Verdict.FAIL for result in results)
    unclear = sum(result.verdict is Verdict.INCONCLUSIVE for result in results)
    line = Text()
    line.append(f"{counted(len(results), 'schedule')} in {duration(1000 * summary.seconds)}")
    line.append(
        f", {summary.schedules_per_minute:,.0f} per minute: {len(results) - failed - unclear:,} passed"
    )
    line.append(f", {failed:,} failed", STYLES[Verdict.FAIL] if failed else "")
    line.append(f", {unclear:,} inconclusive", STYLES[Verdict.INCONCLUSIVE] if unclear else "")
    screen.print()
    screen.print(line, soft_wrap=not screen.is_terminal)
    if not results:
        tell(screen, "Nothing ran, which is no pass.")
