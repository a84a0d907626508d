"""docs/testing.md says of the catalogue what the catalogue does."""

import re
from typing import get_args

import pytest
from msgspec import NODEFAULT, Struct, structs

from byzantine.attacks.attack import LETTERS
from byzantine.attacks.catalogue import ATTACKS
from byzantine.attacks.document import GROUPS, PAGE, catalogue, page_with
from byzantine.scenario import Expect, Lie, Scenario, Step, Tunes


def test_the_page_holds_the_catalogue_as_it_is() -> None:
    text = PAGE.read_text()
    assert page_with(text) == text, "run: python -m byzantine.attacks.document"


def test_every_attack_is_in_the_page_with_its_source() -> None:
    text = catalogue()
    for attack in ATTACKS.values():
        assert f"`{attack.name}`" in text
        assert attack.source in text
        assert attack.does.endswith(".")
        assert attack.group in GROUPS


def test_the_page_explains_every_letter_that_attacks_are_listed_under() -> None:
    text = " ".join(PAGE.read_text().split())
    assert {letter for attack in ATTACKS.values() for letter in attack.attacks.split(", ")} == set(LETTERS)
    for letter, words in LETTERS.items():
        assert f"**{letter}** {words}" in text


def _documented(page: str, heading: str) -> dict[str, str]:
    """Return the first column of a table, a name to a row, and the rest of the row."""
    table = page.partition(heading)[2].partition("\n\n")[0]
    rows = [row.partition(" | ") for row in table.splitlines() if row.startswith("| `")]
    return {name: rest for names, _, rest in rows for name in re.findall("`([^`]+)`", names)}


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("| of the file |", Scenario),
        ("| of a lie |", Lie),
        ("| of `[expect]` |", Expect),
        ("| of `[tuning]` |", Tunes),
    ],
)
def test_the_page_explains_every_field_of_scenario_files(heading: str, kind: type[Struct]) -> None:
    names = {name.strip("[]") for name in _documented(PAGE.read_text(), heading)}
    assert names - {"format"} == set(kind.__struct_fields__)


def test_the_page_gives_the_defaults_of_tuning_and_steps() -> None:
    page = PAGE.read_text()
    tuning = _documented(page, "| of `[tuning]` |")
    for name in Tunes.__struct_fields__:
        assert tuning[name].startswith(f"{getattr(Tunes(), name)} | ")
    steps = _documented(page, "| `do` |")
    assert set(steps) == {kind.__struct_config__.tag for kind in get_args(Step)}
    for kind in get_args(Step):
        fields = steps[str(kind.__struct_config__.tag)].partition(" | ")[0]
        told = dict(re.findall(r"`(\w+)`(?: \((\w+)\))?", fields))
        defaults = {each.name: each.default for each in structs.fields(kind) if each.name != "at_ms"}
        assert set(told) == set(defaults)
        for name, default in defaults.items():
            assert told[name] == {NODEFAULT: "", None: "all"}.get(default, str(default).removesuffix(".0"))
