"""Rules of the mesh, over real sockets, TLS and event loops."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from crypto.roster import MemberId
from network.acceptor import AcceptLimits
from network.address import Address
from network.channel import HEARTBEAT
from network.errors import ListenError, MalformedFrame
from network.hello import PROTOCOL_VERSION, Hello
from tests.network.harness import (
    CHAIN,
    LOOPBACK,
    OTHER_CHAIN,
    QUICK,
    Cluster,
    Proxy,
    Raw,
    anonymous_context,
    careless_context,
    client_context,
    fingerprints,
    identity,
    member_identity,
    on_every_loop,
    server_context,
)


@asynccontextmanager
async def cluster(n: int, **changes: Any) -> AsyncIterator[Cluster]:
    made = Cluster(n, replace(QUICK, **changes))
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def proxied(**changes: Any) -> AsyncIterator[tuple[Cluster, Proxy]]:
    """Two connected members with a wire between them that can be tampered with."""
    async with cluster(2, **changes) as pair:
        await pair.start(1)
        proxy = await Proxy(pair.addresses[MemberId(1)]).start()
        pair.addresses[MemberId(1)] = proxy.address
        await pair.start(0)
        for node in pair.nodes.values():
            await node.seen.until_up(1)
        try:
            yield pair, proxy
        finally:
            proxy.let_go()
            await proxy.close()


# The plain case.


@on_every_loop
async def test_every_member_reaches_every_other() -> None:
    async with cluster(4) as four:
        nodes = await four.start_all()
        for node, sender in enumerate(nodes):
            for other in range(4):
                if other != node:
                    sender.mesh.send(MemberId(other), b"from %d" % node)
        for node, receiver in enumerate(nodes):
            await receiver.seen.until_frames(3)
            assert set(receiver.seen.frames) == {(m, b"from %d" % m) for m in range(4) if m != node}
            assert all(receiver.mesh.connected(MemberId(m)) for m in range(4) if m != node)
            assert receiver.mesh.counts == {}


@on_every_loop
async def test_frames_of_any_size_arrive_whole_and_in_order() -> None:
    async with cluster(2, queue_bytes=10**8) as pair:
        nodes = await pair.start_all()
        sent = [
            bytes([number % 251]) * size
            for number, size in enumerate([1, 2, 10, 16_384, 300_000, 5_000_000, 3])
        ]
        sent[0] = b"\x07"
        for payload in sent:
            nodes[1].mesh.send(MemberId(0), payload)
        await nodes[0].seen.until(lambda: len(nodes[0].seen.frames) == len(sent))
        assert nodes[0].seen.received(1) == sent


@on_every_loop
async def test_all_frames_of_one_loop_turn_leave_in_one_record() -> None:
    async with proxied(heartbeat_ms=60_000) as (pair, proxy):
        before = proxy.records
        for number in range(200):
            pair.nodes[0].mesh.send(MemberId(1), b"frame %d" % number)
        await pair.nodes[1].seen.until_frames(200)
        assert proxy.records == before + 1


@on_every_loop
async def test_a_mesh_of_one_has_nobody_to_wait_for() -> None:
    async with cluster(1) as alone:
        node = await alone.start(0)
        assert node.mesh.address.port > 0


@on_every_loop
async def test_what_was_sent_before_closing_arrives() -> None:
    async with cluster(2) as pair:
        nodes = await pair.start_all()
        for number in range(1_000):
            nodes[0].mesh.send(MemberId(1), b"%d" % number)
        await pair.stop(0)
        await nodes[1].seen.until(lambda: ("down", 0) in nodes[1].seen.events)
        assert nodes[1].seen.received(0) == [b"%d" % number for number in range(1_000)]


def usable(host: str, family: socket.AddressFamily) -> list[Address]:
    """The address, where this machine has such addresses and knows the name."""
    with suppress(OSError), socket.create_server((host, 0), family=family):
        return [Address(host, 0)]
    return []


@pytest.mark.parametrize(
    "listen",
    [LOOPBACK, *usable("localhost", socket.AF_INET), *usable("::1", socket.AF_INET6)],
    ids=str,
)
@on_every_loop
async def test_members_may_be_at_names_and_at_addresses_of_either_kind(listen: Address) -> None:
    async with cluster(2) as pair:
        await pair.start(1, listen)
        pair.addresses[MemberId(1)] = Address(listen.host, pair.addresses[MemberId(1)].port)
        await pair.start(0, listen)
        await pair.nodes[0].seen.until_up(1)


# Who is believed to be whom.


@on_every_loop
async def test_a_certificate_that_is_not_trusted_ends_the_handshake_and_nothing_else() -> None:
    async with cluster(2) as pair:
        node = await pair.start(1)
        raw = await Raw.connect(node.mesh.address, careless_context(identity("stranger")))
        await raw.closed()
        await node.seen.until_told("handshake_failed")
        assert "certificate refused" in node.seen.told("handshake_failed")[0]["why"]
        await pair.start(0)
        await node.seen.until_up(1)


@on_every_loop
async def test_a_client_without_a_certificate_is_turned_away() -> None:
    async with cluster(2) as pair:
        node = await pair.start(1)
        raw = await Raw.connect(node.mesh.address, anonymous_context())
        await raw.closed()
        await node.seen.until(lambda: node.mesh.counts == {"handshake_failed": 1})


@on_every_loop
async def test_a_trusted_certificate_that_is_no_members_is_turned_away() -> None:
    stranger = identity("stranger")
    async with cluster(2) as pair:
        context = server_context(member_identity(1), member_identity(0), stranger)
        node = await pair.start(1, server_context=context)
        raw = await Raw.connect(node.mesh.address, careless_context(stranger))
        raw.send(Hello(CHAIN, MemberId(0)).encode(), b"let me in")
        await raw.closed()
        await node.seen.until_told("certificate_unknown")
        assert stranger.fingerprint.hex() in node.seen.told("certificate_unknown")[0]["why"]
        assert (node.seen.events, node.seen.frames) == ([], [])


@on_every_loop
async def test_a_member_that_claims_to_be_another_is_turned_away() -> None:
    async with cluster(3) as three:
        node = await three.start(2)
        raw = await Raw.as_member(node.mesh.address, 1, Hello(CHAIN, MemberId(0)).encode())
        raw.send(b"vote")
        await raw.closed()
        await node.seen.until_told("hello_refused")
        assert node.seen.told("hello_refused")[0]["member"] == 1
        assert (
            "says it is member 0, its certificate is member 1's" in node.seen.told("hello_refused")[0]["why"]
        )
        assert node.mesh.counts["hello_other_member"] == 1
        assert (node.seen.events, node.seen.frames) == ([], [])


@on_every_loop
async def test_whoever_is_dialled_must_be_the_member_that_was_meant() -> None:
    async with cluster(3) as three:
        node = await three.start(2)
        three.addresses[MemberId(1)] = node.mesh.address
        dialler = await three.start(0)
        await dialler.seen.until_told("certificate_unknown")
        assert dialler.seen.told("certificate_unknown")[0]["member"] == 1
        await dialler.seen.until(lambda: dialler.seen.up == {2})
        assert not dialler.mesh.connected(MemberId(1))


@on_every_loop
async def test_a_member_that_should_be_dialled_must_not_dial() -> None:
    async with cluster(3) as three:
        three.addresses[MemberId(2)] = Address("127.0.0.1", 9)
        node = await three.start(1)
        raw = await Raw.as_member(node.mesh.address, 2)
        await raw.closed()
        await node.seen.until_told("certificate_unknown")
        assert "member 2, whom we dial" in node.seen.told("certificate_unknown")[0]["why"]


@pytest.mark.parametrize(
    ("hello", "count"),
    [
        (Hello(OTHER_CHAIN, MemberId(0)).encode(), "hello_other_chain"),
        (Hello(CHAIN, MemberId(0), PROTOCOL_VERSION + 1).encode(), "hello_other_version"),
        (b"GET / HTTP/1.1", "hello_malformed"),
    ],
)
@on_every_loop
async def test_a_hello_that_does_not_fit_is_answered_counted_and_ends_the_connection(
    hello: bytes, count: str
) -> None:
    async with cluster(2) as pair:
        node = await pair.start(1)
        raw = await Raw.as_member(node.mesh.address, 0, hello)
        assert await raw.receive() == Hello(CHAIN, MemberId(1)).encode()
        await raw.closed()
        await node.seen.until_told("hello_refused")
        assert node.mesh.counts == {count: 1, "hello_refused": 1}
        assert node.seen.events == []


@on_every_loop
async def test_members_of_two_chains_both_say_what_does_not_fit() -> None:
    async with cluster(2) as pair:
        one = await pair.start(1, chain=OTHER_CHAIN)
        other = await pair.start(0)
        for node in (one, other):
            await node.seen.until_told("hello_refused")
            assert "it is of chain" in node.seen.told("hello_refused")[0]["why"]


@on_every_loop
async def test_a_first_frame_longer_than_a_hello_is_not_kept() -> None:
    async with cluster(2) as pair:
        node = await pair.start(1)
        raw = await Raw.connect(node.mesh.address, careless_context(member_identity(0)))
        raw.write((45).to_bytes(4, "big"))
        await raw.closed()
        await node.seen.until(lambda: node.mesh.counts == {"frame_oversized": 1, "framing_broken": 1})


# Death and return.


@on_every_loop
async def test_a_peer_that_died_and_came_back_is_connected_again() -> None:
    async with cluster(3) as three:
        nodes = await three.start_all()
        for member in (1, 2, 0):
            listen = nodes[member].mesh.address
            await three.stop(member)
            others = [three.nodes[m] for m in range(3) if m != member]
            for node in others:
                await node.seen.until_up(1)
            nodes[member] = await three.start(member, listen)
            await nodes[member].seen.until_up(2)
            for node in others:
                await node.seen.until_up(2)
                nodes[member].mesh.send(MemberId(nodes.index(node)), b"back")
                await node.seen.until_last(member, b"back")


@on_every_loop
async def test_a_connection_that_breaks_is_made_anew() -> None:
    async with proxied() as (pair, proxy):
        for round_ in range(3):
            proxy.cut()
            for node in pair.nodes.values():
                await node.seen.until_events("up", *["down", "up"] * (round_ + 1))
        pair.nodes[0].mesh.send(MemberId(1), b"still here")
        await pair.nodes[1].seen.until(lambda: pair.nodes[1].seen.received(0) == [b"still here"])


@on_every_loop
async def test_a_peer_that_falls_silent_is_down_and_dialled_again() -> None:
    async with proxied(heartbeat_ms=20, silent_heartbeats=5, handshake_ms=100) as (pair, proxy):
        proxy.hold()
        for node in pair.nodes.values():
            await node.seen.until_told("silent")
            assert ("down", 1 - next(m for m, n in pair.nodes.items() if n is node)) in node.seen.events
        proxy.let_go()
        proxy.cut()
        for node in pair.nodes.values():
            await node.seen.until_up(1)


@on_every_loop
async def test_heartbeats_keep_a_connection_up_on_which_nothing_is_said() -> None:
    async with proxied(heartbeat_ms=20, silent_heartbeats=20) as (pair, proxy):
        await proxy.until(lambda: proxy.records > 60)
        for node in pair.nodes.values():
            assert [event for event, _ in node.seen.events] == ["up"]
            assert node.seen.frames == []


@on_every_loop
async def test_a_newer_connection_of_a_member_takes_the_place_of_the_older() -> None:
    async with cluster(2) as pair:
        node = await pair.start(1)
        first = await Raw.as_member(node.mesh.address, 0)
        await node.seen.until_up(1)
        second = await Raw.as_member(node.mesh.address, 0)
        await first.closed()
        second.send(b"anew")
        await node.seen.until(lambda: node.seen.frames == [(0, b"anew")])
        assert node.seen.events == [("up", 0), ("down", 0), ("up", 0)]
        assert node.mesh.counts == {"replaced_by_newer": 1}
        second.abort()


@on_every_loop
async def test_frames_for_a_peer_that_is_not_there_wait_for_it_the_newest_of_them() -> None:
    async with cluster(2, absent_frames=3) as pair:
        one = await pair.start(1)
        for number in range(10):
            one.mesh.send(MemberId(0), b"%d" % number)
        assert one.mesh.counts == {"dropped_oldest": 7}
        zero = await pair.start(0)
        await zero.seen.until_frames(3)
        assert zero.seen.received(1) == [b"7", b"8", b"9"]


# Slow peers.


@on_every_loop
async def test_a_peer_that_does_not_read_holds_nobody_up_and_loses_the_oldest() -> None:
    frames, size = 300, 100_000
    async with cluster(3, queue_bytes=1_000_000) as three:
        nodes = await three.start_all()
        nodes[2].mesh.pause(MemberId(0))
        for number in range(frames):
            payload = number.to_bytes(4, "big") + bytes(size)
            nodes[0].mesh.send(MemberId(2), payload)
            nodes[0].mesh.send(MemberId(1), payload)
            await nodes[1].seen.until_frames(number + 1)
        assert nodes[2].seen.frames == []
        dropped = nodes[0].mesh.counts["dropped_oldest"]
        assert 0 < dropped < frames
        assert nodes[0].mesh.queued(MemberId(2)) <= 1_000_000 + size
        nodes[2].mesh.resume(MemberId(0))
        await nodes[2].seen.until(lambda: len(nodes[2].seen.frames) == frames - dropped)
        places = [int.from_bytes(payload[:4], "big") for payload in nodes[2].seen.received(0)]
        assert places == sorted(places)
        assert places[-1] == frames - 1
        assert nodes[2].seen.events.count(("down", 0)) == 0


@on_every_loop
async def test_a_handler_that_pauses_gets_no_more_frames_until_it_resumes() -> None:
    async with cluster(2) as pair:
        nodes = await pair.start_all()
        seen, mesh = nodes[1].seen, nodes[1].mesh
        seen.on_frame = lambda source, payload: mesh.pause(MemberId(0)) if payload == b"wait" else None
        for payload in (b"first", b"wait", b"second", b"wait", b"third"):
            nodes[0].mesh.send(MemberId(1), payload)
        await seen.until_frames(2)
        mesh.resume(MemberId(0))
        assert seen.received(0) == [b"first", b"wait", b"second", b"wait"]
        mesh.resume(MemberId(0))
        assert seen.received(0) == [b"first", b"wait", b"second", b"wait", b"third"]


@on_every_loop
async def test_a_handler_may_pause_and_resume_within_one_frame() -> None:
    async with cluster(2) as pair:
        nodes = await pair.start_all()
        seen, mesh = nodes[1].seen, nodes[1].mesh

        def blink(_source: int, _payload: bytes) -> None:
            mesh.pause(MemberId(0))
            mesh.resume(MemberId(0))

        seen.on_frame = blink
        sent = [b"%d" % number for number in range(500)]
        for payload in sent:
            nodes[0].mesh.send(MemberId(1), payload)
        await seen.until_frames(500)
        assert seen.received(0) == sent


@on_every_loop
async def test_silence_is_not_held_against_a_peer_whose_frames_are_not_wanted() -> None:
    async with proxied(heartbeat_ms=20, silent_heartbeats=4, held_bytes=1) as (pair, proxy):
        pair.nodes[1].mesh.pause(MemberId(0))
        before = proxy.records
        for _ in range(20):
            pair.nodes[0].mesh.send(MemberId(1), b"unwanted")
        await proxy.until(lambda: proxy.records > before + 10)
        pair.nodes[1].mesh.resume(MemberId(0))
        await pair.nodes[1].seen.until_frames(20)
        assert all([event for event, _ in node.seen.events] == ["up"] for node in pair.nodes.values())


@on_every_loop
async def test_many_held_frames_are_delivered_to_a_handler_that_pauses_and_resumes_at_each() -> None:
    async with cluster(2) as pair:
        nodes = await pair.start_all()
        seen, mesh = nodes[1].seen, nodes[1].mesh
        mesh.pause(MemberId(0))
        sent = [b"%d" % number for number in range(3_000)]
        for payload in sent:
            nodes[0].mesh.send(MemberId(1), payload)
        nodes[1].mesh.send(MemberId(0), b"have you sent all?")
        await nodes[0].seen.until_frames(1)

        def blink(_source: int, _payload: bytes) -> None:
            mesh.pause(MemberId(0))
            mesh.resume(MemberId(0))

        seen.on_frame = blink
        mesh.resume(MemberId(0))
        await seen.until(lambda: len(seen.frames) == len(sent))
        assert seen.received(0) == sent


@on_every_loop
async def test_a_peer_stays_paused_when_it_connects_anew() -> None:
    async with proxied() as (pair, proxy):
        nodes = pair.nodes
        nodes[1].mesh.pause(MemberId(0))
        proxy.cut()
        for node in nodes.values():
            await node.seen.until_events("up", "down", "up")
        nodes[0].mesh.send(MemberId(1), b"unwanted")
        nodes[0].mesh.send(MemberId(1), b"unwanted too")
        await proxy.until(lambda: proxy.records >= 2)
        nodes[1].mesh.send(MemberId(0), b"a turn later")
        await nodes[0].seen.until_frames(1)
        assert nodes[1].seen.frames == []
        nodes[1].mesh.resume(MemberId(0))
        await nodes[1].seen.until_frames(2)


@on_every_loop
async def test_a_frame_that_was_cut_in_two_by_the_end_of_a_connection_spoils_nothing_after_it() -> None:
    async with proxied(queue_bytes=10**8, absent_bytes=10**8) as (pair, proxy):
        nodes = pair.nodes
        proxy.hold()
        nodes[0].mesh.send(MemberId(1), bytes(40_000_000))
        nodes[0].mesh.send(MemberId(1), b"whole")
        await proxy.until(lambda: nodes[0].mesh.queued(MemberId(1)) < 40_000_000)
        proxy.let_go()
        proxy.cut()
        await nodes[0].seen.until_events("up", "down", "up")
        await nodes[1].seen.until(lambda: bool(nodes[1].seen.frames))
        assert nodes[1].seen.frames == [(0, b"whole")]
        assert nodes[1].mesh.counts.get("framing_broken") is None


# Hostile peers.


@on_every_loop
async def test_a_frame_that_the_handler_finds_malformed_is_counted_and_the_connection_stays() -> None:
    async with cluster(2) as pair:
        nodes = await pair.start_all()

        def judge(_source: int, payload: bytes) -> None:
            if payload.startswith(b"bad"):
                raise MalformedFrame("undecodable")

        nodes[1].seen.on_frame = judge
        for payload in (b"bad", b"good", b"bad too", b"good too"):
            nodes[0].mesh.send(MemberId(1), payload)
        await nodes[1].seen.until_frames(4)
        assert nodes[1].mesh.counts == {"undecodable": 2}
        assert nodes[1].mesh.connected(MemberId(0))


@pytest.mark.parametrize(
    ("stream", "count"),
    [(bytes(4), "frame_empty"), (b"\xff" * 100, "frame_oversized")],
    ids=["empty", "oversized"],
)
@on_every_loop
async def test_broken_framing_ends_the_connection_and_the_node_lives(stream: bytes, count: str) -> None:
    async with cluster(2) as pair:
        node = await pair.start(1)
        for round_ in range(1, 4):
            raw = await Raw.as_member(node.mesh.address, 0)
            raw.send(b"fine")
            raw.write(stream)
            raw.writer.write_eof() if raw.writer.can_write_eof() else raw.writer.close()
            await raw.closed()
            await node.seen.until_events(*["up", "down"] * round_)
        assert node.mesh.counts[count] == 3
        await pair.start(0)
        await node.seen.until_up(1)


@on_every_loop
async def test_whoever_connects_and_says_nothing_is_disconnected() -> None:
    async with cluster(2, handshake_ms=50) as pair:
        node = await pair.start(1)
        raw = await Raw.connect(node.mesh.address, None)
        await raw.closed()
        await node.seen.until(lambda: node.mesh.counts == {"handshake_slow": 1})


@on_every_loop
async def test_a_member_that_says_no_hello_is_disconnected() -> None:
    async with cluster(2, hello_ms=50) as pair:
        node = await pair.start(1)
        raw = await Raw.connect(node.mesh.address, careless_context(member_identity(0)))
        await raw.closed()
        await node.seen.until(lambda: node.mesh.counts == {"hello_slow": 1})
        assert node.seen.events == []


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1\r\n\r\n", bytes(1_000), b"\x16\x03\x01\xff\xff" + bytes(70_000)]
)
@on_every_loop
async def test_whoever_speaks_no_tls_is_disconnected(data: bytes) -> None:
    async with cluster(2, handshake_ms=200) as pair:
        node = await pair.start(1)
        raw = await Raw.connect(node.mesh.address, None)
        raw.write(data)
        await raw.closed()
        await node.seen.until(lambda: sum(node.mesh.counts.values()) == 1)
        assert set(node.mesh.counts) <= {"handshake_failed", "handshake_slow", "connection_broken"}
        await pair.start(0)
        await node.seen.until_up(1)


@on_every_loop
async def test_no_more_connections_are_taken_than_the_limit_says() -> None:
    async with cluster(2, accept=AcceptLimits(connections=3), handshake_ms=60_000) as pair:
        node = await pair.start(1)
        quiet = [await Raw.connect(node.mesh.address, None) for _ in range(3)]
        refused = await Raw.connect(node.mesh.address, None)
        await refused.closed()
        assert node.mesh.counts == {"refused_too_many_connections": 1}
        for raw in quiet:
            raw.abort()
        await pair.start(0)
        await node.seen.until_up(1)


@on_every_loop
async def test_what_peers_make_us_keep_is_bounded_and_who_keeps_most_goes() -> None:
    async with cluster(3, received_bytes=300_000) as three:
        node = await three.start(2)
        greedy, modest = [await Raw.as_member(node.mesh.address, member) for member in (0, 1)]
        await node.seen.until_up(2)
        modest.write((10_000_000).to_bytes(4, "big") + bytes(50_000))
        greedy.write((10_000_000).to_bytes(4, "big") + bytes(400_000))
        await greedy.closed()
        await node.seen.until_told("memory_budget_full")
        assert node.seen.told("memory_budget_full")[0]["member"] == 0
        assert node.seen.up == {1}
        modest.abort()


# Mistakes of our own.


@pytest.mark.parametrize("payload", [b"", HEARTBEAT, bytes(1_001)], ids=["empty", "heartbeat", "too large"])
@on_every_loop
async def test_frames_that_nobody_may_send_are_refused(payload: bytes) -> None:
    async with cluster(2, frame_bytes=1_000) as pair:
        node = await pair.start(1)
        with pytest.raises(ValueError, match=r"bytes|heartbeat"):
            node.mesh.send(MemberId(0), payload)


@on_every_loop
async def test_two_members_with_one_certificate_are_refused() -> None:
    shared = fingerprints(2)[MemberId(0)]
    with pytest.raises(ValueError, match="two members have one certificate"):
        await Cluster(2).start(1, fingerprints={MemberId(0): shared, MemberId(1): shared})


@on_every_loop
async def test_a_member_that_must_be_dialled_needs_an_address() -> None:
    with pytest.raises(ValueError, match="member 1 has no address"):
        await Cluster(2).start(0)


@on_every_loop
async def test_an_address_that_is_taken_is_named() -> None:
    async with cluster(2) as pair:
        node = await pair.start(1)
        with pytest.raises(
            ListenError, match=f"cannot listen on {node.mesh.address}: Address already in use"
        ):
            await Cluster(2).start(1, node.mesh.address)


@on_every_loop
async def test_a_peer_that_cannot_be_reached_is_named_once_and_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address(*taken.getsockname())
    async with cluster(2) as pair:
        pair.addresses[MemberId(1)] = address
        node = await pair.start(0)
        await node.seen.until_told("dial_failed")
        assert node.seen.told("dial_failed") == [
            {"member": 1, "address": str(address), "why": "Connection refused"}
        ]
        await pair.start(1, address)
        await node.seen.until_up(1)


@on_every_loop
async def test_a_mesh_that_is_closing_gives_up_dialling_at_once() -> None:
    async with cluster(2) as pair:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            pair.addresses[MemberId(1)] = Address(*silent.getsockname())
            await pair.start(0)
            connection, _ = await asyncio.get_running_loop().run_in_executor(None, silent.accept)
            with connection:
                await pair.stop(0)


def test_contexts_for_members_show_certificates_on_both_sides() -> None:
    """The harness does what a node does: no test passes for want of verification."""
    for make in (server_context, client_context):
        assert make(member_identity(0), member_identity(1)).verify_mode is ssl.CERT_REQUIRED
