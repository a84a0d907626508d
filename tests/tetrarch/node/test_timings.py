"""How long phases take: from the first sight of a batch to its replies, and nothing that was not seen."""

import pytest

from crypto.attestation import Height
from crypto.digest import Digest
from tetrarch.node.timings import BOUNDS_S, MAX_BLOCKS, MAX_OFFERS, Histogram, Phase, PhaseTimes

MS = 1_000_000
BATCH = Digest(b"b" * 32)
ONE = Height(1)


def total_ms(times: PhaseTimes, phase: Phase) -> float:
    return round(times.phases[phase].total_s * 1000, 3)


def count(histogram: Histogram) -> int:
    return histogram.cumulated()[-1][1]


def test_every_phase_lasts_from_its_step_to_the_next() -> None:
    times = PhaseTimes()
    times.offered(BATCH, 10 * MS)
    times.accepted(ONE, BATCH, 13 * MS)
    times.accepted(ONE, None, 13 * MS)  # the second record of the same step
    times.prepared(ONE, 18 * MS)
    times.decided(ONE, 25 * MS)
    times.executed(ONE, 26 * MS)
    times.replied(ONE, 28 * MS)
    assert {phase: total_ms(times, phase) for phase in Phase} == {
        Phase.BODIES: 3,
        Phase.PREPARE: 5,
        Phase.COMMIT: 7,
        Phase.EXECUTE: 1,
        Phase.REPLY: 2,
    }
    assert times.whole.total_s == pytest.approx(0.018)
    assert len(times) == 0


def test_what_came_twice_counts_from_the_first_time() -> None:
    times = PhaseTimes()
    times.offered(BATCH, 10 * MS)
    times.offered(BATCH, 20 * MS)
    times.accepted(ONE, BATCH, 30 * MS)
    assert total_ms(times, Phase.BODIES) == 20


def test_a_proposal_of_a_later_view_begins_anew() -> None:
    times = PhaseTimes()
    times.accepted(ONE, BATCH, 10 * MS)
    times.accepted(ONE, None, 500 * MS)
    times.prepared(ONE, 510 * MS)
    assert total_ms(times, Phase.PREPARE) == 10


def test_a_decision_that_was_learnt_has_no_phases_before_it() -> None:
    times = PhaseTimes()
    times.decided(ONE, 10 * MS)
    times.executed(ONE, 12 * MS)
    times.replied(ONE, 13 * MS)
    seen = {phase for phase in Phase if count(times.phases[phase])}
    assert seen == {Phase.EXECUTE, Phase.REPLY}
    assert count(times.whole) == 0


def test_what_is_never_finished_is_bounded() -> None:
    times = PhaseTimes()
    for number in range(1, MAX_BLOCKS + MAX_OFFERS):
        times.offered(Digest(number.to_bytes(32, "big")), number)
        times.accepted(Height(number), None, number)
    assert len(times) == MAX_BLOCKS
    times.accepted(Height(MAX_BLOCKS * 2), Digest((1).to_bytes(32, "big")), MS)
    assert count(times.phases[Phase.BODIES]) == 0  # the oldest offer was forgotten


def test_a_bucket_counts_all_that_lies_within_its_bound() -> None:
    histogram = Histogram()
    for seconds in (BOUNDS_S[0], BOUNDS_S[1], 1e6):
        histogram.observe(seconds)
    cumulated = histogram.cumulated()
    assert cumulated[0] == (BOUNDS_S[0], 1)
    assert cumulated[1] == (BOUNDS_S[1], 2)
    assert cumulated[-2][1] == 2
    assert cumulated[-1] == (float("inf"), 3)
