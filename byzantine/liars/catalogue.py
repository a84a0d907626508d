"""All behaviours by name. Importing this module knows them all."""

from byzantine.liars.liar import Behaviour, Hand
from byzantine.scenario import Lie

BEHAVIOURS: dict[str, type[Behaviour]] = {}


def make_behaviour(hand: Hand, lie: Lie) -> Behaviour:
    """Return a behaviour for one liar. Raises `KeyError` for an unknown name."""
    return BEHAVIOURS[lie.behaviour](hand, lie)
