"""Real networks for tests: replicas as processes in a temporary directory, all of them killed at the end."""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crypto.batch import TxId
from tetrarch.client.async_client import AsyncClient
from tetrarch.client.client import Client
from tetrarch.client.outcome import Outcome, Submission
from tetrarch.event_loop import run
from tetrarch.local_network import bring_up
from tetrarch.ports import take_ports
from tetrarch.processes import LocalNetwork, ReplicaProcess
from tetrarch.setup.network import make_network
from tetrarch.setup.places import local_hosts, with_metrics
from tetrarch.setup.plan import NetworkPlan
from tetrarch.survey import survey
from tetrarch.wire import StatusReply

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
"""Seconds for anything that must come: many times what it takes."""


class Ended(Exception):
    """A command's exit code was not the one expected."""


@dataclass
class Running:
    """A network whose replicas run."""

    network: LocalNetwork

    @property
    def directory(self) -> Path:
        return self.network.directory

    def client(self) -> Client:
        return Client.open(self.directory / "client.toml")

    def up(self) -> None:
        reports = bring_up(self.network, PATIENCE)
        assert all(report.reply is not None for report in reports), [report.cause for report in reports]

    def states(self) -> list[StatusReply | None]:
        async def ask() -> list[StatusReply | None]:
            client = AsyncClient.open(self.directory / "client.toml")
            await client.close()
            from tetrarch.client.config import ClientConfig

            dialer = ClientConfig.load(self.directory / "client.toml").dialer()
            return [report.reply for report in await survey(self.network.genesis, dialer)]

        return run(ask())

    def primary(self) -> int:
        return next(state.leader for state in self.states() if state is not None and state.leader >= 0)

    def wait_until_level(self, height: int = 0, seconds: float = math.inf) -> list[StatusReply]:
        """Wait until all answer at one height of at least `height`, as long as the test may last.

        Raises `TimeoutError` after `seconds`.
        """
        until = time.monotonic() + seconds
        heights: set[int] = set()
        while time.monotonic() < until:
            states = [state for state in self.states() if state is not None]
            heights = {state.height for state in states}
            if len(states) == len(self.network.replicas) and len(heights) == 1 and min(heights) >= height:
                return states
        raise TimeoutError(f"after {seconds} s not all are at {height}, but at {sorted(heights)}")

    def signal_logged(self, replica: ReplicaProcess, number: int, event: str) -> None:
        """Send a signal, and wait until the log tells of its effect, as long as the test may last."""
        pid = replica.pid_number()
        assert pid is not None
        os.kill(pid, number)
        while f'"event": "{event}"' not in replica.log.read_text():
            os.sched_yield()

    def story(self, tx_id: str) -> list[dict[str, Any]]:
        """What the logs tell of a transaction that all have executed, once all of them do."""
        while True:
            told = command("logs", str(self.directory), "--tx", tx_id, "--json")
            events: list[dict[str, Any]] = [json.loads(line) for line in told.splitlines()]
            if sum(each["event"] == "tx_executed" for each in events) == len(self.network.replicas):
                return events

    def wait_until_alone(self, member: int) -> None:
        """Wait until a replica knows that it is connected to nobody, as long as the test may last."""
        while True:
            state = self.states()[member]
            if state is not None and sum(state.peers) == 1:
                return

    def executed_once(self, client: Client, outcomes: Sequence[Outcome]) -> None:
        """Hold what was acknowledged against the chain: there, at that height, and exactly once."""
        self.holds(client, {each.tx_id: each.height for each in outcomes if each.status == "committed"})

    def holds(self, client: Client, acknowledged: Mapping[TxId, int]) -> None:
        """Hold transactions and the heights of their blocks against the chain in the same way."""
        found: dict[bytes, int] = {}
        for block in client.subscribe(1):
            for transaction in block.transactions:
                if transaction.result.executed:
                    assert transaction.tx_id not in found
                    found[transaction.tx_id] = block.height
            if block.height >= max(acknowledged.values()):
                break
        assert {tx_id: found.get(tx_id) for tx_id in acknowledged} == acknowledged


@contextmanager
def running(
    directory: Path,
    replicas: int = 4,
    application: str = "kv",
    metrics: bool = False,
    plan: NetworkPlan | None = None,
) -> Iterator[Running]:
    """A network that runs until the block ends: of so many replicas, or as planned. `metrics`: told at ports
    of their own."""
    if plan is None:
        hosts = local_hosts(replicas)
        if metrics:
            first = take_ports(replicas)
            assert first is not None
            hosts = with_metrics(hosts, first)
        plan = NetworkPlan(hosts, application=application, development=replicas == 1)
    make_network(directory, plan)
    network = LocalNetwork(directory)
    try:
        found = Running(network)
        found.up()
        yield found
    finally:
        network.kill()


def puts(count: int, prefix: str = "k") -> list[Submission]:
    return [
        Submission({"op": "put", "key": f"{prefix}{number}", "value": str(number)}, f"{prefix}-{number}")
        for number in range(count)
    ]


def submit(
    client: Client, submissions: Sequence[Submission], at: int = 0, then: Callable[[], object] | None = None
) -> list[Outcome]:
    """Submit all, and call `then` when `at` outcomes are there."""
    outcomes = []
    for outcome in client.submit_many(submissions, timeout=PATIENCE):
        outcomes.append(outcome)
        if then is not None and len(outcomes) == at:
            then()
    return outcomes


def command(*arguments: str, code: int = 0) -> str:
    """Run `tetrarch` as a user does, as a process of its own; returns what it printed."""
    ended = subprocess.run(
        [sys.executable, "-m", "tetrarch", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * PATIENCE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    if ended.returncode != code:
        raise Ended(f"{arguments}: {ended.returncode}, not {code}\n{ended.stdout}\n{ended.stderr}")
    return ended.stdout


def json_of(*arguments: str, code: int = 0) -> Any:
    """What a command prints with --json."""
    return json.loads(command(*arguments, "--json", code=code))
