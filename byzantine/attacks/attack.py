"""What an attack is, and the register of all of them.

What lives here: the shape, and looking attacks up. What must not be known here: any one attack.
"""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Final

from msgspec import Struct

from byzantine.scenario import Scenario

Stage = Callable[[int, int], Scenario]
"""From the number of replicas and a seed to a scenario in which the attack surely happens."""


class Attack(Struct, frozen=True):
    """One entry of the catalogue, or one of several ways in which an entry is carried out."""

    name: str
    number: int
    """In the catalogue."""
    group: str
    does: str
    """What the liar does, in one sentence."""
    attacks: str
    """The invariants it is aimed at, by their `LETTERS`, with commas between them."""
    rule: str
    """What a correct network does about it, and which rule of the checklist stands behind that."""
    source: str
    """The paper or system that describes it."""
    stage: Stage

    def scenario(self, n: int, seed: int) -> Scenario:
        """Return the scenario in which it is staged among `n` replicas."""
        return self.stage(n, seed)


LETTERS: Final = {
    "A": "agreement",
    "V": "validity",
    "I": "integrity (exactly once)",
    "L": "liveness",
    "D": "durability",
    "X": "what clients are told (linearizable histories)",
    "F": "accountability",
    "R": "bounded resources",
}
"""What attacks are aimed at."""

ATTACKS: dict[str, Attack] = {}
"""Every attack that a module has defined, by name."""


class UnknownAttack(ValueError):
    """A name that no attack has. One line."""


def attack(
    name: str, number: int, group: str, *, does: str, attacks: str, rule: str, source: str
) -> Callable[[Stage], Stage]:
    """Define an attack by its stage."""

    def define(stage: Stage) -> Stage:
        if name in ATTACKS:
            raise ValueError(f"two attacks are called {name}")
        ATTACKS[name] = Attack(name, number, group, does, attacks, rule, source, stage)
        return stage

    return define


def find_attack(name: str) -> Attack:
    """Return an attack by its name. Raises `UnknownAttack`, naming those like it."""
    found = ATTACKS.get(name)
    if found is None:
        like = get_close_matches(name, ATTACKS)
        hint = f"; did you mean {' or '.join(like)}?" if like else "; `tetrarch attack list` shows all"
        raise UnknownAttack(f"there is no attack called {name!r}{hint}")
    return found
