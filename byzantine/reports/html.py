"""One page that opens without a network: the summary, what failed, and a diagram of each run with a trace.

What lives here: the page around the diagrams. Style and script are in assets/ and become part of the page, so
that the file is whole by itself. A content security policy with their digests lets nothing else run or load.
"""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from importlib.resources import files
from typing import Final

from msgspec import Struct

from byzantine.reports.groups import Group, grouped
from byzantine.reports.howto import how_to_read
from byzantine.reports.run_section import run_section
from byzantine.reports.svg import escaped
from byzantine.reports.wording import (
    YES_NO,
    Replay,
    counted,
    duration,
    fired,
    idle,
    live,
    named,
    replay_command,
    slandered,
)
from byzantine.trace import Event
from byzantine.verdicts import Result, Summary, Verdict

MAX_ROWS: Final = 400
"""Runs in the table: of a longer campaign there is a row per scenario."""
MAX_EXPLAINED: Final = 200
_ENDED: Final = {
    Verdict.PASS: "passed",
    Verdict.FAIL: "failed",
    Verdict.INCONCLUSIVE: "was inconclusive, which is no pass",
}


class Run(Struct, frozen=True):
    """A run and what happened in it."""

    result: Result
    events: tuple[Event, ...]


def render(summary: Summary, runs: Sequence[Run] = (), replay: Replay = replay_command) -> str:
    """Return the page. Each of `runs` is drawn, in this order."""
    style, script = _asset("page.css"), _asset("page.js")
    sections = [
        _header(summary),
        _table(summary, runs),
        _failures(summary, replay),
        how_to_read() if runs else "",
        *(run_section(run.result, run.events, replay(run.result), index) for index, run in enumerate(runs)),
        _footer(summary),
    ]
    body = "\n".join(section for section in sections if section)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escaped(_title(summary))}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
<script>{script}</script>
</body>
</html>
"""


def _asset(name: str) -> str:
    return files("byzantine.reports").joinpath("assets", name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Only our own style and script, known by their digests, and nothing from elsewhere."""
    allowed = [b64encode(sha256(text.encode()).digest()).decode() for text in (style, script)]
    parts = (f"style-src 'sha256-{allowed[0]}'", f"script-src 'sha256-{allowed[1]}'", "img-src data:")
    return "; ".join(("default-src 'none'", *parts, "base-uri 'none'", "form-action 'none'"))


def _title(summary: Summary) -> str:
    return f"Attack report: {_outcome(summary)[1]}"


def _outcome(summary: Summary) -> tuple[Verdict, str]:
    """Return the verdict on all runs together, and what it is in words."""
    failed = sum(result.verdict is Verdict.FAIL for result in summary.results)
    unclear = sum(result.verdict is Verdict.INCONCLUSIVE for result in summary.results)
    if len(summary.results) == 1:
        verdict = summary.results[0].verdict
        return verdict, f"the run {_ENDED[verdict]}"
    total = counted(len(summary.results), "run")
    if failed:
        also = f", {unclear:,} inconclusive" if unclear else ""
        return Verdict.FAIL, f"{failed:,} of {total} failed{also}"
    if unclear:
        return Verdict.INCONCLUSIVE, f"{unclear:,} of {total} inconclusive, none failed"
    if not summary.results:
        return Verdict.INCONCLUSIVE, "nothing ran, which is no pass"
    return Verdict.PASS, f"all {total} passed"


def _header(summary: Summary) -> str:
    verdict, words = _outcome(summary)
    facts = [
        ("schedules", f"{len(summary.results):,}"),
        ("per minute", f"{summary.schedules_per_minute:,.0f}"),
        ("took", duration(1000 * summary.seconds)),
        ("runner", escaped(summary.runner)),
        ("version", escaped(summary.version)),
    ]
    if summary.commit:
        facts.append(("commit", f"<code>{escaped(_short(summary.commit))}</code>"))
    listed = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    return f"""<header>
<p class="kicker">Tetrarch · malicious-replica tests</p>
<h1 class="{verdict.value}">{words[0].upper()}{words[1:]}</h1>
<dl class="facts">{listed}</dl>
</header>"""


def _short(commit: str) -> str:
    """Return the beginning of a commit, and the mark of what differs from it."""
    head, plus, changed = commit.partition("+")
    return f"{head[:12]}{plus}{changed}"


def _table(summary: Summary, runs: Sequence[Run]) -> str:
    head: tuple[str, ...]
    if len(summary.results) > MAX_ROWS:
        head = (
            "scenario",
            "n",
            "runs",
            "fired",
            "pass",
            "fail",
            "inconclusive",
            "median recovery",
            "longest",
        )
        rows = [_group_row(group) for group in grouped(summary.results)]
    else:
        head = ("scenario", "n", "seed", "fired", "safe", "live, recovered after", "blamed", "verdict")
        drawn = {_key(run.result): index for index, run in enumerate(runs)}
        rows = [_row(result, drawn.get(_key(result))) for result in summary.results]
    if not rows:
        return ""
    cells = "".join(f'<th scope="col">{name}</th>' for name in head)
    body = "\n".join(rows)
    return f"""<section aria-label="Summary">
<div class="wide" tabindex="0" role="region" aria-label="Table of runs">
<table><thead><tr>{cells}</tr></thead>
<tbody>
{body}
</tbody></table></div></section>"""


def _key(result: Result) -> tuple[str, int, int, str]:
    return (result.name, result.n, result.seed, result.runner)


def _row(result: Result, drawn: int | None) -> str:
    name = escaped(result.name)
    if drawn is not None:
        name = f'<a href="#run-{drawn}">{name}</a>'
    counts = escaped(fired(result.fired)) or "nothing"
    wronged = slandered(result)
    blamed = named(result.blamed) or "&ndash;"
    if wronged:
        blamed = f'<strong class="fail">{blamed} (honest: {named(wronged)})</strong>'
    cells = (
        f'<th scope="row">{name}</th><td class="number">{result.n}</td><td class="number">{result.seed}</td>',
        f'<td class="{"inconclusive" if idle(result) or not result.fired else "small"}">{counts}</td>',
        f'<td class="{result.safe.value}">{YES_NO[result.safe]}</td>',
        f'<td class="{result.live.value}">{live(result)}</td><td>{blamed}</td>',
        f'<td><span class="chip {result.verdict.value}">{result.verdict.value}</span></td>',
    )
    return f"<tr>{''.join(cells)}</tr>"


def _group_row(group: Group) -> str:
    sizes = ", ".join(map(str, group.sizes))
    cells = [f'<th scope="row">{escaped(group.name)}</th><td class="number">{sizes}</td>']
    cells.append(f'<td class="number">{len(group.results):,}</td>')
    silent = f' title="nothing fired in {counted(group.silent, "run")}"' if group.silent else ""
    cells.append(f'<td class="number{" inconclusive" if silent else ""}"{silent}>{group.fired:,}</td>')
    for verdict in (Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE):
        count = group.count(verdict)
        kind = f" {verdict.value}" if count else " none"
        cells.append(f'<td class="number{kind}">{count:,}</td>')
    for value in (group.median_ms, group.max_ms):
        cells.append(f'<td class="number">{"&ndash;" if value is None else duration(value)}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _failures(summary: Summary, replay: Replay) -> str:
    failures = summary.failures
    if not failures:
        return ""
    shown = "\n".join(_failure(result, replay(result)) for result in failures[:MAX_EXPLAINED])
    more = len(failures) - MAX_EXPLAINED
    rest = f'<p class="left-out">{more:,} more are in the JSON and JUnit reports.</p>' if more > 0 else ""
    return f'<section><h2>What did not pass, and why</h2>\n<ul class="failures">{shown}</ul>{rest}</section>'


def _failure(result: Result, command: str) -> str:
    findings = "".join(
        f"<li><b>{escaped(finding.oracle)}</b>: {escaped(finding.why) or finding.verdict.value}</li>"
        for finding in result.failed
    )
    findings += "" if result.findings else "<li>no oracle looked at this run</li>"
    findings += "".join(f"<li>never fired: {escaped(name)}</li>" for name in idle(result))
    if wronged := slandered(result):
        findings += f"<li>blamed without having lied: {named(wronged)}</li>"
    chip = f'<span class="chip {result.verdict.value}">{result.verdict.value}</span>'
    title = f"<b>{escaped(result.name)}</b>, n = {result.n}, seed {result.seed}"
    return f"<li>{chip} {title}<ul>{findings}</ul><p>again: <code>{escaped(command)}</code></p></li>"


def _footer(summary: Summary) -> str:
    made = f"Made by Tetrarch {escaped(summary.version)}."
    return f"<footer><p>{made} This page holds all that it shows: it loads nothing.</p></footer>"
