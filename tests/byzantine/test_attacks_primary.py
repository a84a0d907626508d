"""The attacks of a primary: each happens, and comes to what it states."""

import pytest

from byzantine.attacks.catalogue import ATTACKS, find_attack
from byzantine.runners.simulated import simulate

NAMES = [attack.name for attack in ATTACKS.values() if attack.group == "primary"]


@pytest.mark.parametrize("n", [4, 7])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", NAMES)
def test_the_attack_happens_and_has_its_stated_outcome(name: str, seed: int, n: int) -> None:
    result = simulate(find_attack(name).scenario(n, seed))
    assert result.failed == ()
    assert sum(result.fired.values()) > 0


def test_equivocation_is_proven_by_both_sides() -> None:
    result = simulate(find_attack("equivocate").scenario(4, 5))
    assert result.blamed == (0,)


def test_the_group_covers_its_entries_of_the_catalogue() -> None:
    assert {find_attack(name).number for name in NAMES} == set(range(1, 17))
