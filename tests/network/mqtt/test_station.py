"""Rules of members that meet at a real broker: frames arrive, its faults pass, forgers get nowhere."""

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from crypto.tls import make_identity
from network.address import Address
from network.mesh import MeshLimits
from network.mqtt.broker import Broker, Password
from network.mqtt.connection import MAX_MESSAGE_BYTES
from network.mqtt.conversation import OFFER, SEALED
from network.mqtt.segments import SEGMENT_BYTES
from network.mqtt.topics import client_name
from tests.network.harness import on_every_loop
from tests.network.mqtt.brokers import (
    ALL_POWERFUL,
    TOPICS,
    Member,
    RunningBroker,
    leaving,
    member_key,
    pair,
    running_broker,
)
from tetrarch.setup.brokers import CLIENT_USER

QUICK = MeshLimits(heartbeat_ms=100, silent_heartbeats=10)
"""A member that is not heard for a second is down."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    """One that no test harms."""
    with running_broker(tmp_path_factory.mktemp("shared") / "broker") as running:
        yield running


@on_every_loop
async def test_members_meet_and_frames_of_every_size_arrive_in_order(broker: RunningBroker) -> None:
    one, other = pair(broker)
    async with leaving(one, other):
        await one.seen.until_up(1)
        await other.seen.until_up(1)
        sizes = (1, 100, SEGMENT_BYTES - 4, SEGMENT_BYTES, 3 * SEGMENT_BYTES + 7, 5)
        frames = [bytes([place + 1]) * size for place, size in enumerate(sizes)]
        for frame in frames:
            one.send(1, frame)
            other.send(0, frame)
        await one.seen.until_frames(len(frames))
        await other.seen.until_frames(len(frames))
        assert one.seen.received(1) == other.seen.received(0) == frames


@on_every_loop
async def test_whoever_leaves_says_so(broker: RunningBroker) -> None:
    one, other = pair(broker)
    async with leaving(one):
        await one.seen.until_up(1)
        await other.seen.until_up(1)
        other.send(0, b"the last word")
        await other.station.close()
        await one.seen.until_up(0)
        assert one.seen.received(1) == [b"the last word"]
        assert one.seen.told("silent") == []


async def start_anew(broker: RunningBroker, number: int) -> Member:
    return Member(number, [broker.seen_by(f"replica-{number}")])


@on_every_loop
async def test_a_member_that_starts_anew_is_met_again_whoever_opened_first(broker: RunningBroker) -> None:
    one, other = pair(broker)
    await one.seen.until_up(1)
    await other.seen.until_up(1)
    for number in (0, 1):
        # Not a goodbye: as after a crash, the other end still believes in the old session.
        crashed, stayed = (one, other) if number == 0 else (other, one)
        await crashed.station.close(silently=True)
        anew = await start_anew(broker, number)
        one, other = (anew, other) if number == 0 else (one, anew)
        await anew.seen.until_up(1)
        anew.send(1 - number, b"I am back")
        await stayed.seen.until_last(1 - stayed.number, b"I am back")
        stayed.send(number, b"welcome")
        await anew.seen.until_last(1 - number, b"welcome")
    async with leaving(one, other):
        pass


@on_every_loop
async def test_a_broker_that_is_killed_and_comes_back_is_found_again(tmp_path: Path) -> None:
    with running_broker(tmp_path / "broker") as broker:
        one, other = pair(broker)
        async with leaving(one, other):
            await one.seen.until_up(1)
            await other.seen.until_up(1)
            broker.kill()
            await one.seen.until_up(0)
            await other.seen.until_up(0)
            broker.start()
            await one.seen.until_up(1)
            await other.seen.until_up(1)
            one.send(1, b"still here")
            await other.seen.until_last(0, b"still here")
            [lost, *_] = one.seen.told("broker_lost")
            assert lost["broker"] == str(broker.address)
            # They exchanged no keys anew: their conversation does not depend on the broker.
            assert "sealed_for_no_session" not in one.station.counts


@on_every_loop
async def test_of_two_brokers_one_may_be_killed_without_a_member_going_down(
    tmp_path: Path, broker: RunningBroker
) -> None:
    with running_broker(tmp_path / "preferred") as preferred:
        brokers = [[each.seen_by(f"replica-{number}") for each in (preferred, broker)] for number in (0, 1)]
        one, other = (Member(number, brokers[number]) for number in (0, 1))
        async with leaving(one, other):
            await one.seen.until_up(1)
            await other.seen.until_up(1)
            # They may have met by the one before the other could be used.
            await one.until_at_all_brokers()
            await other.until_at_all_brokers()
            preferred.kill()
            await one.seen.until_told("broker_lost")
            await other.seen.until_told("broker_lost")
            one.send(1, b"by the other way")
            other.send(0, b"here too")
            await other.seen.until_last(0, b"by the other way")
            await one.seen.until_last(1, b"here too")
            assert [kind for kind, _ in one.seen.events] == ["up"]
            assert [kind for kind, _ in other.seen.events] == ["up"]


@on_every_loop
async def test_a_broker_that_carries_nothing_is_avoided_though_it_accepts_everything(
    tmp_path: Path, broker: RunningBroker
) -> None:
    with running_broker(tmp_path / "deaf") as deaf:
        # Each is logged in there under an account that is not its own, so whatever it publishes goes nowhere.
        one = Member(0, [deaf.seen_by("replica-2"), broker.seen_by("replica-0")])
        other = Member(1, [deaf.seen_by("replica-3"), broker.seen_by("replica-1")])
        async with leaving(one, other):
            await one.seen.until_up(1)
            await other.seen.until_up(1)
            one.send(1, b"arrives")
            await other.seen.until_last(0, b"arrives")


# Faults of brokers: one clear line each.


async def lines_of(one: Member, name: str) -> dict[str, str | int]:
    await one.seen.until_told(name)
    facts: dict[str, str | int] = one.seen.told(name)[0]
    return facts


@on_every_loop
async def test_an_unreachable_broker_is_told_in_one_line(tmp_path: Path, broker: RunningBroker) -> None:
    nobody = Broker(Address("127.0.0.1", 9), broker.seen_by("replica-0").context, "replica-0", Password("x"))
    one = Member(0, [nobody])
    async with leaving(one):
        facts = await lines_of(one, "broker_unreachable")
        assert facts == {"broker": "127.0.0.1:9", "why": "Connection refused"}


@on_every_loop
async def test_a_refused_password_is_told_in_one_line_and_tried_again(broker: RunningBroker) -> None:
    one = Member(0, [broker.seen_by("replica-0", password="wrong")])
    async with leaving(one):
        facts = await lines_of(one, "broker_unreachable")
        assert facts["why"] == "it refuses the account 'replica-0': Not authorized"
        await one.until_counted("broker_unreachable", 3)
        assert len(one.seen.told("broker_unreachable")) == 1


# paho leaves the socket of a failed handshake to the garbage collector, which closes it at once.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@on_every_loop
async def test_another_certificate_than_the_one_expected_is_told_in_one_line(broker: RunningBroker) -> None:
    other_certificate, _ = make_identity("broker.example.org")
    one = Member(0, [broker.seen_by("replica-0", certificate=other_certificate)])
    async with leaving(one):
        facts = await lines_of(one, "broker_unreachable")
        assert str(facts["why"]).startswith("its certificate is not the one expected")


@on_every_loop
async def test_a_broker_that_accepts_and_hangs_up_for_ever_is_told_once_and_tried_ever_less_often() -> None:
    connections = 0

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    one = Member(0, [Broker(Address(host, port), None, "replica-0", Password("x"))])
    async with leaving(one):
        await one.until_counted("broker_unreachable", 4)
        assert len(one.seen.told("broker_unreachable")) == 1
        assert connections >= 4
    server.close()


# Forgers: everything below is done by an account that may do what the broker itself could.


async def published(broker: RunningBroker, user: str, *messages: tuple[str, bytes]) -> None:
    async with broker.plain_client(user) as client:
        for topic, payload in messages:
            await client.publish(topic, payload, qos=1)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (SEALED + bytes(60), "sealed_for_no_session"),
        (SEALED, "sealed_malformed"),
        (OFFER + bytes(500), "exchange_too_long"),
        (b"\x09anything", "message_of_no_kind"),
        (b"", "message_of_no_kind"),
    ],
)
@on_every_loop
async def test_what_a_forger_sends_in_a_members_name_is_dropped_and_counted(
    broker: RunningBroker, message: bytes, reason: str
) -> None:
    one, other = pair(broker)
    async with leaving(one, other):
        await one.seen.until_up(1)
        await other.seen.until_up(1)
        topic = TOPICS.between(one.number, other.number)  # type: ignore[arg-type]
        await published(broker, ALL_POWERFUL, (topic, message))
        await other.until_counted(reason)
        one.send(1, b"the true one is heard all the same")
        await other.seen.until_last(0, b"the true one is heard all the same")
        assert len(other.seen.frames) == 1


@pytest.mark.parametrize(
    "topic",
    [
        TOPICS.all_of_member(1)[:-1] + "from/00",  # type: ignore[arg-type]
        TOPICS.all_of_member(1)[:-1] + "from/x",  # type: ignore[arg-type]
        TOPICS.all_of_member(1)[:-1] + "something/else/entirely",  # type: ignore[arg-type]
        TOPICS.all_of_member(1)[:-1] + "client/client/nothex/1",  # type: ignore[arg-type]
    ],
)
@on_every_loop
async def test_a_message_on_a_topic_that_is_nobodys_is_dropped_and_counted(
    broker: RunningBroker, topic: str
) -> None:
    one, other = pair(broker)
    async with leaving(one, other):
        await other.seen.until_up(1)
        await published(broker, ALL_POWERFUL, (topic, b"whatever"))
        await other.until_counted("message_on_wrong_topic")


@on_every_loop
async def test_a_message_of_a_member_that_does_not_exist_is_dropped_and_counted(
    broker: RunningBroker,
) -> None:
    one, other = pair(broker)
    async with leaving(one, other):
        await other.seen.until_up(1)
        topic = TOPICS.between(77, 1)  # type: ignore[arg-type]
        await published(broker, ALL_POWERFUL, (topic, b"whatever"))
        await other.until_counted("message_of_no_peer")


@on_every_loop
async def test_a_message_too_large_is_dropped_and_counted_or_kept_by_the_broker(
    broker: RunningBroker,
) -> None:
    one, other = pair(broker)
    async with leaving(one, other):
        await one.seen.until_up(1)
        await other.seen.until_up(1)
        topic = TOPICS.between(0, 1)  # type: ignore[arg-type]
        await published(broker, ALL_POWERFUL, (topic, bytes(MAX_MESSAGE_BYTES + 1)))
        one.send(1, b"after it")
        await other.seen.until_last(0, b"after it")
        assert len(other.seen.frames) == 1


@on_every_loop
async def test_a_repeated_message_is_delivered_once(broker: RunningBroker) -> None:
    one, other = pair(broker)
    async with leaving(one, other), broker.plain_client(ALL_POWERFUL) as spy:
        topic = TOPICS.between(0, 1)  # type: ignore[arg-type]
        await one.seen.until_up(1)
        await other.seen.until_up(1)
        await spy.subscribe(topic)
        one.send(1, b"only once")
        await other.seen.until_last(0, b"only once")
        async for message in spy.messages:
            assert isinstance(message.payload, bytes)
            assert b"only once" not in message.payload
            await spy.publish(topic, message.payload, qos=1)
            if len(message.payload) > 40 + len(b"only once"):
                break
        await other.until_counted("sealed_repeated")
        assert other.seen.received(0) == [b"only once"]


@on_every_loop
async def test_the_access_list_keeps_a_client_from_writing_in_a_members_name(broker: RunningBroker) -> None:
    one, other = pair(broker)
    async with leaving(one, other):
        await one.seen.until_up(1)
        await other.seen.until_up(1)
        topic = TOPICS.between(0, 1)  # type: ignore[arg-type]
        own = TOPICS.to_member(client_name(CLIENT_USER, member_key(5).public_key, 1), 1)  # type: ignore[arg-type]
        await published(broker, CLIENT_USER, (topic, b"\x09forged"), (own, b"\x09allowed"))
        await other.until_counted("message_of_no_kind", clients=True)
        assert "message_of_no_kind" not in other.station.counts


@on_every_loop
async def test_the_access_list_lets_nobody_read_what_is_written_to_others(broker: RunningBroker) -> None:
    one, other = pair(broker)
    async with leaving(one, other), broker.plain_client("replica-2") as curious:
        await one.seen.until_up(1)
        await curious.subscribe(TOPICS.all_of_member(1))  # type: ignore[arg-type]
        await curious.subscribe(TOPICS.all_of_member(2))  # type: ignore[arg-type]
        one.send(1, b"secret")
        await other.seen.until_last(0, b"secret")
        # Of its own topic it hears: what was written to the other would have come before.
        await published(broker, ALL_POWERFUL, (TOPICS.between(3, 2), b"for you"))  # type: ignore[arg-type]
        async for message in curious.messages:
            assert message.payload == b"for you"
            break


def test_a_password_never_shows_in_a_broker() -> None:
    broker = Broker(Address("127.0.0.1", 1), ssl.create_default_context(), "user", Password("secret"))
    assert "secret" not in repr(broker)
