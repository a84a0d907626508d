"""Links between real members: what is sent into a cut one waits, each direction by itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from byzantine.runners.links import ProxiedLinks, between
from byzantine.scenario import Links
from network.address import Address


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


def test_a_partition_parts_groups_and_nobody_else() -> None:
    assert sorted(between([[0, 1], [2]])) == [(0, 2), (1, 2), (2, 0), (2, 1)]
