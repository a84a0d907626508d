"""One machine's part of a network: started, and waited for until it can be reached.

What lives here: what `up` does where there is no client to ask with, and what `node --check` looks at. What
must not be known here: whether the network as a whole does anything (`tetrarch.survey`).
"""

import json
import socket
import time
from errno import EACCES, EADDRINUSE
from pathlib import Path
from typing import Final

from network.address import Address
from tetrarch.config import client_address
from tetrarch.layout import BROKER_FILE
from tetrarch.processes import BrokerProcess, LocalNetwork, OwnProcess, ReplicaProcess

PAUSE_SECONDS: Final = 0.1

NO_PROCESS: Final = "does not run"


def bring_up_part(network: LocalNetwork, seconds: float) -> dict[str, str]:
    """Start what does not run of a machine's part, and wait until all of it listens, or has ended, or time is
    up. Returns by name why each cannot be reached; empty where it can.

    Raises `OSError`, `ConfigurationError`.
    """
    processes: list[OwnProcess] = [*network.brokers, *network.replicas]
    seen = {process.name: _size(process) for process in processes}
    started = {process.name for process in processes if process.running() is None}
    network.start()
    until = time.monotonic() + seconds
    while True:
        causes = {
            process.name: fault(process, seen[process.name] if process.name in started else None)
            for process in processes
        }
        waiting = [process for process in processes if causes[process.name] and not process.ended()]
        if not waiting or time.monotonic() >= until:
            return {
                process.name: causes[process.name] and (process.last_words() or causes[process.name])
                for process in processes
            }
        time.sleep(PAUSE_SECONDS)


def fault(process: OwnProcess, log_from: int | None = None) -> str:
    """Return why a replica or broker of this machine cannot be reached, as far as its process and its port
    tell; empty where it can.

    A replica that listens nowhere is told by its log, from this byte on; `None`: its process is enough.
    Raises `ConfigurationError`.
    """
    if process.running() is None:
        return NO_PROCESS
    if isinstance(process, ReplicaProcess):
        address = client_address(process.directory)
        if address is None:
            return "" if log_from is None or _said_listening(process.log, log_from) else "is not ready yet"
    else:
        address = _broker_address(process)
    return "" if address is None or _is_taken(address) else f"does not listen at {address} yet"


def _is_taken(address: Address) -> bool:
    """Whether somebody listens at an address of this machine: it cannot be had a second time. To connect
    would be seen there as a handshake that fails."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError:
        return False
    for family, kind, protocol, _, place in found:
        with socket.socket(family, kind, protocol) as probe:
            # One that is bound for this moment only keeps nobody from listening, who asks for the same.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(place)
            except OSError as error:
                # A low port, which only root could try: the process has to be enough.
                if error.errno in (EADDRINUSE, EACCES):
                    return True
    return False


def _broker_address(process: OwnProcess) -> Address | None:
    """Where the broker listens, as its own file says."""
    if not isinstance(process, BrokerProcess):
        return None
    for line in (process.directory / BROKER_FILE).read_text().splitlines():
        words = line.split()
        if words[:1] == ["listener"] and len(words) == 3:
            return Address(words[2], int(words[1]))
    return None


def _size(process: OwnProcess) -> int:
    log = process.log if isinstance(process, ReplicaProcess) else None
    return log.stat().st_size if log is not None and log.exists() else 0


def _said_listening(log: Path, log_from: int) -> bool:
    try:
        with log.open("rb") as file:
            file.seek(log_from if log_from <= log.stat().st_size else 0)
            lines = file.read().splitlines()
    except OSError:
        return False
    for line in lines:
        try:
            if json.loads(line).get("event") == "listening":
                return True
        except ValueError:
            continue
    return False
