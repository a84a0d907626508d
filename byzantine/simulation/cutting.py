"""A network that is after whoever leads (catalogue 58).

What lives here: an adversary that cuts members off by what it sees of the honest replicas' views. What must
not be known here: what is in frames.
"""

from typing import TYPE_CHECKING, ClassVar

from byzantine.liars.parameters import Parameters, parameter
from byzantine.scenario import Lie
from byzantine.simulation.adversary import Adversary, adversary
from pbft.messages import View, primary_of

if TYPE_CHECKING:
    from byzantine.simulation.world import World


@adversary("cut-primary")
class CutPrimary(Adversary):
    """Cuts off the primary of the highest view that an honest replica is in or about to enter, and lets
    the one before back; with `leading`, only once that view has started somewhere. Stops when faults end."""

    parameters: ClassVar[Parameters] = {"leading": False}
    looks_every_ms = 5

    def __init__(self, world: "World", lie: Lie, number: int) -> None:
        super().__init__(world, lie, number)
        self._view = -1
        self._victim: int | None = None

    def look(self) -> None:
        """Follow the view."""
        if self.world.observed.healed_us is not None:
            return
        view = self._present_view()
        if view <= self._view or not self.may_fire():
            return
        self._view = view
        if self._victim is not None:
            self._between(self._victim, cut=False)
        self._victim = int(primary_of(View(view), self.world.n))
        self._between(self._victim, cut=True)
        self.fire()

    def _present_view(self) -> int:
        leading = bool(parameter(self.parameters, self.lie, "leading"))
        running = [replica.heart for replica in self.world.honest if replica.heart is not None]
        statuses = [heart.engine.status() for heart in running]
        return max((each.view for each in statuses if each.active or not leading), default=-1)

    def _between(self, victim: int, *, cut: bool) -> None:
        change = self.world.network.cut if cut else self.world.network.mend
        for other in range(self.world.n):
            for here in self.world.endpoints(victim):
                for there in self.world.endpoints(other) if other != victim else ():
                    change(here, there)
                    change(there, here)
