"""The runner on real processes: what it plays, what it refuses, and what it says of what it lost."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from byzantine.attacks.catalogue import ATTACKS, find_attack
from byzantine.attacks.stage import liar, staged, work
from byzantine.culprits import meant
from byzantine.node import save_lies
from byzantine.oracles import BROKEN
from byzantine.runners import members
from byzantine.runners.processes import run_on_processes
from byzantine.scenario import (
    Clock,
    Contradiction,
    Crash,
    Cut,
    Disk,
    Expect,
    Lie,
    Links,
    Mend,
    Partition,
    Read,
    Restart,
    Scenario,
    Submit,
)
from byzantine.verdicts import Result, Verdict
from tests.tetrarch.command_line import ran
from tetrarch.processes import ReplicaProcess
from tetrarch.setup.network import make_network
from tetrarch.setup.places import local_hosts
from tetrarch.setup.plan import NetworkPlan

pytestmark = [pytest.mark.processes, pytest.mark.slow]

PATIENCE = 120.0
"""Seconds for anything that must come."""


def why(result: Result, oracle: str) -> str:
    return next(finding.why for finding in result.failed if finding.oracle == oracle)


def why_passed(result: Result, oracle: str) -> str:
    return next(finding.why for finding in result.findings if finding.oracle == oracle)


def nothing_runs(net: Path) -> bool:
    replicas = [ReplicaProcess(file.parent) for file in net.glob("*/node.toml")]
    return len(replicas) >= 4 and all(replica.running() is None for replica in replicas)


def test_an_honest_network_survives_a_kill_and_a_partition(tmp_path: Path) -> None:
    steps = (
        *work(1, rounds=8),
        Crash(at_ms=150, member=0),
        Read(at_ms=300, client=1),
        Restart(at_ms=400, member=0),
        Partition(at_ms=450, groups=((0, 1), (2, 3))),
        Submit(at_ms=480, count=2, to=(3,)),
        Mend(at_ms=700),
        Cut(at_ms=710, source=1, target=2),
        Links(at_ms=720, low_us=1_000, high_us=10_000, tail=0.1),
    )
    result = run_on_processes(
        staged("honest", 4, 1, steps=steps, expect=Expect(live_within_ms=2_000)), tmp_path, keep=True
    )
    assert result.failed == ()
    assert result.runner == "processes"
    assert result.recovered_ms is not None
    # Its bound of two seconds, twice as slow, and ten seconds for whoever else uses the machine.
    assert result.within_ms == 14_000
    assert f"took {result.recovered_ms} ms, 4000 ms are stated" in why_passed(result, "liveness")
    assert result.blamed == ()
    assert why_passed(result, "memory").endswith("MB at most, of 200 MB")
    assert nothing_runs(tmp_path / "net")


def test_disks_that_are_full_or_lost_are_survived(tmp_path: Path) -> None:
    steps = (
        *work(2, rounds=8),
        Disk(at_ms=100, member=2, what="full"),
        Disk(at_ms=500, member=3, what="keep"),
        Disk(at_ms=800, member=3, what="old"),
        Disk(at_ms=1_400, member=2, what="free"),
    )
    result = run_on_processes(staged("disks", 4, 2, steps=steps, checkpoint_interval=2), tmp_path, keep=True)
    assert result.failed == ()
    net = tmp_path / "net"
    # Its log lies on the same disk, so all that it can tell is that it has fallen behind meanwhile.
    assert '"event": "catch_up_started"' in (net / "replica-2" / "node.log").read_text()
    assert "restored_from_backup = true" in (net / "replica-3" / "node.toml").read_text()


def test_what_links_are_to_be_seen_doing_is_waited_for(tmp_path: Path) -> None:
    # They break a connection after a second or more: by then this would be over.
    expect = Expect(fired=("lost",))
    links = Links(loss=0.05)
    scenario = staged("seldom", 4, 1, steps=work(1, rounds=2), links=links, heal_at_ms=200, expect=expect)
    result = run_on_processes(scenario, tmp_path)
    assert result.failed == ()
    assert result.fired["lost"]


PAUSE_SECONDS = 2.0
"""For how long a replica is halted: scenarios here wait 0.8 s for requests, where no view is to be kept."""


def pause_when_it_runs(net: Path, name: str) -> None:
    """Halt a replica for a while, once it has stored blocks, as a busy machine does."""
    wait_for(net / name / "node.log", "checkpoint_stable")
    replica = ReplicaProcess(net / name)
    assert replica.signal(signal.SIGSTOP)
    time.sleep(PAUSE_SECONDS)
    assert replica.signal(signal.SIGCONT)


def test_a_view_that_is_to_be_kept_outlasts_a_pause_of_the_machine(tmp_path: Path) -> None:
    steps = work(1, rounds=20)
    expect = Expect(view="kept")
    scenario = staged("paused", 4, 1, steps=steps, checkpoint_interval=2, heal_at_ms=4_000, expect=expect)
    with meanwhile(lambda: pause_when_it_runs(tmp_path / "net", "replica-0")):
        result = run_on_processes(scenario, tmp_path, keep=True)
    assert result.failed == ()
    assert nothing_runs(tmp_path / "net")


SAMPLE = {
    "primary": "equivocate",
    "backup": "two-commits",
    "view-change": "mixed-proof",
    "state-transfer": "diverged",
    "replies": "wrong-read",
    "client": "flood",
    "network": "everything-at-once",
    "collusion": "more-than-f",
}
"""One attack of each group."""


def test_the_sample_is_of_all_groups() -> None:
    assert {group: find_attack(name).group for group, name in SAMPLE.items()} == {
        each.group: each.group for each in ATTACKS.values()
    }


SOCKETS = ("half-open", "slow-reader", "odd-client-encodings")
"""Attacks on what only real connections have: handshakes, buffers, and an end for what makes no sense."""


@pytest.mark.parametrize("name", [*SAMPLE.values(), *SOCKETS])
def test_an_attack_on_processes_comes_to_the_outcome_that_is_stated_for_it(name: str, tmp_path: Path) -> None:
    scenario = find_attack(name).scenario(4, 1)
    result = run_on_processes(scenario, tmp_path, keep=True)
    assert result.failed == ()
    assert result.verdict is Verdict.PASS
    assert all(result.fired_by[who][behaviour] for who, behaviour in meant(scenario))
    assert all(result.fired[behaviour] for behaviour in scenario.expect.fired or ())
    assert set(result.blamed) == {*scenario.expect.evidence, *scenario.expect.convicted}
    # Nobody can listen to what members say: their conduct is not judged, and nothing said of it.
    assert "conduct" not in {finding.oracle for finding in result.findings}
    assert scenario.expect.safe or BROKEN in why_passed(result, "agreement")
    assert nothing_runs(tmp_path / "net")


def test_what_a_run_left_is_kept_and_evidence_is_found_in_it(tmp_path: Path) -> None:
    run = ("attack", "run", "two-commits", "--runner", "processes", "--keep", str(tmp_path), "--json")
    told = ran(*run)
    assert told.code == 0
    net = tmp_path / "two-commits-n4-seed0" / "net"
    assert nothing_runs(net)
    assert all((net / f"replica-{number}" / "node.log").is_file() for number in range(4))
    listed = ran("evidence", "list", str(net), "--genesis", str(net / "genesis.json"), "--json")
    assert listed.code == 0
    blamed = json.loads(told.out)["scenarios"][0]["blamed"]
    assert {piece["member"] for piece in json.loads(listed.out)["evidence"]} == set(blamed) != set()
    # What is kept is not written over.
    before = net.stat().st_ino
    again = ran(*run)
    assert again.code == 4
    assert "exists already" in again.out
    assert net.stat().st_ino == before


def node_that_lies(net: Path, behaviour: str) -> subprocess.CompletedProcess[str]:
    """What becomes of a replica that is told to lie."""
    lies = net / "lies.json"
    save_lies(lies, [Lie(behaviour=behaviour)])
    command = [sys.executable, "-m", "byzantine.node", str(net / "replica-0"), "--lies", str(lies)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)


def test_nobody_lies_in_a_network_that_is_none_for_tests(tmp_path: Path) -> None:
    make_network(tmp_path / "net", NetworkPlan(local_hosts(4)))
    ended = node_that_lies(tmp_path / "net", "equivocate")
    assert ended.returncode == 2
    assert "testing = true" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert not (tmp_path / "net" / "replica-0" / "store").exists()


def test_an_unknown_behaviour_is_refused_by_its_name(tmp_path: Path) -> None:
    make_network(tmp_path / "net", NetworkPlan(local_hosts(4), testing=True))
    ended = node_that_lies(tmp_path / "net", "equivocat")
    assert ended.returncode == 2
    assert "'equivocat' is unknown; like it: equivocate" in ended.stderr


@pytest.mark.parametrize(
    "scenario",
    [
        staged("unknown-liar", 4, 1, liar(0, "equivocat")),
        staged("unknown-client", 4, 1, hostile_clients=(Lie(behaviour="floods"),)),
        staged("unknown-network", 4, 1, hostile_network=(Lie(behaviour="cut-primaries"),)),
    ],
    ids=lambda scenario: scenario.name,
)
def test_an_unknown_behaviour_makes_no_network(scenario: Scenario, tmp_path: Path) -> None:
    with pytest.raises(Contradiction, match="is unknown; like it"):
        run_on_processes(scenario, tmp_path / "none")
    assert not (tmp_path / "none").exists()


@contextmanager
def meanwhile(action: Callable[[], object]) -> Iterator[None]:
    """Something that is done beside the block, and has been done at its end."""
    thread = threading.Thread(target=action)
    thread.start()
    yield
    thread.join(PATIENCE)
    assert not thread.is_alive()


def wait_for(log: Path, event: str) -> None:
    until = time.monotonic() + PATIENCE
    while not (log.exists() and event in log.read_text()):
        assert time.monotonic() < until, f"{event} never came"
        time.sleep(0.01)


def kill_when_it_runs(net: Path, name: str) -> None:
    """Kill a replica, from outside, once it has stored blocks."""
    wait_for(net / name / "node.log", "checkpoint_stable")
    assert ReplicaProcess(net / name).signal(signal.SIGKILL)


def test_a_process_that_others_kill_makes_the_run_inconclusive(tmp_path: Path) -> None:
    # Of itself it would go on for longer than anybody takes to kill a replica of it.
    scenario = staged("lost", 4, 1, steps=work(1, rounds=20), checkpoint_interval=2, heal_at_ms=60_000)
    with meanwhile(lambda: kill_when_it_runs(tmp_path / "net", "replica-2")):
        result = run_on_processes(scenario, tmp_path, keep=True)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.safe is Verdict.INCONCLUSIVE
    assert why(result, "robustness") == "replica-2 was ended by SIGKILL, and nobody here ended it"
    assert nothing_runs(tmp_path / "net")


RUN = """
import signal, sys
from pathlib import Path
from byzantine.attacks.stage import staged
from byzantine.runners.processes import run_on_processes
# What was started in the background of a shell would ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
run_on_processes(staged("ended", 4, 1, heal_at_ms=60_000), Path(sys.argv[1]), keep=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_runner_that_is_ended_leaves_no_process_behind(tmp_path: Path, number: int) -> None:
    with subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path)], stderr=subprocess.DEVNULL) as runner:
        wait_for(tmp_path / "net" / "replica-3" / "node.log", "peer_up")
        runner.send_signal(number)
        assert runner.wait(PATIENCE) != 0
    assert nothing_runs(tmp_path / "net")


def spoil_its_key(net: Path, name: str) -> None:
    """See to it that a replica that runs cannot start again, and has only itself to blame."""
    wait_for(net / name / "node.log", "peer_up")
    (net / name / "tls.key").write_text("not a key")


def test_an_honest_replica_that_ends_by_itself_is_a_failure_with_its_last_words(tmp_path: Path) -> None:
    steps = (*work(1, rounds=4), Crash(at_ms=500, member=1), Restart(at_ms=600, member=1))
    scenario = staged("ends", 4, 1, steps=steps)
    with meanwhile(lambda: spoil_its_key(tmp_path / "net", "replica-1")):
        result = run_on_processes(scenario, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert result.verdict is Verdict.FAIL
    assert "a correct replica stopped: replica-1 ended with exit code 2" in why(result, "robustness")
    assert "tls.key" in why(result, "robustness")


def test_an_honest_replica_that_does_not_stop_when_it_is_asked_to_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "PROGRAM", ("tests.byzantine.odd_node", "deaf", "node"))
    result = run_on_processes(staged("deaf", 4, 1, steps=work(1, rounds=2)), tmp_path, keep=True)
    assert result.verdict is Verdict.FAIL
    assert [finding.oracle for finding in result.failed] == ["robustness"]
    assert "asked to stop, replica-2 still ran 10 s later, and was killed" in why(result, "robustness")
    assert nothing_runs(tmp_path / "net")


def test_memory_that_an_honest_replica_took_for_a_moment_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "PROGRAM", ("tests.byzantine.odd_node", "heavy", "node"))
    result = run_on_processes(staged("heavy", 4, 1, steps=work(1, rounds=2)), tmp_path)
    assert [finding.oracle for finding in result.failed] == ["memory"]
    assert "replica 2 took" in why(result, "memory")


@pytest.mark.parametrize(
    ("scenario", "line"),
    [
        (
            staged("clock", 4, 1, steps=(Clock(member=1, by_ms=5),)),
            "this runner cannot move a process's clock",
        ),
        (
            staged("frames", 4, 1, links=Links(loss=0.1), hostile_network=(Lie(behaviour="lying-broker"),)),
            "this runner breaks no streams where its network acts on frames",
        ),
        (
            staged("twin", 4, 1, liar(1, "twin"), hostile_network=(Lie(behaviour="lying-broker"),)),
            "this runner runs no member twice where its network acts on frames",
        ),
    ],
    ids=lambda value: value.name if isinstance(value, Scenario) else "",
)
def test_what_cannot_be_done_to_processes_is_inconclusive_and_said(
    scenario: Scenario, line: str, tmp_path: Path
) -> None:
    result = run_on_processes(scenario, tmp_path)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert why(result, "runner") == line
    assert list(tmp_path.iterdir()) == []
