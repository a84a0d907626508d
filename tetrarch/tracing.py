"""One transaction's way through a network, out of the replicas' logs.

What lives here: reading logs of JSON lines, rotated ones included, and bringing what they say of one
transaction into one order of time. What must not be known here: how it is printed.

Logs are data: a line that is none of ours (cut off as a disk filled up, or written by somebody else) is
passed over and counted. Times are those of each machine's own clock.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from tetrarch.config import load_log_path
from tetrarch.errors import ConfigurationError
from tetrarch.layout import NODE_FILE
from tetrarch.node.logs import FILES_KEPT, trace_path

MAX_LINE_BYTES: Final = 64 * 1024
"""A line of ours has some hundred bytes."""

_Line = dict[str, Any]
_decoder = msgspec.json.Decoder(_Line)


class TxEvent(Struct, frozen=True):
    """What one replica's log says happened to a transaction. `time`: ISO 8601, UTC, in us."""

    time: str
    replica: str
    event: str
    details: dict[str, Any]


class TxStory(Struct, frozen=True):
    """All that the logs say of one transaction, in order of time."""

    events: tuple[TxEvent, ...]
    files: int
    """How many files were read."""
    unreadable: int
    """How many lines name the transaction and are not to be understood."""


def replica_directories(directory: Path) -> list[Path]:
    """Return the replicas' directories in a network's, or the one that `directory` is itself.

    Raises `ConfigurationError` where there is none.
    """
    if (directory / NODE_FILE).is_file():
        return [directory]
    found = sorted(path.parent for path in directory.glob(f"*/{NODE_FILE}"))
    if not found:
        raise ConfigurationError(directory, "", "is neither a network's directory nor a replica's")
    return found


def log_files(replica: Path) -> list[Path]:
    """Return the files of one replica that may tell of transactions, the oldest first.

    Raises `ConfigurationError` for a node.toml that cannot be read.
    """
    log = load_log_path(replica)
    if log is None:
        return []
    current = (log, trace_path(log))
    kept = [Path(f"{path}.{age}") for age in range(FILES_KEPT, 0, -1) for path in current]
    return [path for path in (*kept, *current) if path.is_file()]


def story(replicas: Sequence[Path], tx_id: str) -> TxStory:
    """Return what the logs of `replicas` say of the transaction with this id (64 hexadecimal digits).

    Raises `ConfigurationError`, `OSError`.
    """
    events: list[TxEvent] = []
    files = unreadable = 0
    needle = tx_id.encode()
    for replica in replicas:
        for path in log_files(replica):
            files += 1
            for line in _lines(path, needle):
                event = _event(line, tx_id, replica.name)
                if event is None:
                    unreadable += 1
                else:
                    events.append(event)
    # Stable: what one replica wrote at one moment stays in its order.
    events.sort(key=lambda event: event.time)
    return TxStory(tuple(events), files, unreadable)


def _lines(path: Path, needle: bytes) -> Iterator[bytes]:
    """Yield the lines that hold `needle`, as far as lines go that are not absurdly long."""
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES):
            if needle in line:
                yield line


def _event(line: bytes, tx_id: str, name: str) -> TxEvent | None:
    try:
        facts = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    time, event = facts.pop("timestamp", None), facts.pop("event", None)
    if not isinstance(time, str) or not isinstance(event, str) or facts.pop("tx_id", None) != tx_id:
        return None
    node = facts.pop("node", name)
    facts.pop("level", None)
    return TxEvent(time, node if isinstance(node, str) else name, event, facts)
