"""Who is hostile to a real network and no member: what gets through to replicas, and what is seen of them."""

import asyncio
from collections import Counter
from collections.abc import Callable

from byzantine.culprits import Deeds
from byzantine.liars.adversary import Standing
from byzantine.runners.clock import RunClock
from byzantine.runners.hostile_clients import Line
from byzantine.runners.hostile_network import Lookout, RealWires
from byzantine.runners.links import ProxiedLinks
from byzantine.scenario import Links, Scenario
from byzantine.simulation.genesis import simulated_genesis
from byzantine.simulation.signatures import signatures
from crypto.roster import MemberId
from network.address import Address
from network.dial import ClientConnection
from tests.network.harness import Recorder, client_side, listener, member_identity
from tetrarch.client.transport import Connection
from tetrarch.wire import AskStatus, StatusReply, pack

GOOD = [pack(AskStatus(number)) for number in range(4)]
BAD = b"\x01nonsense"


def test_what_follows_a_frame_that_makes_no_sense_comes_over_the_next_connection() -> None:
    async def story() -> None:
        seen = Recorder()
        replica = await listener(seen)
        # A replica ends a connection for such a frame.
        seen.on_frame = lambda source, frame: replica.disconnect(source) if frame == BAD else None

        async def dial(_member: MemberId) -> ClientConnection:
            shown = member_identity(0).fingerprint
            return await ClientConnection.connect(replica.address, client_side(), shown, lambda _: None)

        line = Line(MemberId(0), dial)
        line.open()
        for frame in (GOOD[0], BAD, GOOD[1], BAD, BAD, GOOD[2]):
            line.send(frame)
        await seen.until_frames(6)
        assert [frame for _, frame in seen.frames] == [GOOD[0], BAD, GOOD[1], BAD, BAD, GOOD[2]]
        assert len({source for source, _ in seen.frames}) == 4
        await line.close()
        await replica.close()

    asyncio.run(story())


def test_what_is_said_at_once_comes_at_once() -> None:
    async def story() -> None:
        seen = Recorder()
        replica = await listener(seen)
        together: list[int] = []
        """How many frames came in each of the replica's turns."""
        turn_began = False

        def on_frame(_source: object, _frame: bytes) -> None:
            nonlocal turn_began
            if not turn_began:
                turn_began = True
                together.append(0)
                asyncio.get_running_loop().call_soon(end_turn)
            together[-1] += 1

        def end_turn() -> None:
            nonlocal turn_began
            turn_began = False

        seen.on_frame = on_frame

        async def dial(_member: MemberId) -> ClientConnection:
            shown = member_identity(0).fingerprint
            return await ClientConnection.connect(replica.address, client_side(), shown, lambda _: None)

        line = Line(MemberId(0), dial)
        line.open()
        line.send(GOOD[0])
        await seen.until_frames(1)
        for _ in range(200):
            line.send(GOOD[1])
        await seen.until_frames(201)
        assert max(together) > 64
        await line.close()
        await replica.close()

    asyncio.run(story())


class Stage:
    """Members that say what they are told to, as long as they are there."""

    def __init__(self, views: dict[int, tuple[int, bool]]) -> None:
        self.views = views
        self.dialled: Counter[int] = Counter()
        self.asked = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self.asked.clear()
                await self.asked.wait()

    async def dial(self, member: MemberId, receive: Callable[[bytes], None]) -> Connection:
        self.dialled[member] += 1
        if member not in self.views:
            raise ConnectionRefusedError
        return Answering(self, member, receive)


class Answering:
    def __init__(self, stage: Stage, member: int, receive: Callable[[bytes], None]) -> None:
        self.stage, self.member, self.receive = stage, member, receive
        self.closed = asyncio.Event()

    def send(self, frame: bytes) -> bool:
        if self.member not in self.stage.views:
            self.close()
            return False
        view, active = self.stage.views[self.member]
        self.receive(pack(status(self.member, view, active)))
        self.stage.asked.set()
        return True

    def close(self) -> None:
        self.closed.set()

    async def wait_closed(self) -> str:
        await self.closed.wait()
        return "closed"


def status(member: int, view: int, active: bool) -> StatusReply:
    return StatusReply(
        request=1,
        member=member,
        name=f"replica-{member}",
        view=view,
        leader=view % 4 if active else -1,
        active=active,
        height=0,
        head=bytes(32),
        state_root=bytes(32),
        block_time=0,
        stable=0,
        last_vote=0,
        pending=0,
        waiting_for="",
        halted="",
        role="backup",
        peers=(True,) * 4,
        ignored=(),
        resident_bytes=0,
        uptime_ms=0,
    )


def test_a_hostile_network_sees_where_members_stand_as_long_as_they_run() -> None:
    async def story() -> None:
        stage = Stage({0: (0, True), 1: (1, False)})
        lookout = Lookout([0, 1, 2], stage)
        lookout.begin()
        await stage.until(lambda: lookout.seen == {0: Standing(0, True), 1: Standing(1, False)})
        stage.views = {1: (1, True), 2: (1, False)}
        await stage.until(lambda: lookout.seen == {1: Standing(1, True), 2: Standing(1, False)})
        await lookout.close()
        assert stage.dialled[2] > 1

    asyncio.run(story())


def test_whom_a_hostile_network_cuts_off_can_be_let_back() -> None:
    async def story() -> None:
        scenario = Scenario(name="cut")
        links = ProxiedLinks([Address("127.0.0.1", 1)] * 4, Links(), 1, 1.0)
        await links.start()
        genesis, deeds = simulated_genesis(scenario, signatures("stand-in")), Deeds()
        wires = RealWires(genesis, links, Lookout([], Stage({})), RunClock(1.0), {}, deeds)
        wires.cut_off(1)
        assert {pair for pair in ALL if not links.carries(*pair)} == {pair for pair in ALL if 1 in pair}
        wires.let_back(1)
        wires.cut_off(2)
        assert {pair for pair in ALL if not links.carries(*pair)} == {pair for pair in ALL if 2 in pair}
        await links.close()

    asyncio.run(story())


ALL = [(one, other) for one in range(4) for other in range(4) if one != other]
