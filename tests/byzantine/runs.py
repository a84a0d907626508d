"""What tests of the simulator share: a short run with a little of everything, and its observation."""

from functools import cache

from byzantine.oracles import Observation
from byzantine.runners.simulated import observe
from byzantine.scenario import Crash, Read, Restart, Scenario, Step, Submit, Tunes
from byzantine.simulation.world import World


def short_scenario(seed: int = 1, signatures: str = "stand-in") -> Scenario:
    """Two clients, a crash, a restart, two reads: some ten blocks."""
    steps: list[Step] = [
        *(Submit(at_ms=20 + 40 * number, count=3, client=number % 2) for number in range(8)),
        Crash(at_ms=130, member=1, surviving=1),
        Restart(at_ms=260, member=1),
        Read(at_ms=300),
        Read(at_ms=350, client=1),
    ]
    return Scenario(
        name="short",
        seed=seed,
        signatures="ed25519" if signatures == "ed25519" else "stand-in",
        steps=tuple(sorted(steps, key=lambda step: step.at_ms)),
        heal_at_ms=500,
        tuning=Tunes(batch_target=1),
    )


@cache
def _played() -> World:
    world = World(short_scenario())
    world.play()
    return world


def observed() -> Observation:
    """A new observation of one and the same honest run, to be tampered with."""
    return observe(_played())
