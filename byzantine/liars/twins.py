"""Twins: a second copy of a member, with the same key, that knows nothing of the first (catalogue 65).

What lives here: the behaviour that marks a member as one that has a twin. The second copy is an honest
replica in all it does: together the two say what no single one would. (Bano et al., "Twins: BFT Systems Made
Robust", 2021.)
"""

from collections.abc import Iterable
from typing import Any

from byzantine.liars.liar import Behaviour, Outgoing, behaviour
from byzantine.scenario import Liar
from crypto.signed import Envelope
from tetrarch.wire import Frame

TWIN = "twin"


def runs_twice(liar: Liar) -> bool:
    """Whether a member has a twin."""
    return any(lie.behaviour == TWIN for lie in liar.lies)


@behaviour(TWIN)
class Twin(Behaviour):
    """Runs a second time. The runner gives it a second disk and a second place on the network."""

    second = False
    """Whether this is the copy's own hand: every message of the copy counts as a lie."""

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """Unchanged."""
        if self.second:
            self.fire()
        return None

    def on_other(self, to: int, frame: Frame) -> Iterable[Outgoing] | None:
        """Unchanged."""
        if self.second:
            self.fire()
        return None
