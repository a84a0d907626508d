"""The relay between real members: it sees frames, and stands towards each member as the others."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from byzantine.liars.adversary import Carried
from byzantine.runners.clock import RunClock
from byzantine.runners.relay import FrameRelay, Through, TlsIdentity
from byzantine.scenario import Links
from crypto.roster import MemberId
from network.address import Address
from tests.network.harness import Cluster, Node, member_identity

MEMBERS = 3


def unchanged(_source: int, _to: int, frame: bytes) -> Iterable[Carried]:
    return (Carried(frame),)


@asynccontextmanager
async def relayed(through: Through = unchanged) -> AsyncIterator[tuple[FrameRelay, list[Node], Cluster]]:
    """Members that reach each other through a relay alone."""
    cluster, clock = Cluster(MEMBERS), RunClock(1.0)
    own = [member_identity(member) for member in range(MEMBERS)]
    tls = [TlsIdentity(each.certificate, each.key, [other.pem for other in own]) for each in own]
    peers = [Address("127.0.0.1", 1)] * MEMBERS
    relay = FrameRelay(peers, tls, Links(), 1, clock, through)
    await relay.start()
    try:
        for member in reversed(range(MEMBERS)):
            cluster.addresses = {
                MemberId(other): Address("127.0.0.1", relay.ports[member, other])
                for other in range(member + 1, MEMBERS)
            }
            peers[member] = (await cluster.start(member)).mesh.address
        nodes = [cluster.nodes[member] for member in range(MEMBERS)]
        for node in nodes:
            await node.seen.until_up(MEMBERS - 1)
        yield relay, nodes, cluster
    finally:
        clock.end()
        await cluster.close()
        await relay.close()


def test_frames_pass_a_relay_in_both_directions() -> None:
    async def story() -> None:
        async with relayed() as (_, nodes, _cluster):
            for one in range(MEMBERS):
                for other in range(MEMBERS):
                    if one != other:
                        nodes[one].mesh.send(MemberId(other), b"%d to %d" % (one, other))
            for other, node in enumerate(nodes):
                await node.seen.until_frames(MEMBERS - 1)
                assert sorted(node.seen.frames) == [
                    (one, b"%d to %d" % (one, other)) for one in range(MEMBERS) if one != other
                ]

    asyncio.run(story())


def test_a_relay_changes_repeats_and_delays_frames_and_speaks_in_anothers_name() -> None:
    def through(_source: int, to: int, frame: bytes) -> Iterable[Carried]:
        return (Carried(frame + b"!"), Carried(frame, source=3 - to), Carried(frame, delay_ms=1))

    async def story() -> None:
        async with relayed(through) as (_, nodes, _cluster):
            nodes[0].mesh.send(MemberId(1), b"said")
            await nodes[1].seen.until_frames(3)
            assert sorted(nodes[1].seen.frames) == [(0, b"said"), (0, b"said!"), (2, b"said")]

    asyncio.run(story())


def test_what_is_sent_over_a_cut_link_is_lost() -> None:
    async def story() -> None:
        async with relayed() as (relay, nodes, _cluster):
            relay.cut([(0, 1)])
            nodes[0].mesh.send(MemberId(1), b"lost")
            nodes[0].mesh.send(MemberId(2), b"first")
            await nodes[2].seen.until_frames(1)
            relay.mend()
            nodes[0].mesh.send(MemberId(1), b"second")
            await nodes[1].seen.until_frames(1)
            assert nodes[1].seen.received(0) == [b"second"]
            assert relay.done == {"cut": 1}
            relay.set_policy(Links(low_us=2_001, high_us=3_000))
            nodes[0].mesh.send(MemberId(1), b"late")
            await nodes[1].seen.until_frames(2)
            assert relay.done == {"cut": 1, "delayed": 1}

    asyncio.run(story())


def test_members_find_each_other_again_through_a_relay() -> None:
    async def story() -> None:
        async with relayed() as (relay, nodes, cluster):
            there = cluster.nodes[2].mesh.address
            await cluster.stop(2)
            for node in nodes[:2]:
                await node.seen.until_events("up", "up", "down")
            again = await cluster.start(2, listen=there)
            await again.seen.until_up(2)
            nodes[0].mesh.send(MemberId(2), b"again")
            await again.seen.until_frames(1)
            assert len(relay.out) == MEMBERS * (MEMBERS - 1)

    asyncio.run(story())
