"""Progress: what is done, how fast, how long it takes still; and the state in memory or on disk."""

import pytest

from crypto.attestation import Height
from crypto.batch import Millis, TxId
from ledger.audit.audit import Options
from ledger.audit.progress import REPORT_SECONDS, Meter, Progress
from ledger.audit.replay import Executed
from ledger.audit.report import Verdict
from ledger.audit.scratch import ScratchState
from tests.ledger.audit.chains import Maker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_rate_and_the_time_left_follow_from_what_was_done() -> None:
    clock, told = Clock(), list[Progress]()
    meter = Meter(told.append, clock, "blocks", "blocks", 100)
    clock.now += 2
    meter.advance(20, 50)
    assert told[-1] == Progress("blocks", 20, 100, "blocks", 10.0, 50)
    assert told[-1].seconds_left == 8.0


def test_before_anything_is_known_no_time_is_promised() -> None:
    told = list[Progress]()
    Meter(told.append, Clock(), "state", "keys", 0)
    assert told[-1].seconds_left is None


def test_progress_is_told_seldom_and_at_the_end() -> None:
    clock, told = Clock(), list[Progress]()
    meter = Meter(told.append, clock, "blocks", "blocks", 1000)
    for _ in range(1000):
        clock.now += REPORT_SECONDS / 100
        meter.advance()
    assert 5 < len(told) <= 12
    meter.finish()
    assert told[-1].done == 1000


def test_the_rate_follows_when_the_speed_changes() -> None:
    clock, told = Clock(), list[Progress]()
    meter = Meter(told.append, clock, "blocks", "blocks", 10**6)
    for step in [100] * 20 + [10] * 60:
        clock.now += 1
        meter.advance(step)
    assert told[-1].rate == pytest.approx(10, abs=1)


def test_an_audit_tells_every_stage_up_to_its_end() -> None:
    told = list[Progress]()
    chain = Maker().grow(6)
    report = chain.audit(progress=told.append)
    last = {progress.stage: progress for progress in told}
    assert list(last) == ["records", "blocks", "index", "state"]
    assert (last["blocks"].done, last["blocks"].total) == (6, 6)
    assert last["blocks"].transactions == report.transactions
    assert last["index"].done == last["index"].total > 0
    assert last["state"].done > 0


def test_options_need_nothing_but_their_defaults() -> None:
    assert Options() == Options()


def test_a_state_on_disk_is_the_state_in_memory() -> None:
    with ScratchState() as memory, ScratchState(memory_bytes=2000) as disk:
        for step in range(40):
            writes = {b"v%d" % (step * 7 % 30): b"x" * step, b"n%d" % step: None if step % 3 else b"node"}
            for scratch in (memory, disk):
                scratch.apply(writes)
            assert list(memory.scan(b"")) == list(disk.scan(b""))
        assert disk.on_disk
        assert not memory.on_disk
        assert memory.get(b"v7") == disk.get(b"v7")
        assert list(memory.scan(b"v1", b"v2")) == list(disk.scan(b"v1", b"v2")) != []


def test_ids_are_forgotten_when_they_could_only_be_expired() -> None:
    executed = Executed()
    one, two = (TxId(bytes([i]) * 32) for i in range(2))
    executed.add(Height(1), [one], 1000)
    executed.add(Height(2), [two], 2000)
    executed.forget(Millis(1000))
    assert executed.find([one, two]) == [1, 2]
    executed.forget(Millis(1001))
    assert executed.find([one, two]) == [None, 2]
    assert len(executed) == 1


def test_a_large_state_is_audited_from_disk() -> None:
    assert Maker().grow(8).audit(state_bytes=1000).verdict is Verdict.VALID
