"""The command line: exit codes, one clear line for every mistake, and a start that imports little."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.result import failed_result, ok_result
from tests.ledger.chain_maker import Chain
from tests.tetrarch.command_line import ran
from tetrarch.cli import COMMANDS
from tetrarch.cli.outcomes import advice, describe, verdict
from tetrarch.cli.output import Exit
from tetrarch.genesis_file import save_genesis
from tetrarch.setup.network import make_network
from tetrarch.setup.places import local_hosts
from tetrarch.setup.plan import NetworkPlan

SUBCOMMANDS = {
    "tx": ["submit", "get"],
    "receipt": ["get", "verify"],
    "evidence": ["list", "verify"],
    "attack": ["list", "run", "campaign", "replay", "shrink", "mutants"],
}
HEAVY = ("cryptography", "msgspec", "nacl", "rich", "rocksdict", "structlog", "tetrarch.client", "uvloop")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["no-such-command"], []])
def test_help_and_mistakes_import_nothing_but_click(arguments: list[str]) -> None:
    program = (
        "import sys; from tetrarch.cli import run\n"
        f"run({arguments!r})\n"
        f"print('imported:', *(name for name in {HEAVY!r} if name in sys.modules))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "imported:"


def test_every_command_is_there_explains_itself_and_takes_json() -> None:
    for name in COMMANDS:
        result = ran(name, "--help")
        assert result.code == 0
        subcommands = SUBCOMMANDS.get(name)
        texts = [ran(name, sub, "--help").out for sub in subcommands] if subcommands else [result.out]
        assert all("--json" in text for text in texts), name
        assert name in ran("--help").out


def test_python_dash_m_is_the_same_program() -> None:
    command = [sys.executable, "-m", "tetrarch", "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout == ran("--help").out


@pytest.mark.parametrize(
    "arguments",
    [
        ["up"],
        ["up", "nowhere"],
        ["down", "nowhere"],
        ["node", "nowhere"],
        ["status", "nowhere"],
        ["tx", "submit", "nowhere", "{}"],
        ["tx", "submit", "nowhere"],
        ["tx", "submit", "nowhere", "{}", "--file", "f"],
        ["tx", "submit", "nowhere", "--file", "f", "--key", "k"],
        ["tx", "get", "nowhere", "00"],
        ["get", "nowhere", "a"],
        ["receipt", "verify", "nowhere"],
        ["receipt", "verify", "nowhere", "--genesis", "nowhere"],
        ["receipt", "get", "nowhere", "00" * 32, "-o", "r"],
        ["bench", "--replicas", "3"],
        ["bench", "--transactions", "many"],
        ["demo", "--journal", "nowhere"],
        ["dev", "--replicas", "2"],
    ],
)
def test_wrong_usage_is_exit_code_2_with_a_line_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    result = ran(*arguments)
    assert result.code == 2
    assert result.err.strip()
    assert "Traceback" not in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["init", "x" * 300],
        ["init", "file/net"],
        ["node", "x" * 300],
        ["up", "x" * 300],
        ["status", "x" * 300],
        ["bench", "--directory", "file"],
        ["bench", "--directory", "nowhere"],
        ["demo", "--directory", "x" * 300],
        ["receipt", "verify", "x" * 300, "--genesis", "genesis.json"],
        ["receipt", "verify", ".", "--genesis", "genesis.json"],
        ["audit", "x" * 300, "--genesis", "genesis.json"],
    ],
)
def test_what_the_operating_system_refuses_is_one_line_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    make_network(tmp_path / "net", NetworkPlan(local_hosts(4)))
    (tmp_path / "net" / "genesis.json").rename(tmp_path / "genesis.json")
    result = ran(*arguments)
    assert result.code == 2
    assert len(result.err.splitlines()) == 1
    assert "there is no such file" not in result.err


def test_no_room_for_what_is_printed_is_one_line(stopped: Path) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "tetrarch", "down", str(stopped)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ended.returncode == Exit.USAGE
    assert ended.stderr == "tetrarch: writing or reading failed: No space left on device\n"


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_streams_that_the_caller_closed_do_no_harm(stopped: Path, closed: str) -> None:
    # The event loop opens descriptors of its own: none may get the number of a standard stream.
    program = f'exec "$0" -m tetrarch status "$1" {closed}'
    ended = subprocess.run(
        ["sh", "-c", program, sys.executable, str(stopped)], capture_output=True, check=False
    )
    assert ended.returncode == Exit.UNREACHABLE


@pytest.mark.parametrize(("value", "color"), [("1", False), ("", None)])
def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch, value: str, color: bool | None) -> None:
    seen = []
    monkeypatch.setenv("NO_COLOR", value)
    monkeypatch.setattr("tetrarch.cli.cli.main", lambda *_, **named: seen.append(named["color"]))
    ran("--version")
    assert seen == [color]


@pytest.mark.parametrize("key", ["\udcff", "k" * 257])
def test_a_key_that_no_state_holds_is_wrong_usage(stopped: Path, key: str) -> None:
    result = ran("get", str(stopped), key)
    assert (result.code, result.err.startswith("tetrarch: KEY:")) == (2, True)


def test_a_network_that_does_not_run_tells_how_to_start_it(stopped: Path) -> None:
    for arguments in (["status"], ["get"], ["tx", "submit"]):
        given = [*arguments, str(stopped), *(["{}"] if "submit" in arguments else ["a"])]
        assert "tetrarch up DIR" in ran(*given[: 2 if arguments == ["status"] else None]).err


def test_commands_to_be_copied_are_quoted(tmp_path: Path) -> None:
    net = tmp_path / "a network"
    assert f"tetrarch up '{net}'" in ran("init", str(net)).out


def test_an_unknown_outcome_says_what_can_be_done() -> None:
    unknown = {"line": 1, "tx_id": "00" * 32, "outcome": "unknown", "code": "unknown", "reason": "late"}
    assert describe(unknown).startswith("unknown: late")
    assert "tetrarch tx get DIR 0000" in advice(unknown, keyed=False)
    assert "same command" in advice(unknown, keyed=True)
    assert advice({**unknown, "outcome": "refused"}, keyed=False) == ""


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A network none of whose replicas runs, and a client that does not wait long for them."""
    make_network(tmp_path / "net", NetworkPlan(local_hosts(4)))
    client = tmp_path / "net" / "client.toml"
    client.write_text(client.read_text() + "\n[tuning]\nconnect_timeout_ms = 200\n")
    return tmp_path / "net"


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["get", "{net}", "a"],
        ["tx", "submit", "{net}", '{"op": "put", "key": "a", "value": "1"}'],
        ["tx", "get", "{net}", "00" * 32],
        ["receipt", "get", "{net}", "00" * 32, "-o", "{net}/r"],
    ],
)
def test_a_network_that_does_not_run_is_exit_code_3(stopped: Path, arguments: list[str]) -> None:
    given = [argument.format(net=stopped) for argument in arguments if "op" not in argument]
    given += [argument for argument in arguments if "op" in argument]
    if given == ["status"]:
        given.append(str(stopped))
    if given[:2] in (["tx", "submit"], ["tx", "get"], ["receipt", "get"]):
        given += ["--timeout", "1"]
    assert ran(*given).code == 3


def test_status_names_every_replica_also_when_none_answers(stopped: Path) -> None:
    rows = json.loads(ran("status", str(stopped), "--json").out)
    assert [row["id"] for row in rows] == [0, 1, 2, 3]
    wanted = {"id", "view", "height", "head", "state_root", "lag", "role", "reachable"}
    assert all(wanted <= row.keys() and row["reachable"] is False for row in rows)


def test_down_of_a_network_that_does_not_run_is_fine(stopped: Path) -> None:
    rows = json.loads(ran("down", str(stopped), "--json").out)
    assert {row["outcome"] for row in rows} == {"was not running"}


@pytest.mark.parametrize("payload", ["", "{", "[]", '"a"', '{"a": 1, "a": 2}', '{"a": NaN}', "[" * 100_000])
def test_a_payload_that_is_no_json_object_is_a_usage_error(stopped: Path, payload: str) -> None:
    result = ran("tx", "submit", str(stopped), payload)
    assert result.code == 2
    assert len(result.err.splitlines()) == 1


@pytest.mark.parametrize("tx_id", ["", "00", "zz" * 32, "00" * 33, " " + "00" * 31 + "0"])
def test_what_is_no_transaction_id_is_a_usage_error(stopped: Path, tx_id: str) -> None:
    assert ran("tx", "get", str(stopped), tx_id).code == 2


def receipts(path: Path) -> Path:
    chain = Chain(4)
    transactions = [chain.transaction(i) for i in range(2)]
    chain.extend(transactions, [ok_result(b'{"balance":7}'), failed_result("an overdraft")])
    chain.receipt(1, 0, [0, 3]).save(path / "good")
    chain.receipt(1, 1, [1]).save(path / "alone")
    save_genesis(chain.genesis, path / "genesis.json")
    return path


def verified(path: Path, name: str, *options: str) -> tuple[int, dict[str, object]]:
    genesis = str(path / "genesis.json")
    result = ran("receipt", "verify", str(path / name), "--genesis", genesis, "--json", *options)
    return result.code, json.loads(result.out)


def test_a_good_receipt_is_valid_and_says_by_whom(tmp_path: Path) -> None:
    code, shown = verified(receipts(tmp_path), "good")
    assert code == 0
    assert (shown["valid"], shown["height"], shown["signers"], shown["failed_check"]) == (
        True,
        1,
        [0, 3],
        None,
    )
    assert shown["result"] == {"balance": 7}


@pytest.mark.parametrize(
    ("name", "options", "check"), [("alone", (), "acceptance"), ("good", ("--quorum",), "quorum")]
)
def test_a_receipt_with_too_few_signers_fails_by_name(
    tmp_path: Path, name: str, options: tuple[str, ...], check: str
) -> None:
    code, shown = verified(receipts(tmp_path), name, *options)
    assert (code, shown["valid"], shown["failed_check"]) == (1, False, check)


def test_explain_lists_the_checks_that_held_before_the_one_that_failed(tmp_path: Path) -> None:
    genesis = str(receipts(tmp_path) / "genesis.json")
    result = ran("receipt", "verify", str(tmp_path / "alone"), "--genesis", genesis, "--explain")
    lines = [line for line in result.out.splitlines() if line.startswith("holds")]
    assert len(lines) == 10
    assert "NOT VALID: acceptance" in result.out


@pytest.mark.parametrize("content", ["", "{}", "\x00", '{"format": "tetrarch-receipt"}', "[" * 100_000])
def test_a_file_that_is_no_receipt_is_not_valid(tmp_path: Path, content: str) -> None:
    receipts(tmp_path)
    (tmp_path / "bad").write_text(content)
    code, shown = verified(tmp_path, "bad")
    assert (code, shown["failed_check"]) == (1, "format")


@pytest.mark.parametrize(
    ("kinds", "code"),
    [
        ([], Exit.FINE),
        (["executed"], Exit.FINE),
        (["executed", "failed"], Exit.FAILED),
        (["executed", "refused"], Exit.FAILED),
        (["executed", "refused", "unknown"], Exit.INCOMPLETE),
        (["executed", "unreachable"], Exit.INCOMPLETE),
        (["unreachable", "refused"], Exit.UNREACHABLE),
    ],
)
def test_the_exit_code_says_the_worst_that_a_rerun_can_mend(kinds: list[str], code: Exit) -> None:
    assert verdict(kinds) == code
