"""Probes: well as long as votes are cast and the store works, ready only while the replica takes part."""

import msgspec.structs
import pytest

from consensus.contract import Engine, Status
from crypto.roster import MemberId
from tests.tetrarch.node.network import Network
from tetrarch.node.health import absence, ailment
from tetrarch.node.heart import Heart


def connected(network: Network, member: int, others: int) -> Heart:
    heart = network.heart(member)
    for other in range(network.n):
        if other != member and others > 0:
            heart.peer_up(MemberId(other))
            others -= 1
    return heart


class Said:
    """An engine that says of itself what a test wants."""

    def __init__(self, engine: Engine, **changes: object) -> None:
        self._engine, self._changes = engine, changes

    def status(self) -> Status:
        return msgspec.structs.replace(self._engine.status(), **self._changes)


@pytest.mark.parametrize(("others", "ready"), [(3, True), (2, True), (1, False), (0, False)])
def test_ready_is_who_is_connected_to_a_quorum_itself_included(others: int, ready: bool) -> None:
    heart = connected(Network(4), 1, others)
    assert ailment(heart) is None
    why = absence(heart, started=True)
    assert (why is None) is ready
    if why is not None:
        assert why == f"connected to {others + 1} of 4 members, itself included; a quorum is 3"


def test_whoever_lost_its_peers_is_ready_no_more() -> None:
    heart = connected(Network(4), 1, 3)
    for other in (0, 2):
        heart.peer_down(MemberId(other))
    assert absence(heart, started=True) is not None


def test_nobody_is_ready_before_it_listens() -> None:
    heart = connected(Network(4), 1, 3)
    assert absence(heart, started=False) == "starting"


def test_a_store_that_takes_nothing_more_is_an_ailment() -> None:
    heart = connected(Network(4), 1, 3)
    heart.store_failed("no space left")
    assert ailment(heart) == "the store takes nothing more: no space left"
    assert absence(heart, started=True) == ailment(heart)


def test_an_engine_that_halted_is_an_ailment() -> None:
    heart = connected(Network(4), 1, 3)
    heart.engine.halt("a contradiction")
    assert ailment(heart) == "the engine has halted: a contradiction"


def test_a_marked_replica_is_well_and_not_ready() -> None:
    heart = connected(Network(4), 1, 3)
    heart.engine = Said(heart.engine, marked=True)  # type: ignore[assignment]
    assert ailment(heart) is None
    assert "older than its votes" in (absence(heart, started=True) or "")


def test_a_laggard_is_not_ready_until_it_has_caught_up() -> None:
    network = Network(4)
    heart = connected(network, 3, 3)
    network.isolate(3)
    for number in range(1, 12):
        network.submit(*network.transactions(number, 1), to=[0, 1, 2])
        network.run(100)
    network.heal()
    reasons = set()
    for _ in range(20_000):
        network.run(0)
        reasons.add(absence(heart, started=True))
        if heart.ledger.height == network.heart(0).ledger.height:
            break
    assert any(reason is not None and reason.startswith("catching up") for reason in reasons)
    network.run(2000)
    assert absence(heart, started=True) is None


def test_a_view_that_is_being_changed_keeps_nobody_from_being_ready() -> None:
    heart = connected(Network(4), 1, 3)
    heart.engine = Said(heart.engine, active=False, leader=None)  # type: ignore[assignment]
    assert absence(heart, started=True) is None
