"""The catalogue as Markdown, for docs/testing.md: made from the attacks, so that the page cannot say otherwise.

`python -m byzantine.attacks.document` writes it into the page, between its two marks.
"""

from pathlib import Path
from typing import Final

from byzantine.attacks.catalogue import ATTACKS, Attack
from byzantine.scenario import Expect

BEGIN: Final = "<!-- the catalogue begins -->"
END: Final = "<!-- the catalogue ends -->"

GROUPS: Final = {
    "primary": "The primary",
    "backup": "A backup",
    "view-change": "The view change",
    "state-transfer": "Checkpoints and state transfer",
    "replies": "Replies",
    "client": "Clients",
    "network": "Network, bytes, resources",
    "collusion": "Collusion",
}


def catalogue() -> str:
    """Return the section: a table for each group."""
    parts = []
    for group in dict.fromkeys([*GROUPS, *(each.group for each in ATTACKS.values())]):
        attacks = sorted(
            (each for each in ATTACKS.values() if each.group == group),
            key=lambda each: (each.number, each.name),
        )
        if attacks:
            parts.append(f"### {GROUPS.get(group, group)}\n\n" + "\n\n".join(map(_entry, attacks)))
    return "\n\n".join(parts)


def _entry(attack: Attack) -> str:
    expect = attack.scenario(4, 0).expect
    return (
        f"**{attack.number}. `{attack.name}`** ({attack.attacks}). {attack.does}\n"
        f"*What stands against it:* {attack.rule}\n"
        f"*Outcome:* {outcome(expect)}. *Source:* {attack.source}."
    )


def outcome(expect: Expect) -> str:
    """Return in words what a scenario states."""
    said = ["safe" if expect.safe else "agreement may break, and the liars are named"]
    if expect.live_within_ms is not None:
        said.append(f"everybody converges within {expect.live_within_ms / 1000:g} s of healing")
    if expect.view != "any":
        said.append("view 0 is kept" if expect.view == "kept" else "the view is changed")
    if expect.views is not None:
        least, most = expect.views
        said.append(
            f"the highest view is {least}" if least == most else f"the highest view is {least} to {most}"
        )
    if expect.convicted:
        said.append("the stores of the honest together convict the liars")
    if expect.evidence:
        said.append("evidence is held against the liar")
    elif expect.no_evidence:
        said.append("nobody is accused")
    if expect.halted:
        said.append("who is wrong halts, and says so")
    if expect.refused:
        said.append("counted: " + ", ".join(f'"{reason}"' for reason in expect.refused))
    return "; ".join(said)


def page_with(page: str) -> str:
    """Return the page with the catalogue between its marks. Raises `ValueError` where a mark is missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{catalogue()}\n\n{END}{after}"


PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "testing.md"

if __name__ == "__main__":
    PAGE.write_text(page_with(PAGE.read_text()))
