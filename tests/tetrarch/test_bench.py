"""The bench measures what it says: its figures follow from each other, and a failed load gives none."""

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import Any

import pytest

from crypto.attestation import Height
from crypto.batch import TxId
from ledger.result import Result, ResultCode
from tests.processes.running import json_of
from tetrarch.bench.load import PAYLOAD_BYTES, LoadFailed, all_at_once, payloads
from tetrarch.bench.machine import Rates, measure_rates, percentile, usage
from tetrarch.client.outcome import Outcome, payload_bytes
from tetrarch.errors import OutcomeUnknown
from tetrarch.event_loop import run


def test_the_limit_is_what_signatures_alone_would_allow() -> None:
    rates = Rates(verify_us=42.0, sign_us=16.0, cores=2)
    assert rates.limit_tps(4) == pytest.approx(2 / ((4 * 42 + 16) / 1e6))
    assert rates.verifications_per_second == pytest.approx(2 / 42e-6)


def test_signing_and_verifying_take_time_and_verifying_takes_more() -> None:
    rates = measure_rates()
    assert 0 < rates.sign_us < rates.verify_us
    assert rates.cores >= 1


def test_payloads_have_the_stated_size_and_are_canonical() -> None:
    source = payloads(7)
    made = [payload_bytes(next(source)) for _ in range(100)]
    assert {len(payload) for payload in made} == {PAYLOAD_BYTES}
    assert len(set(made)) == 100
    other = payloads(7)
    assert [payload_bytes(next(other)) for _ in range(100)] == made


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, 0.0), ([3.0], 0.99, 3.0), ([4.0, 1.0, 3.0, 2.0], 0.5, 3.0), ([1.0] * 99 + [9.0], 0.99, 9.0)],
)
def test_percentiles_of_small_samples(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected


def test_a_process_that_works_is_seen_to_work() -> None:
    before = usage(os.getpid())
    sum(number * number for number in range(2_000_000))
    after = usage(os.getpid())
    assert before is not None
    assert after is not None
    assert after.cpu_seconds > before.cpu_seconds
    assert 0 < after.resident_mb <= after.peak_mb


def test_a_process_that_is_gone_has_no_figures() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert usage(process.pid) is None


class Answering:
    """A client all of whose transactions end as told."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.submitted = 0

    async def submit_many(self, submissions: Iterable[Any]) -> AsyncGenerator[Outcome, None]:
        for index, _ in enumerate(submissions):
            self.submitted += 1
            yield self.outcome.at(index)


def ended(code: ResultCode) -> Outcome:
    return Outcome(0, TxId(bytes(32)), "committed", height=Height(3), result=Result(code))


def test_the_load_is_shared_among_clients_and_counted() -> None:
    clients: list[Any] = [Answering(ended(ResultCode.OK)) for _ in range(3)]
    told: list[int] = []
    timing = run(all_at_once(clients, 90, told=told.append))
    assert [client.submitted for client in clients] == [30, 30, 30]
    assert (timing.count, timing.heights, told[-1]) == (90, (3, 3), 90)


@pytest.mark.parametrize(
    "outcome",
    [
        ended(ResultCode.FAILED),
        ended(ResultCode.REPEATED),
        Outcome(0, TxId(bytes(32)), "unknown", error=OutcomeUnknown(TxId(bytes(32)))),
    ],
)
def test_a_load_with_a_transaction_that_was_not_executed_gives_no_figures(outcome: Outcome) -> None:
    client: Any = Answering(outcome)
    with pytest.raises(LoadFailed):
        run(all_at_once([client], 10))


@pytest.mark.processes
@pytest.mark.slow
def test_a_short_bench_has_all_figures_and_leaves_nothing_behind(tmp_path: Path) -> None:
    figures = json_of("bench", "--transactions", "500", "--directory", str(tmp_path))
    wanted = {
        *("n", "transport", "throughput_tps", "limit_tps", "share_of_limit", "verify_us", "sign_us"),
        *("single_p50_ms", "single_p99_ms", "load_p50_ms", "load_p99_ms", "replica_peak_mb"),
        *("transactions", "fsync", "tls"),
    }
    assert wanted <= figures.keys()
    assert (figures["n"], figures["transactions"], figures["fsync"], figures["tls"]) == (4, 500, True, True)
    assert figures["share_of_limit"] == pytest.approx(
        figures["throughput_tps"] / figures["limit_tps"], rel=0.01
    )
    assert figures["single_p50_ms"] <= figures["single_p99_ms"]
    assert figures["replica_peak_mb"] > 10
    assert list(tmp_path.iterdir()) == []
