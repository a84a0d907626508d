"""All attacks: importing this module defines every one of them."""

from byzantine.attacks import (  # noqa: F401  # define their attacks
    clients,
    collusion,
    network,
    new_view,
    primary,
    random,
    replies,
    view_change,
)
from byzantine.attacks.attack import ATTACKS, Attack, UnknownAttack, find_attack

__all__ = ["ATTACKS", "Attack", "UnknownAttack", "find_attack"]
