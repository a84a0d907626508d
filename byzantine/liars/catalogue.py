"""All behaviours of lying members by name: importing this module defines every one of them."""

from difflib import get_close_matches

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
from byzantine.scenario import Contradiction, Lie

__all__ = ["BEHAVIOURS", "make_behaviour", "require_behaviour"]


def make_behaviour(hand: Hand, lie: Lie) -> Behaviour:
    """Return a behaviour for one liar. Raises `Contradiction` for an unknown name."""
    require_behaviour(lie.behaviour)
    return BEHAVIOURS[lie.behaviour](hand, lie)


def require_behaviour(name: str, field: str = "behaviour") -> None:
    """Raise `Contradiction` for a name that no behaviour of a member has, naming those like it."""
    if name not in BEHAVIOURS:
        like = get_close_matches(name, BEHAVIOURS)
        raise Contradiction(field, f"{name!r} is unknown" + (f"; like it: {', '.join(like)}" if like else ""))
