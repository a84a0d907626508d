"""Structured logs: JSON lines to a bounded file, or readable lines to stderr.

No line per transaction, unless single ones are followed (`tetrarch.node.trace`).
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import msgspec
import structlog

from tetrarch.node.effects import Event, Fact
from tetrarch.node.trace import TraceLine

FILE_BYTES = 10 * 1024 * 1024
FILES_KEPT = 3
"""A flapping network writes lines for ever: they must not fill the disk that the ledger needs."""

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Log:
    """Writes events, each with a time and this replica's name."""

    def __init__(self, name: str, path: Path | None = None) -> None:
        """`path`: a file for JSON lines; `None`: readable lines to stderr. Raises `OSError`."""
        handler: logging.Handler
        if path is None:
            handler = logging.StreamHandler(sys.stderr)
            renderer: Any = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        else:
            handler = RotatingFileHandler(path, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8")
            renderer = structlog.processors.JSONRenderer()
        handler.setFormatter(logging.Formatter("%(message)s"))
        self._handler = handler
        # Not registered by name: two nodes of one process must not share their handlers.
        logger = logging.Logger("tetrarch.node", logging.INFO)
        logger.addHandler(handler)
        self._log = structlog.wrap_logger(
            logger,
            processors=[
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.stdlib.add_log_level,
                renderer,
            ],
            context_class=dict,
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=True,
        ).bind(node=name)

    def event(self, event: Event) -> None:
        """Write what the heart noted."""
        self._log.log(_LEVELS[event.level.value], event.name, **dict(event.facts))

    def info(self, name: str, /, **facts: Fact) -> None:
        """Write a line at level info."""
        self._log.info(name, **facts)

    def warning(self, name: str, /, **facts: Fact) -> None:
        """Write a line at level warning."""
        self._log.warning(name, **facts)

    def error(self, name: str, /, **facts: Fact) -> None:
        """Write a line at level error."""
        self._log.error(name, **facts)

    def counts(self, name: str, counts: Mapping[str, int]) -> None:
        """Write how often things happened since the last such line."""
        self._log.info(name, counts=dict(counts))

    def close(self) -> None:
        """Flush and let go of the file."""
        self._handler.close()


def trace_path(log: Path) -> Path:
    """Return where the lines about single transactions lie, beside a replica's log.

    In a file of their own: under load they would push everything else out of a bounded log within minutes.
    """
    return log.with_name(f"{log.name}.trace")


class TraceLog:
    """Writes the lines about single transactions: JSON, one write for all of one turn."""

    def __init__(self, name: str, path: Path | None = None) -> None:
        """`path`: a bounded file, made when there is a first line; `None`: to stderr."""
        self._name = name
        self._handler: logging.Handler = (
            logging.StreamHandler(sys.stderr)
            if path is None
            else RotatingFileHandler(
                path, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8", delay=True
            )
        )

    def write(self, lines: Sequence[TraceLine]) -> None:
        """Write these. A disk that is full is told on stderr, as for every log."""
        text = "\n".join(self._text(line) for line in lines)
        self._handler.handle(logging.makeLogRecord({"msg": text}))

    def _text(self, line: TraceLine) -> str:
        seconds, ns = divmod(line.ns, 1_000_000_000)
        moment = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        facts = {
            "event": line.event,
            "node": self._name,
            "tx_id": line.tx_id.hex(),
            **line.facts,
            "timestamp": f"{moment}.{ns // 1000:06}Z",
        }
        return msgspec.json.encode(facts).decode()

    def close(self) -> None:
        """Flush and let go of the file."""
        self._handler.close()
