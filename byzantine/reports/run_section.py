"""One run on the page: its facts, the diagram with its controls, what is left out, and the run in words."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from byzantine.reports import svg
from byzantine.reports.frames import FAMILIES, STATUS, Message, conflicts, read
from byzantine.reports.howto import signs
from byzantine.reports.lanes import Drawing, draw
from byzantine.reports.selection import Selection, select
from byzantine.reports.story import shortened, told
from byzantine.reports.svg import escaped
from byzantine.reports.wording import counted, fired, fired_by, live, moment, named
from byzantine.trace import Event, What
from byzantine.verdicts import Result
from consensus.quorum import Quorums

MAX_CONFLICTS: Final = 12
KEYS: Final = (
    "Diagram. Left and right arrows choose a slot, j and k step through messages, plus and minus zoom, "
    "escape shows all."
)


def run_section(result: Result, events: Sequence[Event], command: str, index: int) -> str:
    """Return the section of a run; `index` tells it from others on the page."""
    messages = read(events, result.n)
    selection = select(events, messages)
    parts = [
        f'<section class="run" id="run-{index}">',
        f"<h2>{escaped(result.name)} {_chip(result)}</h2>",
        _facts(result, messages, command),
        _conflicts(messages),
    ]
    if events:
        drawing = draw(events, selection, result.n, result.liars)
        parts += [_left_out(selection, len(messages)), _figure(result, selection, drawing), _story(events)]
    else:
        parts.append('<p class="left-out">No trace of this run was kept, so it is not drawn.</p>')
    return "\n".join(part for part in (*parts, "</section>") if part)


def _chip(result: Result) -> str:
    return f'<span class="chip {result.verdict.value}">{result.verdict.value}</span>'


def _facts(result: Result, messages: Sequence[Message], command: str) -> str:
    quorums = Quorums.byzantine(result.n)
    facts = [
        ("replicas", f"{result.n}: f = {quorums.f}, quorum {quorums.quorum}"),
        ("seed", f"{result.seed}"),
        ("liars", named(result.liars) or "nobody"),
        ("blamed", named(result.blamed) or "nobody"),
        ("fired", escaped(fired_by(result) or fired(result.fired)) or "nothing"),
        ("live", live(result)),
        ("blocks", f"{result.blocks:,}"),
        ("highest view", f"{result.views:,}"),
        ("messages", f"{len(messages):,}"),
    ]
    listed = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts)
    return f'<dl class="facts">{listed}</dl><p class="again">again: <code>{escaped(command)}</code></p>'


def _conflicts(messages: Sequence[Message]) -> str:
    """Say which members contradicted themselves: the strongest thing that a trace can show."""
    groups = conflicts(messages)
    if not groups:
        return ""
    lines = []
    for group in groups[:MAX_CONFLICTS]:
        first = group[0]
        place = [f"view {first.view}"] if first.view >= 0 else []
        place += [f"slot {first.sequence}"] if first.sequence >= 0 else []
        versions = ", ".join(f"{one.version} <code>{escaped(one.digest)}</code>" for one in group)
        who, kind = escaped(first.signer), escaped(first.kind)
        lines.append(f"<li>member {who} signed {len(group)} {kind}s for {', '.join(place)}: {versions}</li>")
    more = len(groups) - MAX_CONFLICTS
    lines += [f"<li>and {more:,} more</li>"] if more > 0 else []
    return f'<div class="contradictions"><b>Contradictions</b><ul>{"".join(lines)}</ul></div>'


def _left_out(selection: Selection, total: int) -> str:
    """Say what is not drawn, by kind."""
    if not selection.messages_left_out and not selection.marks_left_out:
        return ""
    missing = sum(selection.messages_left_out.values())
    kinds = ", ".join(f"{count:,} {label}" for label, count in selection.messages_left_out.items())
    words = (
        f"Of {counted(total, 'message')}, {missing:,} are left out of the picture ({kinds})."
        if missing
        else ""
    )
    marks = sum(selection.marks_left_out.values())
    if marks:
        kinds = ", ".join(f"{count:,} {label}" for label, count in selection.marks_left_out.items())
        words += f" Of the events on lanes, {marks:,} are left out ({kinds})."
    words += (
        " Drawn are lies, contradictions, changes of view, and what lies closest to a failure or a fault."
    )
    return f'<p class="left-out">{words.strip()}</p>'


def _figure(result: Result, selection: Selection, drawing: Drawing) -> str:
    label = f"Lane diagram of {result.name}, seed {result.seed}: {len(drawing.arrows)} messages between "
    label += f"{len(drawing.lanes)} participants. The same run in words follows."
    file_name = escaped(f"{result.name}-n{result.n}-seed{result.seed}")
    return f"""<figure data-hide="{STATUS.key}" data-file="{file_name}">
{_controls(selection)}
<div class="scroller" tabindex="0" role="region" aria-label="{KEYS}">
<div class="heading">{svg.head(drawing)}</div>
{svg.body(drawing, label)}
</div>
<p class="detail" aria-live="polite">Point at something to see what it is; click to keep its slot lit.</p>
<figcaption>{signs()}</figcaption>
</figure>"""


def _controls(selection: Selection) -> str:
    counts = Counter(message.family.key for message in selection.messages)
    kinds = "".join(
        f'<label title="{escaped(family.meaning)}"><input type="checkbox" data-kind="{family.key}"'
        f"{'' if family is STATUS else ' checked'}>{svg.legend_arrow(family.key)}"
        f"{family.label} <small>{counts[family.key]:,}</small></label>"
        for family in FAMILIES
        if counts[family.key]
    )
    return f"""<div class="controls">
<fieldset class="kinds"><legend>messages</legend>{kinds}</fieldset>
<div class="tools scripted" hidden>
<span role="group" aria-label="Slot">slot
<button type="button" data-do="before" aria-label="Previous slot">◂</button>
<output>all</output>
<button type="button" data-do="after" aria-label="Next slot">▸</button>
<button type="button" data-do="clear">all</button></span>
<span role="group" aria-label="Go to">{_jumps(selection)}</span>
<span role="group" aria-label="Zoom">
<button type="button" data-do="out" aria-label="Zoom out">&minus;</button>
<button type="button" data-do="fit">fit</button>
<button type="button" data-do="in" aria-label="Zoom in">+</button></span>
<button type="button" data-do="save">save as SVG</button>
</div></div>"""


def _jumps(selection: Selection) -> str:
    """Buttons that lead to what is looked for in a long picture."""
    present = {event.what for event in selection.marks}
    jumps = {What.LIED: "first lie", What.FAILED: "failure", What.HEALED: "end of faults"}
    return "".join(
        f'<button type="button" data-do="go" data-to="{what.value}">{words}</button>'
        for what, words in jumps.items()
        if what in present
    )


def _story(events: Sequence[Event]) -> str:
    lines = told(events)
    if not lines:
        return ""
    shown = shortened(lines)
    listed = "".join(
        f'<li class="{line.what.value}"><time>{moment(line.at_us)}</time> {escaped(line.text)}</li>'
        for line in shown
    )
    more = len(lines) - len(shown)
    rest = f'<p class="left-out">{more:,} of these lines are left out here.</p>' if more > 0 else ""
    title = f"The run in words: {counted(len(lines), 'line')}"
    return f'<details class="story"><summary>{title}</summary><ol>{listed}</ol>{rest}</details>'
