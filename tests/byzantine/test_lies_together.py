"""One liar with several behaviours: each does what it can with what the others leave of a message."""

import pytest
from msgspec import structs

from byzantine.attacks.catalogue import find_attack
from byzantine.runners.simulated import simulate
from byzantine.scenario import Lie
from byzantine.verdicts import Result


def beside(attack: str, behaviour: str, *, first: bool) -> Result:
    """Stage an attack whose liar does something else as well, before or after its own behaviours."""
    alone = find_attack(attack).scenario(4, 0)
    liar, *fellows = alone.liars
    other = Lie(behaviour=behaviour)
    lies = (other, *liar.lies) if first else (*liar.lies, other)
    expect = structs.replace(alone.expect, fired=tuple(lie.behaviour for lie in liar.lies))
    liars = (structs.replace(liar, lies=lies), *fellows)
    return simulate(structs.replace(alone, liars=liars, expect=expect))


@pytest.mark.parametrize(
    ("attack", "behaviour"),
    [
        ("reencoded-proof", "outdated-proof"),
        ("reencoded-proof", "mixed-proof"),
        ("reencoded-proof", "unvoted-proof"),
        ("repeated-signer", "unvoted-proof"),
    ],
)
def test_a_lie_leaves_alone_what_another_of_the_same_liar_has_spoilt(attack: str, behaviour: str) -> None:
    assert beside(attack, behaviour, first=False).failed == ()


@pytest.mark.parametrize("behaviour", ["odd-encodings", "huge-view"])
def test_a_liar_bears_what_a_fellow_says_that_makes_no_sense(behaviour: str) -> None:
    assert beside("more-than-f", behaviour, first=behaviour == "odd-encodings").blocks > 0


@pytest.mark.parametrize("behaviour", ["reencoded-proof", "mixed-proof"])
def test_nobody_honest_is_blamed_for_what_more_than_f_liars_bring_about(behaviour: str) -> None:
    result = beside("more-than-f", behaviour, first=behaviour == "reencoded-proof")
    assert [finding.oracle for finding in result.findings if finding.oracle == "conduct"]
    assert "conduct" not in {finding.oracle for finding in result.failed}
