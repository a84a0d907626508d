"""Make a network once, and hand every service its own part of it: `init` of the compose files.

    python provide.py [--making DIR] [--provide DIR] SERVICE... -- [option of tetrarch init]...

Below --provide lies one directory for each service, usually a volume, which is to hold a network's directory
with this service's secrets and no other's: a replica's by its name, `broker-N`, `client`. The network is made
below --making, which nobody else sees, and removed from there once all parts are handed out. Run again, it
hands out what was not handed out yet, and otherwise changes nothing. Exit codes: 0 all have their part; 2
something is in the way, and it says what.

What lives here: who gets what. What must not be known here: what is in the files.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tetrarch.cli import run
from tetrarch.layout import BROKER, GENESIS_FILE

CLIENT = "client"
BEFORE = ".coming"
"""What is not whole yet, in a part: it moves to its place when it is."""


class InTheWay(Exception):
    """A part that cannot be handed out. One line that says what to do."""


def files_for(network: Path, service: str) -> list[Path]:
    """Return what one service gets, of a network that was made: the directory that `init` made for a machine
    called so, NETWORK/SERVICE. The one place that knows how `init` lays it out."""
    bundle = network / service
    return sorted(bundle.iterdir()) if bundle.is_dir() else []


def mark(service: str) -> str:
    """Return what is moved last, and so shows that a part is whole."""
    return service if service.startswith(f"{BROKER}-") else GENESIS_FILE


def hand_out(network: Path, part: Path) -> None:
    """Fill one service's directory. Raises `InTheWay`, `OSError`."""
    coming = part / BEFORE
    shutil.rmtree(coming, ignore_errors=True)
    coming.mkdir(mode=0o700)
    found = files_for(network, part.name)
    missing = [path.name for path in found if not path.exists()]
    if missing or not found:
        raise InTheWay(f"{part.name}: the network has no {' and no '.join(missing) or part.name}")
    for path in found:
        if path.is_dir():
            shutil.copytree(path, coming / path.name)
        else:
            shutil.copy2(path, coming / path.name)
    names = sorted((path.name for path in coming.iterdir()), key=lambda name: name == mark(part.name))
    for name in names:
        target = part / name
        if target.is_dir():
            shutil.rmtree(
                target
            )  # of an attempt that was cut short: no replica starts before all have theirs
        (coming / name).replace(target)
    coming.rmdir()


def provide(parts: Sequence[Path], making: Path, init: Iterable[str]) -> str:
    """Hand out every part, making the network first if there is none; returns what was done, in a line.

    Raises `InTheWay`, `OSError`.
    """
    waiting = [part for part in parts if not (part / mark(part.name)).exists()]
    network = making / "net"
    if not waiting:
        shutil.rmtree(network, ignore_errors=True)
        return "the network is there already"
    if not network.exists():
        if len(waiting) < len(parts):
            names = ", ".join(part.name for part in waiting)
            raise InTheWay(
                f"the parts of {names} are lost, and cannot be made again: their keys were nowhere else."
                " Bring them back from a backup, or remove all volumes for a new network"
            )
        code = run(["init", str(network), *init])
        if code:
            raise InTheWay(f"tetrarch init ended with exit code {code}")
    for part in waiting:
        hand_out(network, part)
    os.sync()  # the only copy of every key is about to be the one that was handed out
    shutil.rmtree(network)
    return f"handed out: {', '.join(part.name for part in waiting)}"


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="provide.py", description="Make a network, and hand out its parts.")
    parser.add_argument("--making", type=Path, default=Path("/making"), help="where it is made")
    parser.add_argument(
        "--provide", type=Path, default=Path("/provide"), help="holds the services' directories"
    )
    parser.add_argument("services", nargs="+", metavar="SERVICE", help="who gets a part")
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:end])
    try:
        parts = [options.provide / service for service in options.services]
        print(f"init: {provide(parts, options.making, arguments[end + 1 :])}")
    except (InTheWay, OSError) as error:
        print(f"init: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
