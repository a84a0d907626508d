"""Structured logs: JSON lines to a bounded file, or readable lines to stderr. No line per transaction."""

import logging
import sys
from collections.abc import Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import structlog

from tetrarch.node.effects import Event, Fact

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
