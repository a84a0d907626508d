"""All attacks: importing this module defines every one of them."""

from byzantine.attacks import clients, network, primary, replies  # noqa: F401  # defines its attacks
from byzantine.attacks.attack import ATTACKS, Attack, UnknownAttack, find_attack

__all__ = ["ATTACKS", "Attack", "UnknownAttack", "find_attack"]
