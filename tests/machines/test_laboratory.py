"""The laboratory itself: its faults happen, nothing else does, and nothing of it is left."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.machines.cabling import Delay
from tests.machines.cost import round_trips
from tests.machines.hosts import Host
from tests.machines.laboratory import Laboratory
from tests.machines.namespaces import Unavailable
from tests.machines.replicas import require_laboratory

pytestmark = pytest.mark.processes

COUNT = 200


@pytest.fixture(autouse=True)
def _laboratory() -> None:
    require_laboratory()


@contextmanager
def heard(lab: Laboratory, name: str) -> Iterator[socket.socket]:
    """A socket at which a host hears packets."""
    with lab.inside(name), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        found.bind((lab.hosts[name].address, 7000))
        found.settimeout(0.5)
        yield found


def send(lab: Laboratory, source: str, target: str, count: int = COUNT) -> None:
    with lab.inside(source), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
        for number in range(count):
            found.sendto(number.to_bytes(4, "big"), (lab.hosts[target].address, 7000))


def numbers(there: socket.socket, count: int = COUNT) -> list[int]:
    """What arrives, until `count` have or nothing more does."""
    found: list[int] = []
    try:
        while len(found) < count:
            found.append(int.from_bytes(there.recv(100), "big"))
    except TimeoutError:
        pass
    return found


def test_hosts_hear_each_other_and_nobody_hears_anything_else() -> None:
    with Laboratory(["a", "b"]) as lab:
        with heard(lab, "b") as there:
            send(lab, "a", "b")
            assert numbers(there) == list(range(COUNT))
        with lab.inside("a"):
            assert {name for _, name in socket.if_nameindex()} == {"lo", "eth0"}


def test_two_laboratories_never_meet() -> None:
    with Laboratory(["a", "b"]) as one, Laboratory(["a", "b"]) as other, heard(other, "b") as there:
        assert one.hosts["b"].address == other.hosts["b"].address
        send(one, "a", "b")
        assert numbers(there, 1) == []


def test_a_cut_is_of_one_direction_and_is_counted() -> None:
    with Laboratory(["a", "b"]) as lab, heard(lab, "a") as at_a, heard(lab, "b") as at_b:
        lab.cut("a", "b")
        send(lab, "a", "b")
        send(lab, "b", "a")
        assert numbers(at_a) == list(range(COUNT))
        assert numbers(at_b) == []
        assert lab.dropped("cut") == {"a": 0, "b": COUNT}
        lab.mend()
        send(lab, "a", "b")
        assert numbers(at_b) == list(range(COUNT))


def test_the_share_that_is_asked_for_is_lost() -> None:
    with Laboratory(["a", "b"]) as lab, heard(lab, "b") as there:
        lab.lose(0.2)
        send(lab, "a", "b")
        arrived = len(numbers(there))
        assert lab.dropped("lost")["b"] == COUNT - arrived
        # Six standard deviations of a binomial distribution.
        assert abs(COUNT - arrived - 0.2 * COUNT) < 6 * (COUNT * 0.2 * 0.8) ** 0.5


def test_a_delay_is_of_one_direction() -> None:
    with Laboratory(["one", "other"]) as lab:
        lab.delay(Delay(30), [("one", "other")])
        assert 30 <= min(round_trips(lab, 10)) < 60
        assert lab.cabling.counts()["delayed"] >= 10


def test_packets_overtake_each_other() -> None:
    with Laboratory(["a", "b"]) as lab, heard(lab, "b") as there:
        lab.delay(Delay(10, overtaking=0.3))
        send(lab, "a", "b")
        arrived = numbers(there)
        assert sorted(arrived) == list(range(COUNT))
        assert arrived != sorted(arrived)
        assert lab.cabling.counts()["overtook"] > 0


def test_a_limit_holds_packets_back() -> None:
    with Laboratory(["a", "b"]) as lab, heard(lab, "b") as there:
        lab.limit(1000, ["a"])
        began = time.monotonic()
        with lab.inside("a"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
            for _ in range(40):
                found.sendto(bytes(1000), (lab.hosts["b"].address, 7000))
        assert len(numbers(there, 40)) == 40
        # 40 KB at 1 Mbit/s, but for the 16 KB that may leave at once.
        assert time.monotonic() - began > 0.15
        assert lab.held_back()["a"] > 0
        lab.limit(None)
        assert lab.held_back()["a"] == 0


def test_nothing_is_left_of_a_laboratory(tmp_path: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    own = os.readlink("/proc/thread-self/ns/net")

    def interrupted() -> None:
        with Laboratory(["a"]) as lab, lab.inside("a"):
            sleeper = lab.start("a", [sys.executable, "-c", "import time; time.sleep(100)"], tmp_path / "log")
            assert (
                os.readlink(f"/proc/{sleeper.pid}/ns/net") == os.readlink("/proc/thread-self/ns/net") != own
            )
            started.append(sleeper)
            raise KeyboardInterrupt

    started: list[subprocess.Popen[bytes]] = []
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert started[0].returncode is not None
    assert os.readlink("/proc/thread-self/ns/net") == own
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_nothing_is_left_of_a_laboratory_that_could_not_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    bring_up = Host.bring_up

    def fails_for_the_second(host: Host) -> None:
        if host.name == "b":
            host.namespace.run("ip", "link", "set", "nothing", "up")
        bring_up(host)

    monkeypatch.setattr(Host, "bring_up", fails_for_the_second)
    with pytest.raises(Unavailable, match="nothing"), Laboratory(["a", "b"]):
        pass
    assert sorted(os.listdir("/proc/self/fd")) == before
