"""The settings of replicas that a scenario runs on: where others are found, tuning, second copies of members.

What lives here: editing `node.toml`. What must not be known here: what happens in a run.
"""

import shutil
from pathlib import Path

from msgspec.structs import asdict

from byzantine import scenario as plan
from byzantine.runners.members import RealMember
from network.address import Address
from tetrarch.layout import NODE_FILE
from tetrarch.processes import ReplicaProcess
from tetrarch.setup.places import Host

PATIENCE_MS = 5_000
"""How much longer replicas wait for requests, by the clock on the wall, where they are to keep their view:
this machine may have something else to do meanwhile. A view that is left for that is no attack's doing."""


def second_copy(directory: Path, host: Host) -> ReplicaProcess:
    """Return a second process for a member, with its keys, and a disk and a place of its own."""
    beside = directory.with_name(f"{directory.name}.twin")
    shutil.copytree(directory, beside)
    file = beside / NODE_FILE
    before, listen, rest = file.read_text().partition("[listen]\n")
    _, table, peers = rest.partition("\n[[peers]]")
    places = (Address(host.host, host.peer_port), Address(host.host, host.client_port))
    own = 'peers = "{}"\nclients = "{}"\n'.format(*places)
    file.write_text(before + listen + own + table + peers)
    return ReplicaProcess(beside)


def configure(
    member: RealMember,
    scenario: plan.Scenario,
    hosts: tuple[Host, ...],
    ports: dict[tuple[int, int], int],
    place: int,
    slowdown: float,
) -> None:
    """Write into a member's node.toml where it finds the others, and the scenario's tuning."""
    file = member.process.directory / NODE_FILE
    text = file.read_text()
    for other, host in enumerate(hosts):
        if (place, other) in ports:
            direct = f'address = "{Address(host.host, host.peer_port)}"'
            text = text.replace(direct, f'address = "{Address(host.host, ports[place, other])}"')
    tuning = asdict(scenario.tuning)
    tuning |= {name: round(tuning[name] * slowdown) for name in tuning if name.endswith("_ms")}
    if scenario.expect.view == "kept":
        tuning["request_timeout_ms"] += PATIENCE_MS
    text += "\n[tuning]\n" + "".join(f"{name} = {value}\n" for name, value in tuning.items())
    file.write_text(text)
