"""Drills: right code keeps their narrow bounds, and the drills are what the hunt for mutants begins with."""

import pytest

from byzantine.attacks.catalogue import find_attack
from byzantine.campaign.drills import DRILLS
from byzantine.campaign.driven import driven
from byzantine.campaign.hunting import hunt
from byzantine.campaign.runs import judged
from byzantine.scenario import require_consistent


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("number", range(len(DRILLS)))
def test_right_code_keeps_the_bounds_of_every_drill(number: int, seed: int) -> None:
    scenario = DRILLS[number](seed)
    require_consistent(scenario)
    assert judged(scenario).failed == ()


@pytest.mark.parametrize(
    ("mutant", "drill"),
    [
        ("drop-above-the-high-watermark", "tight-window"),
        ("keep-timers-in-a-new-view", "second-primary"),
        ("never-double-timeouts", "far-apart"),
        ("double-timeouts-without-end", "long-wait"),
        ("send-before-the-sync", "torn-moments"),
        ("execute-expired-transactions", "time-leaps"),
        ("time-what-may-have-expired", "first-requests"),
        ("leave-relayed-requests-outside", "crowded-primary"),
        ("keep-what-a-failing-transaction-wrote", "others-raise"),
        ("say-nothing-while-idle", "idle-laggard"),
        ("hold-old-batches-to-the-clock", "long-pause"),
        ("stay-while-catching-up", "lured-away"),
        ("join-the-highest-view", "far-view"),
        ("prepared-by-2f", "twins-of-six"),
    ],
)
def test_a_drill_notices_the_rule_that_it_was_made_for(mutant: str, drill: str) -> None:
    hunted = hunt(mutant, patience_s=60)
    assert hunted.killed
    assert hunted.scenario.startswith(drill)


@pytest.mark.parametrize("name", ["wrong-answer", "invented-result", "silent-to-readers"])
def test_the_production_client_is_not_misled_in_a_driven_run(name: str) -> None:
    result = driven(find_attack(name).scenario(4, 0))
    assert result.failed == ()
    assert result.fired[name] > 0
