"""Writes a lane diagram as SVG. Colours, dashes and what is hidden are the style sheet's (assets/page.css).

Every text that comes from a trace passes through `escaped`.
"""

from html import escape
from typing import Final

from byzantine.reports.frames import Fate
from byzantine.reports.lanes import Arrow, Band, Drawing, Lane, Mark, Outage, Rule
from byzantine.reports.slots import SlotBar
from byzantine.reports.story import event_words, message_words, participant
from byzantine.reports.timeline import Break
from byzantine.reports.wording import clean, counted, duration, moment
from byzantine.trace import Event, What

HEAD_HEIGHT: Final = 46.0
VIEW_TINTS: Final = 6
"""Tints of bands; the seventh view has the first one's again."""
BAND_WIDTH: Final = 18.0
NOTE_CHARACTERS: Final = 29
LABEL_CHARACTERS: Final = 26
NAME_CHARACTERS: Final = 13
BADGE_AT: Final = 0.72
"""How far along its way a message bears its letter: near its receiver, where arrows part."""


def escaped(text: str) -> str:
    """Return cleaned text that is safe inside an element and inside a quoted attribute."""
    return escape(clean(text))


def shortened(text: str, length: int) -> str:
    """Return text with its end cut off where it is too long."""
    return text if len(text) <= length else text[: length - 1] + "…"


def head(drawing: Drawing) -> str:
    """Return the names of the lanes, which stay on the screen."""
    lanes = "".join(_lane_head(lane, _lane_width(drawing)) for lane in drawing.lanes)
    words = f'<text class="axis" x="12" y="{HEAD_HEIGHT - 12:g}">time</text>'
    words += f'<text class="axis" x="84" y="{HEAD_HEIGHT - 12:g}">slots</text>'
    return _svg(drawing.width, HEAD_HEIGHT, "heads", words + lanes, ' aria-hidden="true"')


def body(drawing: Drawing, label: str) -> str:
    """Return the diagram itself; `label` says what it shows."""
    strong = [arrow for arrow in drawing.arrows if arrow.message.version or arrow.message.lie]
    plain = [arrow for arrow in drawing.arrows if not (arrow.message.version or arrow.message.lie)]
    parts = [
        f"<g>{''.join(_tick(tick.at_us, tick.y, drawing) for tick in drawing.ticks)}</g>",
        f"<g>{''.join(map(_band, drawing.bands))}{''.join(map(_outage, drawing.outages))}</g>",
        f"<g>{''.join(_lane_line(lane, drawing.height) for lane in drawing.lanes)}</g>",
        f"<g>{''.join(_break(one, count, drawing) for one, count in drawing.breaks)}</g>",
        _ends(drawing),
        f"<g>{''.join(map(_slot, drawing.slots))}</g>",
        f"<g>{''.join(map(_band_label, drawing.bands))}</g>",
        f"<g>{''.join(map(_arrow, plain))}</g><g>{''.join(map(_arrow, strong))}</g>",
        f"<g>{''.join(_rule(rule, drawing) for rule in drawing.rules)}</g>",
        f"<g>{''.join(map(_mark, drawing.marks))}</g>",
    ]
    attributes = f' role="img" tabindex="0" aria-label="{escaped(label)}"'
    return _svg(drawing.width, drawing.height, "lanes", "\n".join(parts), attributes)


def _svg(width: float, height: float, kind: str, content: str, attributes: str) -> str:
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" class="{kind}" {size}{attributes}>{content}</svg>'


def _titled(kind: str, content: str, words: str, data: str = "") -> str:
    title = "\n".join(escaped(line) for line in words.split("\n"))
    return f'<g class="{kind}"{data}><title>{title}</title>{content}</g>'


def _lane_width(drawing: Drawing) -> float:
    return (drawing.right - drawing.left) / len(drawing.lanes)


def _lane_head(lane: Lane, width: float) -> str:
    wide = min(width - 10, 120)
    kind = "liar" if lane.liar else "replica" if lane.member is not None else "guest"
    name = escaped(shortened(participant(lane.name), NAME_CHARACTERS))
    text = f'<text x="{lane.x:.1f}" y="{20 if lane.liar else 26}">{name}</text>'
    if lane.liar:
        text += f'<text class="badge" x="{lane.x:.1f}" y="33">liar</text>'
    box = f'<rect x="{lane.x - wide / 2:.1f}" y="5" width="{wide:.1f}" height="34" rx="7"/>'
    return f'<g class="head {kind}">{box}{text}</g>'


def _lane_line(lane: Lane, height: float) -> str:
    kind = "lane liar" if lane.liar else "lane"
    return f'<path class="{kind}" d="M{lane.x:.1f} 0V{height:.1f}"/>'


def _band(band: Band) -> str:
    kind = f"band v{band.view % VIEW_TINTS}" + (" leaving" if band.leaving else "")
    kind += " primary" if band.primary and not band.leaving else ""
    left, height = band.x - BAND_WIDTH / 2, band.bottom - band.top
    box = f'<rect x="{left:.1f}" y="{band.top:.1f}" width="{BAND_WIDTH:g}" height="{height:.1f}"/>'
    if band.leaving:
        words = f"on the way into view {band.view}"
    else:
        words = f"in view {band.view}" + (", as its primary" if band.primary else "")
    return _titled(kind, box, words)


def _band_label(band: Band) -> str:
    if band.leaving or band.bottom - band.top < 14:
        return ""
    words = f"view {band.view}" + (" · primary" if band.primary else "")
    kind = "view primary" if band.primary else "view"
    return f'<text class="{kind}" x="{band.x - 13:.1f}" y="{band.top + 11:.1f}">{words}</text>'


def _outage(outage: Outage) -> str:
    left, height = outage.x - BAND_WIDTH / 2, outage.bottom - outage.top
    box = f'<rect x="{left:.1f}" y="{outage.top:.1f}" width="{BAND_WIDTH:g}" height="{height:.1f}"/>'
    line = f'<path d="M{outage.x:.1f} {outage.top:.1f}V{outage.bottom:.1f}"/>'
    return _titled("outage", box + line, "down")


def _tick(at_us: int, y: float, drawing: Drawing) -> str:
    line = f'<path class="tick" d="M{drawing.left - 14:.1f} {y:.1f}H{drawing.right:.1f}"/>'
    return f'{line}<text class="axis" x="68" y="{y + 4:.1f}" text-anchor="end">{_short_time(at_us)}</text>'


def _short_time(at_us: int) -> str:
    """Round times need few digits; others are exact to what is drawn."""
    if at_us < 1_000_000:
        return f"{at_us / 1000:.10g} ms" if at_us % 100 == 0 else f"{at_us / 1000:.2f} ms"
    return f"{at_us / 1_000_000:.4f} s" if at_us % 1000 else f"{at_us / 1_000_000:g} s"


def _break(one: Break, omitted: int, drawing: Drawing) -> str:
    middle = (one.top + one.bottom) / 2
    words = duration((one.end_us - one.start_us) / 1000)
    words += f", {counted(omitted, 'message')} left out" if omitted else ", drawn short"
    shape = f"M{drawing.left - 14:.1f} {middle:.1f}" + "q5 -6 10 0t10 0" * int(
        (drawing.right - drawing.left + 14) / 20
    )
    height = one.bottom - one.top
    veil = f'<rect x="74" y="{one.top:.1f}" width="{drawing.right - 74:.1f}" height="{height:.1f}"/>'
    note = f'<text x="{drawing.right + 10:.1f}" y="{middle + 4:.1f}">{words}</text>'
    return f'<g class="break">{veil}<path d="{shape}"/>{note}</g>'


def _ends(drawing: Drawing) -> str:
    """Say what is left out above and below the picture."""
    notes = ""
    for count, word, y in ((drawing.before, "earlier", 16.0), (drawing.after, "later", drawing.height - 14)):
        if count:
            words = f"{count:,} {word} messages left out"
            notes += f'<text x="{drawing.right + 10:.1f}" y="{y:.1f}">{words}</text>'
    return f'<g class="break">{notes}</g>' if notes else ""


def _slot(bar: SlotBar) -> str:
    x = 82 + bar.column * 15
    parts = "".join(
        f'<rect class="k-{key}" x="{x}" y="{top:.1f}" width="8" height="{max(bottom - top, 1):.1f}"/>'
        for key, top, bottom in bar.parts
    )
    end = f'<path d="M{x - 2} {bar.bottom:.1f}h12"/>' if bar.executed else ""
    text = f'<text x="{x + 4}" y="{bar.top - 3:.1f}">{bar.sequence}</text>'
    outcome = "executed" if bar.executed else "not executed in this view"
    words = f"slot {bar.sequence} in view {bar.view}: {outcome}\nits steps: pre-prepare, prepare, commit"
    return _titled("slot", parts + end + text, words, f' data-s="{bar.sequence}"')


def _arrow(arrow: Arrow) -> str:
    message = arrow.message
    line = f"M{arrow.x1:.1f} {arrow.y1:.1f}L{arrow.x2:.1f} {arrow.y2:.1f}"
    kind = f"m k-{message.family.key}"
    drawn = ""
    if message.version:
        kind += " conflict" + (" other" if message.version != "A" else "")
        drawn += f'<path class="halo" d="{line}"/>'
    if message.lie:
        kind += " lie"
        drawn += f'<path class="lied" d="{line}"/>'
    if message.fate is Fate.DELIVERED:
        drawn += f'<path class="line" d="{line}{_arrow_head(arrow)}"/>'
    else:
        kind += " lost" if message.fate is not Fate.UNDER_WAY else " open"
        drawn += f'<path class="line" d="{line}"/>'
        if message.fate is not Fate.UNDER_WAY:
            drawn += f'<path class="cross" d="M{arrow.x2 - 5:.1f} {arrow.y2 - 5:.1f}l10 10m0-10l-10 10"/>'
    drawn += _badge(arrow)
    drawn += f'<path class="hit" d="{line}"/>'
    data = f' data-s="{message.sequence}"' if message.sequence >= 0 else ""
    return _titled(kind, drawn, message_words(message), data)


def _arrow_head(arrow: Arrow) -> str:
    """Two short strokes back from the end, turned into the line's direction."""
    dx, dy = arrow.x2 - arrow.x1, arrow.y2 - arrow.y1
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    ux, uy = dx / length * 7, dy / length * 7
    first = f"{arrow.x2 - ux - uy * 0.5:.1f} {arrow.y2 - uy + ux * 0.5:.1f}"
    second = f"{arrow.x2 - ux + uy * 0.5:.1f} {arrow.y2 - uy - ux * 0.5:.1f}"
    return f"M{first}L{arrow.x2:.1f} {arrow.y2:.1f}L{second}"


def _badge(arrow: Arrow) -> str:
    """The letter of what a message is for, where there are several such things."""
    letter = arrow.message.version or arrow.message.side
    if not letter:
        return ""
    x = arrow.x1 + (arrow.x2 - arrow.x1) * BADGE_AT
    y = arrow.y1 + (arrow.y2 - arrow.y1) * BADGE_AT
    circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{7.5 if arrow.message.version else 6.5}"/>'
    return f'<g class="version">{circle}<text x="{x:.1f}" y="{y + 3.6:.1f}">{letter}</text></g>'


SHAPES: Final = {
    What.STABLE: '<path d="M-6 7v-14h12l-4 4 4 4h-12"/>',
    What.LIED: '<path d="M0-8l8 8-8 8-8-8z"/><path class="ink" d="M0-4v4.4m0 3v.4"/>',
    What.EVIDENCE: '<path d="M0-8l9 15h-18z"/><path class="ink" d="M0-3v4.4m0 2.8v.4"/>',
    What.CRASHED: '<path d="M-7-7l14 14m0-14l-14 14"/>',
    What.RESTARTED: '<circle r="7.5"/><path d="M-2.2-4l6 4-6 4z"/>',
    What.FAULT: '<rect x="-6" y="-6" width="12" height="12"/>',
    What.SUBMITTED: '<circle r="5"/>',
    What.BELIEVED: '<circle r="5"/>',
}
"""Around the place of the mark."""


def _mark(mark: Mark) -> str:
    event = mark.event
    shape = SHAPES.get(event.what) or block(f"{event.sequence}{mark.fork}")
    if mark.label:
        words = escaped(shortened(clean(mark.label), LABEL_CHARACTERS))
        place = 'x="11" y="-8"' if event.what is What.LIED else 'x="14" y="4"'
        shape += f'<text class="label" {place}>{words}</text>'
    words = f"{event_words(event)}\n{moment(event.at_us)}"
    if mark.fork:
        words += f"\nversion {mark.fork}: others stored another block at this height"
    data = f' transform="translate({mark.x:.1f} {mark.y:.1f})"'
    data += f' data-s="{event.sequence}"' if event.sequence >= 0 else ""
    return _titled(f"mark {event.what.value}" + (" fork" if mark.fork else ""), shape, words, data)


def block(text: str) -> str:
    """Return the sign of an executed block: its height in a box."""
    wide = max(22, 8 + 7 * len(text))
    return f'<rect x="{-wide / 2:g}" y="-8" width="{wide}" height="16" rx="3"/><text y="4">{text}</text>'


def _rule(rule: Rule, drawing: Drawing) -> str:
    event = rule.event
    words = event_words(event)
    text = escaped(shortened(clean(_short(event)), NOTE_CHARACTERS))
    line = f'<path d="M{drawing.left - 14:.1f} {rule.y:.1f}H{drawing.right + 4:.1f}"/>'
    note = f'<text x="{drawing.right + 10:.1f}" y="{rule.label_y + 4:.1f}">{text}</text>'
    data = f' data-s="{event.sequence}"' if event.sequence >= 0 else ""
    return _titled(f"rule {event.what.value}", line + note, f"{words}\n{moment(event.at_us)}", data)


def _short(event: Event) -> str:
    """What fits beside the lanes; the rest is in the words behind it."""
    match event.what:
        case What.HEALED:
            return "healed: faults end here"
        case What.FAILED:
            return f"{event.kind} failed" + (f" at slot {event.sequence}" if event.sequence >= 0 else "")
        case _:
            return event.note or event.kind


def legend_arrow(key: str) -> str:
    """Return a short arrow of a family's colour and dash, for the legend."""
    return legend_sign(f"m k-{key}", '<path class="line" d="M-13 -4L12 3M5.5 -2.5L12 3L4.3 4.6"/>')


def legend_sign(kind: str, content: str) -> str:
    """Return a sign of the diagram by itself, drawn around its middle, for the legend."""
    size = 'viewBox="-15 -10 30 20" width="30" height="20"'
    return f'<svg class="key" {size} aria-hidden="true"><g class="{kind}">{content}</g></svg>'
