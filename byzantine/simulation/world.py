"""The simulated world: one scenario, whole, on a virtual clock.

What lives here: replicas, clients, links, what the scenario's steps do to them, and what is noted for the
oracles while it happens. What must not be known here: whether any of it is right.

Everything follows from the scenario: the same one gives the same events in the same order on every machine.
"""

from random import Random

from byzantine import scenario as plan
from byzantine.liars.adversary import make_adversary, through
from byzantine.liars.catalogue import colluders, make_behaviour
from byzantine.liars.liar import Hand, between
from byzantine.liars.memory import Memory
from byzantine.liars.twins import Twin, runs_twice
from byzantine.oracles.observation import Denial, Operation
from byzantine.oracles.watching import Conduct
from byzantine.simulation.client import SimulatedClient
from byzantine.simulation.genesis import simulated_genesis
from byzantine.simulation.hostile_clients import HostileClient
from byzantine.simulation.hostile_network import SimulatedWires
from byzantine.simulation.observed import Observed
from byzantine.simulation.recorder import Recorder
from byzantine.simulation.replica import SimulatedReplica, block_hash_at
from byzantine.simulation.signatures import signatures
from byzantine.simulation.standing import collect, halts, note_overfull
from byzantine.simulation.steps import do, link_policy
from byzantine.simulation.surroundings import SimulatedSurroundings
from byzantine.simulation.unread import SimulatedUnread
from byzantine.trace import What
from byzantine.workload import Workload
from consensus.pool import PoolLimits
from crypto.attestation import Attestation, Height
from crypto.batch import Millis, TxId
from crypto.roster import MemberId, Roster
from ledger.genesis import Genesis
from ledger.ledger import Ledger
from network.listener import ListenerLimits
from network.simulated import (
    MILLISECOND,
    WALL_START_MS,
    Endpoint,
    SimulatedNetwork,
)
from pbft import Tuning
from tetrarch.engines import ordering
from tetrarch.node.effects import ConnectionId, Effects
from tetrarch.node.limits import NodeLimits
from tetrarch.trust import TrustRoot
from tetrarch.wire import EngineMessage

CLEAN = plan.Links(low_us=200, high_us=1_200)
"""What links are after healing."""

LEFT_US = 50_000
"""By then all has left, or never will, that a replica had said before it executed a block: disks are slow."""

TURNS_BETWEEN_LOOKS = 16
"""How often it is looked whether an honest replica holds more than it may."""

BLAMING = ("evidence",)
"""Events by which a replica says that it holds proof against a member."""


class World:
    """One run of one scenario."""

    def __init__(self, scenario: plan.Scenario, recorder: Recorder | None = None) -> None:
        self.scenario = scenario
        self.n = scenario.replicas
        self.random = Random(f"world {scenario.name} {scenario.seed}")
        self.signatures = signatures(scenario.signatures)
        self.genesis: Genesis = simulated_genesis(scenario, self.signatures)
        self.trust = TrustRoot.of(self.genesis)
        self.roster: Roster = self.trust.roster
        self.parts = ordering(self.genesis, self.roster)
        self.tuning = _tuning(scenario.tuning)
        self.limits = NodeLimits(coming_per_connection=scenario.tuning.client_share)
        self.listener_limits = ListenerLimits().with_patience(scenario.tuning.client_patience_ms)
        self.recorder = recorder
        seed = scenario.seed
        self.network = SimulatedNetwork(
            seed, link_policy(scenario.links), trace=None if recorder is None else recorder.on_network
        )
        self.scheduler = self.network.scheduler
        self.observed = Observed()
        self._conduct = [Conduct(member, scenario.expect.safe) for member in range(self.n)]
        self.workload = Workload()
        self.member_at: dict[Endpoint, MemberId] = {}
        self._endpoints: list[list[Endpoint]] = [[] for _ in range(self.n)]
        self.memory = Memory(colluders(scenario.liars))
        self.sent_by_liars: set[TxId] = set()
        self.hands: list[Hand] = []
        self.twins: list[SimulatedReplica] = []
        """Second copies of members, in the order of their members: on the network they come after all
        members."""
        self.replicas: list[SimulatedReplica] = [self._make_replica(member) for member in range(self.n)]
        self.connections: dict[Endpoint, ConnectionId] = {}
        self._client_at: dict[ConnectionId, Endpoint] = {}
        self.unread: dict[ConnectionId, SimulatedUnread] = {}
        self.clients = [self._make_client(number) for number in range(scenario.clients)]
        hostile = enumerate(scenario.hostile_clients)
        self.hostile_clients = [HostileClient(self, number, lie) for number, lie in hostile]
        self.adversaries = [
            make_adversary(SimulatedWires(self), lie, f"{seed} {number}")
            for number, lie in enumerate(scenario.hostile_network)
        ]
        self._begin()

    def _begin(self) -> None:
        for replica in (*self.replicas, *self.twins):
            replica.start()
        for hand in self.hands:
            hand.begin()
        for client in self.hostile_clients:
            client.begin()
        for adversary in self.adversaries:
            adversary.begin()

    # Making.

    def _make_replica(self, member: int) -> SimulatedReplica:
        liar = next((each for each in self.scenario.liars if each.member == member), None)
        self.member_at[member] = MemberId(member)
        self._endpoints[member].append(member)
        if liar is None:
            return SimulatedReplica(self, member, member)
        replica = self._make_liar(liar, member)
        if runs_twice(liar):
            self.twins.append(self._make_liar(liar, f"{member}'"))
        return replica

    def _make_liar(self, liar: plan.Liar, endpoint: Endpoint) -> SimulatedReplica:
        member = MemberId(liar.member)
        surroundings = SimulatedSurroundings(self, liar.member, endpoint)
        signer, door, seed = self.signatures.member(member), self.parts.door, self.scenario.seed
        hand = Hand(surroundings, self.genesis, member, signer, door, self.memory, seed)
        hand.behaviours = [make_behaviour(hand, lie) for lie in liar.lies]
        for behaviour in hand.behaviours:
            if isinstance(behaviour, Twin):
                behaviour.second = endpoint != member
        self.hands.append(hand)
        if endpoint != member:
            self.member_at[endpoint] = member
            self._endpoints[member].append(endpoint)
        replica = surroundings.replica = SimulatedReplica(self, member, endpoint, hand)
        return replica

    def _make_client(self, number: int) -> SimulatedClient:
        client = SimulatedClient(self, number)
        self.connect(client.endpoint)
        return client

    def connect(self, endpoint: Endpoint) -> None:
        """Let members know an endpoint as a client."""
        connection = ConnectionId(1 + len(self.connections))
        self.connections[endpoint] = connection
        self._client_at[connection] = endpoint

    # Frames.

    def send_member(self, source: Endpoint, member: int, frame: bytes) -> None:
        """Send a frame to a member; one of another member passes through a hostile network."""
        if not self.adversaries or source not in self.member_at:
            self._carry(source, member, frame)
            return
        for each in through(self.adversaries, source, member, frame):
            said = source if each.source is None else each.source
            if each.delay_ms:
                self.scheduler.after(each.delay_ms * MILLISECOND, self._carry, said, member, each.frame)
            else:
                self._carry(said, member, each.frame)

    def _carry(self, source: Endpoint, member: int, frame: bytes) -> None:
        if self.recorder is not None:
            self.recorder.about_to_send(frame)
        for endpoint in self._endpoints[member]:
            if endpoint != source:
                self.network.send(source, endpoint, frame)

    def send_client(self, source: Endpoint, connection: ConnectionId, frame: bytes) -> None:
        """Send a frame to a client."""
        if connection in self.unread:
            self.unread[connection].answer(frame)
            return
        if self.recorder is not None:
            self.recorder.about_to_send(frame)
        endpoint = self._client_at.get(connection)
        if endpoint is not None:
            self.network.send(source, endpoint, frame)

    def send_from_client(self, source: Endpoint, member: int, frame: bytes) -> None:
        """Send a client's frame to a member."""
        self.send_member(source, member, frame)

    # What happens.

    def wall_ms(self) -> int:
        """Return what a right wall clock shows."""
        return WALL_START_MS + self.scheduler.now_us // MILLISECOND

    def note(self, what: What, source: Endpoint, **more: object) -> None:
        """Put an event into the trace, if there is one."""
        if self.recorder is not None:
            self.recorder.note(self.scheduler.now_us, what, source, **more)

    def on_turn(self, replica: SimulatedReplica, effects: Effects) -> None:
        """A replica did a turn."""
        application, faults = replica.watched, self.observed.application_faults
        if application is None:
            return
        replica.turns += 1
        if replica.turns % TURNS_BETWEEN_LOOKS == 0:
            note_overfull(self, replica)
        for event in effects.events:
            facts = dict(event.facts)
            if event.name in BLAMING:
                accused = int(facts["member"] or 0)
                replica.accused = True
                self.observed.evidence.setdefault(accused, set()).add(str(facts.get("what", event.name)))
                self.note(
                    What.EVIDENCE, replica.endpoint, target=str(accused), note=str(facts.get("what", ""))
                )
            elif event.name in ("view_active", "view_change", "started"):
                view = int(facts["view"] or 0)
                self.observed.highest_view = max(self.observed.highest_view, view)
                leaving = "leaving" if event.name == "view_change" else ""
                self.note(What.VIEW, replica.endpoint, view=view, note=leaving)
            elif event.name == "checkpoint_stable":
                self.note(What.STABLE, replica.endpoint, sequence=int(facts["height"] or 0))
            elif event.name == "application_error":
                faults.on_event(facts, application)
        if application.raised:
            faults.on_turn_ended(application)

    def on_sent(self, replica: SimulatedReplica, frame: bytes) -> None:
        """An honest replica sends a frame to members."""
        decoded = between.decode(frame)
        if isinstance(decoded, EngineMessage):
            self._conduct[replica.member].note(decoded.envelope)
            self._note_misconduct(replica.member)

    def _note_misconduct(self, member: MemberId) -> None:
        broken = self._conduct[member].broken
        if broken:
            self.observed.misconduct += broken
            broken.clear()

    def on_attested(self, member: MemberId, said: Attestation) -> None:
        """A member attested a block to a client."""
        if self.replicas[member].honest:
            self._conduct[member].attested(said)
            self._note_misconduct(member)

    def on_denied(self, denial: Denial) -> None:
        """A member told a client that a transaction was not, or never would be, executed."""
        if self.replicas[denial.member].honest:
            self.observed.denials.add(denial)

    def on_executed(self, replica: SimulatedReplica, ledger: Ledger, height: Height) -> None:
        """A replica stored a block."""
        block_hash = block_hash_at(ledger, height)
        if replica.honest:
            header = ledger.header(height)
            if header is not None:
                told = self._conduct[replica.member].executed
                self.scheduler.after(LEFT_US, told, int(height), header.batch)
            first = self.observed.hashes.setdefault(height, (block_hash, replica.member))
            if first[0] != block_hash:
                self.observed.forks.append(
                    f"block {height}: {first[0].hex()[:12]} at {first[1]},"
                    f" {block_hash.hex()[:12]} at {replica.member}"
                )
        self.note(What.EXECUTED, replica.endpoint, sequence=int(height), digest=block_hash[:4].hex())

    def on_crashing(self, replica: SimulatedReplica) -> None:
        """A replica's process is ended: how it stood is seen for the last time."""
        if replica.honest and replica.heart is not None:
            self.observed.halted_before += halts(replica, replica.heart.engine.status())

    def on_stopped(self, replica: SimulatedReplica, error: BaseException) -> None:
        """A replica stopped by itself."""
        if replica.honest and not replica.disk.damaged:
            self.observed.stopped.append(f"replica {replica.member}: {type(error).__name__}: {error}")
        elif not replica.honest and not replica.disk.damaged and not replica.disk.full:
            # What a liar stops by is a fault of the lie: it is not what was to be tested.
            self.observed.lost.append(f"liar {replica.member} stopped: {type(error).__name__}: {error}")
        self.note(What.CRASHED, replica.endpoint, note=str(error))

    def on_client_closed(self, replica: SimulatedReplica) -> None:
        """A replica ended a client's connection for what it sent."""
        if replica.honest:
            self.observed.closed_clients += 1

    def on_submitted(self, client: SimulatedClient, operation: Operation) -> None:
        """A client sent an operation for the first time."""
        self.note(What.SUBMITTED, client.endpoint, digest=operation.tx_id[:4].hex())

    def on_believed(self, client: SimulatedClient, operation: Operation) -> None:
        """A client believes an outcome."""
        self.note(What.BELIEVED, client.endpoint, digest=operation.tx_id[:4].hex(), note=operation.outcome)

    def on_believed_block(self, height: int, block_hash: bytes) -> None:
        """A client saw a block attested by f+1."""
        self.observed.believed_blocks.setdefault(height, set()).add(block_hash)

    def on_lied(self, who: str, endpoint: Endpoint, behaviour: str) -> None:
        """A behaviour fired. `who`: as `byzantine.culprits` names them."""
        self.observed.fired[behaviour] += 1
        self.observed.deeds.note(who, behaviour)
        self.note(What.LIED, endpoint, kind=behaviour)

    # Steps.

    def play(self) -> None:
        """Do all steps, heal, and run until everybody has converged or time is up."""
        for step in sorted(self.scenario.steps, key=lambda step: step.at_ms):
            self.scheduler.run_until(step.at_ms * MILLISECOND)
            do(self, step)
        self.scheduler.run_until(self.scenario.heal_at_ms * MILLISECOND)
        self.observed.level_at_end = self._level()
        self.heal()
        for client in self.clients:
            client.submit(2)
        limit = self.scenario.expect.live_within_ms
        if self.scheduler.run_while(lambda: not self.converged(), (limit or 5_000) * MILLISECOND):
            self.observed.converged_us = self.scheduler.now_us
        collect(self)

    def heal(self) -> None:
        """Faults end: links are whole and clean, disks have room, all replicas run. Liars go on."""
        self.network.heal()
        self.network.set_policy(link_policy(CLEAN))
        self.note(What.HEALED, "network")
        self.observed.healed_us = self.scheduler.now_us
        for replica in (*self.replicas, *self.twins):
            replica.disk.full = False
            broken = replica.stopped is not None or (replica.heart is not None and replica.heart.failure)
            if replica.disk.damaged:
                # Found or not: its operator puts a new disk in, and says so.
                self.crash(replica)
                replica.disk.lose()
                replica.marked = True
            if broken or replica.heart is None:
                self._restart(replica)

    def _restart(self, replica: SimulatedReplica) -> None:
        self.note(What.RESTARTED, replica.endpoint)
        replica.restart()

    def crash(self, replica: SimulatedReplica, surviving: int = 0) -> None:
        """End a replica's process, if it runs."""
        if replica.heart is not None:
            self.note(What.CRASHED, replica.endpoint)
            replica.crash(surviving)

    def revive(self, replica: SimulatedReplica) -> None:
        """Start a replica that is down."""
        if replica.heart is None:
            self._restart(replica)

    # The state of things.

    def endpoints(self, member: int) -> list[Endpoint]:
        """Return where a member is on the network: one with a twin is at two places."""
        return self._endpoints[member]

    def seat(self, number: int) -> list[Endpoint]:
        """Return the place of one copy: members by their numbers, then twins."""
        return [number] if number < self.n else [self.twins[number - self.n].endpoint]

    @property
    def honest(self) -> list[SimulatedReplica]:
        """The replicas that do not lie."""
        return [replica for replica in self.replicas if replica.honest]

    def converged(self) -> bool:
        """Whether clients know all outcomes, and honest replicas all run and stand at one block."""
        return not any(client.waits for client in self.clients) and self._level()

    def _level(self) -> bool:
        heads = set()
        for replica in self.honest:
            if replica.heart is None:
                return False
            heads.add(replica.heart.ledger.head_hash)
        return len(heads) == 1


def _tuning(tunes: plan.Tunes) -> Tuning:
    return Tuning(
        batch_target=tunes.batch_target,
        batch_delay_ms=Millis(tunes.batch_delay_ms),
        pipeline_depth=tunes.pipeline_depth,
        request_timeout_ms=Millis(tunes.request_timeout_ms),
        pool=PoolLimits(max_requests=tunes.pool),
    )
