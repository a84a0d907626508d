"""Attacks drawn by chance: twins of one member, and mutated messages by rounds (catalogue 65 and 67)."""

from msgspec import structs

from byzantine.attacks.attack import attack
from byzantine.campaign.byzzfuzz import byzzfuzz_scenario
from byzantine.campaign.twins import twins_count, twins_scenario
from byzantine.scenario import Liar, Scenario

GROUP = "collusion"

STRIDE = 7_919
"""A prime: neighbouring seeds are scenarios far from each other."""


@attack(
    "twins",
    65,
    GROUP,
    does="A member runs twice with one key, and the network is divided among the copies and the others by rounds.",
    attacks="A",
    rule="Two copies are one liar: quorums intersect in a correct member, and what the copies say of one slot is"
    " evidence where both are heard.",
    source="Bano et al., Twins 2021",
)
def twins(n: int, seed: int) -> Scenario:
    """One scenario of the enumeration, far from its neighbours."""
    scenario = twins_scenario(seed * STRIDE % twins_count(n), n)
    return structs.replace(scenario, name="twins", seed=seed)


OFTEN = 0.5
"""Of the rounds in which a liar may mutate; in few rounds it might find nothing to."""


@attack(
    "mutate",
    67,
    GROUP,
    does="Liars mutate what their engines say by rounds: votes, proposals, proofs in VIEW-CHANGEs, what NEW-VIEWs"
    " hold, checkpoints; partitions come and go.",
    attacks="A, V, I, L",
    rule="What is malformed is refused at the door, what contradicts is evidence, and the rest counts for no more"
    " than one vote of one member.",
    source="Winter et al., ByzzFuzz 2023",
)
def mutate(n: int, seed: int) -> Scenario:
    """The ByzzFuzz scenario of the seed, with liars that surely mutate something."""
    scenario = byzzfuzz_scenario(seed, n)
    expect = structs.replace(scenario.expect, fired=None)
    return structs.replace(scenario, name="mutate", liars=tuple(map(_busy, scenario.liars)), expect=expect)


def _busy(liar: Liar) -> Liar:
    often = tuple(structs.replace(lie, probability=max(OFTEN, lie.probability)) for lie in liar.lies)
    return structs.replace(liar, lies=often)
