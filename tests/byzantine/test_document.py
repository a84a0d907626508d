"""docs/testing.md says of the catalogue what the catalogue does."""

from byzantine.attacks.catalogue import ATTACKS
from byzantine.attacks.document import GROUPS, PAGE, catalogue, page_with


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
