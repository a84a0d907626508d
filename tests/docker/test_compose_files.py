"""The compose files, the Dockerfile and the programs in the image agree with each other, and with what
tetrarch takes.

No engine is needed: the files are read as one would.
"""

import re
from pathlib import Path
from typing import Any

import click
import pytest

from byzantine.liars.catalogue import BEHAVIOURS
from docker.compose import FILES, HERE, load, mounts
from tests.docker.parsing import accepted
from tetrarch.layout import NODE_FILE
from tetrarch.setup.places import load_hosts

DOCKERFILE = (HERE / "Dockerfile").read_text()
USER = "10001:10001"
REPLICAS = [f"replica-{number}" for number in range(4)]
OWN_IMAGE = "tetrarch:local"


@pytest.fixture(params=FILES)
def services(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = load(HERE / request.param)["services"]
    return found


def own(services: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in services.items() if service["image"] == OWN_IMAGE}


def hosts_of(services: dict[str, dict[str, Any]]) -> Path:
    return HERE / mounts(services["init"])["/hosts.toml"]


def command_after_init(services: dict[str, dict[str, Any]]) -> list[str]:
    command: list[str] = services["init"]["command"]
    return command[command.index("--") + 1 :]


def test_nothing_can_be_written_or_gained_by_any_service(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"cap_add", "privileged", "ports", "devices"} & service.keys(), name
        assert service["user"] == USER, name
        assert int(service["mem_limit"].removesuffix("m")) <= 512, name
        assert service["pids_limit"] <= 128, name


def test_a_service_sees_its_own_volume_and_no_other_but_init_which_ends_before_all_others(
    services: dict[str, dict[str, Any]],
) -> None:
    for name, service in services.items():
        if name == "init":
            assert service["network_mode"] == "none"
            continue
        assert mounts(service) == {"/network": name}
        assert service["depends_on"]["init"] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize("file", FILES)
def test_every_volume_is_declared_and_nothing_leads_out_of_the_network(file: str) -> None:
    text = load(HERE / file)
    used = {
        source
        for service in text["services"].values()
        for source in mounts(service).values()
        if not source.startswith(".")
    }
    assert used == text["volumes"].keys()
    assert text["networks"] == {"default": {"internal": True}}


def test_init_provides_every_service_where_its_volume_is_mounted(services: dict[str, dict[str, Any]]) -> None:
    provided = services["init"]["command"][: services["init"]["command"].index("--")]
    assert sorted(provided) == sorted(services.keys() - {"init"})
    targets = mounts(services["init"])
    for name in provided:
        assert targets[f"/provide/{name}"] == name
        # An engine gives an empty volume the owner of the image's directory: there has to be one.
        assert re.search(rf"[ /]provide/{name}\b", DOCKERFILE), name


def test_hosts_are_the_names_of_services(services: dict[str, dict[str, Any]]) -> None:
    places = load_hosts(hosts_of(services))
    assert [(host.name, host.host) for host in places.replicas] == [(name, name) for name in REPLICAS]
    assert {broker.host for broker in places.brokers} == {
        name for name in services if name.startswith("broker")
    }
    assert set(REPLICAS) < services.keys()


def test_replicas_listen_for_each_other_or_for_their_health_check_alone(
    services: dict[str, dict[str, Any]],
) -> None:
    for host in load_hosts(hosts_of(services)).replicas:
        assert host.listen == ("0.0.0.0" if host.transport == "tcp" else "127.0.0.1")


def test_init_and_the_replicas_are_commands_that_tetrarch_accepts(
    services: dict[str, dict[str, Any]],
) -> None:
    accepted("init", "/making/net", *command_after_init(services))
    for name in REPLICAS:
        if "entrypoint" not in services[name]:
            accepted(*services[name]["command"])
    accepted("status", f"/network/replica-0/{NODE_FILE}")
    with pytest.raises(click.UsageError):
        accepted("init", "/making/net", "--no-such-option")


def test_each_replica_runs_the_directory_that_it_was_handed(services: dict[str, dict[str, Any]]) -> None:
    for name in REPLICAS:
        assert f"/network/{name}" in services[name]["command"]


def test_liars_are_allowed_in_the_network_for_tests_and_in_no_other() -> None:
    for file in FILES:
        services = load(HERE / file)["services"]
        lies = "TETRARCH_ATTACK" in services["replica-0"].get("environment", {})
        assert lies is ("--testing" in services["init"]["command"]) is (file == "byzantine.yaml")


def test_the_attack_is_chosen_by_the_environment_and_is_one_that_there_is() -> None:
    default = load(HERE / "byzantine.yaml")["services"]["replica-1"]["environment"]
    assert default["TETRARCH_ATTACK"] in BEHAVIOURS
    chosen = load(HERE / "byzantine.yaml", {"TETRARCH_ATTACK": "two-prepares"})["services"]
    assert {chosen[name]["environment"]["TETRARCH_ATTACK"] for name in REPLICAS} == {"two-prepares"}


def test_replicas_are_watched_started_again_and_stopped_by_the_signal_they_hear(
    services: dict[str, dict[str, Any]],
) -> None:
    for name in REPLICAS:
        assert services[name]["healthcheck"]["test"] == ["CMD", "/opt/tetrarch/share/healthy"]
        assert services[name]["restart"] == "unless-stopped"
        assert services[name]["stop_signal"] == "SIGTERM"
    assert 'CMD ["/opt/tetrarch/share/healthy"]' in DOCKERFILE


def test_whoever_submits_waits_for_the_replicas(services: dict[str, dict[str, Any]]) -> None:
    assert set(REPLICAS) < services["client"]["depends_on"].keys()
    assert services["client"]["profiles"] == ["client"]
    assert "command" not in services["client"]
    assert "entrypoint" not in services["client"]


def test_one_service_builds_the_image_that_all_of_ours_run(services: dict[str, dict[str, Any]]) -> None:
    assert [name for name, service in services.items() if "build" in service] == ["init"]
    assert own(services).keys() >= {"init", "client", *REPLICAS}
    build = services["init"]["build"]
    assert ((HERE / build["context"]).resolve() / build["dockerfile"]) == HERE / "Dockerfile"


def test_programs_of_the_compose_files_are_in_the_image(services: dict[str, dict[str, Any]]) -> None:
    named = {
        word
        for service in own(services).values()
        for word in (*service.get("entrypoint", ()), *service["healthcheck"].get("test", ()))
        if word.startswith("/opt/")
    }
    ignored = (HERE.parent / ".dockerignore").read_text().splitlines()
    for program in named:
        source = f"docker/{Path(program).name}"
        assert source in DOCKERFILE
        assert (HERE.parent / source).is_file()
        assert f"!{source}" in ignored


def test_what_the_image_is_built_of_passes_the_ignore_file_and_all_else_does_not() -> None:
    lines = (HERE.parent / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    packages = re.findall(r'^    "([a-z]+)\*",$', (HERE.parent / "pyproject.toml").read_text(), re.MULTILINE)
    assert {f"!{package}" for package in packages} <= set(rules)
    copied = re.search(r"^COPY (.*) \./$", DOCKERFILE, re.MULTILINE)
    assert copied is not None
    assert {f"!{path}" for path in copied[1].split()} <= set(rules)


def test_the_image_runs_as_nobody_and_is_installed_by_hash() -> None:
    final = DOCKERFILE.split("FROM $BASE")[1]
    assert f"USER {USER}" in final
    assert "pip install" not in final
    assert "apt-get" not in DOCKERFILE
    commands = re.split(r"&&|\n", DOCKERFILE.replace("\\\n", " "))
    installing = [command for command in commands if " install --quiet" in command]
    assert len(installing) == 3
    for line in installing:
        assert "--require-hashes" in line or "--no-index" in line
