"""What hostile clients and hostile networks have in common: a lie, when it may fire, and a count of how often
it did.

What lives here: the base of both. What must not be known here: what either does, and which runner runs it.
"""

from random import Random
from typing import ClassVar, Protocol

from byzantine.liars.parameters import Parameters, parameter
from byzantine.scenario import Lie


class Surroundings(Protocol):
    """What a runner gives whoever is hostile and no member: time, and somebody to count."""

    def now_ms(self) -> int:
        """Return the ms since the run began."""
        ...

    def on_lied(self, behaviour: str) -> None:
        """A behaviour fired."""
        ...


class Hostile:
    """One hostile behaviour of a client or of the network."""

    name: ClassVar[str]
    parameters: ClassVar[Parameters] = {}
    """What a lie may choose, and what that is unless it does."""

    def __init__(self, lie: Lie, surroundings: Surroundings, seed: str) -> None:
        self.lie = lie
        self.random = Random(f"{self.name} {seed}")
        self.fired = 0
        self._surroundings = surroundings

    def may_fire(self, to: int | None = None) -> bool:
        """Whether the trigger allows it here and now. Views and sequences are not known outside, and not
        asked."""
        lie, now = self.lie, self._surroundings.now_ms()
        if now < lie.from_ms or (lie.to_ms is not None and now > lie.to_ms):
            return False
        if lie.times is not None and self.fired >= lie.times:
            return False
        if lie.peers is not None and to is not None and to not in lie.peers:
            return False
        return lie.probability >= 1 or self.random.random() < lie.probability

    def fire(self) -> None:
        """Count that it did what it is named for."""
        self.fired += 1
        self._surroundings.on_lied(self.name)

    def number(self, name: str) -> int:
        """Return a parameter that is a whole number."""
        return int(parameter(self.parameters, self.lie, name))

    def share(self, name: str) -> float:
        """Return a parameter that is a probability."""
        return float(parameter(self.parameters, self.lie, name))
