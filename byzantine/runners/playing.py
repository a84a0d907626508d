"""One run of a scenario on real processes, as it happens: steps in real time, healing, convergence, the end.

What lives here: making the network, playing, and what was seen while it ran. What must not be known here:
what is right, and what lies in the stores afterwards.

Times of scenarios are made for the simulator; here all of them, and the replicas' timeouts with them, pass
`slowdown` times slower.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from random import Random

from byzantine import scenario as plan
from byzantine.liars.catalogue import colluders
from byzantine.liars.twins import runs_twice
from byzantine.runners.broker_proxy import step_aside
from byzantine.runners.clients import RealClient, Told
from byzantine.runners.clock import RunClock
from byzantine.runners.links import between
from byzantine.runners.members import Members, RealMember
from byzantine.runners.node_files import configure, second_copy
from byzantine.runners.outsiders import Outsiders
from byzantine.workload import Workload
from crypto.roster import MemberId
from ledger.genesis import Genesis
from network.address import Address
from tetrarch.client.config import ClientConfig
from tetrarch.client.states import ReplicaStatus
from tetrarch.layout import CLIENT_FILE
from tetrarch.local_network import UP_SECONDS
from tetrarch.processes import LocalNetwork
from tetrarch.setup.network import make_network
from tetrarch.setup.places import local_places
from tetrarch.setup.plan import NetworkPlan
from tetrarch.survey import ask, survey
from tetrarch.wire import StatusReply

LOOK_SECONDS = 0.03
"""How often processes and reports are looked at."""

ASK_SECONDS = 0.1
"""How often all members are asked where they stand, while that is waited for."""

START_SECONDS = 10.0
"""How long a process may take from its start until it listens, before nobody waits for it any more."""

ALLOWANCE_MS = 10_000
"""How much longer than stated convergence may take, by the clock on the wall: several replicas share a core
here, and other programs may have it. Most runs need a tenth of a second in all, and none of the catalogue
needed two seconds."""

ALLOWANCE_VIEWS = 3
"""How many views more than stated may be left, for the same reason: each is waited for twice as long as the
one before. Of 16 runs of an attack that states one view, four at a time on two cores, one needed two."""

UNLIVE_MS = 5_000
"""How long a run goes on after healing where no convergence is expected, in the scenario's time."""

CLEAN = plan.Links()
"""What links are before the run begins, and after healing."""


class Lost(RuntimeError):
    """A run that cannot begin, or go on. One line."""


class Play:
    """One run. `run` it, then look at what it saw."""

    def __init__(
        self, scenario: plan.Scenario, directory: Path, slowdown: float, transport: str = "tcp"
    ) -> None:
        """`directory`: the network is made there. `transport`: "tcp", or "mqtt". Raises `SetupError`."""
        self.scenario, self.slowdown = scenario, slowdown
        at_broker = transport == "mqtt"
        places = local_places(scenario.replicas + scenario.twins, transport, brokers=2)
        hosts = places.replicas
        self.genesis: Genesis = make_network(
            directory,
            NetworkPlan(
                hosts[: scenario.replicas],
                scenario.application,
                testing=True,
                checkpoint_interval=scenario.checkpoint_interval,
                largest_batch=scenario.largest_batch,
                brokers=places.brokers[:1],
            ),
        )
        self.network = LocalNetwork(directory)
        self.told = Told()
        self.clients: list[RealClient] = []
        self.statuses: dict[int, StatusReply] = {}
        """What each member said last."""
        self.counted: dict[tuple[int, int], dict[str, int]] = {}
        """What each member counted in each of its lives, as far as it was asked."""
        self.recovered_ms: int | None = None
        self.level_at_end: bool | None = None
        """Whether honest replicas stood at one block when faults ended; `None`: nobody looked."""
        self.unfinished = ""
        self._hosts = hosts
        self._random = Random(f"play {scenario.name} {scenario.seed}")
        self.members = self._make_members()
        self._clock = RunClock(slowdown)
        replicas = [member.process.directory for member in self.members.everybody]
        premises = None
        if at_broker:
            seen, real = (Address(place.host, place.port) for place in places.brokers)
            premises = step_aside(self.network.brokers[0].directory, seen, real)
        self.outsiders = Outsiders(scenario, self.genesis, replicas, CLEAN, self._clock, premises)
        self.links = self.outsiders.links

    def _make_members(self) -> Members:
        scenario = self.scenario
        liars = {liar.member: liar for liar in scenario.liars}
        plotting = colluders(scenario.liars)
        members = [
            RealMember(number, process, liars.get(number), scenario.seed, self.slowdown, plotting)
            for number, process in enumerate(self.network.replicas)
        ]
        twins = [
            RealMember(
                member.number,
                second_copy(member.process.directory, host),
                member.liar,
                scenario.seed,
                self.slowdown,
                twin=True,
            )
            for member, host in zip(
                [each for each in members if each.liar is not None and runs_twice(each.liar)],
                self._hosts[scenario.replicas :],
                strict=True,
            )
        ]
        # They are stopped and killed with all others.
        self.network.replicas += tuple(twin.process for twin in twins)
        return Members(members, self.slowdown, self._later, twins)

    async def run(self) -> None:
        """Play it to its end; whatever happens, no process outlives this. Raises `Lost`, `OSError`."""
        config = ClientConfig.load(self.network.directory / CLIENT_FILE)
        self._dialer = config.dialer()
        watch: asyncio.Task[None] | None = None
        try:
            for broker in self.network.brokers:
                broker.start()
            await self.links.start()
            for place, member in enumerate(self.members.everybody):
                configure(member, self.scenario, self._hosts, self.links.ports, place, self.slowdown)
                member.start(None)
            await self._until_up()
            await self._open_clients(config)
            watch = asyncio.create_task(self._watch())
            await self._play()
        finally:
            if watch is not None:
                watch.cancel()
            await self._end()

    # The beginning.

    async def _until_up(self) -> None:
        """Wait until all members answer and are connected. Raises `Lost`."""
        until = time.monotonic() + UP_SECONDS
        while time.monotonic() < until:
            self.members.look()
            if self.members.broken:
                raise Lost("; ".join((*self.members.stopped, *self.members.lost)))
            reports = await survey(self.genesis, self._dialer)
            replies = [report.reply for report in reports]
            connected = all(reply is not None and self._connected(reply) for reply in replies)
            if connected and all(member.listens() for member in self.members.everybody):
                return
            await asyncio.sleep(ASK_SECONDS)
        raise Lost("; ".join(f"{report.name}: {report.cause or 'not connected'}" for report in reports))

    def _connected(self, reply: StatusReply) -> bool:
        """Whether a member is connected to all others. Those that run twice have only some each."""
        twice = {member.number for member in self.members.twins}
        wanted = [up for other, up in enumerate(reply.peers) if other not in twice]
        return reply.member in twice or all(wanted)

    async def _open_clients(self, config: ClientConfig) -> None:
        workload, scenario = Workload(), self.scenario
        self.clients = [
            RealClient(number, config, workload, self.told, scenario.seed, self.slowdown)
            for number in range(scenario.clients)
        ]
        self.outsiders.open(config, [member.number for member in self.members.honest])
        await asyncio.gather(*(client.connect() for client in self.clients))

    async def _watch(self) -> None:
        while True:
            self.members.look()
            await asyncio.sleep(LOOK_SECONDS)

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds, action)

    # The run.

    async def _play(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._clock.begin()
        self.members.began_ms = self._clock.began_ms
        self.links.set_policy(self.scenario.links)
        for member in self.members.everybody:
            member.begin()
        self.outsiders.begin()
        ends = plan.Mend(at_ms=self.scenario.heal_at_ms)
        for step in (*sorted(self.scenario.steps, key=lambda step: step.at_ms), ends):
            due = began + step.at_ms * self.slowdown / 1000
            await asyncio.sleep(max(0.0, due - loop.time()))
            if self.members.broken:
                return
            if step is not ends:
                await self._do(step)
        await self._until_links_did()
        await self._heal()
        await self._converge()

    async def _until_links_did(self) -> None:
        """Let links go on until they have done what they are to be seen doing, if there is time: how often
        they get to it depends on how long members take to connect anew."""
        wanted = set(plan.LINKS_DO).intersection(self.scenario.expect.fired or ())
        until = time.monotonic() + ALLOWANCE_MS / 1000
        while time.monotonic() < until and not self.members.broken:
            if all(self.links.done[what] for what in wanted):
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def _do(self, step: plan.Step) -> None:
        match step:
            case plan.Submit():
                self.clients[step.client].submit(step.count, step.to)
            case plan.Read():
                self.clients[step.client].read()
            case plan.Crash():
                await self._crash([step.member])
            case plan.Restart():
                self.members.revive(self.members.all[step.member])
            case plan.PowerCut():
                await self._crash(range(self.scenario.replicas))
                for member in self.members.everybody:
                    self.members.revive(member)
            case plan.Partition():
                self.links.cut(between(step.groups))
            case plan.Cut():
                self.links.cut([(step.source, step.target)])
            case plan.Isolate():
                others = [other for other in range(self.scenario.replicas) if other != step.member]
                self.links.cut(between([[step.member], others]))
            case plan.Mend():
                self.links.mend()
            case plan.Links():
                self.links.set_policy(step)
            case plan.Disk():
                await self._do_disk(step)
            case _:
                self.members.lost.append(f"this runner cannot do the step {type(step).__name__.lower()}")

    async def _do_disk(self, step: plan.Disk) -> None:
        member = self.members.all[step.member]
        match step.what:
            case "full" | "free":
                member.fill_disk(step.what == "full")
            case "keep":
                member.keep_disk()
            case "flip":
                member.flip_disk(self._random)
            case "lose" | "old":
                await self._crash([step.member])
                if step.what == "lose":
                    member.lose_disk()
                else:
                    member.put_back_disk()
                self.members.revive(member)

    async def _crash(self, members: Iterable[int]) -> None:
        """Kill processes, having asked those that run what they have counted."""
        for number in members:
            if self.members.all[number].wanted:
                name = self.genesis.members[number].name
                self._note(await ask(MemberId(number), name, self._dialer, seconds=0.5))
        for number in members:
            self.members.all[number].kill()

    async def _heal(self) -> None:
        """Faults end: links are whole and clean, disks have room, all replicas run. Liars go on."""
        if self.scenario.expect.level:
            self.level_at_end = await self._level()
        self.outsiders.heal()
        self.links.mend()
        self.links.set_policy(CLEAN)
        for member in self.members.everybody:
            if member.damaged or member.full:
                await self._crash([member.number])
                if member.damaged:
                    # Found or not: its operator puts a new disk in, and says so.
                    member.lose_disk()
            self.members.revive(member)
        await self._until_all_listen()
        for client in self.clients:
            client.submit(2)

    async def _until_all_listen(self) -> None:
        """Wait for processes that are just starting: what takes a second here takes none in the simulator."""
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and not self.members.broken:
            if all(member.listens() for member in self.members.everybody if member.wanted):
                return
            await asyncio.sleep(LOOK_SECONDS)

    @property
    def bound_ms(self) -> int | None:
        """How long the scenario says that convergence takes at most, by the clock on the wall."""
        limit = self.scenario.expect.live_within_ms
        return None if limit is None else round(limit * self.slowdown)

    async def _converge(self) -> None:
        """Wait until clients know all outcomes and honest members stand at one block, or time is up."""
        loop, bound = asyncio.get_running_loop(), self.bound_ms
        milliseconds = UNLIVE_MS * self.slowdown if bound is None else bound + ALLOWANCE_MS
        healed = loop.time()
        while loop.time() < healed + milliseconds / 1000 and not self.members.broken:
            if not any(client.waits_for for client in self.clients) and await self._level():
                self.recovered_ms = round((loop.time() - healed) * 1000)
                break
            await asyncio.sleep(LOOK_SECONDS)
            if self.told.forks or self.told.broken:
                break
        await self._ask(self.members.all)
        if self.recovered_ms is None:
            self.unfinished = self._in_words()

    async def _level(self) -> bool:
        """Whether all honest members answer, and name one head. Liars are not asked: they need not answer."""
        replies = await self._ask(self.members.honest)
        return all(replies) and len({reply.head for reply in replies if reply is not None}) == 1

    async def _ask(self, members: Sequence[RealMember]) -> list[StatusReply | None]:
        """Return what members say of themselves, as far as they answer, and note it."""
        asks = [ask(MemberId(each.number), str(each.number), self._dialer) for each in members]
        reports = await asyncio.gather(*asks)
        for report in reports:
            self._note(report)
        return [report.reply for report in reports]

    def _note(self, report: ReplicaStatus) -> None:
        if report.reply is not None:
            member = int(report.member)
            self.statuses[member] = report.reply
            self.counted[member, self.members.all[member].lives] = dict(report.reply.ignored)

    def _in_words(self) -> str:
        said = [f"clients wait for {sum(client.waits_for for client in self.clients)}"]
        for member in self.members.all:
            status = self.statuses.get(member.number)
            if not member.wanted:
                said.append(f"{member.number}: down")
            elif status is not None:
                said.append(
                    f"{member.number}: height {status.height} view {status.view} waits for"
                    f" {status.waiting_for}"
                )
        return "; ".join(said)

    # The end.

    async def _end(self) -> None:
        """End all that was started here."""
        try:
            self._clock.end()
            await self.outsiders.close()
            for client in self.clients:
                await client.close()
        finally:
            self.members.look()
            running = self.members.end()
            for member in running:
                member.weigh()
            outcomes = self.network.stop()
        for member in running:
            self.members.on_stopped(member, outcomes[member.process.name])
        for member in self.members.everybody:
            member.read_report()
        await self.links.close()

    def kill(self) -> None:
        """Kill whatever still runs: for runs that were interrupted while they ended."""
        self.network.kill()
