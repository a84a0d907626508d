"""Rules of the clients' door, over real sockets, TLS and event loops: strangers under limits."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from network.acceptor import AcceptLimits
from network.channel import HEARTBEAT, WRITE_BYTES
from network.errors import ListenError, MalformedFrame
from network.tcp import ClientListener, ListenerLimits
from tests.network.harness import (
    LOOPBACK,
    PATIENCE_S,
    Raw,
    Recorder,
    anonymous_context,
    listener,
    on_every_loop,
)

LIMITS = ListenerLimits(watch_ms=20)


@asynccontextmanager
async def door(**changes: Any) -> AsyncIterator[tuple[ClientListener, Recorder]]:
    seen = Recorder()
    made = await listener(seen, replace(LIMITS, **changes))
    try:
        yield made, seen
    finally:
        await made.close()


async def client(made: ClientListener) -> Raw:
    return await Raw.connect(made.address, anonymous_context())


@on_every_loop
async def test_clients_get_answers_to_what_they_sent() -> None:
    async with door() as (made, seen):
        clients = [await client(made) for _ in range(3)]
        await seen.until_up(3)
        assert made.connections == 3
        seen.on_frame = lambda connection, frame: made.send(connection, b"re: " + frame)
        for number, raw in enumerate(clients):
            raw.send(b"question %d" % number, b"another")
        for number, raw in enumerate(clients):
            assert await raw.receive() == b"re: question %d" % number
            assert await raw.receive() == b"re: another"
            raw.abort()


@on_every_loop
async def test_a_client_that_leaves_is_gone_and_its_number_is_never_used_again() -> None:
    async with door() as (made, seen):
        for number in range(1, 4):
            raw = await client(made)
            await seen.until(lambda: len(seen.up) == 1)
            assert seen.up == {number}
            raw.abort()
            await seen.until_up(0)
            assert not made.send(number, b"too late")
            made.disconnect(number)
        assert made.connections == 0


@on_every_loop
async def test_a_client_that_is_disconnected_gets_what_was_queued_for_it() -> None:
    async with door() as (made, seen):
        raw = await client(made)
        await seen.until_up(1)
        sent = [b"%d" % number for number in range(100)] + [bytes(100_000)]
        for payload in sent:
            assert made.send(1, payload)
        made.disconnect(1)
        assert not made.send(1, b"more")
        assert [await raw.receive() for _ in sent] == sent
        await raw.closed()
        await seen.until_events("up", "down")


@on_every_loop
async def test_clients_that_send_nothing_for_long_are_disconnected_and_others_stay() -> None:
    async with door(idle_ms=200) as (made, seen):
        quiet, lively = await client(made), await client(made)
        await seen.until_up(2)
        seen.on_frame = lambda connection, frame: made.send(connection, frame)
        while len(seen.up) == 2:
            lively.send(b"still here")
            assert await lively.receive() == b"still here"
        assert made.counts == {"idle": 1}
        await quiet.closed()
        lively.send(b"still here")
        assert await lively.receive() == b"still here"
        lively.abort()


@on_every_loop
async def test_heartbeats_keep_a_client_connected_and_are_answered_in_kind() -> None:
    async with door(idle_ms=200) as (made, seen):
        quiet, lively = await client(made), await client(made)
        await seen.until_up(2)
        while len(seen.up) == 2:
            lively.send(HEARTBEAT)
            assert await lively.receive() == HEARTBEAT
        assert seen.frames == []
        assert made.connections == 1
        await quiet.closed()
        lively.abort()


@on_every_loop
async def test_a_frame_that_is_never_completed_ends_the_connection() -> None:
    async with door(frame_ms=100) as (made, seen):
        seen.on_frame = lambda connection, frame: made.send(connection, frame)
        dribbling, lively = await client(made), await client(made)
        await seen.until_up(2)
        dribbling.write((4_000_000).to_bytes(4, "big"))
        while len(seen.up) == 2:
            dribbling.write(b".")
            lively.send(b"still here")
            assert await lively.receive() == b"still here"
        assert made.counts == {"frame_slow": 1}
        await dribbling.closed()
        lively.abort()


@on_every_loop
async def test_a_client_that_lets_too_much_wait_is_disconnected_and_others_are_served() -> None:
    async with door(queue_bytes=1_000_000, total_bytes=10**9) as (made, seen):
        slow, quick = await client(made), await client(made)
        await seen.until_up(2)
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        served = 0
        while made.send(1, bytes(100_000)):
            assert made.send(2, b"%d" % served)
            assert await quick.receive() == b"%d" % served
            served += 1
        await seen.until_up(1)
        assert made.counts == {"backlog_full": 1}
        assert seen.up == {2}
        assert served > 10
        for raw in (slow, quick):
            raw.abort()


@on_every_loop
async def test_a_client_that_does_not_read_for_long_is_disconnected() -> None:
    async with door(stalled_ms=200, queue_bytes=10**8, total_bytes=10**9) as (made, seen):
        raw = await client(made)
        await seen.until_up(1)
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(10):
            made.send(1, bytes(5_000_000))
        await seen.until_told("reader_slow")
        await seen.until_up(0)
        raw.abort()


@on_every_loop
async def test_what_all_clients_make_us_keep_is_bounded_and_who_keeps_most_goes() -> None:
    async with door(total_bytes=500_000) as (made, seen):
        modest = [await client(made) for _ in range(3)]
        greedy = await client(made)
        await seen.until_up(4)
        for raw in modest:
            raw.write((100_001).to_bytes(4, "big") + bytes(100_000))
        greedy.write((1_000_001).to_bytes(4, "big") + bytes(1_000_000))
        await greedy.closed()
        await seen.until_told("memory_budget_full")
        await seen.until_up(3)
        for raw in modest:
            raw.write(b"!")
        await seen.until_frames(3)
        assert {len(payload) for _, payload in seen.frames} == {100_001}
        for raw in modest:
            raw.abort()


@on_every_loop
async def test_who_leaves_gives_back_what_was_kept_for_it() -> None:
    async with door(total_bytes=500_000) as (made, seen):
        for number in range(1, 9):
            raw = await client(made)
            raw.send(b"%d" % number)
            raw.write((300_001).to_bytes(4, "big") + bytes(300_000))
            await raw.writer.drain()
            await seen.until_frames(number)
            raw.writer.close()
            await seen.until_up(0)
        assert set(made.counts) == {"closed_by_peer"}


@on_every_loop
async def test_answers_that_wait_count_for_what_all_clients_make_us_keep() -> None:
    async with door(total_bytes=20_000_000, queue_bytes=10**8) as (made, seen):
        raw = await client(made)
        await seen.until_up(1)
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        sent = 0
        while made.send(1, bytes(1_000_000)):
            sent += 1
        assert sent == 19
        assert made.counts == {}
        await seen.until_told("memory_budget_full")
        raw.abort()


@on_every_loop
async def test_a_client_whose_frames_are_not_wanted_waits_and_loses_none() -> None:
    async with door(held_bytes=1_000) as (made, seen):
        raw = await client(made)
        await seen.until_up(1)
        made.pause(1)
        made.pause(99)
        sent = [b"%d" % number for number in range(20_000)]
        raw.send(*sent)
        other = await client(made)
        other.send(b"me too")
        await seen.until_frames(1)
        assert seen.frames == [(2, b"me too")]
        made.resume(1)
        made.resume(99)
        await seen.until(lambda: len(seen.frames) == 1 + len(sent))
        assert seen.received(1) == sent
        for each in (raw, other):
            each.abort()


@on_every_loop
async def test_a_client_that_is_paused_for_long_is_not_taken_for_idle() -> None:
    async with door(idle_ms=200) as (made, seen):
        paused, idle = await client(made), await client(made)
        await seen.until_up(2)
        made.pause(1)
        await seen.until_up(1)
        assert seen.up == {1}
        assert made.counts == {"idle": 1}
        await idle.closed()
        paused.abort()


@on_every_loop
async def test_a_client_that_is_disconnected_is_told_so_under_tls() -> None:
    """Without that, whoever sits between could pretend that a connection was closed."""
    async with door() as (made, seen):
        loop = asyncio.get_running_loop()

        def until_closed() -> bytes:
            with (
                socket.create_connection((made.address.host, made.address.port), PATIENCE_S) as plain,
                anonymous_context().wrap_socket(plain, suppress_ragged_eofs=False) as secured,
            ):
                return secured.recv(100)

        reading = loop.run_in_executor(None, until_closed)
        await seen.until_up(1)
        made.disconnect(1)
        assert await reading == b""


# Floods and nonsense.


@on_every_loop
async def test_connections_beyond_the_limit_are_closed_at_once() -> None:
    async with door(accept=AcceptLimits(connections=2)) as (made, seen):
        inside = [await client(made) for _ in range(2)]
        await seen.until_up(2)
        outside = await Raw.connect(made.address, None)
        await outside.closed()
        assert made.counts == {"refused_too_many_connections": 1}
        inside[0].abort()
        await seen.until_up(1)
        again = await client(made)
        await seen.until_up(2)
        for raw in (inside[1], again):
            raw.abort()


@on_every_loop
async def test_turning_connections_away_is_paced_too() -> None:
    async with door(accept=AcceptLimits(connections=0, handshakes_per_second=1)) as (made, _):
        outside = await Raw.connect(made.address, None)
        await outside.closed()
        assert made.counts == {"refused_too_many_connections": 1, "accept_paced": 1}


@on_every_loop
async def test_one_origin_cannot_take_all_connections() -> None:
    async with door(accept=AcceptLimits(per_origin=2)) as (made, seen):
        inside = [await client(made) for _ in range(2)]
        outside = await Raw.connect(made.address, None)
        await outside.closed()
        assert made.counts == {"refused_too_many_from_one_origin": 1}
        await seen.until_up(2)
        for raw in inside:
            raw.abort()


@on_every_loop
async def test_connections_that_say_nothing_are_few_and_do_not_last() -> None:
    async with door(accept=AcceptLimits(handshakes=3), handshake_ms=300) as (made, seen):
        quiet = [await Raw.connect(made.address, None) for _ in range(3)]
        outside = await Raw.connect(made.address, None)
        await outside.closed()
        assert made.counts["refused_too_many_handshakes"] == 1
        for raw in quiet:
            await raw.closed()
        inside = await client(made)
        await seen.until_up(1)
        assert made.counts["handshake_slow"] == 3
        inside.abort()


@on_every_loop
async def test_one_origin_that_says_nothing_does_not_hold_all_handshakes() -> None:
    async with door(accept=AcceptLimits(handshakes_per_origin=1), handshake_ms=60_000) as (made, _):
        quiet = await Raw.connect(made.address, None)
        outside = await Raw.connect(made.address, None)
        await outside.closed()
        assert made.counts == {"refused_too_many_handshakes_from_one_origin": 1}
        quiet.abort()


@on_every_loop
async def test_handshakes_beyond_their_rate_wait_and_are_not_refused() -> None:
    async with door(accept=AcceptLimits(handshakes_per_second=1)) as (made, seen):
        clients = [await client(made) for _ in range(2)]
        await seen.until_up(2)
        assert set(made.counts) == {"accept_paced"}
        for raw in clients:
            raw.abort()


@on_every_loop
async def test_random_bytes_instead_of_tls_or_of_frames_harm_nobody() -> None:
    source = Random(3)
    async with door(frame_bytes=2**31 - 1, handshake_ms=200) as (made, seen):
        strangers = []
        for number in range(40):
            raw = await (client(made) if number % 2 else Raw.connect(made.address, None))
            raw.write(source.randbytes(source.choice([1, 4, 5, 100, 5_000])))
            if number % 3:
                raw.abort()
            strangers.append(raw)
        honest = await client(made)
        honest.send(b"good day")
        await seen.until(lambda: any(payload == b"good day" for _, payload in seen.frames))
        for raw in (honest, *strangers):
            raw.abort()


@on_every_loop
async def test_a_frame_above_the_limit_ends_the_connection() -> None:
    async with door(frame_bytes=1_000) as (made, seen):
        raw = await client(made)
        raw.send(bytes(1_000), bytes(1_001))
        await raw.closed()
        await seen.until_up(0)
        assert made.counts == {"frame_oversized": 1, "framing_broken": 1}


@on_every_loop
async def test_a_malformed_frame_is_counted_by_the_handlers_reason() -> None:
    async with door() as (made, seen):

        def judge(_connection: int, _payload: bytes) -> None:
            raise MalformedFrame("unknown_type")

        seen.on_frame = judge
        raw = await client(made)
        raw.send(b"\xff", b"\xfe")
        await seen.until_frames(2)
        assert made.counts == {"unknown_type": 2}
        assert made.connections == 1
        raw.abort()


@on_every_loop
async def test_a_fault_of_the_handlers_own_is_no_matter_of_the_network() -> None:
    """It must reach the event loop, whose exception handler stops a node; a network that swallowed it would
    let a node go on with half a step done."""
    async with door() as (made, seen):
        loop = asyncio.get_running_loop()
        faults: list[dict] = []
        handler = loop.get_exception_handler()

        def noting(_loop: asyncio.AbstractEventLoop, context: dict) -> None:
            faults.append(context)
            seen.changed()

        loop.set_exception_handler(noting)

        def fail(_connection: int, _payload: bytes) -> None:
            raise RuntimeError("a fault of our own")

        seen.on_frame = fail
        raw = await client(made)
        raw.send(b"x")
        await seen.until(lambda: bool(faults))
        assert str(faults[0]["exception"]) == "a fault of our own"
        loop.set_exception_handler(handler)
        raw.abort()


@on_every_loop
async def test_what_is_written_at_a_time_does_not_depend_on_the_size_of_a_frame() -> None:
    async with door() as (made, seen):
        raw = await client(made)
        await seen.until_up(1)
        payload = bytes(range(256)) * (4 * WRITE_BYTES // 256)
        made.send(1, payload)
        made.send(1, b"next")
        assert await raw.receive() == payload
        assert await raw.receive() == b"next"
        raw.abort()


@pytest.mark.parametrize("payload", [b"", HEARTBEAT, bytes(1_001)], ids=["empty", "heartbeat", "too large"])
@on_every_loop
async def test_frames_that_nobody_may_send_are_refused(payload: bytes) -> None:
    async with door(answer_bytes=1_000) as (made, _):
        with pytest.raises(ValueError, match=r"bytes|heartbeat"):
            made.send(1, payload)


@on_every_loop
async def test_an_address_that_is_taken_is_named() -> None:
    async with door() as (made, _):
        second = ClientListener(made.address, made._context, Recorder())
        with pytest.raises(ListenError, match=f"cannot listen on {made.address}: Address already in use"):
            await second.start()
        await second.close()
        assert LOOPBACK.port == 0 < made.address.port
