"""`init` of the compose files: every service gets its own secrets and no others, once."""

import shutil
from pathlib import Path

import pytest

from docker.provide import main
from tetrarch.client.config import ClientConfig
from tetrarch.config import load_node

HOSTS = Path(__file__).parents[2] / "docker"
REPLICAS = [f"replica-{number}" for number in range(4)]
TCP = [*REPLICAS, "client"]


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    for name in ("making", *(f"provide/{name}" for name in (*TCP, "broker-0"))):
        (tmp_path / name).mkdir(parents=True)
    return tmp_path


def provide(volumes: Path, services: list[str], hosts: str = "hosts-tcp.toml", *more: str) -> int:
    where = ["--making", str(volumes / "making"), "--provide", str(volumes / "provide")]
    return main([*where, *services, "--", "--hosts", str(HOSTS / hosts), *more])


def held(volumes: Path, service: str) -> set[str]:
    part = volumes / "provide" / service
    return {str(path.relative_to(part)) for path in part.rglob("*") if path.is_file()}


def secrets(volumes: Path, service: str) -> set[str]:
    return {name for name in held(volumes, service) if name.endswith((".key", ".password"))}


def test_every_replica_gets_its_own_keys_and_what_all_may_know(volumes: Path) -> None:
    assert provide(volumes, TCP) == 0
    for name in REPLICAS:
        assert secrets(volumes, name) == {f"{name}/signing.key", f"{name}/tls.key"}
        assert load_node(volumes / "provide" / name / name).name == name
    assert secrets(volumes, "client") == {"client.key"}
    config = ClientConfig.load(volumes / "provide" / "client" / "client.toml")
    assert len(config.endpoints) == 4
    config.signer()


def test_keys_are_as_private_as_init_made_them(volumes: Path) -> None:
    provide(volumes, TCP)
    for name in TCP:
        for secret in secrets(volumes, name):
            assert (volumes / "provide" / name / secret).stat().st_mode & 0o077 == 0


def test_with_a_broker_each_gets_its_own_password_and_the_broker_its_files(volumes: Path) -> None:
    assert provide(volumes, [*TCP, "broker-0"], "hosts-mqtt.toml") == 0
    for name in REPLICAS:
        assert f"{name}/broker.password" in secrets(volumes, name)
        settings = load_node(volumes / "provide" / name / name)
        assert settings.brokers
        assert str(settings.client_listen) == "127.0.0.1:7001"
    assert secrets(volumes, "client") == {"client.key", "client.password"}
    assert secrets(volumes, "broker-0") == {"broker-0/broker.key"}
    assert "broker-0/passwords" in held(volumes, "broker-0")
    assert "broker-0/mosquitto.conf" in held(volumes, "broker-0")


def test_a_second_run_changes_nothing(volumes: Path) -> None:
    provide(volumes, TCP)
    before = {path: path.read_bytes() for path in (volumes / "provide").rglob("*") if path.is_file()}
    assert provide(volumes, TCP) == 0
    assert {path: path.read_bytes() for path in before} == before


def test_no_copy_of_the_keys_stays_where_the_network_was_made(volumes: Path) -> None:
    provide(volumes, TCP)
    assert list((volumes / "making").iterdir()) == []


def test_what_was_cut_short_is_finished_with_the_same_network(
    volumes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.copytree
    copied: list[str] = []

    def full_at_the_fourth(source: Path, target: Path) -> Path:
        copied.append(source.name)
        if len(copied) == 4:
            raise OSError(28, "No space left on device")
        return real(source, target)

    monkeypatch.setattr("docker.provide.shutil.copytree", full_at_the_fourth)
    assert provide(volumes, TCP) == 2
    first = (volumes / "provide" / "replica-0" / "genesis.json").read_bytes()
    assert not (volumes / "provide" / "replica-1" / "genesis.json").exists()
    monkeypatch.undo()
    assert provide(volumes, TCP) == 0
    assert {(volumes / "provide" / name / "genesis.json").read_bytes() for name in TCP} == {first}
    assert not list((volumes / "provide").rglob(".coming"))


def test_a_lost_part_is_named_and_no_other_network_is_made_in_its_place(
    volumes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    provide(volumes, TCP)
    shutil.rmtree(volumes / "provide" / "replica-2")
    (volumes / "provide" / "replica-2").mkdir()
    assert provide(volumes, TCP) == 2
    assert "replica-2" in capsys.readouterr().err
    assert held(volumes, "replica-2") == set()


def test_what_init_refuses_is_handed_on(volumes: Path) -> None:
    assert provide(volumes, TCP, "hosts-tcp.toml", "--app", "no-such-application") == 2
    assert all(held(volumes, name) == set() for name in TCP)


def test_a_bundle_for_each_machine_is_handed_out_as_it_is(volumes: Path) -> None:
    """How a directory looks in which init itself has made a part for each host."""
    net = volumes / "making" / "net"
    for name in REPLICAS:
        (net / name / name).mkdir(parents=True)
        (net / name / "genesis.json").write_text("{}")
        (net / name / name / "signing.key").write_text(name)
    (net / "client").mkdir()
    for file in ("genesis.json", "client.toml"):
        (net / "client" / file).write_text("{}")
    assert provide(volumes, TCP) == 0
    assert held(volumes, "replica-3") == {"genesis.json", "replica-3/signing.key"}
    assert held(volumes, "client") == {"genesis.json", "client.toml"}
