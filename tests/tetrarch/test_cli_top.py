"""tetrarch top: speeds out of two answers, and a screen that fits."""

import io
import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec.structs
import pytest
from rich.console import Console

from tests.tetrarch.command_line import ran
from tests.tetrarch.node.support import make_genesis
from tetrarch.cli.top import Looks
from tetrarch.cli.top_view import REASONS, Frame, History
from tetrarch.client.states import ReplicaStatus
from tetrarch.event_loop import run
from tetrarch.rates import Rate, Rates
from tetrarch.setup.network import make_network
from tetrarch.setup.places import local_hosts
from tetrarch.setup.plan import NetworkPlan
from tetrarch.wire import StatusReply

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)


def reply(member: int = 0, **changes: object) -> StatusReply:
    said = StatusReply(
        request=1,
        member=member,
        name=f"replica-{member}",
        view=0,
        leader=0,
        active=True,
        height=100,
        head=bytes(32),
        state_root=bytes(32),
        block_time=1,
        stable=64,
        last_vote=101,
        pending=5,
        waiting_for="",
        halted="",
        role="primary" if member == 0 else "backup",
        peers=(True, True, True, True),
        ignored=(("said before", 3),),
        resident_bytes=80_000_000,
        uptime_ms=10_000,
        transactions=1000,
    )
    return msgspec.structs.replace(said, **changes)


def report(member: int = 0, **changes: object) -> ReplicaStatus:
    return ReplicaStatus(member, f"replica-{member}", reply(member, **changes))


def gone(member: int) -> ReplicaStatus:
    return ReplicaStatus(member, f"replica-{member}", None, "connection refused")


def shown(reports: list[ReplicaStatus], width: int, rates: list[Rate] | None = None) -> list[str]:
    """The lines of one frame on a screen of that width."""
    history = History()
    known = rates or [Rate() for _ in reports]
    history.add(None, known)
    screen = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    with screen.capture() as captured:
        screen.print(Frame(make_genesis(4), reports, known, history, NOON, 1.0))
    return captured.get().splitlines()


def test_speeds_are_differences_by_the_replicas_own_clock() -> None:
    rates = Rates()
    assert rates.next([report()]) == [Rate()]
    later = report(
        uptime_ms=12_000, transactions=1500, height=110, ignored=(("clock", 2), ("said before", 4))
    )
    [rate] = rates.next([later])
    assert rate == Rate(250.0, 5.0, {"clock": 2, "said before": 1})


def test_an_answer_that_did_not_change_tells_the_same_speed_again() -> None:
    rates = Rates()
    first, second = report(), report(uptime_ms=11_000, transactions=1100)
    rates.next([first])
    assert rates.next([second]) == rates.next([second]) == [Rate(100.0, 0.0, {})]


@pytest.mark.parametrize("changes", [{"uptime_ms": 500, "transactions": 2}, {"transactions": 2}])
def test_a_replica_that_began_anew_has_no_speed_yet(changes: dict[str, int]) -> None:
    rates = Rates()
    rates.next([report()])
    assert rates.next([report(**changes)]) == [Rate()]


def test_a_replica_that_was_away_has_no_speed_for_that_time() -> None:
    rates = Rates()
    rates.next([report()])
    assert rates.next([gone(0)]) == [Rate()]
    assert rates.next([report(uptime_ms=60_000, transactions=9000)]) == [Rate()]


@pytest.mark.parametrize("width", [80, 120])
def test_every_replica_has_its_row_and_nothing_is_cut_off(width: int) -> None:
    large = {"height": 1_234_567, "pending": 20_000, "transactions": 9}
    reports = [report(member, **large) for member in range(4)]
    lines = shown(reports, width, [Rate(12_345.6, 99.9, {})] * 4)
    assert all(len(line) <= width for line in lines)
    for member in range(4):
        [row] = [line for line in lines if line.startswith(f"replica-{member}")]
        for word in ("1,234,567", "12,346", "99.9", "20,000", "80 MB"):
            assert word in row
    assert not any("…" in line for line in lines)


def test_a_wide_screen_shows_more() -> None:
    reports = [report(member) for member in range(4)]
    assert not any("stable" in line for line in shown(reports, 80))
    [head] = [line for line in shown(reports, 120) if "stable" in line]
    assert "voted" in head


def test_who_is_connected_to_whom_is_one_mark_for_each_member() -> None:
    lines = shown([report(0), report(1, peers=(True, True, False, True)), gone(2), report(3)], 80)
    rows = {line.split()[0]: line.split()[-1] for line in lines if line.startswith("replica-")}
    assert rows["replica-0"] == "·●●●"
    assert rows["replica-1"] == "●·○●"


def test_an_unreachable_replica_is_told_with_its_cause_and_so_is_a_halted_one() -> None:
    lines = shown([report(0), gone(1), report(2, role="halted", halted="no space left"), report(3)], 80)
    assert any(line.split() == ["replica-1", "unreachable"] for line in lines)
    assert "replica-1: connection refused" in [line.rstrip() for line in lines]
    assert "replica-2: no space left" in [line.rstrip() for line in lines]
    assert "1 unreachable" in lines[0]


def test_a_laggard_is_told_how_far_it_is_behind() -> None:
    lines = shown([report(0), report(1, height=93), report(2), report(3)], 80)
    [row] = [line for line in lines if line.startswith("replica-1")]
    assert row.split()[4] == "7"


def test_reasons_that_rose_last_come_first_and_are_few() -> None:
    ignored = tuple((f"reason {number:02}", 1000 - number) for number in range(20))
    reports = [report(0, ignored=ignored)]
    lines = shown(reports, 80, [Rate(0.0, 0.0, {"reason 17": 4})])
    reasons = [line for line in lines if line.startswith("reason")]
    assert reasons[0].split() == ["reason", "17", "+4", "983", "0"]
    assert len(reasons) == REASONS


def test_what_a_replica_says_cannot_move_the_cursor() -> None:
    lines = shown([report(0, role="\x1b[2J", ignored=(("\x1b]0;x\x07", 1),))], 80)
    assert "\x1b" not in "".join(lines)


def test_nobody_reachable_is_shown_all_the_same() -> None:
    lines = shown([gone(member) for member in range(4)], 80)
    assert sum("unreachable" in line for line in lines) == 5


def test_once_without_a_running_network_is_exit_code_3(tmp_path: Path) -> None:
    make_network(tmp_path / "net", NetworkPlan(local_hosts(4)))
    result = ran("top", str(tmp_path / "net"), "--once", "--interval", "0.2", "--json")
    assert result.code == 3
    told = json.loads(result.out)
    assert [row["reachable"] for row in told["replicas"]] == [False] * 4
    assert told["tx_per_s"] is None
    assert {row["tx_per_s"] for row in told["replicas"]} == {None}


def test_whoever_has_seen_enough_ends_it_without_a_trace(tmp_path: Path) -> None:
    make_network(tmp_path / "net", NetworkPlan(local_hosts(4)))
    frames = []

    def show(frame: Frame) -> None:
        frames.append(frame)
        if len(frames) == 3:
            raise BrokenPipeError

    # As itself, not within a group of errors: that is how the command line knows it.
    with pytest.raises(BrokenPipeError):
        run(Looks(tmp_path / "net", 0.01).follow(show))
    assert [report.reply for report in frames[-1].reports] == [None] * 4
