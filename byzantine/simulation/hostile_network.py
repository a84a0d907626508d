"""A hostile network's place in the simulated world.

What lives here: what an adversary of the network is given (`byzantine.liars.adversary.Wires`). What must not
be known here: what it does with it.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from byzantine.culprits import NETWORK
from byzantine.liars import broker, cutting  # noqa: F401  # define their adversaries
from byzantine.liars.adversary import Standing, require_elsewhere
from crypto.roster import MemberId, Roster
from crypto.signed import Envelope
from network.simulated import MILLISECOND
from pbft.messages import kinds

if TYPE_CHECKING:
    from byzantine.simulation.world import World


class SimulatedWires:
    """All links of one world."""

    def __init__(self, world: "World") -> None:
        self._world = world

    @property
    def roster(self) -> Roster:
        """Of the network."""
        return self._world.roster

    @property
    def healed(self) -> bool:
        """Whether all faults are to have ended."""
        return self._world.observed.healed_us is not None

    def now_ms(self) -> int:
        """Return the ms since the run began."""
        return self._world.scheduler.now_us // MILLISECOND

    def on_lied(self, behaviour: str) -> None:
        """A behaviour fired."""
        self._world.on_lied(NETWORK, "network", behaviour)

    def after(self, delay_ms: int, action: Callable[[], object]) -> None:
        """Call `action` later."""
        self._world.scheduler.after(delay_ms * MILLISECOND, action)

    def standings(self) -> Iterable[Standing]:
        """Where the honest replicas that run stand."""
        running = [replica.heart for replica in self._world.honest if replica.heart is not None]
        statuses = [heart.engine.status() for heart in running]
        return [Standing(int(status.view), status.active) for status in statuses]

    def cut_off(self, member: int) -> None:
        """Let nothing pass between a member and any other."""
        self._each_link(member, self._world.network.cut)

    def let_back(self, member: int) -> None:
        """Let everything pass between a member and all others."""
        self._each_link(member, self._world.network.mend)

    def recorded(self, roster: Roster, member: MemberId, message: Any) -> Envelope:
        """Return what a member said elsewhere. Raises `ValueError` for a roster of this network's."""
        require_elsewhere(self.roster, roster)
        return kinds.seal(roster, member, self._world.signatures.member(member), message).envelope

    def _each_link(self, member: int, change: Callable[..., object]) -> None:
        world = self._world
        for other in range(world.n):
            for here in world.endpoints(member):
                for there in world.endpoints(other) if other != member else ():
                    change(here, there)
                    change(there, here)
