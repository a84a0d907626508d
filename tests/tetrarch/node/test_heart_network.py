"""Four hearts with the real engine and ledger, joined in memory."""

import pytest

from crypto.attestation import Height
from ledger.transaction import transaction_id
from tests.tetrarch.node.network import Network
from tetrarch.node.effects import Level
from tetrarch.node.limits import NodeLimits


def ids(raws: list[bytes]) -> set[bytes]:
    return {transaction_id(raw) for raw in raws}


def commit(
    network: Network, first: int, blocks: int, per_block: int = 1, to: list[int] | None = None
) -> None:
    """Have so many blocks of so many transactions executed by all who run and are not cut off."""
    for number in range(blocks):
        height = max(network.heart(member).ledger.height for member in network.running())
        network.submit(*network.transactions(first + number * per_block, per_block), to=to)
        for _ in range(4000):
            network.run(0)
            if max(network.heart(member).ledger.height for member in network.running()) > height:
                break


def test_transactions_are_committed_and_believed_by_the_client() -> None:
    network = Network()
    raws = network.transactions(0, 50)
    network.submit(*raws)
    network.run(2_000)
    assert network.accepted() == ids(raws)
    assert len(network.heads()) == 1
    assert {len(network.executed(member)) for member in range(4)} == {50}


def test_an_idle_network_answers_within_a_few_message_delays() -> None:
    network = Network()
    network.run(1_000)
    began = network.at
    network.submit(*network.transactions(0, 1))
    network.run(1_000, until=1)
    assert network.at - began <= 5, "pre-prepare, prepare and commit, a millisecond each"


def test_a_transaction_sent_to_one_backup_alone_is_ordered() -> None:
    network = Network()
    raws = network.transactions(0, 1)
    network.submit(*raws, to=[3])
    network.run(3_000)
    assert {len(network.executed(member)) for member in range(4)} == {1}


def test_bodies_that_a_backup_misses_are_fetched() -> None:
    network = Network()
    network.submit(*network.transactions(0, 20), to=[0])
    network.run(3_000)
    assert {len(network.executed(member)) for member in range(4)} == {20}
    assert not any(event.name == "view_change" for _, event in network.events)


def test_what_an_application_raises_is_in_the_log_of_every_replica(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> bytes:
        raise ZeroDivisionError("of the application")

    monkeypatch.setattr("ledger.applications.kv.KeyValueMap.execute", broken)
    network = Network()
    (transaction,) = network.transactions(0, 1)
    network.submit(transaction)
    network.run(3_000)
    told = [
        (member, dict(event.facts)) for member, event in network.events if event.name == "application_error"
    ]
    assert sorted(member for member, _ in told) == [0, 1, 2, 3]
    assert all("ZeroDivisionError: of the application" in str(facts["what"]) for _, facts in told)


def test_the_loss_of_the_primary_loses_and_repeats_nothing() -> None:
    network = Network()
    first, second = network.transactions(0, 20), network.transactions(20, 20)
    network.submit(*first)
    network.run(1_000)
    network.crash(0)
    network.submit(*second)
    network.run(20_000, until=None)
    assert network.accepted() == ids(first + second)
    executed = network.executed(1)
    assert len(executed) == len(set(executed)) == 40
    assert any(event.name == "view_active" for _, event in network.events)


def test_a_replica_that_was_away_catches_up_and_takes_part_again() -> None:
    network = Network(limits=NodeLimits(blocks_bytes=2_000, range_blocks=4))
    network.crash(3)
    commit(network, 0, 60, per_block=3)
    network.start(3)
    network.run(10_000, until=60)
    assert len(network.heads()) == 1
    assert network.heart(3).ledger.height == 60
    network.crash(2)
    raws = network.transactions(1_000, 1)
    network.submit(*raws)
    network.run(10_000)
    assert ids(raws) <= network.accepted(), "three of four need the one that came back"


def test_a_replica_that_was_cut_off_catches_up_on_an_idle_network() -> None:
    network = Network()
    network.isolate(3)
    commit(network, 0, 30, to=[0, 1, 2])
    assert network.heart(3).ledger.height == 0
    network.heal()
    network.run(10_000, until=30)
    assert len(network.heads()) == 1
    names = [event.name for member, event in network.events if member == 3]
    assert "catch_up_started" in names
    assert "catch_up_finished" in names


def test_all_may_crash_at_once_and_nothing_acknowledged_is_lost() -> None:
    for moment in range(1, 12):
        network = Network()
        raws = network.transactions(0, 10)
        network.submit(*raws)
        network.run(moment)
        acknowledged = network.accepted()
        for member in range(4):
            network.crash(member)
        for member in range(4):
            network.start(member)
        network.submit(*raws)
        network.run(10_000)
        assert acknowledged <= set(network.executed(0))
        assert network.accepted() == ids(raws)
        assert len(network.heads()) == 1
        assert len(network.executed(0)) == 10


def test_a_restarted_replica_starts_from_its_disk() -> None:
    network = Network()
    commit(network, 0, 20)
    network.run(1_000)
    synced = network.heart(1).ledger.height
    network.heart(1).ledger.sync()
    network.crash(1)
    network.start(1)
    assert network.heart(1).ledger.height == synced == Height(20)
    commit(network, 100, 3)
    network.run(2_000)
    assert len(network.heads()) == 1


def test_a_full_disk_stops_the_votes_and_the_others_go_on() -> None:
    network = Network()
    commit(network, 0, 3)
    network.run(1_000)
    height = network.heart(2).ledger.height
    network.replicas[2].disk.full = True
    raws = network.transactions(100, 5)
    network.submit(*raws)
    network.run(5_000)
    assert ids(raws) <= network.accepted()
    assert network.heart(2).ledger.height == height
    assert network.heart(2).failure is not None
    assert network.heart(2).engine.status().halted is not None
    assert any(event.name == "halted" and event.level is Level.ERROR for _, event in network.events)


def test_signatures_checked_elsewhere_lead_to_the_same_chain() -> None:
    heads = []
    for deferred in (False, True):
        network = Network(limits=NodeLimits(checks_per_turn=16, blocks_bytes=2_000), deferred=deferred)
        network.crash(3)
        raws = network.transactions(0, 100)
        network.submit(*raws)
        network.run(2_000)
        network.start(3)
        network.run(5_000)
        assert network.accepted() == ids(raws)
        heads.append(len(network.heads()))
        assert network.executed(3) == network.executed(0)
    assert heads == [1, 1]


def test_a_network_of_one_orders_by_itself() -> None:
    network = Network(n=1)
    raws = network.transactions(0, 5)
    network.submit(*raws)
    network.run(500)
    assert network.accepted() == ids(raws)


def test_the_same_inputs_give_the_same_bytes() -> None:
    def history() -> list[tuple[int, object]]:
        network = Network()
        network.submit(*network.transactions(0, 30))
        network.run(300)
        network.crash(0)
        network.submit(*network.transactions(30, 30))
        network.run(8_000)
        return [*network.replies, *network.bytes_between.items()]  # type: ignore[list-item]

    assert history() == history()
