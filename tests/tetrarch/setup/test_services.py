"""Units and compose files: each process confined to its own directory, in words that their readers know."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tetrarch.setup.services import (
    BROKER_PROGRAM,
    PROGRAM,
    broker_unit,
    compose,
    replica_unit,
    slug,
    unit_name,
    yaml_text,
)

NEWER = re.compile(r"Unknown key (name )?'(RestartSteps|RestartMaxDelaySec)'")
"""What systemd 254 brought: before, it is told and passed over."""

EXPOSURE = 20
"""Tenths of what `systemd-analyze security` counts from 0 to 10."""


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed")
    return found


@pytest.fixture
def units(tmp_path: Path) -> list[str]:
    """Both kinds of units, with a program that is there."""
    texts = {
        "berlin": replica_unit("net", "berlin", ["broker-0"]),
        "broker-0": broker_unit("net", "broker-0"),
    }
    for name, text in texts.items():
        there = text.replace(str(PROGRAM), sys.executable).replace(str(BROKER_PROGRAM), sys.executable)
        (tmp_path / unit_name(name)).write_text(there)
    return [str(tmp_path / unit_name(name)) for name in texts]


def test_systemd_finds_nothing_wrong_with_the_units(analyze: str, units: list[str]) -> None:
    ended = subprocess.run([analyze, "verify", *units], capture_output=True, text=True, check=False)
    said = [line for line in (ended.stdout + ended.stderr).splitlines() if not NEWER.search(line)]
    assert (ended.returncode, said) == (0, [])


def test_systemd_would_complain_of_what_it_does_not_know(analyze: str, units: list[str]) -> None:
    path = Path(units[0])
    path.write_text(path.read_text().replace("ProtectSystem=strict", "ProtectSystems=strict"))
    ended = subprocess.run([analyze, "verify", units[0]], capture_output=True, text=True, check=False)
    assert "ProtectSystems" in ended.stderr


def test_units_are_confined(analyze: str, units: list[str]) -> None:
    for unit in units:
        command = [analyze, "security", "--offline=true", f"--threshold={EXPOSURE}", unit]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if "unrecognized option" in ended.stderr:
            pytest.skip("this systemd-analyze judges no files")
        assert ended.returncode == 0, ended.stdout


def test_a_unit_runs_its_own_replica_and_may_write_nowhere_else() -> None:
    lines = replica_unit("a network", "berlin", ["broker-0"]).splitlines()
    home = "/var/lib/tetrarch/a-network/berlin"
    assert f"ExecStart={PROGRAM} node {home}" in lines
    assert [line for line in lines if line.startswith("ReadWritePaths")] == [f"ReadWritePaths={home}"]
    assert "After=network-online.target tetrarch-broker-0.service" in lines
    assert "User=tetrarch" in lines


@pytest.mark.parametrize(
    "name", ["a b", "a/b", "../..", 'a"b', "a%ib", "a\nExecStart=/bin/sh", "$HOME", "ä", "..", "."]
)
def test_a_networks_name_can_say_nothing_of_its_own_in_a_unit(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]+", slug(name))
    usual = [line.partition("=")[0] for line in replica_unit("net", "berlin").splitlines()]
    assert [line.partition("=")[0] for line in replica_unit(name, "berlin").splitlines()] == usual


def parsed(text: str) -> Any:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return yaml.safe_load(text)


@pytest.mark.parametrize("name", ["berlin", "yes", "null", "1", "1.0", "A.b_c-d"])
def test_a_compose_file_says_in_yaml_what_was_meant(name: str) -> None:
    values = compose("Net 1", [name, "other"], ["broker-0"], Path("/etc/pass: word"))
    assert parsed(yaml_text(values)) == values


def test_yaml_is_written_as_people_do() -> None:
    values = {"services": {"berlin": {"read_only": True, "command": ["node", "x"]}, "no": {"a": 1}}}
    expected = 'services:\n  berlin:\n    read_only: true\n    command: ["node", "x"]\n  "no":\n    a: 1\n'
    assert yaml_text(values) == expected


def test_a_container_sees_its_own_directory_and_what_is_public() -> None:
    values: Any = compose("net", ["berlin", "bonn"], ["broker-0"], None)
    services = values["services"]
    assert set(services) == {"berlin", "bonn", "broker-0"}
    public = ["./genesis.json:/network/genesis.json:ro", "./certificates:/network/certificates:ro"]
    assert services["berlin"]["volumes"] == [*public, "./berlin:/network/berlin"]
    assert services["broker-0"]["volumes"] == ["./broker-0:/network/broker-0:ro"]
    for service in services.values():
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["user"] == "10001:10001"
