"""The attacks of several together: each happens, and comes to what it states."""

import pytest
from msgspec import structs

from byzantine.attacks import collusion
from byzantine.attacks.catalogue import ATTACKS, find_attack
from byzantine.oracles import BROKEN, judge
from byzantine.oracles.observation import Observation
from byzantine.runners.simulated import observe, simulate
from byzantine.scenario import Contradiction, Expect, Liar, Lie, Scenario, require_consistent
from byzantine.simulation.world import World
from byzantine.verdicts import Finding

NAMES = [attack.name for attack in ATTACKS.values() if attack.group == collusion.GROUP]


@pytest.mark.parametrize("n", [4, 7])
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", NAMES)
def test_the_attack_happens_and_has_its_stated_outcome(name: str, seed: int, n: int) -> None:
    result = simulate(find_attack(name).scenario(n, seed))
    assert result.failed == ()
    assert sum(result.fired.values()) > 0


@pytest.mark.parametrize("n", [4, 7])
def test_more_than_f_break_agreement_and_all_of_them_are_convicted(n: int) -> None:
    result = simulate(find_attack("more-than-f").scenario(n, 1))
    (agreement,) = (each for each in result.findings if each.oracle == "agreement")
    assert agreement.why.startswith(f"{BROKEN}: block")
    assert result.blamed == result.liars
    assert len(result.liars) == (n - 1) // 3 + 1


def test_a_broken_agreement_with_too_few_convicted_is_no_pass() -> None:
    seen = _over_budget()
    seen.convicted = frozenset({0})
    seen.scenario = structs.replace(seen.scenario, expect=Expect(safe=False, live_within_ms=None))
    assert _failed(seen) == [("accountability", "agreement broke, and the stores convict only [0]")]


def test_whoever_is_convicted_and_honest_fails_the_run_also_where_safety_is_not_promised() -> None:
    seen = _over_budget()
    seen.convicted = frozenset({0, 2, 3})
    assert _failed(seen) == [("accountability", "member 2 is honest, and convicted by stores")]


def test_whoever_is_to_be_convicted_and_is_not_fails_the_run() -> None:
    seen = _over_budget()
    seen.convicted = frozenset({0})
    assert _failed(seen) == [("accountability", "the stores do not convict member 3")]


def test_an_agreement_that_f_break_is_a_failure() -> None:
    seen = _over_budget()
    seen.scenario = structs.replace(seen.scenario, expect=Expect(live_within_ms=None))
    assert "agreement" in [oracle for oracle, _ in _failed(seen)]


def test_conviction_cannot_be_expected_of_the_honest_or_where_nothing_can_be_proven() -> None:
    liars = (Liar(member=0, lies=(Lie(behaviour="equivocate"),)),)
    with pytest.raises(Contradiction, match=r"expect\.convicted: member 2 does not lie"):
        require_consistent(Scenario(name="blame", liars=liars, expect=Expect(convicted=(2,))))
    with pytest.raises(Contradiction, match=r"expect\.no_evidence: contradicts expect\.convicted"):
        require_consistent(
            Scenario(name="blame", liars=liars, expect=Expect(convicted=(0,), no_evidence=True))
        )


@pytest.mark.parametrize("name", ["cut-primary", "cut-leader"])
def test_whoever_leads_is_cut_off_from_all_others_and_from_nobody_once_faults_end(name: str) -> None:
    world = World(find_attack(name).scenario(4, 0))
    lost: list[int] = []
    for at_ms in (1_000, 3_999, 4_000):
        world.scheduler.at(at_ms * 1000 + 1, lambda: lost.append(world.network.traffic.cut))
    world.play()
    assert 0 < lost[0] < lost[1]
    assert world.network.traffic.cut == lost[2]
    assert world.observed.fired["cut-primary"] > 2


def _over_budget() -> Observation:
    world = World(find_attack("more-than-f").scenario(4, 0))
    world.play()
    return observe(world)


def _failed(seen: Observation) -> list[tuple[str, str]]:
    failed: list[Finding] = [finding for finding in judge(seen) if finding.verdict != "pass"]
    return [(finding.oracle, finding.why) for finding in failed]
