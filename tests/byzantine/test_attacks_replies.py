"""Attacks on what clients are told, each staged with its stated outcome; and that a client that checked less
would be deceived by them."""

import dataclasses
from typing import Any

import pytest

import byzantine.simulation.client as simulated_client
from byzantine.attacks import replies
from byzantine.attacks.catalogue import ATTACKS, find_attack
from byzantine.oracles import judge
from byzantine.runners.simulated import observe, simulate
from byzantine.simulation.world import World
from byzantine.verdicts import Verdict
from tetrarch.client.proof import check_read

NAMES = sorted(name for name, attack in ATTACKS.items() if attack.group == replies.GROUP)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("n", [4, 7])
@pytest.mark.parametrize("name", NAMES)
def test_attack_has_its_stated_outcome(name: str, n: int, seed: int) -> None:
    assert simulate(find_attack(name).scenario(n, seed)).failed == ()


def failed_oracles(world: World) -> set[str]:
    """Return which oracles fail over a world that is run now."""
    world.play()
    return {each.oracle for each in judge(observe(world)) if each.verdict is Verdict.FAIL}


@pytest.mark.parametrize("n", [4, 7])
@pytest.mark.parametrize("name", ["invented-result", "deny-execution", "invented-read"])
def test_client_that_believed_f_members_would_be_deceived(name: str, n: int) -> None:
    world = World(find_attack(name).scenario(n, 1))
    world.trust = dataclasses.replace(world.trust, acceptance=world.scenario.f)
    assert failed_oracles(world) & {"agreement", "durability", "reads"}


def test_client_that_took_any_height_would_read_old_values(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_height(trust: Any, frame: Any, key: bytes, _min_height: int) -> Any:
        return check_read(trust, frame, key, 0)

    monkeypatch.setattr(simulated_client, "check_read", without_height)
    assert "reads" in failed_oracles(World(find_attack("stale-read").scenario(4, 1)))


@pytest.mark.parametrize("name", ["wrong-result", "reply-for-another"])
def test_client_that_checked_no_path_would_be_deceived(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated_client, "check_results", lambda _trust, _frame: None)
    assert "durability" in failed_oracles(World(find_attack(name).scenario(4, 1)))
