"""Disks that really fill up: who has no room stops voting and says so; nothing acknowledged is lost."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.processes.running import PATIENCE, Running, command, puts, submit
from tetrarch.client.client import Client
from tetrarch.client.outcome import Outcome, Submission
from tetrarch.processes import LocalNetwork, ReplicaProcess
from tetrarch.setup.network import make_network
from tetrarch.setup.places import local_hosts
from tetrarch.setup.plan import NetworkPlan
from tetrarch.wire import StatusReply

pytestmark = [pytest.mark.processes, pytest.mark.slow]

SMALL, LARGE = "size=3m", "size=200m"
"""Room for some hundred transactions of 1 KB, of which a log holds each twice; and for all that follows."""

BATCH = 100


def mount(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)


@contextmanager
def small_disk(directory: Path) -> Iterator[None]:
    """A file system of its own under a directory, with what the directory held."""
    kept = directory.with_name(f"{directory.name}-kept")
    directory.rename(kept)
    directory.mkdir(mode=0o700)
    done = mount("-t", "tmpfs", "-o", SMALL, "tmpfs", str(directory))
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        shutil.copytree(kept, directory, dirs_exist_ok=True)
        yield
    finally:
        subprocess.run(["umount", str(directory)], check=True)


@contextmanager
def crowded(directory: Path, members: Sequence[int]) -> Iterator[Running]:
    """A network of four that runs, in which some have little room."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system")
    make_network(directory, NetworkPlan(local_hosts(4)))
    network = LocalNetwork(directory)
    with ExitStack() as disks:
        for member in members:
            disks.enter_context(small_disk(network.replicas[member].directory))
        try:
            net = Running(network)
            net.up()
            yield net
        finally:
            network.kill()


def make_room(replica: ReplicaProcess) -> None:
    done = mount("-o", f"remount,{LARGE}", str(replica.directory))
    assert not done.returncode, done.stderr


def large_puts(number: int) -> list[Submission]:
    return [
        Submission({"op": "put", "key": f"{number}-{i}", "value": "x" * 1000}, f"{number}-{i}")
        for i in range(BATCH)
    ]


def fill(net: Running, client: Client, members: Sequence[int], timeout: float) -> list[Outcome]:
    """Submit until one of `members` has stopped; return what came of it, unknown outcomes included.

    `timeout`: seconds until an outcome counts as unknown.
    """
    outcomes: list[Outcome] = []
    for number in range(100):
        outcomes += client.submit_many(large_puts(number), timeout)
        states = net.states()
        if any(state is not None and state.role == "halted" for state in (states[m] for m in members)):
            return outcomes
    pytest.fail("nobody's disk was filled")


def halted(net: Running, member: int) -> StatusReply:
    """What a member says that has stopped; a busy machine may keep it from answering at once."""
    while (state := net.states()[member]) is None:
        pass
    assert state.role == "halted"
    return state


def test_a_replica_whose_disk_is_full_stops_voting_and_says_so_and_comes_back(tmp_path: Path) -> None:
    with crowded(tmp_path / "net", [2]) as net, net.client() as client:
        full = net.network.replicas[2]
        outcomes = fill(net, client, [2], PATIENCE)
        assert {outcome.status for outcome in outcomes} == {"committed"}
        state = halted(net, 2)
        assert "is full" in state.halted
        assert "Make room" in state.halted
        assert '"event": "halted"' in full.log.read_text()
        command("status", str(full.directory), code=1)
        voted = state.last_vote
        outcomes += submit(client, puts(50, "on"))
        assert {outcome.status for outcome in outcomes} == {"committed"}
        assert halted(net, 2).last_vote == voted

        assert full.kill()
        full.start()
        assert full.wait(PATIENCE), "it must not run without room"
        assert "is full" in full.last_words()
        make_room(full)
        net.up()
        receipt = client.submit({"op": "put", "key": "after", "value": "1"}, timeout=PATIENCE)
        states = net.wait_until_level(receipt.height)
        assert len({state.state_root for state in states}) == 1
        assert {state.halted for state in states} == {""}
        net.executed_once(client, outcomes)


def test_when_all_disks_are_full_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    with crowded(tmp_path / "net", range(4)) as net:
        with net.client() as client:
            outcomes = fill(net, client, range(4), timeout=5)
        acknowledged = [outcome for outcome in outcomes if outcome.status == "committed"]
        assert acknowledged
        net.network.stop()
        for replica in net.network.replicas:
            make_room(replica)
        net.up()
        with net.client() as client:
            receipt = client.submit({"op": "put", "key": "after", "value": "1"}, timeout=PATIENCE)
            net.executed_once(client, acknowledged)
        states = net.wait_until_level(receipt.height)
        assert len({state.state_root for state in states}) == 1
