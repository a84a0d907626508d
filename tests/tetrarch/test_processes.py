"""Processes are found again by more than their number, and no stranger is ever signalled."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path

import pytest

from tetrarch.layout import PID_FILE
from tetrarch.processes import AlreadyRunning, LocalNetwork, Pid, ReplicaProcess, registered, write_pid
from tetrarch.setup.network import make_network
from tetrarch.setup.places import local_hosts
from tetrarch.setup.plan import NetworkPlan

SLEEP = "import time; print('up', flush=True); time.sleep(600)"
LINGERING = f"""\
#!{sys.executable}
import pathlib, sys, time
noted = pathlib.Path(sys.argv[-1], {PID_FILE!r})
while not noted.exists():
    pass
noted.unlink()
while not noted.with_name("may-end").exists():
    time.sleep(0.01)
"""
"""Is not found any more before it has ended, as a replica that is stopped or killed; ends when it may."""

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SLEEP


@contextmanager
def stranger(program: str = SLEEP) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            yield process
        finally:
            process.kill()


def pid_of(process: subprocess.Popen[bytes]) -> Pid:
    pid = Pid.of(process.pid)
    assert pid is not None
    return pid


def test_a_process_is_the_same_as_long_as_it_lives(tmp_path: Path) -> None:
    with stranger() as process:
        write_pid(tmp_path, pid_of(process))
        replica = ReplicaProcess(tmp_path)
        assert replica.running() == pid_of(process)
        process.kill()
        process.wait()
        assert replica.running() is None
        assert not replica.signal(signal.SIGTERM)


def test_one_that_has_ended_but_was_not_waited_for_does_not_run(tmp_path: Path) -> None:
    with stranger() as process:
        write_pid(tmp_path, pid_of(process))
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert ReplicaProcess(tmp_path).running() is None


def test_a_number_that_now_belongs_to_a_stranger_is_left_alone(tmp_path: Path) -> None:
    with stranger() as process:
        write_pid(tmp_path, Pid(process.pid, "1@another-boot"))
        replica = ReplicaProcess(tmp_path)
        assert replica.running() is None
        assert not replica.signal(signal.SIGKILL)
        assert not replica.kill()
        assert process.poll() is None


@pytest.mark.parametrize("content", ["", "7", "seven now", "-1 x", "1 2 3", "x" * 5000, "99999999 1@x"])
def test_a_pid_file_that_says_nothing_of_use_is_nobody(tmp_path: Path, content: str) -> None:
    (tmp_path / PID_FILE).write_text(content)
    assert ReplicaProcess(tmp_path).running() is None


def test_a_second_runner_of_one_replica_is_refused(tmp_path: Path) -> None:
    with stranger() as process:
        write_pid(tmp_path, pid_of(process))
        with pytest.raises(AlreadyRunning, match=str(process.pid)), registered(tmp_path):
            pytest.fail("it was let in")
        with pytest.raises(AlreadyRunning):
            ReplicaProcess(tmp_path).start()


def test_a_runner_is_noted_while_it_runs(tmp_path: Path) -> None:
    replica = ReplicaProcess(tmp_path)
    with registered(tmp_path):
        assert replica.pid_number() == os.getpid()
    assert not (tmp_path / PID_FILE).exists()


def test_one_that_does_not_stop_when_asked_is_found_to_run_still_and_can_be_killed(tmp_path: Path) -> None:
    with stranger(STUBBORN) as process:
        write_pid(tmp_path, pid_of(process))
        replica = ReplicaProcess(tmp_path)
        assert replica.signal(signal.SIGTERM)
        assert not replica.wait(0.2)
        assert replica.kill()
        assert replica.running() is None


def test_the_last_words_are_the_last_line_that_is_not_empty(tmp_path: Path) -> None:
    replica = ReplicaProcess(tmp_path)
    assert replica.last_words() == ""
    (tmp_path / "node.err").write_text("Traceback\nthe disk is full\n\n")
    assert replica.last_words() == "the disk is full"


@pytest.mark.parametrize(("module", "code"), [("antigravity_of_nowhere", 1), ("this", 0)])
def test_how_a_process_ended_is_known_to_whoever_started_it(tmp_path: Path, module: str, code: int) -> None:
    replica = ReplicaProcess(tmp_path)
    assert not replica.ended()
    replica.start(program=(module,))
    assert replica.wait(20)
    assert replica.ended()
    assert replica.exit_code == code


def test_a_signal_is_told_from_an_exit_code(tmp_path: Path) -> None:
    replica = ReplicaProcess(tmp_path)
    (tmp_path / "__main__.py").write_text(SLEEP)
    replica.start(program=("runpy",))
    assert not replica.ended()
    assert replica.kill()
    assert replica.exit_code == -signal.SIGKILL


@pytest.fixture
def lingering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is started is such a process."""
    program = tmp_path / "lingering"
    program.write_text(LINGERING)
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))


@contextmanager
def ending_meanwhile(replica: ReplicaProcess) -> Iterator[None]:
    """Let such a process end once the block has begun to wait for it."""
    soon = threading.Timer(0.2, (replica.directory / "may-end").touch)
    soon.start()
    yield
    soon.join()


@pytest.mark.usefixtures("lingering")
def test_a_process_that_is_ending_already_is_waited_for_when_all_are_stopped(tmp_path: Path) -> None:
    make_network(tmp_path / "net", NetworkPlan(local_hosts(1), development=True))
    network = LocalNetwork(tmp_path / "net")
    [replica] = network.replicas
    replica.start()
    while replica.running() is not None:
        pass
    assert not replica.ended()
    with ending_meanwhile(replica):
        assert network.stop() == {"replica-0": "was not running"}
    assert replica.ended()


@pytest.mark.usefixtures("lingering")
def test_a_process_that_is_still_ending_is_waited_for_before_the_next_one_starts(tmp_path: Path) -> None:
    replica = ReplicaProcess(tmp_path)
    first = replica.start()
    while replica.running() is not None:
        pass
    assert not replica.ended()
    with ending_meanwhile(replica):
        replica.start()
    with pytest.raises(ChildProcessError):
        os.waitpid(first.number, os.WNOHANG)
    assert replica.wait(20)


def test_a_process_whose_pid_cannot_be_noted_does_not_outlive_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_directory: Path, _pid: Pid) -> None:
        raise OSError(ENOSPC, "no room")

    replica = ReplicaProcess(tmp_path)
    monkeypatch.setattr("tetrarch.processes.write_pid", full)
    with pytest.raises(OSError, match="no room"):
        replica.start()
    assert replica.exit_code is not None
