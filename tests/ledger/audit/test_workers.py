"""Worker processes: the same findings as without them, in order, in bounded windows, whatever dies."""

import os
import signal
from collections.abc import Iterator, Sequence

import pytest

from crypto.attestation import Height
from crypto.keys import Check, InlineChecker
from ledger.audit import workers
from ledger.audit.inspection import BlockRow, Setup
from ledger.audit.report import Level, Verdict
from ledger.audit.workers import JOB_BYTES, Job, Workers, in_jobs
from ledger.keyvalue import Family
from ledger.store import height_key
from tests.ledger.audit.chains import Certificates, Maker

BLOCKS = 8


@pytest.fixture(scope="module")
def chain() -> Maker:
    return Maker().grow(BLOCKS)


class Deadly:
    """A checker that takes its process with it, unless it is the one that made it."""

    def __init__(self) -> None:
        self.maker = os.getpid()

    def check(self, checks: Sequence[Check]) -> list[bool]:
        if os.getpid() != self.maker:
            os.kill(os.getpid(), signal.SIGKILL)
        return InlineChecker().check(checks)


def rows(chain: Maker) -> Iterator[BlockRow]:
    for height in range(1, BLOCKS + 1):
        key = height_key(Height(height))
        block, certificate = (chain.disk.get(each, key) for each in (Family.BLOCKS, Family.CERTIFICATES))
        yield BlockRow(height, block, certificate, False)


def setup(chain: Maker, **changes: object) -> Setup:
    certificates = Certificates(chain.roster)
    plain = Setup(chain.genesis, Level.FULL, certificates, InlineChecker(), b"secret")
    return plain._replace(**changes)  # type: ignore[arg-type]


def single(chain: Maker) -> list[Job]:
    return [[row] for row in rows(chain)]


def test_processes_find_what_is_found_without_them_in_the_same_order(chain: Maker) -> None:
    with Workers(setup(chain), 1) as inline, Workers(setup(chain), 2, inline_bytes=0) as pooled:
        expected = list(inline.run(single(chain)))
        assert list(pooled.run(single(chain))) == expected
    assert [job[0].height for job, _ in expected] == list(range(1, BLOCKS + 1))


def test_what_is_little_is_done_without_starting_a_process(chain: Maker) -> None:
    with Workers(setup(chain, checker=Deadly()), 2) as idle:
        assert len(list(idle.run(single(chain)))) == BLOCKS
        assert idle.restarts == 0


def test_a_worker_that_dies_loses_nothing(chain: Maker) -> None:
    with Workers(setup(chain, checker=Deadly()), 2, inline_bytes=0) as dying:
        found = list(dying.run(single(chain)))
        assert dying.restarts > 0
    with Workers(setup(chain), 1) as inline:
        assert found == list(inline.run(single(chain)))


def test_few_jobs_are_taken_ahead(chain: Maker) -> None:
    taken = 0

    def counted() -> Iterator[Job]:
        nonlocal taken
        for job in single(chain) * 40:
            taken += 1
            yield job

    with Workers(setup(chain), 2, inline_bytes=0) as pooled:
        running = pooled.run(counted())
        next(running)
        assert taken <= 2 * workers.WINDOW_JOBS + 1


def test_jobs_are_bounded_in_bytes_and_in_blocks() -> None:
    large = [BlockRow(height, bytes(JOB_BYTES // 2), None, False) for height in range(7)]
    assert [len(job) for job in in_jobs(large)] == [2, 2, 2, 1]
    empty = [BlockRow(height, b"", b"", False) for height in range(workers.JOB_BLOCKS + 1)]
    assert [len(job) for job in in_jobs(empty)] == [workers.JOB_BLOCKS, 1]
    assert list(in_jobs([])) == []


def test_an_audit_in_processes_finds_what_it_finds_in_one(chain: Maker) -> None:
    disk = chain.copy()
    key = height_key(Height(3))
    stored = disk.get(Family.BLOCKS, key)
    assert stored is not None
    disk.write([(Family.BLOCKS, key, stored[:300] + bytes([stored[300] ^ 1]) + stored[301:])])
    alone, together = (chain.audit(disk=disk, processes=count, inline_bytes=0) for count in (1, 2))
    assert alone == together
    assert alone.verdict is Verdict.INVALID
    assert chain.audit(processes=2, inline_bytes=0).verdict is Verdict.VALID
