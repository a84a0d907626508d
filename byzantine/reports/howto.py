"""What the signs of a lane diagram mean, and PBFT in a few sentences, for those who see both first here."""

from byzantine.reports.svg import SHAPES, block, legend_arrow, legend_sign
from byzantine.trace import What

_LOST = '<path class="line" d="M-13 -5L6 3"/><path class="cross" d="M1-2l10 10m0-10l-10 10"/>'
_CONFLICT = '<path class="halo" d="M-13-4L12 4"/><path class="line" d="M-13-4L12 4"/>'
_VERSION = '<g class="version"><circle r="7.5"/><text y="3.6">A</text></g>'
_LIE = '<path class="lied" d="M-13-4L12 4"/><path class="line" d="M-13-4L12 4M6-1.5L12 4L4.8 5.2"/>'
_BAND = '<rect x="-9" y="-10" width="18" height="20"/>'

_SIGNS = (
    ("band v0", _BAND, "in a view; each view has its tint"),
    ("band v0 primary", _BAND, "as its primary"),
    ("band v1 leaving", _BAND, "on the way into a view"),
    ("mark executed", block("5"), "block executed"),
    ("mark stable", SHAPES[What.STABLE], "checkpoint stable"),
    ("m k-pre-prepare lost", _LOST, "lost, or cut off"),
    ("m k-pre-prepare lie", _LIE, "sent by a lie"),
    ("m k-pre-prepare conflict", _CONFLICT + _VERSION, "contradicts another of its signer"),
    ("mark lied", SHAPES[What.LIED], "a lie"),
    ("mark evidence", SHAPES[What.EVIDENCE], "proof of a lie is held"),
    ("mark crashed", SHAPES[What.CRASHED], "crashed"),
    ("mark restarted", SHAPES[What.RESTARTED], "restarted"),
    ("mark submitted", SHAPES[What.SUBMITTED], "transaction submitted"),
    ("mark believed", SHAPES[What.BELIEVED], "its outcome believed"),
)


def signs() -> str:
    """Return the legend of everything but the kinds of messages."""
    listed = "".join(f"<li>{legend_sign(kind, content)}{words}</li>" for kind, content, words in _SIGNS)
    return f'<ul class="signs">{listed}</ul>'


def how_to_read() -> str:
    """Return PBFT in a few sentences, in the words and colours of the diagrams."""
    steps = (
        ("client", "A client sends a transaction to every replica."),
        ("pre-prepare", "The <b>primary</b> of the view gives it a place in the order, a <b>slot</b>."),
        (
            "prepare",
            "Each <b>backup</b> tells all others which proposal it has for the slot. A quorum that names one "
            "excludes all others in this view: two quorums share an honest replica, and that votes once.",
        ),
        (
            "commit",
            "Who saw that quorum says so. A quorum of these decides the slot for ever, in all views to come.",
        ),
        (
            "client",
            "Replicas execute the slot and answer. The client believes f+1 equal answers: one is honest.",
        ),
        ("checkpoint", "Now and then all sign where they stand, so that what lies before can be forgotten."),
        ("suspect", "Who waits too long says so; f+1 of these, and the view is left."),
        ("view-change", "Each shows the next primary what it had prepared,"),
        ("new-view", "and that one starts its view with a quorum of these, so nothing decided is lost."),
    )
    listed = "".join(f"<li>{legend_arrow(key)}<span>{words}</span></li>" for key, words in steps)
    return f"""<details class="how"><summary>How to read the diagrams</summary>
<p>Time runs downwards. Each client and replica is a lane; an arrow is a message, from where it was sent to
where it arrived: the flatter, the faster. The bars on the left are slots, from the proposal through prepare
and commit to the first execution. Pauses are drawn short, and say so. A liar's lane is red. Where a slot has
two proposals, letters tell which of them a vote is for.</p>
<ol>{listed}</ol>
<p>Of n replicas, f may lie: (n &minus; 1) / 3, rounded down. A quorum is so many that any two share an honest
one.</p>
</details>"""
