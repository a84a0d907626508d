"""How long to wait before dialling again: longer with every failure, spread by chance, never above a cap.

What lives here: the arithmetic. The source of chance is given, so that a run can be repeated.
"""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Backoff:
    """Durations in ms."""

    first_ms: int = 50
    """After the first failure: about a connection's set-up between continents."""
    cap_ms: int = 1_000
    """Trying a dead address once a second costs nothing, and a replica that came back is met soon."""

    def delay_ms(self, failures: int, random: Random) -> float:
        """Return how long to wait after so many failures in a row (at least 1): between half and all of
        `first_ms` doubled for each further failure, up to the cap. Without the spread, members that lost
        each other at once would also dial at once, again and again."""
        # Bounded before it is raised, or a day of failures would be a number of thousands of digits.
        doublings = min(max(failures, 1) - 1, self.cap_ms.bit_length())
        longest = min(self.cap_ms, self.first_ms << doublings)
        return longest * (0.5 + random.random() / 2)
