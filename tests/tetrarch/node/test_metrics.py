"""Metrics: names by Prometheus' conventions, and every number the replica's own."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from crypto.roster import MemberId
from ledger.keyvalue import MemoryKeyValue
from network.address import Address
from tests.tetrarch.node.support import KEYS, make_genesis, now_at, transaction
from tetrarch.node.composition import compose
from tetrarch.node.effects import ConnectionId
from tetrarch.node.heart import Heart
from tetrarch.node.metrics import Metrics, Sources
from tetrarch.node.settings import NodeSettings
from tetrarch.node.sockets import NetworkLoad
from tetrarch.node.watching import Watch
from tetrarch.wire import Submit, pack

HERE = Address("127.0.0.1", 1)
DOCUMENT = Path(__file__).parents[3] / "docs" / "watching.md"


class Replica:
    """One of one, without sockets, and its page."""

    def __init__(self, folder: Path) -> None:
        self.genesis = make_genesis(1)
        self.settings = NodeSettings(
            genesis=self.genesis,
            member=MemberId(0),
            signer=KEYS[0],
            store=folder,
            certificate=folder,
            private_key=folder,
            peer_certificates=(),
            peer_listen=HERE,
            client_listen=HERE,
            peers=(HERE,),
        )
        self.watch = Watch()
        self.faults = {"client connection: idle": 2, "member connection: dial_failed": 3}
        self.heart: Heart = compose(self.settings, MemoryKeyValue(), watch=self.watch)
        self.heart.start(now_at(0))
        self.metrics = Metrics(
            Sources(
                settings=self.settings,
                heart=self.heart,
                times=self.watch.times,
                fsyncs=self.watch.fsyncs,
                trace=self.watch.trace,
                load=lambda: NetworkLoad(7, {MemberId(0): 4096}),
                faults=lambda: self.faults,
                monitor_counts=lambda: {"slow": 1},
                uptime_s=lambda: 12.5,
            )
        )

    def turns(self, until: int) -> None:
        """Take turns until the block at `until` is executed."""
        for at in range(1000):
            effects = self.heart.turn(now_at(at))
            self.watch.replied(effects.blocks)
            if self.heart.ledger.height >= until and not effects.more:
                return
        raise AssertionError(f"height {until} was not reached")

    def submit(self, *numbers: int) -> None:
        raws = tuple(transaction(self.genesis, number) for number in numbers)
        self.heart.client_frame(ConnectionId(1), pack(Submit(True, raws)))

    def samples(self) -> dict[str, float]:
        """Every sample by name and labels, as `name{label=value,…}`."""
        found = {}
        for family in text_string_to_metric_families(self.metrics.page().decode()):
            for sample in family.samples:
                labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found


@pytest.fixture
def replica(tmp_path: Path) -> Replica:
    return Replica(tmp_path)


def test_heights_view_role_and_transactions_are_those_of_the_ledger(replica: Replica) -> None:
    replica.submit(1, 2, 3)
    replica.turns(1)
    samples = replica.samples()
    assert samples["tetrarch_executed_height"] == 1
    assert samples["tetrarch_last_vote_height"] == 1
    assert samples["tetrarch_stable_height"] == 0
    assert samples["tetrarch_transactions_executed_total"] == 3
    assert samples["tetrarch_pool_transactions"] == 0
    assert samples["tetrarch_view"] == 0
    assert samples["tetrarch_primary_member"] == 0
    assert samples["tetrarch_role{role=primary}"] == 1
    assert samples["tetrarch_role{role=backup}"] == 0
    assert samples["tetrarch_block_time_seconds"] == replica.heart.ledger.time / 1000


def test_every_phase_of_a_block_has_a_histogram(replica: Replica) -> None:
    replica.submit(1)
    replica.turns(1)
    samples = replica.samples()
    for phase in ("prepare", "commit", "execute", "reply"):
        assert samples[f"tetrarch_phase_seconds_count{{phase={phase}}}"] == 1
        assert samples[f"tetrarch_phase_seconds_bucket{{le=+Inf,phase={phase}}}"] == 1
    assert samples["tetrarch_block_seconds_count"] == 1
    assert 0 < samples["tetrarch_block_seconds_sum"] < 60


def test_refusals_are_counted_by_code_and_stand_there_before_the_first(replica: Replica) -> None:
    assert replica.samples()["tetrarch_transactions_refused_total{code=malformed}"] == 0
    replica.heart.client_frame(ConnectionId(1), pack(Submit(True, (b"nonsense",))))
    replica.heart.turn(now_at(1))
    samples = replica.samples()
    assert samples["tetrarch_transactions_refused_total{code=malformed}"] == 1
    assert samples["tetrarch_transactions_refused_total{code=expired}"] == 0


def test_what_is_dropped_is_counted_by_source_and_reason(replica: Replica) -> None:
    replica.heart.client_frame(ConnectionId(1), b"nonsense")
    replica.heart.counters.count("evidence", 2)
    samples = replica.samples()
    assert samples["tetrarch_inputs_dropped_total{reason=not decodable,source=client frame}"] == 1
    assert samples["tetrarch_evidence_total"] == 2


def test_connections_queues_and_faults_are_the_networks(replica: Replica) -> None:
    samples = replica.samples()
    assert samples["tetrarch_client_connections"] == 7
    assert samples["tetrarch_peer_queue_bytes{peer=replica-0}"] == 4096
    assert samples["tetrarch_connection_faults_total{reason=idle,side=client}"] == 2
    assert samples["tetrarch_connection_faults_total{reason=dial_failed,side=member}"] == 3
    assert samples["tetrarch_connection_faults_total{reason=slow,side=monitor}"] == 1


def test_fsyncs_are_a_histogram_in_seconds(replica: Replica) -> None:
    replica.watch.fsyncs.observe(0.003)
    samples = replica.samples()
    assert samples["tetrarch_fsync_seconds_bucket{le=0.0025}"] == 0
    assert samples["tetrarch_fsync_seconds_bucket{le=0.005}"] == 1
    assert samples["tetrarch_fsync_seconds_sum"] == pytest.approx(0.003)


def test_every_buffer_is_shown_beside_its_limit(replica: Replica) -> None:
    samples = replica.samples()
    for name, (held, limit) in replica.heart.sizes().items():
        assert samples[f"tetrarch_buffer_items{{buffer={name}}}"] == held
        assert samples[f"tetrarch_buffer_limit_items{{buffer={name}}}"] == limit


def test_names_are_by_the_conventions_and_all_in_the_document(replica: Replica) -> None:
    document = DOCUMENT.read_text()
    for family in text_string_to_metric_families(replica.metrics.page().decode()):
        if family.name.startswith("process_"):
            continue
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert re.fullmatch(r"tetrarch_[a-z_]+", name)
        assert family.documentation
        assert f"`{name}`" in document, f"docs/watching.md does not explain {name}"
        if family.type == "histogram":
            assert name.endswith("_seconds")


def test_a_scrape_changes_nothing_and_repeats_itself(replica: Replica) -> None:
    replica.submit(1)
    replica.turns(1)
    first = {key: value for key, value in replica.samples().items() if not key.startswith("process_")}
    second = {key: value for key, value in replica.samples().items() if not key.startswith("process_")}
    assert first == second
