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
from tetrarch.cli.outcomes import verdict
from tetrarch.cli.output import Exit
from tetrarch.genesis_file import save_genesis
from tetrarch.network_setup import NetworkPlan, local_hosts, make_network

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
        subcommands = {"tx": ["submit", "get"], "receipt": ["get", "verify"]}.get(name)
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
