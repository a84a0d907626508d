"""Rules of a client's connection by way of a real broker."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crypto.digest import ChainId
from crypto.keys import PublicKey
from crypto.roster import MemberId
from network.address import Address
from network.dial import ClientLimits
from network.errors import ConnectError
from network.mqtt.broker import Broker, Password
from network.mqtt.dial import MqttClientPost, MqttConnection
from network.mqtt.listener import FIRST_CONNECTION
from network.tcp import AcceptLimits, ListenerLimits
from tests.network.harness import CHAIN, Recorder, on_every_loop
from tests.network.mqtt.brokers import Member, RunningBroker, leaving, member_key, running_broker
from tetrarch.setup.brokers import CLIENT_USER


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    """One that no test harms."""
    with running_broker(tmp_path_factory.mktemp("shared") / "broker") as running:
        yield running


class Client:
    """One client's process."""

    def __init__(self, *brokers: Broker) -> None:
        self.seen = Recorder()
        self.post = MqttClientPost(ChainId(CHAIN), CLIENT_USER, brokers)

    async def connect(self, member: int = 0, key: PublicKey | None = None, **limits: Any) -> MqttConnection:
        def receive(frame: bytes) -> None:
            self.seen.peer_frame(member, frame)

        return await self.post.connect(
            MemberId(member),
            key or member_key(member).public_key,
            receive,
            replace(ClientLimits(), **limits),
        )


def replica(broker: RunningBroker, number: int = 0, limits: ListenerLimits | None = None) -> Member:
    return Member(number, [broker.seen_by(f"replica-{number}")], n=1, listener=limits)


def answering(member: Member, answer: Callable[[bytes], bytes]) -> None:
    """Have a replica answer every client's frame; members' connections have lower numbers."""

    def on_frame(source: int, frame: bytes) -> None:
        if source >= FIRST_CONNECTION:
            member.station.send_client(source, answer(frame))

    member.seen.on_frame = on_frame


@on_every_loop
async def test_frames_go_both_ways_in_order_whatever_their_size(broker: RunningBroker) -> None:
    server = replica(broker)
    answering(server, lambda frame: frame * 3)
    async with leaving(server):
        client = Client(broker.seen_by(CLIENT_USER))
        connection = await client.connect()
        frames = [b"a", b"b" * 300_000, b"c" * 10]
        for frame in frames:
            assert connection.send(frame)
        await client.seen.until_frames(3)
        assert client.seen.received(0) == [frame * 3 for frame in frames]
        connection.close()
        assert await connection.wait_closed() == "closed by us"
        assert not connection.open
        assert not connection.send(b"too late")


@on_every_loop
async def test_a_client_that_leaves_is_gone_at_once_and_its_last_frames_arrive(broker: RunningBroker) -> None:
    server = replica(broker)
    async with leaving(server):
        client = Client(broker.seen_by(CLIENT_USER))
        connection = await client.connect()
        connection.send(b"the last word")
        connection.close()
        await connection.wait_closed()
        await server.seen.until_events("up", "down")
        assert [frame for _, frame in server.seen.frames] == [b"the last word"]


@on_every_loop
async def test_a_replica_that_leaves_ends_the_connection(broker: RunningBroker) -> None:
    server = replica(broker)
    client = Client(broker.seen_by(CLIENT_USER))
    connection = await client.connect()
    await server.station.close()
    assert await connection.wait_closed() == "closed by peer"


@on_every_loop
async def test_a_replica_that_crashed_and_came_back_says_that_it_knows_nothing(broker: RunningBroker) -> None:
    server = replica(broker)
    client = Client(broker.seen_by(CLIENT_USER))
    connection = await client.connect()
    await server.station.close(silently=True)
    server = replica(broker)
    async with leaving(server):
        # It hears what was sent only once it is at the broker again: another client's connection tells when.
        other = Client(broker.seen_by(CLIENT_USER))
        await other.connect()
        connection.send(b"do you remember me?")
        assert await connection.wait_closed() == "connection broken: the replica has started anew"
        again = await client.connect()
        assert again.send(b"me again")
        await server.seen.until(lambda: [frame for _, frame in server.seen.frames] == [b"me again"])


@on_every_loop
async def test_nobody_there_is_an_error_in_time(broker: RunningBroker) -> None:
    client = Client(broker.seen_by(CLIENT_USER))
    with pytest.raises(ConnectError, match=f"no answer by way of {broker.address} within 200 ms"):
        await client.connect(3, connect_ms=200)


@on_every_loop
async def test_somebody_elses_answer_is_no_answer(broker: RunningBroker) -> None:
    server = replica(broker)
    async with leaving(server):
        client = Client(broker.seen_by(CLIENT_USER))
        await client.connect()
        with pytest.raises(ConnectError, match="no answer"):
            await client.connect(0, member_key(7).public_key, connect_ms=500)
        assert client.post.counts["sealed_signature_wrong"]
        await server.seen.until_events("up")


@on_every_loop
async def test_a_broker_that_is_not_there_is_an_error_at_once() -> None:
    client = Client(Broker(Address("127.0.0.1", 9), None, CLIENT_USER, Password("x")))
    with pytest.raises(ConnectError) as caught:
        await client.connect()
    assert str(caught.value) == "broker 127.0.0.1:9: Connection refused"


@on_every_loop
async def test_a_refused_password_is_an_error_at_once(broker: RunningBroker) -> None:
    client = Client(broker.seen_by(CLIENT_USER, password="wrong"))
    with pytest.raises(ConnectError, match="it refuses the account 'client'"):
        await client.connect()


@on_every_loop
async def test_the_end_of_the_broker_ends_connections_and_its_return_lets_new_ones_be_made(
    tmp_path: Path,
) -> None:
    with running_broker(tmp_path / "broker") as broker:
        server = replica(broker)
        async with leaving(server):
            client = Client(broker.seen_by(CLIENT_USER))
            connection = await client.connect()
            broker.kill()
            assert "broker" in await connection.wait_closed()
            broker.start()
            async with asyncio.timeout(30):
                while True:
                    try:
                        again = await client.connect(connect_ms=1_000)
                    except ConnectError:
                        continue
                    break
            assert again.send(b"here again")
            await server.seen.until(lambda: [frame for _, frame in server.seen.frames] == [b"here again"])


@on_every_loop
async def test_one_user_may_not_take_all_places(broker: RunningBroker) -> None:
    server = replica(broker, limits=ListenerLimits(accept=AcceptLimits(per_origin=2)))
    async with leaving(server):
        clients = [Client(broker.seen_by(CLIENT_USER)) for _ in range(3)]
        for client in clients[:2]:
            await client.connect()
        with pytest.raises(ConnectError, match="no answer"):
            await clients[2].connect(connect_ms=300)
        assert server.station.client_counts["refused_too_many_from_one_user"]


@on_every_loop
async def test_one_connection_fewer_makes_room_for_another(broker: RunningBroker) -> None:
    server = replica(broker, limits=ListenerLimits(accept=AcceptLimits(per_origin=1)))
    async with leaving(server):
        first, second = (Client(broker.seen_by(CLIENT_USER)) for _ in range(2))
        connection = await first.connect()
        connection.close()
        await connection.wait_closed()
        await server.seen.until_events("up", "down")
        assert (await second.connect()).open


@on_every_loop
async def test_a_client_that_lets_too_much_come_together_is_given_up(broker: RunningBroker) -> None:
    server = replica(broker, limits=ListenerLimits(queue_bytes=1_000))
    async with leaving(server):
        client = Client(broker.seen_by(CLIENT_USER))
        connection = await client.connect()
        await server.seen.until_up(1)
        [number] = server.seen.up
        sent = [server.station.send_client(number, b"x" * 600) for _ in range(3)]
        # All in one turn of the loop, in which nothing can leave.
        assert sent == [True, False, False]
        await server.seen.until_up(0)
        assert server.station.client_counts["backlog_full"] == 1
        assert connection.send(b"anybody there?")
        assert "started anew" in await connection.wait_closed()
