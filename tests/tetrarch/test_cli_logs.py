"""tetrarch logs: one transaction's story out of many logs, whatever else lies in them."""

import json
from pathlib import Path

import pytest

from crypto.batch import TxId
from tests.tetrarch.command_line import ran
from tetrarch.layout import LOG_FILE
from tetrarch.node.logs import FILES_KEPT, Log, TraceLog, trace_path
from tetrarch.node.trace import TraceLine
from tetrarch.setup.network import make_network
from tetrarch.setup.places import Host
from tetrarch.setup.plan import NetworkPlan

HOSTS = tuple(Host("127.0.0.1", 7000 + 2 * i, 7001 + 2 * i) for i in range(4))
MINE, OTHER = TxId(b"m" * 32), TxId(b"o" * 32)
START_NS = 1_796_094_084_000_000_000


@pytest.fixture
def net(tmp_path: Path) -> Path:
    make_network(tmp_path / "net", NetworkPlan(HOSTS))
    return tmp_path / "net"


def tell(net: Path, member: int, *lines: tuple[float, str, TxId], **facts: int) -> None:
    """Have a replica's trace say so: (ms after the start, event, transaction)."""
    name = f"replica-{member}"
    log = TraceLog(name, trace_path(net / name / LOG_FILE))
    log.write([TraceLine(START_NS + int(ms * 1e6), event, tx_id, dict(facts)) for ms, event, tx_id in lines])
    log.close()


def story(net: Path, tx_id: TxId = MINE) -> list[dict[str, object]]:
    result = ran("logs", str(net), "--tx", tx_id.hex(), "--json")
    assert result.code == 0, result.err
    return [json.loads(line) for line in result.out.splitlines()]


def test_events_of_all_replicas_come_in_the_order_of_their_times(net: Path) -> None:
    tell(net, 1, (2, "tx_received", MINE), (9, "tx_executed", MINE), height=4)
    tell(net, 0, (1, "tx_received", MINE), (5, "tx_proposed", MINE), (5, "tx_prepared", MINE))
    told = [(event["replica"], event["event"]) for event in story(net)]
    assert told == [
        ("replica-0", "tx_received"),
        ("replica-1", "tx_received"),
        ("replica-0", "tx_proposed"),
        ("replica-0", "tx_prepared"),  # at the same moment: as they were written
        ("replica-1", "tx_executed"),
    ]
    assert story(net)[1]["height"] == 4


def test_only_what_is_about_that_transaction_is_told(net: Path) -> None:
    tell(net, 0, (1, "tx_received", OTHER), (2, "tx_received", MINE))
    assert [event["time"] for event in story(net)] == ["2026-12-01T03:01:24.002000Z"]


def test_what_the_ordinary_log_says_of_it_is_told_too(net: Path) -> None:
    log = Log("replica-3", net / "replica-3" / LOG_FILE)
    log.error("application_error", tx_id=MINE.hex(), what="ValueError")
    log.close()
    [event] = story(net)
    assert (event["event"], event["what"]) == ("application_error", "ValueError")


def test_rotated_files_are_read_as_well(net: Path) -> None:
    tell(net, 2, (1, "tx_received", MINE))
    path = trace_path(net / "replica-2" / LOG_FILE)
    path.rename(f"{path}.{FILES_KEPT}")
    tell(net, 2, (2, "tx_executed", MINE))
    assert [event["event"] for event in story(net)] == ["tx_received", "tx_executed"]


def test_one_replicas_directory_will_do(net: Path) -> None:
    tell(net, 0, (1, "tx_received", MINE))
    tell(net, 1, (2, "tx_received", MINE))
    assert [event["replica"] for event in story(net / "replica-1")] == ["replica-1"]


def test_lines_that_are_none_are_passed_over_and_counted(net: Path) -> None:
    tell(net, 0, (1, "tx_received", MINE))
    with trace_path(net / "replica-0" / LOG_FILE).open("ab") as file:
        file.write(b'{"event":"tx_exec\xff", "tx_id":"' + MINE.hex().encode() + b'"\n')  # cut off
        file.write(b'["' + MINE.hex().encode() + b'"]\n')
        file.write(b"[" * 100_000 + MINE.hex().encode() + b"\n")
        file.write(b'{"event":3,"timestamp":"x","tx_id":"' + MINE.hex().encode() + b'"}\n')
    result = ran("logs", str(net), "--tx", MINE.hex())
    assert result.code == 0
    assert "received" in result.out
    assert "4 lines name it and cannot be understood" in result.err


def test_what_would_move_the_cursor_is_not_printed(net: Path) -> None:
    with trace_path(net / "replica-0" / LOG_FILE).open("w") as file:
        line = {"event": "tx_refused", "tx_id": MINE.hex(), "timestamp": "now", "reason": "a\x1b[2Jb"}
        file.write(json.dumps(line) + "\n")
    result = ran("logs", str(net), "--tx", MINE.hex())
    assert result.code == 0
    assert "\x1b" not in result.out
    assert "reason a\ufffd[2Jb" in result.out


def test_silence_is_exit_code_4_and_says_how_to_follow(net: Path) -> None:
    result = ran("logs", str(net), "--tx", MINE.hex())
    assert result.code == 4
    assert "[trace]" in result.err


@pytest.mark.parametrize("tx_id", ["", "12", "z" * 64, MINE.hex() + "0"])
def test_what_is_no_id_is_a_usage_error(net: Path, tx_id: str) -> None:
    assert ran("logs", str(net), "--tx", tx_id).code == 2


def test_a_directory_of_something_else_is_a_usage_error(tmp_path: Path) -> None:
    result = ran("logs", str(tmp_path), "--tx", MINE.hex())
    assert result.code == 2
    assert "neither a network's directory nor a replica's" in result.err
