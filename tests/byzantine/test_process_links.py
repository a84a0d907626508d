"""Links between real members: what is sent into a cut one waits, each direction by itself; what is done to a
stream below TLS breaks the connection, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from byzantine.runners.links import ProxiedLinks, between
from byzantine.runners.stream_faults import StreamFaults, changed
from byzantine.scenario import Links
from crypto.roster import MemberId
from network.address import Address
from tests.network.harness import Cluster


class Member:
    """Takes connections as a member does, and notes what comes."""

    def __init__(self) -> None:
        self.heard = b""
        self.changed = asyncio.Event()
        self.writer: asyncio.StreamWriter | None = None

    async def listen(self) -> Address:
        self.server = await asyncio.start_server(self.accept, "127.0.0.1", 0)
        return Address("127.0.0.1", self.server.sockets[0].getsockname()[1])

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        while data := await reader.read(1000):
            self.heard += data
            self.changed.set()
        writer.close()
        self.writer = None
        self.changed.set()

    async def until(self, heard: bytes) -> None:
        while self.heard != heard:
            self.changed.clear()
            await self.changed.wait()


@asynccontextmanager
async def linked(policy: Links) -> AsyncIterator[tuple[ProxiedLinks, Member]]:
    """Members 0 and 1, of which 1 is there."""
    async with asyncio.timeout(20):
        member = Member()
        links = ProxiedLinks([Address("127.0.0.1", 1), await member.listen()], policy, 1, 1.0)
        await links.start()
        try:
            yield links, member
        finally:
            await links.close()
            member.server.close()


def test_a_cut_direction_holds_what_is_sent_and_the_other_carries() -> None:
    async def story() -> None:
        async with linked(Links()) as (links, member):
            reader, writer = await asyncio.open_connection("127.0.0.1", links.ports[0, 1])
            writer.write(b"one")
            await member.until(b"one")
            links.cut([(0, 1)])
            writer.write(b"two")
            assert member.writer is not None
            for _ in range(50):
                member.writer.write(b"answer")
                assert await reader.readexactly(6) == b"answer"
            # Fifty times something came back: what was sent had every chance to arrive.
            assert member.heard == b"one"
            assert links.held == 1
            links.mend()
            await member.until(b"onetwo")
            assert links.done == {"cut": 1}
            writer.close()

    asyncio.run(story())


def test_delays_keep_the_order_of_a_stream() -> None:
    async def story() -> None:
        async with linked(Links(low_us=0, high_us=20_000, tail=0.3)) as (links, member):
            _, writer = await asyncio.open_connection("127.0.0.1", links.ports[0, 1])
            sent = b""
            for number in range(20):
                writer.write(bytes([number]))
                await writer.drain()
                sent += bytes([number])
                await asyncio.sleep(0)
            await member.until(sent)
            assert 1 <= links.delayed <= 20
            writer.close()

    asyncio.run(story())


def test_an_end_is_passed_on() -> None:
    async def story() -> None:
        async with linked(Links()) as (links, member):
            _, writer = await asyncio.open_connection("127.0.0.1", links.ports[0, 1])
            writer.write(b"last")
            await writer.drain()
            writer.close()
            await member.until(b"last")
            while member.writer is not None:
                member.changed.clear()
                await member.changed.wait()

    asyncio.run(story())


def test_nobody_listens_behind_a_link_whose_member_is_down() -> None:
    async def story() -> None:
        async with linked(Links()) as (links, member):
            member.server.close()
            await member.server.wait_closed()
            reader, writer = await asyncio.open_connection("127.0.0.1", links.ports[0, 1])
            assert await reader.read() == b""
            writer.close()

    asyncio.run(story())


def test_a_member_that_runs_twice_is_reached_at_the_copy_that_is_not_cut_off() -> None:
    async def story() -> None:
        first, second = Member(), Member()
        # Member 1 runs twice: its copies sit on seats 1 and 2.
        addresses = [Address("127.0.0.1", 1), await first.listen(), await second.listen()]
        links = ProxiedLinks(addresses, Links(), 1, 1.0, twins=[1])
        await links.start()
        async with asyncio.timeout(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", links.ports[0, 1])
            writer.write(b"to the first")
            await first.until(b"to the first")
            links.cut(between([[0, 2], [1]]))
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
            _, writer = await asyncio.open_connection("127.0.0.1", links.ports[0, 1])
            writer.write(b"to the second")
            await second.until(b"to the second")
            assert first.heard == b"to the first"
            writer.close()
        await links.close()
        for copy in (first, second):
            copy.server.close()

    asyncio.run(story())


def test_in_an_undivided_network_each_copy_has_some_of_the_others() -> None:
    async def story() -> None:
        copies = [Member(), Member()]
        nowhere = Address("127.0.0.1", 1)
        places = [await copy.listen() for copy in copies]
        links = ProxiedLinks([nowhere, nowhere, places[0], places[1]], Links(), 1, 1.0, twins=[2])
        await links.start()
        async with asyncio.timeout(20):
            for member in (0, 1):
                _, writer = await asyncio.open_connection("127.0.0.1", links.ports[member, 2])
                writer.write(b"%d" % member)
                await copies[member].until(b"%d" % member)
                writer.close()
        await links.close()
        for copy in copies:
            copy.server.close()

    asyncio.run(story())


def test_a_partition_parts_groups_and_nobody_else() -> None:
    assert sorted(between([[0, 1], [2]])) == [(0, 2), (1, 2), (2, 0), (2, 1)]


@pytest.mark.parametrize(
    ("policy", "done"),
    [(Links(loss=1), "lost"), (Links(repeat=1), "repeated"), (Links(reorder=1), "reordered")],
)
def test_what_is_done_to_a_stream_breaks_the_connection_and_forges_nothing(policy: Links, done: str) -> None:
    async def story() -> None:
        cluster = Cluster(2)
        higher = await cluster.start(1)
        links = ProxiedLinks([Address("127.0.0.1", 1), higher.mesh.address], policy, 1, 1.0)
        await links.start()
        try:
            cluster.addresses[MemberId(1)] = Address("127.0.0.1", links.ports[0, 1])
            lower = await cluster.start(0)
            number = 0
            # Once for the first connection, once more for one that was made anew.
            while lower.seen.events.count(("down", 1)) < 2:
                for node, other in ((lower, 1), (higher, 0)):
                    node.mesh.send(MemberId(other), b"frame %d" % number)
                number += 1
                await asyncio.sleep(0)
            links.set_policy(Links())
            await lower.seen.until_up(1)
            for node, other in ((lower, 1), (higher, 0)):
                node.mesh.send(MemberId(other), b"last")
            for node, other in ((lower, 1), (higher, 0)):
                await node.seen.until_last(other, b"last")
                received = [int(frame.split()[1]) for frame in node.seen.received(other)[:-1]]
                assert received == sorted(set(received))
                assert set(received) <= set(range(number))
            assert links.done[done] >= 2
            assert set(links.done) == {done}
        finally:
            await links.close()
            await cluster.close()

    asyncio.run(story())


def test_faults_come_in_turn_and_one_connection_is_broken_at_a_time() -> None:
    faults = StreamFaults(Links(loss=0.1, repeat=0.2, reorder=0.3), 1, 1.0)
    kinds = []
    for number in range(6):
        now = 10.0 * (1 + number)
        kinds.append(faults.due(0, 1, b"bytes", now))
        assert faults.due(2, 3, b"bytes", now + 5) is None
        faults.up(1, 0)
    assert kinds == ["lost", "repeated", "reordered"] * 2
    assert faults.done == {"lost": 2, "repeated": 2, "reordered": 2}


def test_links_without_faults_have_none() -> None:
    assert StreamFaults(Links(), 1, 1.0).due(0, 1, b"bytes", 1e9) is None


def test_what_is_repeated_or_reordered_is_another_stream() -> None:
    assert changed("repeated", b"abc") == b"abcabc"
    assert changed("reordered", b"abc") == b"bca"
