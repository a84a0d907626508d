"""All behaviours of lying members by name: importing this module defines every one of them."""

from collections.abc import Iterable

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
from byzantine.scenario import Liar, Lie

__all__ = ["BEHAVIOURS", "colluders", "make_behaviour"]


def make_behaviour(hand: Hand, lie: Lie) -> Behaviour:
    """Return a behaviour for one liar. Raises `Contradiction`."""
    require_lie(BEHAVIOURS, lie, "lies")
    return BEHAVIOURS[lie.behaviour](hand, lie)


def colluders(liars: Iterable[Liar]) -> tuple[int, ...]:
    """Return the members that plot with each other. Raises `Contradiction`."""
    plotting = []
    for liar in liars:
        for lie in liar.lies:
            require_lie(BEHAVIOURS, lie, "lies")
        if any(BEHAVIOURS[lie.behaviour].plots for lie in liar.lies):
            plotting.append(int(liar.member))
    return tuple(plotting)
