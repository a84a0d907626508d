"""What runs the processes of one machine after it has booted: systemd units, and a compose file.

What lives here: their text. What must not be known here: keys, other machines.

Both are for a bundle that lies at `HOME`/NETWORK. A process may write its own directory alone, and nothing
may be gained by whoever gets hold of it: no privilege, no device, no other process, no code that was not
there.
Sources: systemd.exec(5), systemd.service(5); the Compose Specification.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ledger.genesis import Genesis
from tetrarch.layout import BROKER, BROKER_FILE, CERTIFICATES, COMPOSE_FILE, GENESIS_FILE, NODE_FILE
from tetrarch.setup.brokers import SERVICE_USER

HOME: Final = Path("/var/lib/tetrarch")
"""Where bundles lie, each below the name of its network."""

PROGRAM: Final = Path("/opt/tetrarch/bin/tetrarch")
"""Where the units look for the command line. systemd wants a place that is no user's."""

BROKER_PROGRAM: Final = Path("/usr/sbin/mosquitto")

OPEN_FILES: Final = 65_536
"""Sockets of members and clients, and RocksDB's files: the usual 1,024 is few."""

STOP_SECONDS: Final = 30
"""A replica closes its store in less than one, and one that is killed loses nothing."""

IMAGE: Final = "tetrarch:latest"
BROKER_IMAGE: Final = "eclipse-mosquitto:2"

IMAGE_USER: Final = 10001
"""Whose number the image's processes have: files of a bundle that containers run are given to it."""

IMAGE_HOME: Final = "/network"
"""Where a bundle is seen in a container."""

_WORDS: Final = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null"])

_UNIT: Final = """\
[Unit]
Description=Tetrarch {what} {name} of the network {network}
Wants=network-online.target
After=network-online.target{after}
# Every attempt is allowed, since they become rare.
StartLimitIntervalSec=0

[Service]
Type=exec
User={user}
Group={user}
UMask=0077
WorkingDirectory={home}/{name}
ExecStart={command}
{reload}Restart=on-failure
# Seconds between attempts: from 2 on, each more than the last, up to 60 (before systemd 254: always 2).
RestartSec=2
RestartSteps=8
RestartMaxDelaySec=60
{never}TimeoutStopSec={stop_seconds}
LimitNOFILE={open_files}
LimitCORE=0

NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ReadWritePaths={home}/{name}
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
DevicePolicy=closed
PrivateUsers=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


def slug(network: str) -> str:
    """Return a network's name as part of paths that need no quotes anywhere."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", network)


def bundle_home(network: str) -> Path:
    """Return where a network's units expect their machine's bundle."""
    return HOME / slug(network)


def unit_name(name: str) -> str:
    """Return what the unit of a replica or broker is called."""
    return f"tetrarch-{name}.service"


def replica_unit(network: str, name: str, brokers: Sequence[str] = ()) -> str:
    """Return the unit of a replica; `brokers`: those of the same machine, which start before it."""
    home = bundle_home(network)
    return _unit(
        what="replica",
        network=network,
        name=name,
        after="".join(f" {unit_name(broker)}" for broker in brokers),
        command=f"{PROGRAM} node {home / name}",
        reload="",
        # 2: what it was given is wrong, and would be at the next attempt.
        never="RestartPreventExitStatus=2\n",
    )


def broker_unit(network: str, name: str) -> str:
    """Return the unit of a broker. Reloading it makes it read accounts and access lists anew."""
    command = f"{BROKER_PROGRAM} -c {BROKER_FILE}"
    reload = "ExecReload=/bin/kill -HUP $MAINPID\n"
    return _unit(what=BROKER, network=network, name=name, after="", command=command, reload=reload, never="")


def _unit(*, network: str, **parts: str) -> str:
    return _UNIT.format(
        network=slug(network),
        home=bundle_home(network),
        user=SERVICE_USER,
        stop_seconds=STOP_SECONDS,
        open_files=OPEN_FILES,
        **parts,
    )


def compose(network: str, replicas: Sequence[str], brokers: Sequence[str], password: Path | None) -> object:
    """Return what a compose file says, as plain values. `password`: a file that signing keys need."""
    services = {name: _broker_service(name) for name in brokers}
    services |= {name: _replica_service(name, brokers, password) for name in replicas}
    return {"name": _project(network), "services": services}


def _project(network: str) -> str:
    """A project's name as the specification wants it: lower case, beginning with a letter or digit."""
    return f"tetrarch-{slug(network).lower()}"


def _replica_service(name: str, brokers: Sequence[str], password: Path | None) -> dict[str, object]:
    """A replica sees of the bundle what is public, and its own directory."""
    volumes = [
        f"./{GENESIS_FILE}:{IMAGE_HOME}/{GENESIS_FILE}:ro",
        f"./{CERTIFICATES}:{IMAGE_HOME}/{CERTIFICATES}:ro",
        f"./{name}:{IMAGE_HOME}/{name}",
    ]
    if password is not None:
        file = str(password.absolute()).replace("$", "$$")  # as the specification wants a literal one
        volumes.append(f"{file}:{file}:ro")
    service: dict[str, object] = {"image": IMAGE, "command": ["node", f"{IMAGE_HOME}/{name}"]}
    if brokers:
        service["depends_on"] = list(brokers)
    check = ["CMD", "tetrarch", "node", "--check", f"{IMAGE_HOME}/{name}"]
    return (
        service
        | _confined(volumes)
        | {
            "healthcheck": {
                "test": check,
                "interval": "30s",
                "timeout": "10s",
                "retries": 3,
                "start_period": "60s",
            }
        }
    )


def _broker_service(name: str) -> dict[str, object]:
    service: dict[str, object] = {
        "image": BROKER_IMAGE,
        # Not the image's own entry point, which wants to be root.
        "entrypoint": ["mosquitto", "-c", BROKER_FILE],
        "working_dir": f"{IMAGE_HOME}/{name}",
    }
    return service | _confined([f"./{name}:{IMAGE_HOME}/{name}:ro"])


def _confined(volumes: list[str]) -> dict[str, object]:
    return {
        "user": f"{IMAGE_USER}:{IMAGE_USER}",
        "network_mode": "host",
        "volumes": volumes,
        "read_only": True,
        "tmpfs": ["/tmp"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "ulimits": {"nofile": OPEN_FILES},
        "stop_grace_period": f"{STOP_SECONDS}s",
        "restart": "on-failure",
    }


def write_services(bundle: Path, genesis: Genesis, password: Path | None) -> None:
    """Write the units and the compose file of all that `bundle` holds. Raises `OSError`."""
    brokers = sorted(file.parent.name for file in bundle.glob(f"{BROKER}-*/{BROKER_FILE}"))
    members = [member.name for member in genesis.members]
    replicas = [name for name in members if (bundle / name / NODE_FILE).is_file()]
    for name in brokers:
        (bundle / unit_name(name)).write_text(broker_unit(genesis.name, name))
    for name in replicas:
        (bundle / unit_name(name)).write_text(replica_unit(genesis.name, name, brokers))
    values = compose(genesis.name, replicas, brokers, password)
    head = f"# The bundle's files belong to user {IMAGE_USER}: sudo chown -R {IMAGE_USER}:{IMAGE_USER} .\n"
    (bundle / COMPOSE_FILE).write_text(head + yaml_text(values))


def yaml_text(value: object, indent: str = "") -> str:
    """Return plain values as YAML 1.2: mappings in lines, lists and scalars as JSON, which is YAML too."""
    if not isinstance(value, Mapping):
        return f" {json.dumps(value)}\n"
    return "".join(f"{indent}{_key(key)}:{_inner(inner, indent)}" for key, inner in value.items())


def _key(key: str) -> str:
    """A key, in quotes where YAML 1.1 or 1.2 could read it as something else than text."""
    plain = re.fullmatch(r"[a-z]+([_-][a-z0-9]+)*", key) and key not in _WORDS
    return key if plain else json.dumps(key)


def _inner(value: object, indent: str) -> str:
    nested = yaml_text(value, f"{indent}  ")
    return f"\n{nested}" if isinstance(value, Mapping) else nested
