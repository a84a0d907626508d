"""Quorum sizes, from n and f, in one place.

Castro and Liskov's numbers (2f+1 of 3f+1) are right only when n = 3f+1. For other n a quorum must be
ceil((n + f + 1) / 2), so that two quorums share a correct member: with n = 5 or 6 and 2f+1 = 3 they
would not, and two digests could be prepared in one view.
"""

from msgspec import Struct


class Quorums(Struct, frozen=True):
    """The thresholds of one fault model. All count distinct members."""

    n: int
    f: int
    """How many members may fail."""
    quorum: int
    """Two quorums intersect in a correct member; one quorum can always be had."""
    weak: int
    """At least one of so many is correct."""

    @classmethod
    def byzantine(cls, n: int) -> "Quorums":
        """Return the thresholds for n members of which (n - 1) // 3 may be arbitrarily malicious."""
        if n < 1:
            raise ValueError("a network has at least one member")
        f = (n - 1) // 3
        return cls(n=n, f=f, quorum=(n + f + 2) // 2, weak=f + 1)
