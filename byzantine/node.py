"""A replica as a process that lies: the production node, its engine and its network in a liar's hand.

What lives here: the command line, what is refused before the start, and what the liar reports as it goes on.
What must not be known here: which lies there are, and who reads the report.

    python -m byzantine.node REPLICA --lies FILE [--seed N] [--report FILE] [--slowdown F]

It runs where the genesis says `testing = true` and nowhere else. The lies' file is JSON: `{"format": 1,
"lies": [...]}`, each lie as scenarios have it; `"colluders": [...]` where members plot. The report gets a
JSON line for each lie as it is told and for each crash of its own choice, which it does not come back from by
itself: whoever started it starts it again. Exit codes: those of `tetrarch node`, and 2 for whatever is
refused.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from byzantine.fields import field_and_reason
from byzantine.liars.catalogue import BEHAVIOURS, make_behaviour
from byzantine.liars.engine import LyingEngine
from byzantine.liars.liar import Hand
from byzantine.liars.memory import Memory
from byzantine.liars.parameters import require_lie
from byzantine.liars.process import Mind, NodeDisk, ProcessSurroundings, lying_network
from byzantine.liars.report import Report
from byzantine.liars.twins import Twin
from byzantine.scenario import FORMAT, Contradiction, Lie, Member
from byzantine.scenario_file import UnusableFile, read_text
from crypto.tls import TlsError
from ledger.errors import ApplicationError, LedgerError
from ledger.keyvalue import RocksKeyValue
from network.errors import NetworkError
from tetrarch.config import load_node, node_file
from tetrarch.engines import UnusableGenesis, ordering
from tetrarch.errors import ConfigurationError
from tetrarch.node.composition import Parts
from tetrarch.node.settings import NodeSettings
from tetrarch.node.shell import run_node
from tetrarch.processes import AlreadyRunning, registered

REFUSED = 2
"""The exit code for what cannot be, as on the whole command line."""

MAX_LIES_BYTES = 1024 * 1024


class Refused(ValueError):
    """A replica that may not lie. One line."""


class Lies(Struct, frozen=True, forbid_unknown_fields=True):
    """The file of lies."""

    format: int
    lies: tuple[Lie, ...]
    colluders: tuple[Member, ...] = ()
    """Who plots together, this member among them."""


def load_lies(path: Path) -> Lies:
    """Return the lies in a file. Raises `UnusableFile`, and `Contradiction` for an unknown behaviour."""
    text = read_text(path, MAX_LIES_BYTES)
    try:
        found = msgspec.json.decode(text, type=Lies)
    except msgspec.ValidationError as error:
        raise UnusableFile(path, *field_and_reason(error, Lies)) from None
    except msgspec.DecodeError as error:
        raise UnusableFile(path, "", f"is no JSON: {error}") from None
    if found.format != FORMAT:
        raise UnusableFile(path, "format", f"must be {FORMAT}")
    for number, lie in enumerate(found.lies):
        require_lie(BEHAVIOURS, lie, f"lies[{number}]")
    return found


def save_lies(path: Path, lies: Sequence[Lie], colluders: Sequence[int] = ()) -> None:
    """Write a file of lies. Raises `OSError`."""
    path.write_bytes(msgspec.json.encode(Lies(FORMAT, tuple(lies), tuple(colluders))))


def require_testing(settings: NodeSettings) -> None:
    """Guard: raise `Refused` for a member of a network that is none for tests."""
    if not settings.genesis.testing:
        raise Refused(
            f"{settings.name} does not lie: the genesis of its network does not say testing = true"
            " (`tetrarch init --testing` makes one that does)"
        )


def lie(settings: NodeSettings, lies: Lies, options: argparse.Namespace) -> int:
    """Run the replica until it is stopped, lying; returns the exit code. Raises what `run_node` does."""
    genesis = settings.genesis
    door = ordering(genesis, genesis.roster()).door
    with Report(options.report) as report:
        surroundings = ProcessSurroundings(report, options.slowdown)
        memory = Memory(lies.colluders)
        hand = Hand(surroundings, genesis, settings.member, settings.signer, door, memory, options.seed)
        hand.behaviours = [make_behaviour(hand, each) for each in lies.lies]
        for behaviour in hand.behaviours:
            if isinstance(behaviour, Twin):
                behaviour.second = options.twin
        mind = Mind(hand, settings.store.with_name("liar.mind"))
        surroundings.about_to_crash = mind.keep
        if options.began is not None:
            mind.recall(report)
            surroundings.began_ms = options.began
            disk = RocksKeyValue.open(settings.store)
            try:
                hand.on_restart(NodeDisk(disk))
            finally:
                disk.close()
        elif not options.wait:
            surroundings.began_ms = time.monotonic_ns() // 1_000_000
        network = lying_network(hand, surroundings)
        return run_node(settings, Parts(lambda engine: LyingEngine(engine, hand), hand.application, network))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    name = "byzantine.node"
    try:
        lies = load_lies(options.lies)
        settings = load_node(options.replica)
        require_testing(settings)
        name = settings.name
        if options.log_to_terminal:
            settings = replace(settings, log=None)
        with registered(node_file(options.replica).parent):
            return lie(settings, lies, options)
    except (
        Refused,
        UnusableFile,
        Contradiction,
        ConfigurationError,
        AlreadyRunning,
        TlsError,
        UnusableGenesis,
        ApplicationError,
    ) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return REFUSED
    except (LedgerError, NetworkError, OSError) as error:
        print(f"{name} cannot run: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m byzantine.node", description="Run one replica of a testing network, lying."
    )
    parser.add_argument("replica", type=Path, help="the replica's directory, or its node.toml")
    parser.add_argument("--lies", type=Path, required=True, help="a JSON file: format, and a list of lies")
    parser.add_argument("--seed", type=int, default=0, help="of all that the liar leaves to chance")
    parser.add_argument("--report", type=Path, help="a file that gets a JSON line for every lie told")
    parser.add_argument(
        "--slowdown", type=float, default=1.0, help="so much slower than the clock the lies' times pass"
    )
    parser.add_argument(
        "--twin", action="store_true", help="it is the second copy of a member that runs twice"
    )
    parser.add_argument("--log-to-terminal", action="store_true", help="readable lines on stderr")
    begins = parser.add_mutually_exclusive_group()
    begins.add_argument("--wait", action="store_true", help="be honest until SIGUSR1, when time begins")
    begins.add_argument(
        "--began",
        type=int,
        metavar="MS",
        help="a start after a crash: when time began, by the monotonic clock",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
