"""All attacks: importing this module defines every one of them."""

from byzantine.attacks import (  # noqa: F401  # define their attacks
    backup,
    clients,
    collusion,
    network,
    new_view,
    primary,
    random,
    replies,
    state_transfer,
    view_change,
)
from byzantine.attacks.attack import ATTACKS, Attack, UnknownAttack, find_attack

__all__ = ["ATTACKS", "Attack", "UnknownAttack", "find_attack"]
