"""A network that is after whoever leads (catalogue 58).

What lives here: an adversary that cuts members off by what it sees of the honest replicas' views. What must
not be known here: what is in frames.
"""

from typing import ClassVar

from byzantine.liars.adversary import Adversary, Wires, adversary
from byzantine.liars.parameters import Parameters, parameter
from byzantine.scenario import Lie
from pbft.messages import View, primary_of


@adversary("cut-primary")
class CutPrimary(Adversary):
    """Cuts off the primary of the highest view that an honest replica is in or about to enter, and lets
    the one before back; with `leading`, only once that view has started somewhere. Stops when faults end."""

    parameters: ClassVar[Parameters] = {"leading": False}
    looks_every_ms = 5

    def __init__(self, wires: Wires, lie: Lie, seed: str) -> None:
        super().__init__(wires, lie, seed)
        self._view = -1
        self._victim: int | None = None

    def look(self) -> None:
        """Follow the view."""
        if self.wires.healed:
            return
        view = self._present_view()
        if view <= self._view or not self.may_fire():
            return
        self._view = view
        if self._victim is not None:
            self.wires.let_back(self._victim)
        self._victim = int(primary_of(View(view), self.n))
        self.wires.cut_off(self._victim)
        self.fire()

    def _present_view(self) -> int:
        leading = bool(parameter(self.parameters, self.lie, "leading"))
        standings = self.wires.standings()
        return max((each.view for each in standings if each.active or not leading), default=-1)
