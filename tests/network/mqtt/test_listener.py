"""Clients by way of brokers: who is let in, what one of them can take, and what a broker can.

No sockets, and the clock is a number.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from crypto.digest import ChainId
from crypto.keys import SigningKey
from crypto.roster import MemberId
from network.acceptor import AcceptLimits
from network.errors import MalformedFrame
from network.listener import ConnectionId, ListenerLimits
from network.mqtt.conversation import DENIAL, OFFER, SEALED, Conversation, Party
from network.mqtt.listener import CLIENT_RHYTHM, FIRST_CONNECTION, MAX_DENIALS, MqttListener
from network.mqtt.names import client_and_member
from network.mqtt.post import Post, Sender
from network.mqtt.topics import Topics, client_name
from network.queue import FrameQueue
from network.tally import Tally

CHAIN = ChainId(b"c" * 32)
MEMBER, OTHER_MEMBER = MemberId(2), SigningKey(b"o" * 32)
SIGNER = SigningKey(b"m" * 32)
KEYS = [SigningKey(number.to_bytes(32, "big")) for number in range(1, 40)]
TOPICS = Topics(CHAIN)
ACCEPT = AcceptLimits(
    connections=12, per_origin=6, handshakes=8, handshakes_per_origin=3, handshakes_per_second=40
)
LIMITS = ListenerLimits(accept=ACCEPT)


class Clock:
    """Stands in for the event loop, of which the listener wants the time alone."""

    now = 1_000.0

    def time(self) -> float:
        return self.now


class Senders(Post):
    """A post without brokers: it only remembers who wants to send."""

    def __init__(self, brokers: int) -> None:
        self.ready: dict[Sender, None] = {}
        self.brokers = brokers

    @property
    def up(self) -> tuple[bool, ...]:
        return (True,) * self.brokers

    def wake(self, sender: Sender) -> None:
        self.ready[sender] = None

    def forget(self, sender: Sender) -> None:
        self.ready.pop(sender, None)


class Client:
    """A client's end."""

    def __init__(self, key: SigningKey, clock: Clock, user: str = "user", number: int = 1, brokers: int = 1):
        self.name = client_name(user, key.public_key, number)
        self.key = key
        self.clock = clock
        self.up = [True] * brokers
        party = Party(client_and_member(CHAIN, self.name, MEMBER), True, key, SIGNER.public_key)
        queue = FrameQueue(10**8, 1_000)
        self.conversation = Conversation(party, queue, 10**7, brokers, CLIENT_RHYTHM, 0, clock.now)

    def says(self, broker: int = 0) -> list[bytes]:
        self.conversation.tick(self.clock.now)
        messages = []
        while message := self.conversation.next_message(broker, self.up, self.clock.now):
            messages.append(message)
        return messages


class Network:
    """A listener, and what its handler got."""

    def __init__(self, limits: ListenerLimits = LIMITS, brokers: int = 1) -> None:
        self.clock: Clock = asyncio.get_running_loop()  # type: ignore[assignment]  # what stands in for it
        self.post = Senders(brokers)
        self.tally = Tally(lambda name, /, **facts: None)
        self.frames: list[tuple[int, bytes]] = []
        self.ups: list[int] = []
        self.gone: list[int] = []
        self.on_frame: Callable[[int, bytes], object] = lambda connection, frame: None
        self.listener = MqttListener(
            MEMBER, CHAIN, SIGNER, self.post, self, self.tally, limits=limits, brokers=brokers
        )

    def client_up(self, connection: ConnectionId, /) -> None:
        self.ups.append(connection)

    def client_gone(self, connection: ConnectionId, /) -> None:
        self.gone.append(connection)

    def client_frame(self, connection: ConnectionId, frame: bytes, /) -> None:
        self.frames.append((connection, frame))
        self.on_frame(connection, frame)

    def said(self, broker: int = 0) -> list[tuple[str, bytes]]:
        """All that the listener has to send by a broker."""
        messages = []
        for sender in list(self.post.ready):
            while message := sender.next_message(broker):
                messages.append(message)
        return messages

    def hear(self, client: Client, broker: int = 0) -> None:
        """Bring messages to and fro until there are none."""
        for _ in range(4):
            for message in client.says(broker):
                self.listener.receive(client.name, broker, message)
            for topic, message in self.said(broker):
                if topic == TOPICS.to_client(MEMBER, client.name):
                    client.conversation.receive(broker, message, self.clock.now)

    def client(self, number: int = 0, user: str = "user", broker: int = 0) -> Client:
        """A client that offers keys by one broker, and is heard by it alone."""
        client = Client(KEYS[number], self.clock, user, brokers=self.post.brokers)
        self.hear(client, broker)
        return client


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: clock)


# Coming and going.


def test_a_client_is_there_when_something_sealed_has_come_and_gets_what_is_sent() -> None:
    net = Network()
    client = net.client()
    assert net.ups == [FIRST_CONNECTION + 1]
    client.conversation.queue.push(b"question")
    net.hear(client)
    assert net.frames == [(FIRST_CONNECTION + 1, b"question")]
    assert net.listener.send(net.ups[0], b"answer")
    (message,) = [message for _, message in net.said()]
    assert client.conversation.receive(0, message, net.clock.now) == [b"answer"]


def test_an_offer_alone_is_no_client_and_is_forgotten_soon() -> None:
    net = Network()
    client = Client(KEYS[0], net.clock)
    (offer,) = client.says()
    net.listener.receive(client.name, 0, offer)
    net.clock.now += LIMITS.handshake_ms / 1000
    net.listener.tick()
    assert (net.ups, net.listener.connections) == ([], 0)
    assert net.tally.counts == {"handshake_slow": 1}
    assert net.post.ready == {}


def test_a_client_that_leaves_or_falls_silent_is_gone() -> None:
    net = Network()
    leaving, silent = net.client(0), net.client(1)
    leaving.conversation.leave()
    net.hear(leaving)
    assert net.gone == [net.ups[0]]
    net.clock.now += CLIENT_RHYTHM.silent_s
    net.listener.tick()
    assert net.gone == net.ups
    assert not silent.conversation.left
    assert net.listener.send(net.ups[1], b"x") is False


def test_a_client_of_a_process_before_this_one_learns_so_at_once() -> None:
    client = Network().client()
    client.conversation.queue.push(b"question")
    after = Network()
    for message in client.says():
        after.listener.receive(client.name, 0, message)
    ((_, denial),) = after.said()
    client.conversation.receive(0, denial, after.clock.now)
    assert client.conversation.outdated
    # What has been given up makes no new one of what it was.
    client.conversation.leave()
    assert client.says() == []
    assert (after.ups, after.frames) == ([], [])


# What strangers cannot do.


def test_nobody_takes_over_a_clients_conversation() -> None:
    net = Network()
    client = net.client()
    thief = Client(KEYS[1], net.clock)
    thief.name = client.name
    ends = client_and_member(CHAIN, client.name, MEMBER)
    party = Party(ends, True, KEYS[1], SIGNER.public_key)
    queue = FrameQueue(10**6, 10)
    thief.conversation = Conversation(party, queue, 10**6, 1, CLIENT_RHYTHM, 10**6, net.clock.now)
    for offer in thief.says():
        net.listener.receive(client.name, 0, offer)
    assert net.tally.counts == {"sealed_signature_wrong": 1}
    net.listener.send(net.ups[0], b"for the client alone")
    (message,) = [message for _, message in net.said() if message[:1] == SEALED]
    assert client.conversation.receive(0, message, net.clock.now) == [b"for the client alone"]


def test_no_frame_is_delivered_after_a_client_is_gone() -> None:
    net = Network(replace(LIMITS, queue_bytes=100))
    client = net.client()
    (connection,) = net.ups
    # The answer to the first frame does not fit any more, and that is the end of this client.
    net.on_frame = lambda connection, _: [net.listener.send(connection, bytes(90)) for _ in range(2)]
    for _ in range(3):
        client.conversation.queue.push(b"question")
    net.hear(client)
    assert net.gone == [connection]
    assert net.frames == [(connection, b"question")]


def test_no_frame_is_delivered_of_a_client_that_was_parted_with_meanwhile() -> None:
    net = Network()
    client = net.client()
    net.on_frame = lambda connection, _: net.listener.disconnect(connection)
    for _ in range(3):
        client.conversation.queue.push(b"question")
    net.hear(client)
    assert len(net.frames) == 1


def test_a_frame_that_makes_no_sense_is_counted_and_the_client_stays() -> None:
    def refuse(_connection: int, _frame: bytes) -> None:
        raise MalformedFrame("nonsense")

    net = Network()
    client = net.client()
    net.on_frame = refuse
    client.conversation.queue.push(b"question")
    net.hear(client)
    assert net.tally.counts["nonsense"] == 1
    assert net.listener.connections == 1


# Limits.


def test_one_user_that_never_ends_its_handshakes_keeps_no_other_user_out() -> None:
    net = Network()
    for key in KEYS[1:10]:
        client = Client(key, net.clock, "hostile")
        net.listener.receive(client.name, 0, client.says()[0])
    assert net.tally.counts == {"refused_too_many_handshakes_of_one_user": 6}
    net.client(0, "honest")
    assert len(net.ups) == 1


def test_one_user_has_a_bounded_number_of_clients() -> None:
    net = Network()
    for number in range(ACCEPT.per_origin + 2):
        net.client(number, "hostile")
    assert len(net.ups) == ACCEPT.per_origin
    net.client(20, "honest")
    assert len(net.ups) == ACCEPT.per_origin + 1


@pytest.mark.parametrize("user", ["honest", "another"])
def test_a_broker_that_makes_up_clients_takes_its_share_and_no_more(user: str) -> None:
    net = Network(brokers=2)
    for number in range(1, 30):
        net.client(number, "honest" if number % 2 else f"made-up-{number}", broker=1)
    assert len(net.ups) == ACCEPT.connections // 2
    net.client(0, user, broker=0)
    assert len(net.ups) == ACCEPT.connections // 2 + 1


def test_a_flood_by_one_broker_slows_nobody_by_another() -> None:
    net = Network(brokers=2)
    for number in range(1_000):
        name = client_name("user", KEYS[1].public_key, number)
        net.listener.receive(name, 1, SEALED + bytes(60))
    said = net.said(1)
    assert len(said) <= ACCEPT.handshakes_per_second // 2
    assert {message[:1] for _, message in said} == {DENIAL}
    assert net.said(0) == []
    net.client(0, broker=0)
    assert len(net.ups) == 1


def test_denials_for_a_broker_that_takes_none_are_bounded_and_delay_none_for_another() -> None:
    net = Network(brokers=2)
    for number in range(1_000):
        net.clock.now += 0.1
        name = client_name("user", KEYS[1].public_key, number)
        net.listener.receive(name, number % 2, SEALED + bytes(60))
    assert len(net.said(1)) == MAX_DENIALS
    assert len(net.said(0)) == MAX_DENIALS


def test_keys_that_clients_make_anew_all_the_time_are_answered_at_a_bounded_rate() -> None:
    net = Network()
    answers = 0
    for client in [net.client(number) for number in range(5)]:
        ends = client_and_member(CHAIN, client.name, MEMBER)
        party = Party(ends, True, client.key, SIGNER.public_key)
        for number in range(40):
            again = Conversation(party, FrameQueue(9, 9), 9, 1, CLIENT_RHYTHM, 10 + number, net.clock.now)
            again.tick(net.clock.now)
            offer = again.next_message(0, [True], net.clock.now)
            assert offer is not None
            net.listener.receive(client.name, 0, offer)
            answers += len(net.said())
    assert answers <= ACCEPT.handshakes_per_second


def test_what_has_left_for_a_client_weighs_nothing_any_more() -> None:
    net = Network(replace(LIMITS, total_bytes=1_000_000))
    first, second = net.client(0), net.client(1)
    assert net.listener.send(net.ups[0], bytes(900_000))
    net.hear(first)
    net.listener.tick()
    assert net.listener.send(net.ups[1], bytes(900_000))
    net.hear(second)
    assert net.gone == []


def test_beyond_the_memory_for_all_clients_the_one_that_takes_most_goes() -> None:
    net = Network(replace(LIMITS, total_bytes=1_000_000))
    net.client(0)
    net.client(1)
    net.listener.send(net.ups[0], bytes(700_000))
    net.listener.send(net.ups[1], bytes(400_000))
    assert net.gone == [net.ups[0]]


@pytest.mark.parametrize(
    "message", [b"", OFFER, SEALED, SEALED + bytes(8), DENIAL + bytes(72), b"\xff" * 500]
)
def test_junk_of_a_stranger_is_counted_and_nothing_is_kept(message: bytes) -> None:
    net = Network()
    net.listener.receive(client_name("user", KEYS[0].public_key, 1), 0, message)
    net.clock.now += LIMITS.handshake_ms / 1000
    net.listener.tick()
    assert sum(net.tally.counts.values()) >= 1
    assert (net.ups, net.post.ready, net.said()) == ([], {}, [])
