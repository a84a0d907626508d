"""How a simulated link treats frames: how long they take, which are lost, repeated or overtaken.

What lives here: policies, as plain data, and the drawing of delays. What must not be known here: endpoints
and time. Chance comes in as a function that returns numbers from 0 to just below 1: `Random.random`, whose
sequence Python promises to keep. No arithmetic is used that is not the same on every machine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

Chance = Callable[[], float]

MAX_DOUBLINGS: Final = 40
"""Of a delay with a tail: beyond, it would be above any limit that makes sense."""


class Delay(Protocol):
    """A distribution of delays."""

    def draw(self, chance: Chance) -> int:
        """Return one delay, in us."""
        ...


def _check_probability(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is a probability from 0 to 1, not {value}")


def _check_range(low_us: int, high_us: int) -> None:
    if not 0 <= low_us <= high_us:
        raise ValueError(f"delays from {low_us} to {high_us} us: they begin at 0 or later and end no earlier")


@dataclass(frozen=True, slots=True)
class Constant:
    """Always the same."""

    delay_us: int

    def __post_init__(self) -> None:
        _check_range(self.delay_us, self.delay_us)

    def draw(self, chance: Chance) -> int:  # noqa: ARG002  # a distribution without chance
        """Return the delay, in us."""
        return self.delay_us


@dataclass(frozen=True, slots=True)
class Uniform:
    """Anything from `low_us` to `high_us`, both included."""

    low_us: int
    high_us: int

    def __post_init__(self) -> None:
        _check_range(self.low_us, self.high_us)

    def draw(self, chance: Chance) -> int:
        """Return one delay, in us."""
        return self.low_us + int(chance() * (self.high_us - self.low_us + 1))


USUAL: Final = Uniform(200, 2_000)
"""What links do that nothing was done to."""


@dataclass(frozen=True, slots=True)
class Tailed:
    """Like `Uniform`, but doubled with probability `tail`, and again, and again, up to `cap_us`: most frames
    are quick, some take very long, as in networks that retransmit."""

    low_us: int
    high_us: int
    tail: float
    cap_us: int

    def __post_init__(self) -> None:
        _check_range(self.low_us, self.high_us)
        _check_range(self.high_us, self.cap_us)
        _check_probability("tail", self.tail)

    def draw(self, chance: Chance) -> int:
        """Return one delay, in us."""
        delay = self.low_us + int(chance() * (self.high_us - self.low_us + 1))
        for _ in range(MAX_DOUBLINGS):
            if delay >= self.cap_us or chance() >= self.tail:
                break
            delay = 2 * delay + 1
        return min(delay, self.cap_us)


@dataclass(frozen=True, slots=True)
class LinkPolicy:
    """What happens to frames in one direction. Probabilities are from 0 to 1.

    `loss`: a frame never arrives. `repeat`: it arrives once more, after a delay of its own. `reorder`: it
    does not wait for those sent before it. All others arrive in the order in which they were sent.
    """

    delay: Delay = USUAL
    loss: float = 0.0
    repeat: float = 0.0
    reorder: float = 0.0

    def __post_init__(self) -> None:
        for name in ("loss", "repeat", "reorder"):
            _check_probability(name, getattr(self, name))
