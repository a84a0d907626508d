"""How much others may make us do: so many a second, and as many at once.

What lives here: the arithmetic. Time is an argument (s, monotonic). What must not be known here: what it is
that is done.
"""


class Allowance:
    """An allowance that grows by `per_second`, up to as much."""

    __slots__ = ("_left", "_per_second", "_reckoned_at")

    def __init__(self, per_second: float, now: float) -> None:
        self._per_second = per_second
        self._left = per_second
        self._reckoned_at = now

    def spend(self, now: float) -> bool:
        """Take one; `False` where there is none."""
        grown = self._left + (now - self._reckoned_at) * self._per_second
        self._left, self._reckoned_at = min(self._per_second, grown), now
        if self._left < 1:
            return False
        self._left -= 1
        return True
