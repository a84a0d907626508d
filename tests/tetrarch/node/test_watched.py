"""Watched replicas: the same blocks as without, every phase timed, every followed transaction told of."""

import pytest

from crypto.batch import TxId
from ledger.transaction import transaction_id
from tests.tetrarch.node.network import Network
from tetrarch.node.timings import Phase
from tetrarch.node.trace import LINES_PER_SECOND, Trace

STORY = [
    "tx_received",
    "tx_admitted",
    "tx_proposed",
    "tx_prepared",
    "tx_committed",
    "tx_executed",
    "tx_replied",
]


def events(network: Network, member: int, tx_id: TxId) -> list[str]:
    assert network.watches is not None
    return [line.event for line in network.watches[member].trace.take() if line.tx_id == tx_id]


@pytest.mark.parametrize("member", range(4))
def test_the_trace_tells_the_whole_way_of_a_transaction_at_every_replica(member: int) -> None:
    network = Network(follow="all")
    [raw] = network.transactions(1, 1)
    network.submit(raw)
    network.run(500, until=1)
    assert events(network, member, transaction_id(raw)) == STORY


def test_heights_views_and_positions_are_those_of_the_block() -> None:
    network = Network(follow="all")
    raws = network.transactions(1, 3)
    network.submit(*raws)
    network.run(500, until=1)
    assert network.watches is not None
    lines = network.watches[2].trace.take()
    executed = [line for line in lines if line.event == "tx_executed"]
    block = network.heart(2).ledger.block(executed[0].facts["height"])  # type: ignore[arg-type]
    assert block is not None
    for line in executed:
        position = line.facts["position"]
        assert isinstance(position, int)
        assert transaction_id(block.transactions[position]) == line.tx_id
        assert line.facts["outcome"] == "ok"
    proposed = [line.facts for line in lines if line.event == "tx_proposed"]
    assert proposed[0] == {"height": 1, "view": 0, "primary": 0}


def test_only_ids_that_begin_as_asked_are_followed() -> None:
    network = Network(follow="none")
    raws = network.transactions(1, 40)
    ids = [transaction_id(raw) for raw in raws]
    prefix = ids[0].hex()[:1]
    assert network.watches is not None
    network.watches[1].trace.follow(prefix)
    network.submit(*raws)
    network.run(500, until=1)
    told = {line.tx_id for line in network.watches[1].trace.take()}
    assert told == {tx_id for tx_id in ids if tx_id.hex().startswith(prefix)}
    assert network.watches[0].trace.take() == ()


def test_a_refusal_is_told_with_its_code() -> None:
    network = Network(follow="all")
    [raw] = network.transactions(1, 1)
    forged = bytes([raw[0] ^ 1]) + raw[1:]
    network.submit(forged)
    network.run(50)
    assert network.watches is not None
    lines = network.watches[3].trace.take()
    assert [line.event for line in lines] == ["tx_received", "tx_refused"]
    assert lines[1].facts["code"] == "bad_signature"


def test_a_reproposal_after_a_view_change_is_told_with_the_new_view() -> None:
    network = Network(follow="all")
    [raw] = network.transactions(1, 1)
    network.cut = {(0, other) for other in range(1, 4)}  # the primary is heard by nobody
    network.submit(raw)
    network.run(60_000)
    assert network.watches is not None
    proposed = [line.facts for line in network.watches[2].trace.take() if line.event == "tx_proposed"]
    assert [(facts["view"], facts["primary"]) for facts in proposed] == [(1, 1)]


def test_every_phase_of_every_block_is_timed_once() -> None:
    network = Network(follow="none")
    for number in range(5):
        network.submit(*network.transactions(1 + number, 1))
        network.run(500, until=number + 1)
    network.run(100)
    assert network.watches is not None
    for member, watch in enumerate(network.watches):
        counts = {phase: watch.times.phases[phase].cumulated()[-1][1] for phase in Phase}
        offered = 0 if member == 0 else 5  # what the primary makes has no way to come
        assert counts.pop(Phase.BODIES) == offered
        # A quorum of COMMITs may come before the last PREPARE: a replica need not be prepared to execute.
        assert counts.pop(Phase.PREPARE) >= counts.pop(Phase.COMMIT) > 0
        assert set(counts.values()) == {5}
        assert watch.times.whole.cumulated()[-1][1] == 5


def test_a_watched_network_does_exactly_what_an_unwatched_one_does() -> None:
    sent = []
    for follow in (None, "none", "all"):
        network = Network(follow=follow)
        network.submit(*network.transactions(1, 20))
        network.run(500, until=1)
        network.run(3000)
        sent.append((network.heads(), network.bytes_between, network.replies))
    assert sent[0] == sent[1] == sent[2]


def test_a_trace_that_is_off_keeps_nothing() -> None:
    trace = Trace()
    trace.received([b"x" * 100], None)  # type: ignore[arg-type]
    assert not trace.on
    assert trace.take() == ()


def test_lines_beyond_those_of_one_second_are_counted_and_not_kept() -> None:
    now = 5_000_000_000
    trace = Trace("all", lambda: now)
    for _ in range(LINES_PER_SECOND + 7):
        trace.tell("tx_admitted", TxId(bytes(32)))
    assert len(trace.take()) == LINES_PER_SECOND
    assert trace.dropped == 7
    now += 1_000_000_000
    trace.tell("tx_admitted", TxId(bytes(32)))
    assert len(trace.take()) == 1


@pytest.mark.parametrize("choice", ["", "ALL", "xyz", "0x12", "a" * 65, "all "])
def test_a_choice_that_means_nothing_is_refused(choice: str) -> None:
    with pytest.raises(ValueError, match="neither"):
        Trace(choice)
