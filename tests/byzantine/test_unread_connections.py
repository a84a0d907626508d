"""Connections that are left half open or unread: they come to their stage, are counted then alone, and
members end them in time, on both runners."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from msgspec import structs

from byzantine.attacks.catalogue import find_attack
from byzantine.attacks.stage import lie, staged
from byzantine.liars.client import Stage
from byzantine.runners.simulated import simulate
from byzantine.runners.unread import UnreadConnection
from byzantine.scenario import Crash, Expect, Tunes
from byzantine.simulation.recorder import Recorder
from byzantine.simulation.world import World
from byzantine.trace import fingerprint
from network.address import Address
from network.framing import frame
from network.listener import ClientListener, ListenerLimits
from tests.network.harness import Recorder as Replica
from tests.network.harness import client_side, listener
from tetrarch.wire import AskStatus, pack

NAMES = ("half-open", "slow-reader")
QUESTION = pack(AskStatus(1))
LIMITS = ListenerLimits(handshake_ms=300, frame_ms=200, watch_ms=50, queue_bytes=1_000_000)


def played(
    story: Callable[[ClientListener, Replica], Awaitable[None]], limits: ListenerLimits = LIMITS
) -> None:
    """Play against the clients' end of a replica."""

    async def play() -> None:
        seen = Replica()
        replica = await listener(seen, limits)
        async with asyncio.timeout(20):
            await story(replica, seen)
        await replica.close()

    asyncio.run(play())


class Left:
    """A connection to a replica that is left, and when it came to its stage."""

    def __init__(self, address: Address, stage: Stage, data: bytes = b"") -> None:
        self.reached = asyncio.Event()
        self.times = 0
        self.connection = UnreadConnection(address, client_side(), stage, data, self._on_reached)

    def _on_reached(self) -> None:
        self.times += 1
        self.reached.set()


@pytest.mark.parametrize("stage", [Stage.CONNECTED, Stage.GREETED])
def test_a_handshake_that_does_not_go_on_is_ended(stage: Stage) -> None:
    async def story(replica: ClientListener, seen: Replica) -> None:
        left = Left(replica.address, stage)
        await left.reached.wait()
        await seen.until_told("handshake_slow")
        assert replica.counts == {"handshake_slow": 1}
        assert (left.times, seen.events) == (1, [])
        await left.connection.close()

    played(story)


def test_half_a_frame_is_not_waited_for_for_long() -> None:
    async def story(replica: ClientListener, seen: Replica) -> None:
        left = Left(replica.address, Stage.OPEN, frame(QUESTION) + frame(QUESTION)[:-1])
        await left.reached.wait()
        await seen.until_told("frame_slow")
        assert [received for _, received in seen.frames] == [QUESTION]
        assert left.times == 1
        await left.connection.close()

    played(story)


def test_what_is_answered_is_not_read_and_who_asks_on_learns_of_the_end() -> None:
    async def story(replica: ClientListener, seen: Replica) -> None:
        seen.on_frame = lambda source, _: replica.send(source, bytes(400_000))
        left = Left(replica.address, Stage.OPEN, frame(QUESTION))
        await left.reached.wait()
        while not left.connection.gone:
            left.connection.send(frame(QUESTION))
            await asyncio.sleep(0)
        assert replica.counts == {"backlog_full": 1}
        await left.connection.close()

    played(story)


def test_who_asks_for_less_is_ended_for_not_reading_it() -> None:
    async def story(replica: ClientListener, seen: Replica) -> None:
        seen.on_frame = lambda source, _: replica.send(source, bytes(8_000_000))
        left = Left(replica.address, Stage.OPEN, frame(QUESTION))
        await left.reached.wait()
        await seen.until_told("reader_slow")
        await left.connection.close()

    played(story, ListenerLimits(stalled_ms=200, watch_ms=50, total_bytes=10**9))


def test_a_connection_that_cannot_be_made_comes_to_no_stage() -> None:
    async def story() -> None:
        replica = await listener(Replica())
        await replica.close()
        for stage in Stage:
            left = Left(replica.address, stage)
            await left.connection.ended.wait()
            left.connection.send(frame(QUESTION))
            assert left.times == 0
            await left.connection.close()

    asyncio.run(asyncio.wait_for(story(), 20))


# In the simulator.


@pytest.mark.parametrize("name", NAMES)
def test_the_outcome_is_missed_where_members_wait_longer_than_the_run_lasts(name: str) -> None:
    scenario = find_attack(name).scenario(4, 1)
    patient = structs.replace(scenario, tuning=structs.replace(scenario.tuning, client_patience_ms=20_000))
    result = simulate(patient)
    assert [finding.oracle for finding in result.failed] == ["outcome"]
    assert "client connection" in result.failed[0].why


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_trace(name: str) -> None:
    def trace() -> str:
        recorder = Recorder()
        simulate(find_attack(name).scenario(4, 3), recorder)
        return fingerprint(recorder.events)

    assert trace() == trace()


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_left_open_at_a_member_that_is_down(name: str) -> None:
    beset = staged(
        "down",
        4,
        1,
        steps=(Crash(at_ms=0, member=3),),
        hostile_clients=(lie(name, peers=(3,), to_ms=1_400),),
        expect=Expect(fired=()),
    )
    world = World(beset)
    world.play()
    assert world.unread
    assert world.observed.fired[name] == 0


def test_a_member_that_crashes_loses_those_connections_and_gets_new_ones() -> None:
    scenario = staged(
        "crash",
        4,
        1,
        steps=(Crash(at_ms=600, member=3),),
        hostile_clients=(lie("half-open", peers=(3,), connections=3),),
        expect=Expect(fired=()),
        tuning=Tunes(client_patience_ms=10_000),
    )
    world = World(scenario)
    world.scheduler.run_until(500_000)
    standing = list(world.unread.values())
    assert [each.gone for each in standing] == [False] * 3
    world.play()
    world.scheduler.run_for(500_000)
    assert all(each.gone for each in standing)
    assert [each.gone for each in world.unread.values()][-3:] == [False] * 3
    assert world.replicas[3].ended == {}
