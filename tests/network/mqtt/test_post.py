"""Rules of the post: everyone in turn, and nobody is remembered for a broker that is away."""

from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from network.mqtt import post as module
from network.mqtt.connection import BURST
from network.mqtt.post import Post
from network.tally import Tally


class Connection:
    """What the post needs of a `BrokerConnection`."""

    def __init__(self, broker: Any, *rest: Any) -> None:
        self.broker = broker
        _, _, self.source, self.take, self.changed, *_ = rest
        self.up = True
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


class Sender:
    def __init__(self, *messages: str) -> None:
        self.messages = list(messages)
        self.asked: list[int] = []

    def next_message(self, broker: int) -> tuple[str, bytes] | None:
        self.asked.append(broker)
        return (self.messages.pop(0), b"") if self.messages else None


Made = Callable[..., tuple[Post, list[Connection]]]


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    def make(
        brokers: int = 1, take: Any = None, changed: Callable[[], None] = lambda: None
    ) -> tuple[Post, list[Connection]]:
        monkeypatch.setattr(module, "BrokerConnection", Connection)
        places: list[Any] = [SimpleNamespace(address=number) for number in range(brokers)]
        post = Post(places, "identifier", ["topic"], take, changed, Tally(), Random(1))
        return post, post._connections  # type: ignore[return-value]  # the stand-ins above

    return make


def topics(connection: Connection) -> list[str]:
    return [topic for topic, _ in connection.source()]


def test_whoever_has_much_to_send_delays_nobody_else(made: Made) -> None:
    post, (connection,) = made()
    chatty, terse = Sender(*("much" for _ in range(3 * BURST))), Sender("little", "more")
    post.wake(chatty)
    post.wake(terse)
    first = topics(connection)
    assert len(first) == BURST
    assert first[:4] == ["much", "little", "much", "more"]


def test_everyone_has_its_turn_from_one_burst_to_the_next(made: Made) -> None:
    post, (connection,) = made()
    senders = [Sender(*(f"{number}" for _ in range(3))) for number in range(BURST + 5)]
    for sender in senders:
        post.wake(sender)
    both = topics(connection) + topics(connection)
    assert {f"{number}" for number in range(BURST + 5)} == set(both)


def test_waking_again_and_again_moves_nobody_forward(made: Made) -> None:
    post, (connection,) = made()
    first, second = Sender("first"), Sender(*("second" for _ in range(5)))
    post.wake(first)
    for _ in range(10):
        post.wake(second)
    assert topics(connection)[0] == "first"


def test_whoever_had_nothing_is_asked_again_only_when_woken(made: Made) -> None:
    post, (connection,) = made()
    sender = Sender()
    post.wake(sender)
    assert topics(connection) == []
    assert topics(connection) == []
    assert sender.asked == [0]
    sender.messages.append("later")
    post.wake(sender)
    assert topics(connection) == ["later"]


def test_whoever_is_forgotten_is_not_asked(made: Made) -> None:
    post, connections = made(2)
    sender = Sender("x", "y")
    post.wake(sender)
    post.forget(sender)
    assert [topics(connection) for connection in connections] == [[], []]
    assert sender.asked == []


def test_for_a_broker_that_is_away_nobody_is_remembered(made: Made) -> None:
    told: list[str] = []
    post, (here, away) = made(2, changed=lambda: told.append("changed"))
    early = Sender("x")
    post.wake(early)
    away.up = False
    away.changed()
    assert told == ["changed"]
    for _ in range(1_000):
        post.wake(Sender())
    assert len(post._ready[1]) == 0
    assert (here.woken, away.woken) == (1_001, 1)


def test_what_comes_is_handed_on_with_its_broker(made: Made) -> None:
    taken: list[tuple[int, str, bytes]] = []
    _, connections = made(2, take=lambda *what: taken.append(what))
    connections[1].take("topic", b"payload")
    assert taken == [(1, "topic", b"payload")]
