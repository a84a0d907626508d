"""A network on several machines: for each a directory with everything that is its own, and nothing else.

What lives here: who gets what. What must not be known here: what stands in the files.

    HOST/genesis.json, certificates/     public, the same everywhere
    HOST/NAME/, HOST/broker-N/           of this machine alone, with their secrets
    HOST/tetrarch-NAME.service, compose.yaml
    client/                              genesis.json, certificates/, and what is the client's own
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from ledger.genesis import Genesis
from tetrarch.layout import (
    CERTIFICATES,
    CLIENT,
    CLIENT_FILE,
    CLIENT_KEY,
    CLIENT_PASSWORD,
    GENESIS_FILE,
)
from tetrarch.setup.directories import PRIVATE
from tetrarch.setup.places import broker_name, machine_directory
from tetrarch.setup.plan import NetworkPlan
from tetrarch.setup.services import write_services


def machines(plan: NetworkPlan) -> dict[str, list[str]]:
    """Return which replicas and own brokers each machine has, by the name of its directory."""
    found: dict[str, list[str]] = {}
    for name, host in zip(plan.names, plan.hosts, strict=True):
        found.setdefault(machine_directory(host.host), []).append(name)
    for number, broker in enumerate(plan.brokers):
        if broker.authority is None:
            found.setdefault(machine_directory(broker.host), []).append(broker_name(number))
    return found


def arrange(whole: Path, directory: Path, plan: NetworkPlan, genesis: Genesis) -> None:
    """Move what lies in `whole`, a network's directory, into one for each machine and one for a client, below
    `directory`. Raises `OSError`."""
    for name, parts in machines(plan).items():
        bundle = directory / name
        _begin(bundle, whole)
        for part in parts:
            (whole / part).rename(bundle / part)
        write_services(bundle, genesis, plan.password_file)
    client = directory / CLIENT
    _begin(client, whole)
    for file in (CLIENT_FILE, CLIENT_KEY, CLIENT_PASSWORD):
        if (whole / file).exists():
            (whole / file).rename(client / file)
    shutil.rmtree(whole)


def _begin(bundle: Path, public: Path) -> None:
    bundle.mkdir(mode=PRIVATE)
    copy_public(public, bundle, all_certificates(public))


def all_certificates(directory: Path) -> list[str]:
    """Return the names of all certificates of a network that was made here."""
    return [path.name for path in (directory / CERTIFICATES).iterdir()]


def copy_public(source: Path, target: Path, certificates: Iterable[str]) -> None:
    """Copy what everybody may see of a network, and nothing that lies beside it. Raises `OSError`."""
    shutil.copyfile(source / GENESIS_FILE, target / GENESIS_FILE)
    (target / CERTIFICATES).mkdir(exist_ok=True)
    for name in certificates:
        shutil.copyfile(source / CERTIFICATES / name, target / CERTIFICATES / name)
