"""All who are hostile to a real network and no members of it: clients, and the network between the members.

What lives here: who they are in one scenario, from the beginning of the run to its end, and which links such
a network needs. What must not be known here: what they do.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from byzantine.culprits import Deeds
from byzantine.liars.adversary import ADVERSARIES, Adversary, Carried, make_adversary
from byzantine.liars.adversary import through as changed_by
from byzantine.runners.broker_proxy import BrokerProxy, Premises
from byzantine.runners.clock import RunClock
from byzantine.runners.hostile_clients import RealHostileClient
from byzantine.runners.hostile_network import Lookout, RealWires
from byzantine.runners.links import MemberLinks, ProxiedLinks
from byzantine.runners.relay import FrameRelay, TlsIdentity
from byzantine.scenario import Links, Scenario
from crypto.batch import TxId
from ledger.genesis import Genesis
from tetrarch.client.config import ClientConfig
from tetrarch.config import load_node


def acts_on_frames(scenario: Scenario) -> bool:
    """Whether a scenario's network does what it does to frames. Raises `Contradiction`."""
    return any(ADVERSARIES[lie.behaviour].sees_frames for lie in scenario.hostile_network)


class Outsiders:
    """Those of one run, and the links of its members."""

    def __init__(
        self,
        scenario: Scenario,
        genesis: Genesis,
        replicas: Sequence[Path],
        links: Links,
        clock: RunClock,
        premises: Premises | None = None,
    ) -> None:
        """`replicas`: the members' directories, then those of twins. `links`: how they are before the run
        begins. `premises`: of the broker by which members speak, if they do. Raises `ConfigurationError`."""
        self._scenario, self._genesis, self._clock = scenario, genesis, clock
        settings = [load_node(replica) for replica in replicas]
        self._signers = {int(each.member): each.signer for each in settings}
        peers = [each.peer_listen for each in settings if each.peer_listen is not None]
        self.links: MemberLinks
        if premises is not None:
            through = self._through if acts_on_frames(scenario) else None
            self.links = BrokerProxy(premises, genesis.chain_id, links, scenario.seed, clock, through)
        elif acts_on_frames(scenario):
            tls = [
                TlsIdentity(each.certificate, each.private_key, each.peer_certificates) for each in settings
            ]
            self.links = FrameRelay(peers, tls, links, scenario.seed, clock, self._through)
        else:
            twins = [int(each.member) for each in settings[scenario.replicas :]]
            self.links = ProxiedLinks(peers, links, scenario.seed, clock.slowdown, twins)
        self.deeds = Deeds()
        """How often each of them fired."""
        self.sent: set[TxId] = set()
        """The transactions that hostile clients made."""
        self._clients: list[RealHostileClient] = []
        self._adversaries: list[Adversary] = []
        self._lookout: Lookout | None = None
        self._wires: RealWires | None = None

    def open(self, config: ClientConfig, honest: Iterable[int]) -> None:
        """Make them all. `honest`: the members whose standing a network may follow."""
        seed, clock = self._scenario.seed, self._clock
        for number, lie in enumerate(self._scenario.hostile_clients):
            client = RealHostileClient(number, lie, seed, config, clock, self.deeds, self.sent)
            self._clients.append(client)
        if self._scenario.hostile_network:
            self._lookout = Lookout(honest, config.dialer())
            self._wires = RealWires(
                self._genesis, self.links, self._lookout, clock, self._signers, self.deeds
            )
            self._adversaries = [
                make_adversary(self._wires, lie, f"{seed} {number}")
                for number, lie in enumerate(self._scenario.hostile_network)
            ]

    def begin(self) -> None:
        """Begin."""
        for client in self._clients:
            client.begin()
        if self._lookout is not None:
            self._lookout.begin()
        for adversary in self._adversaries:
            adversary.begin()

    def heal(self) -> None:
        """All faults end: whoever cuts links does so no more."""
        if self._wires is not None:
            self._wires.healed = True

    async def close(self) -> None:
        """End what they keep open, but for the links."""
        for client in self._clients:
            await client.close()
        if self._lookout is not None:
            await self._lookout.close()

    def _through(self, source: int, to: int, frame: bytes) -> Iterable[Carried]:
        return changed_by(self._adversaries, source, to, frame)
