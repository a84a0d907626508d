"""The command line as a new user meets it, with real replicas; and what must be refused."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes.running import ROOT, command, json_of, running
from tetrarch.demo.damage import copy_and_flip
from tetrarch.processes import LocalNetwork

pytestmark = [pytest.mark.processes, pytest.mark.slow]


def test_a_first_session_from_init_to_down(tmp_path: Path) -> None:
    net = str(tmp_path / "net")
    command("init", net)
    try:
        assert all(row["reachable"] for row in json_of("up", net))
        payload = '{"op": "put", "key": "a", "value": "1"}'
        row = json_of("tx", "submit", net, payload, "-o", str(tmp_path / "r"))
        assert (row["line"], row["outcome"], row["result"]) == (1, "committed", True)
        found = json_of("tx", "get", net, row["tx_id"])
        assert (found["height"], found["outcome"]) == (row["height"], "committed")
        assert json_of("get", net, "a", "--min-height", str(row["height"]))["value"] == "1"
        assert json_of("get", net, "b", code=1)["present"] is False
        states = json_of("status", net)
        assert {state["height"] for state in states} >= {row["height"]}
        json_of("receipt", "get", net, row["tx_id"], "-o", str(tmp_path / "fetched"))
    finally:
        outcomes = json_of("down", net)
    assert {outcome["outcome"] for outcome in outcomes} == {"stopped"}
    for name in ("r", "fetched"):
        verified = json_of("receipt", "verify", str(tmp_path / name), "-g", f"{net}/genesis.json")
        assert (verified["valid"], verified["tx_id"]) == (True, row["tx_id"])


def test_up_leaves_running_replicas_alone_and_starts_the_missing_one(tmp_path: Path) -> None:
    with running(tmp_path / "net") as net:
        before = [replica.pid_number() for replica in net.network.replicas]
        net.network.replicas[2].kill()
        rows = json_of("up", str(net.directory))
        after = [row["pid"] for row in rows]
        assert [old == new for old, new in zip(before, after, strict=True)] == [True, True, False, True]


def test_a_replica_missing_is_exit_code_4_and_most_missing_3(tmp_path: Path) -> None:
    with running(tmp_path / "net") as net:
        net.network.replicas[2].kill()
        states = json_of("status", str(net.directory), code=4)
        assert [state["reachable"] for state in states] == [True, True, False, True]
        net.network.replicas[0].kill()
        net.network.replicas[1].kill()
        json_of("status", str(net.directory), code=3)


def test_of_a_single_replica_its_own_directory_tells_whether_it_answers_whatever_the_others_do(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "net") as net:
        [asked, *others] = net.network.replicas
        for other in others:
            other.kill()
        [state] = json_of("status", str(asked.directory))
        assert (state["name"], state["reachable"], state["lag"]) == (asked.name, True, 0)
        assert json_of("status", str(asked.directory / "node.toml"))[0]["id"] == 0
        asked.kill()
        [state] = json_of("status", str(asked.directory), code=3)
        assert state["reachable"] is False


def test_a_second_process_on_one_replica_is_refused_in_one_line(tmp_path: Path) -> None:
    with running(tmp_path / "net") as net:
        replica = net.network.replicas[0]
        number = replica.pid_number()
        for attempt in ("by its pid file", "by the store's lock"):
            if attempt == "by the store's lock":
                (replica.directory / "node.pid").unlink()
            ended = subprocess.run(
                [sys.executable, "-m", "tetrarch", "node", str(replica.directory)],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert ended.returncode in (1, 2)
            assert len(ended.stderr.strip().splitlines()) == 1
        assert number is not None
        os.kill(number, signal.SIGKILL)


def test_a_store_of_another_chain_is_refused_in_one_line(tmp_path: Path) -> None:
    with running(tmp_path / "one", replicas=1) as one:
        one.network.stop()
        store = one.network.replicas[0].directory / "store"
        command("init", str(tmp_path / "two"), "--dev")
        shutil.copytree(store, tmp_path / "two" / "replica-0" / "store")
    two = LocalNetwork(tmp_path / "two")
    try:
        command("up", str(tmp_path / "two"), code=3)
        words = two.replicas[0].last_words()
        assert "chain" in words
    finally:
        two.kill()


def test_a_file_is_submitted_line_by_line_and_a_rerun_after_a_crash_repeats_nothing(tmp_path: Path) -> None:
    journal = tmp_path / "f.jsonl"
    good = [json.dumps({"op": "put", "key": f"k{i}", "value": str(i)}) for i in range(2000)]
    bad = [
        "{",
        '{"op": "steal"}',
        '{"key": "one", "payload": {"op": "put", "key": "x", "value": "1"}}',
        '{"key": "one", "payload": {"op": "put", "key": "x", "value": "2"}}',
    ]
    journal.write_text("\n".join([*good, *bad]) + "\n")
    with running(tmp_path / "net") as net:
        arguments = ["tx", "submit", str(net.directory), "--file", str(journal), "--json"]
        first = subprocess.Popen(
            [sys.executable, "-m", "tetrarch", *arguments],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert first.stdout is not None
        rows = [json.loads(first.stdout.readline()) for _ in range(100)]
        first.kill()
        first.communicate()
        again = [json.loads(line) for line in command(*arguments, code=1).splitlines()]
        assert sorted(row["line"] for row in again) == list(range(1, 2005))
        by_line = {row["line"]: row for row in again}
        assert all(
            by_line[row["line"]]["tx_id"] == row["tx_id"] for row in rows if row["outcome"] == "committed"
        )
        refused = {line: row["code"] for line, row in by_line.items() if row["outcome"] == "refused"}
        assert refused == {2001: "malformed", 2002: "invalid", 2004: "key_conflict"}
        with net.client() as client:
            head = max(row.get("height", 0) for row in again)
            executed = []
            for block in client.subscribe(1):
                executed += [each.tx_id.hex() for each in block.transactions if each.result.executed]
                if block.height >= head:
                    break
        assert len(executed) == len(set(executed)) == 2001


def test_dev_ends_with_all_its_replicas(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "tetrarch", "dev", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
    )
    try:
        assert process.stdout is not None
        made = json.loads(process.stdout.readline())
        network = LocalNetwork(Path(made["directory"]))
        assert all(replica.running() for replica in network.replicas)
        process.terminate()
        process.communicate(timeout=60)
        assert not any(replica.running() for replica in network.replicas)
        assert list(tmp_path.iterdir()) == []
    finally:
        process.kill()


def refused_node(directory: Path, code: int) -> str:
    """What `tetrarch node` says, in one line, when it does not start."""
    ended = subprocess.run(
        [sys.executable, "-m", "tetrarch", "node", str(directory)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (ended.returncode, ended.stdout) == (code, ""), ended.stderr
    [line] = ended.stderr.strip().splitlines()
    return line


def test_a_replica_with_a_wrong_file_names_it_and_does_not_start(tmp_path: Path) -> None:
    command("init", str(tmp_path / "net"), "--dev")
    replica = tmp_path / "net" / "replica-0"
    (replica / "tls.key").chmod(0o644)
    assert "tls.key" in refused_node(replica, 2)
    (replica / "tls.key").chmod(0o600)
    shutil.copy(replica / "tls.crt", replica / "tls.key")
    assert "tls.key" in refused_node(replica, 2)
    (replica / "signing.key").write_text("no key")
    assert "signing.key" in refused_node(replica, 2)
    (replica / "node.toml").write_text("")
    assert "node.toml: name" in refused_node(replica, 2)


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    command("init", str(tmp_path / "net"), "--dev")
    replica = tmp_path / "net" / "replica-0"
    text = (replica / "node.toml").read_text()
    port = int(text.split('clients = "127.0.0.1:')[1].split('"')[0])
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert str(port) in refused_node(replica, 1)


def test_a_corrupted_store_is_never_served_and_the_line_names_the_height_and_the_remedy(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "net", replicas=1) as net:
        with net.client() as client:
            client.submit({"op": "put", "key": "needle-in-the-store", "value": "1"})
        net.network.stop()
        store = net.network.replicas[0].directory / "store"
        flipped = copy_and_flip(store, tmp_path / "copy", b"needle-in-the-store")
        shutil.copy(flipped.file, store / flipped.file.name)
        line = refused_node(store.parent, 1)
        assert "height" in line or flipped.file.name in line


def test_encrypted_keys_open_with_their_password_file_or_say_how(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("correct horse\n")
    password.chmod(0o600)
    net = tmp_path / "net"
    command("init", str(net), "--dev", "--password-file", str(password))
    try:
        command("up", str(net))
        payload = '{"op": "put", "key": "a", "value": "1"}'
        given = ["--password-file", str(password)]
        assert json_of("tx", "submit", str(net), payload, *given)["outcome"] == "committed"
        command("tx", "submit", str(net), payload, code=2)
        command("get", str(net), "a")
    finally:
        LocalNetwork(net).kill()
    node = net / "replica-0" / "node.toml"
    lines = node.read_text().splitlines()
    node.write_text("\n".join(line for line in lines if not line.startswith("password_file")))
    assert "password_file" in refused_node(node.parent, 2)


def test_an_overdraft_is_told_as_such_by_every_rerun(tmp_path: Path) -> None:
    journal = tmp_path / "f.jsonl"
    journal.write_text(
        '{"op": "open", "account": "a"}\n{"op": "open", "account": "b"}\n'
        '{"op": "transfer", "from": "a", "to": "b", "amount": 5}\n'
    )
    with running(tmp_path / "net", replicas=1, application="assets") as net:
        arguments = ["tx", "submit", str(net.directory), "--file", str(journal), "--json"]
        runs = [[json.loads(line) for line in command(*arguments, code=1).splitlines()] for _ in range(2)]
    told = [[row for row in rows if row["line"] == 3] for rows in runs]
    assert told[0] == told[1]
    assert told[0][0]["code"] == "failed"
