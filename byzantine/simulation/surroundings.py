"""A liar's surroundings in a simulated world (`byzantine.liars.liar.Surroundings`).

What lives here: what a liar may do beyond its own engine. What must not be known here: lies.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from byzantine import culprits
from crypto.roster import MemberId
from network.simulated import MILLISECOND, Endpoint
from tetrarch.node.effects import ConnectionId

if TYPE_CHECKING:
    from byzantine.simulation.replica import SimulatedReplica
    from byzantine.simulation.world import World


class SimulatedSurroundings:
    """A liar's surroundings in this world (`byzantine.liars.liar.Surroundings`)."""

    def __init__(self, world: "World", member: int, endpoint: Endpoint) -> None:
        self._world, self._member, self._endpoint = world, member, endpoint
        self.replica: SimulatedReplica | None = None

    def now_ms(self) -> int:
        """Return the ms since the run began."""
        return self._world.scheduler.now_us // MILLISECOND

    def wall_ms(self) -> int:
        """Return the wall clock."""
        return self._world.wall_ms()

    def after(self, delay_ms: int, action: Callable[[], object]) -> None:
        """Call `action` later."""
        self._world.scheduler.after(delay_ms * MILLISECOND, action)

    def send_member(self, member: MemberId, frame: bytes) -> None:
        """Send a frame to a member."""
        self._world.send_member(self._endpoint, member, frame)

    def send_client(self, connection: ConnectionId, frame: bytes) -> None:
        """Send a frame to a client."""
        self._world.send_client(self._endpoint, connection, frame)

    def crash_for(self, delay_ms: int) -> None:
        """End the process now, and start it again later."""
        if self.replica is not None:
            replica = self.replica
            # Not from within its own turn.
            self._world.scheduler.after(0, self._world.crash, replica)
            self.after(delay_ms, lambda: self._world.revive(replica))

    def on_lied(self, behaviour: str) -> None:
        """A behaviour fired."""
        self._world.on_lied(culprits.liar(self._member), self._endpoint, behaviour)
