"""Ports for networks on this machine: free ones, and nobody's who may still want them."""

import fcntl
import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tetrarch.ports import FIRST_PORT, LAST_PORT, memory, take_ports

COUNT = 8


def taken(file: Path, count: int, times: int) -> list[int]:
    """Take ports so many times, and listen at none of them."""
    firsts = [take_ports(count, file) for _ in range(times)]
    assert None not in firsts
    return [first for first in firsts if first is not None]


def test_ports_that_nobody_uses_yet_are_given_to_nobody_else(tmp_path: Path) -> None:
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(3, mp_context=spawned) as others:
        found = others.map(partial(taken, tmp_path / "ports", COUNT), [40] * 6)
        firsts = [first for each in found for first in each]
    ports = [port for first in firsts for port in range(first, first + COUNT)]
    assert len(set(ports)) == len(ports) == 6 * 40 * COUNT


def test_ports_at_which_somebody_listens_are_passed_over(tmp_path: Path) -> None:
    file, (first,) = tmp_path / "ports", taken(memory(), 3 * COUNT, 1)
    file.write_text(f"{first}\n")
    with socket.create_server(("127.0.0.1", first + 3)):
        assert taken(file, COUNT, 1) == [first + COUNT]


def test_after_the_last_port_the_first_ones_come_again(tmp_path: Path) -> None:
    file = tmp_path / "ports"
    file.write_text(f"{LAST_PORT - COUNT + 1}\n")
    (first,) = taken(file, COUNT, 1)
    assert FIRST_PORT <= first < FIRST_PORT + 100 * COUNT


@pytest.mark.parametrize("text", ["", "soon", "-5", "9" * 30, "65000", "\x00"])
def test_a_file_that_makes_no_sense_is_written_anew(text: str, tmp_path: Path) -> None:
    file = tmp_path / "ports"
    file.write_text(text)
    first, second = taken(file, COUNT, 2)
    assert FIRST_PORT <= first <= LAST_PORT - COUNT
    assert first != second
    assert int(file.read_text()) == second + COUNT


def link(file: Path, to: Path) -> None:
    file.symlink_to(to)


def hard_link(file: Path, to: Path) -> None:
    file.hardlink_to(to)


def directory(file: Path, _: Path) -> None:
    file.mkdir()


def pipe(file: Path, _: Path) -> None:
    os.mkfifo(file)


@pytest.mark.parametrize("make", [link, hard_link, directory, pipe])
def test_what_is_no_file_of_ours_is_left_alone(make: Callable[[Path, Path], None], tmp_path: Path) -> None:
    file, other = tmp_path / "ports", tmp_path / "precious"
    other.write_text("20000")
    make(file, other)
    assert len(taken(file, COUNT, 2)) == 2
    assert other.read_text() == "20000"


def test_where_nothing_can_be_remembered_ports_are_found_all_the_same(tmp_path: Path) -> None:
    assert len(taken(tmp_path / "nowhere" / "ports", COUNT, 3)) == 3


def test_where_no_ports_in_a_row_are_free_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = taken(memory(), 400, 1)
    monkeypatch.setattr("tetrarch.ports.FIRST_PORT", first)
    monkeypatch.setattr("tetrarch.ports.LAST_PORT", first + 400)
    with ExitStack() as listening:
        for port in range(first, first + 400, 50):
            listening.enter_context(socket.create_server(("127.0.0.1", port)))
        assert take_ports(60, tmp_path / "ports") is None
        assert take_ports(40, tmp_path / "ports") is not None


def test_a_turn_that_somebody_never_ends_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tetrarch.ports.LOCK_SECONDS", 0.05)
    file = tmp_path / "ports"
    file.write_text("20000\n")
    with file.open() as halted:
        fcntl.flock(halted, fcntl.LOCK_EX)
        assert len(taken(file, COUNT, 2)) == 2
    assert file.read_text() == "20000\n"


def test_each_user_has_one_turn_whatever_directory_a_session_has(tmp_path: Path) -> None:
    program = "from tetrarch.ports import memory; print(memory())"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment, check=True)
    assert told.stdout.decode().strip() == str(memory())
    assert str(os.geteuid()) in memory().name
