"""Watching real replicas: endpoints, metrics that move, one transaction through all logs, and top."""

import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.processes.running import command, json_of, running
from tetrarch.config import load_node

pytestmark = [pytest.mark.processes, pytest.mark.slow]

PUT = '{"op": "put", "key": "a", "value": "1"}'
WAIT_S = 60


def asked(port: int, path: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{port}{path}", timeout=WAIT_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_one_transaction_is_seen_in_metrics_and_followed_through_all_logs(tmp_path: Path) -> None:
    with running(tmp_path / "net", metrics=True) as net:
        ports = []
        for replica in net.network.replicas:
            listen = load_node(replica.directory).metrics
            assert listen is not None
            ports.append(listen.port)
        assert [asked(port, "/healthz")[0] for port in ports] == [200] * 4
        assert [asked(port, "/readyz") for port in ports] == [(200, "ok\n")] * 4
        directory = str(net.directory)
        quiet = json_of("tx", "submit", directory, PUT)
        for replica in net.network.replicas:
            file = replica.directory / "node.toml"
            file.write_text(f'{file.read_text()}\n[trace]\ntransactions = "all"\n')
            net.signal_logged(replica, signal.SIGUSR2, "following")
        row = json_of("tx", "submit", directory, PUT)
        net.wait_until_level(row["height"])
        assert command("logs", directory, "--tx", quiet["tx_id"], code=4) == ""
        story = net.story(row["tx_id"])
        for name in ("replica-0", "replica-1", "replica-2", "replica-3"):
            told = [each["event"] for each in story if each["replica"] == name]
            assert {"tx_received", "tx_committed", "tx_executed"} <= set(told)
        assert {each["height"] for each in story if each["event"] == "tx_executed"} == {row["height"]}
        for port in ports:
            assert "\ntetrarch_transactions_executed_total 2.0\n" in asked(port, "/metrics")[1]
        seen = json_of("top", directory, "--once", "--interval", "0.2")
        assert [each["reachable"] for each in seen["replicas"]] == [True] * 4
        assert seen["height"] == row["height"]
        for replica in net.network.replicas[1:]:
            replica.kill()
        net.wait_until_alone(0)
        assert asked(ports[0], "/healthz")[0] == 200
        status, why = asked(ports[0], "/readyz")
        assert (status, why) == (503, "connected to 1 of 4 members, itself included; a quorum is 3\n")
