"""A hostile client's place in the simulated world: an endpoint, connections, keys.

What lives here: what a client's behaviour is given (`byzantine.liars.client.Connections`). What must not be
known here: what it does with it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from byzantine import culprits
from byzantine.liars import clients  # noqa: F401  # defines their behaviours
from byzantine.liars.client import Stage, Unread, key_number, make_client_behaviour
from byzantine.scenario import Lie
from byzantine.simulation.unread import SimulatedUnread
from crypto.keys import Signer
from ledger.genesis import Genesis
from ledger.transaction import transaction_id
from network.simulated import MILLISECOND, Endpoint

if TYPE_CHECKING:
    from byzantine.simulation.world import World


class HostileClient:
    """One hostile client; connected to every replica, and deaf."""

    def __init__(self, world: "World", number: int, lie: Lie) -> None:
        self.world, self.number = world, number
        self.endpoint: Endpoint = f"hostile-{number}"
        self.behaviour = make_client_behaviour(self, lie, f"{world.scenario.seed} {number}")
        world.network.attach(self.endpoint, self.deliver)
        world.connect(self.endpoint)

    def begin(self) -> None:
        """Begin to speak."""
        self.behaviour.begin()

    def deliver(self, source: Endpoint, frame: bytes) -> None:
        """Answers are of no interest."""

    # What its behaviour is given.

    @property
    def genesis(self) -> Genesis:
        """Of the network."""
        return self.world.genesis

    def signer(self, number: int) -> Signer:
        """Return one of its own keys."""
        return self.world.signatures.client(key_number(self.number, number))

    def now_ms(self) -> int:
        """Return the ms since the run began."""
        return self.world.scheduler.now_us // MILLISECOND

    def wall_ms(self) -> int:
        """Return the wall clock."""
        return self.world.wall_ms()

    def after(self, delay_ms: int, action: Callable[[], object]) -> None:
        """Call `action` later."""
        self.world.scheduler.after(delay_ms * MILLISECOND, action)

    def send(self, member: int, frame: bytes) -> None:
        """Send bytes to a member."""
        self.world.send_from_client(self.endpoint, member, frame)

    def leave(self, member: int, stage: Stage, data: bytes, reached: Callable[[], object]) -> Unread:
        """Open another connection to a member, and leave it at a stage."""
        return SimulatedUnread(self.world, member, stage, data, reached)

    def declare(self, raw: bytes) -> None:
        """Note a transaction of its own."""
        self.world.sent_by_liars.add(transaction_id(raw))

    def on_lied(self, behaviour: str) -> None:
        """It fired."""
        self.world.on_lied(culprits.hostile_client(self.number), self.endpoint, behaviour)
