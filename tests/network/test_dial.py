"""Rules of a client's connection, over real sockets, TLS and event loops."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from network.address import Address
from network.channel import HEARTBEAT, Channel
from network.dial import ClientConnection, ClientLimits
from network.errors import ConnectError
from network.tcp import ClientListener, ListenerLimits
from tests.network.harness import (
    LOOPBACK,
    PATIENCE_S,
    Proxy,
    Recorder,
    client_side,
    identity,
    listener,
    member_identity,
    on_every_loop,
)


class Inbox(Recorder):
    """What a client received."""

    def __call__(self, frame: bytes) -> None:
        self.peer_frame(0, frame)


@asynccontextmanager
async def replica(limits: ListenerLimits | None = None) -> AsyncIterator[tuple[ClientListener, Recorder]]:
    seen = Recorder()
    made = await listener(seen, limits)
    try:
        yield made, seen
    finally:
        await made.close()


async def connect(address: Address, inbox: Inbox | None = None, **limits: Any) -> ClientConnection:
    return await ClientConnection.connect(
        address,
        client_side(),
        member_identity(0).fingerprint,
        inbox or Inbox(),
        limits=replace(ClientLimits(), **limits),
    )


@on_every_loop
async def test_frames_go_both_ways_in_order() -> None:
    async with replica() as (made, seen):
        inbox = Inbox()
        connection = await connect(made.address, inbox)
        sent = [b"%d" % number for number in range(500)]
        seen.on_frame = lambda number, frame: made.send(number, frame)
        assert all(connection.send(frame) for frame in sent)
        await inbox.until_frames(500)
        assert inbox.received(0) == seen.received(1) == sent
        connection.close()
        connection.close()
        assert await connection.wait_closed() == "closed by us"
        assert not connection.open
        assert not connection.send(b"too late")


@on_every_loop
async def test_what_was_sent_before_closing_arrives() -> None:
    async with replica() as (made, seen):
        connection = await connect(made.address)
        for _ in range(10):
            connection.send(bytes(10_000))
        connection.close()
        await connection.wait_closed()
        await seen.until_events("up", "down")
        assert len(seen.frames) == 10


@on_every_loop
async def test_a_replica_with_a_certificate_that_is_not_trusted_is_not_believed() -> None:
    async with replica() as (made, _):
        with pytest.raises(ConnectError, match=rf"{made.address}: .*certificate refused"):
            await ClientConnection.connect(
                made.address, client_side(identity("other")), identity("other").fingerprint, Inbox()
            )


@on_every_loop
async def test_a_trusted_replica_that_is_not_the_one_expected_is_not_believed() -> None:
    async with replica() as (made, seen):
        with pytest.raises(ConnectError, match=r"certificate unknown: .*not the one expected"):
            await ClientConnection.connect(
                made.address, client_side(), member_identity(1).fingerprint, Inbox()
            )
        assert seen.frames == []


@on_every_loop
async def test_nobody_there_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address(*taken.getsockname())
    with pytest.raises(ConnectError, match=f"^{address}: Connection refused$"):
        await connect(address)
    with pytest.raises(ConnectionError):
        await connect(address)


@on_every_loop
async def test_a_name_that_does_not_resolve_is_said_in_one_line() -> None:
    with pytest.raises(ConnectError, match=r"^replica\.invalid:7000: .+$"):
        await connect(Address("replica.invalid", 7000))


@on_every_loop
async def test_a_replica_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = Address(*silent.getsockname())
        with pytest.raises(ConnectError, match=f"{address}: .*(50|within 50) ms"):
            await connect(address, connect_ms=50)


@on_every_loop
async def test_connecting_may_be_called_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connecting = asyncio.create_task(connect(Address(*silent.getsockname()), connect_ms=600_000))
        loop = asyncio.get_running_loop()
        accepted, _ = await loop.run_in_executor(None, silent.accept)
        with accepted:
            accepted.settimeout(PATIENCE_S)
            assert await loop.run_in_executor(None, accepted.recv, 10)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
            with suppress(ConnectionResetError):
                while await loop.run_in_executor(None, accepted.recv, 4096):
                    pass


@on_every_loop
async def test_connecting_that_is_called_off_when_it_has_just_succeeded_leaves_nothing_open() -> None:
    class CalledOff(ClientConnection):
        def opened(self, channel: Channel) -> None:
            super().opened(channel)
            opened.append(channel)
            connecting.cancel()

    opened: list[Channel] = []
    async with replica() as (made, _):
        expected = member_identity(0).fingerprint
        connecting = asyncio.create_task(
            CalledOff.connect(made.address, client_side(), expected, Inbox(), limits=ClientLimits())
        )
        with pytest.raises(asyncio.CancelledError):
            await connecting
        (channel,) = opened
        assert channel.gone.is_set()


@on_every_loop
async def test_a_connection_that_the_replica_closes_says_why() -> None:
    async with replica() as (made, seen):
        connection = await connect(made.address)
        await seen.until_up(1)
        made.disconnect(1)
        assert await connection.wait_closed() == "closed by peer"
        assert not connection.send(b"x")


@on_every_loop
async def test_a_replica_that_falls_silent_is_noticed() -> None:
    async with replica() as (made, _):
        proxy = await Proxy(made.address).start()
        connection = await connect(proxy.address, heartbeat_ms=20, silent_heartbeats=5)
        proxy.hold()
        assert await connection.wait_closed() == "silent: nothing for 100 ms"
        proxy.let_go()
        await proxy.close()


@on_every_loop
async def test_heartbeats_keep_a_connection_on_which_nothing_is_said() -> None:
    async with replica(ListenerLimits(watch_ms=20, idle_ms=400)) as (made, seen):
        proxy = await Proxy(made.address).start()
        inbox = Inbox()
        connection = await connect(proxy.address, inbox, heartbeat_ms=20, silent_heartbeats=20)
        await proxy.until(lambda: proxy.records > 60)
        assert connection.open
        assert (inbox.frames, seen.frames, made.connections) == ([], [], 1)
        connection.close()
        await proxy.close()


@on_every_loop
async def test_more_than_may_wait_is_not_taken_and_nothing_is_lost() -> None:
    async with replica() as (made, seen):
        await_up = seen.until_up(1)
        connection = await connect(made.address, queue_bytes=1_000_000, queue_frames=10)
        await await_up
        taken = 0
        while connection.send(b"%d" % taken):
            taken += 1
        assert taken == 10
        assert connection.queued == 50
        await seen.until_frames(10)
        assert connection.send(b"again")
        await seen.until_frames(11)
        connection.close()


@on_every_loop
async def test_a_client_may_stop_reading_and_go_on_later() -> None:
    async with replica() as (made, seen):
        inbox = Inbox()
        connection = await connect(made.address, inbox, held_bytes=1_000)
        await seen.until_up(1)
        connection.pause()
        sent = [b"%d" % number for number in range(1_000)]
        for frame in sent:
            made.send(1, frame)
        connection.send(b"sent meanwhile")
        await seen.until_frames(1)
        assert inbox.frames == []
        connection.resume()
        await inbox.until_frames(1_000)
        assert inbox.received(0) == sent
        connection.close()


@on_every_loop
async def test_a_frame_above_the_limit_ends_the_connection() -> None:
    async with replica() as (made, seen):
        connection = await connect(made.address, frame_bytes=1_000)
        await seen.until_up(1)
        made.send(1, bytes(1_001))
        assert await connection.wait_closed() == "framing broken: a frame of 1001 bytes, 1000 are allowed"


@pytest.mark.parametrize("payload", [b"", HEARTBEAT, bytes(1_001)], ids=["empty", "heartbeat", "too large"])
@on_every_loop
async def test_frames_that_nobody_may_send_are_refused(payload: bytes) -> None:
    async with replica() as (made, _):
        connection = await connect(made.address, request_bytes=1_000)
        with pytest.raises(ValueError, match=r"bytes|heartbeat"):
            connection.send(payload)
        connection.close()
        await connection.wait_closed()
        assert LOOPBACK.port == 0
