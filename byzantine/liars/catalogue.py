"""All behaviours of lying members by name: importing this module defines every one of them."""

from byzantine.liars import (  # noqa: F401  # define their behaviours
    backup,
    collusion,
    mutation,
    network,
    new_view,
    primary,
    replies,
    serving,
    state_transfer,
    twins,
    view_change,
)
from byzantine.liars.liar import BEHAVIOURS, Behaviour, Hand
from byzantine.liars.parameters import require_lie
from byzantine.scenario import Lie

__all__ = ["BEHAVIOURS", "make_behaviour"]


def make_behaviour(hand: Hand, lie: Lie) -> Behaviour:
    """Return a behaviour for one liar. Raises `Contradiction`."""
    require_lie(BEHAVIOURS, lie, "lies")
    return BEHAVIOURS[lie.behaviour](hand, lie)
