"""What a lying process tells whoever started it: a file that it appends JSON lines to.

What lives here: the lines, writing and reading them. What must not be known here: what they mean to an
oracle.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from msgspec import DecodeError, Struct
from msgspec.json import Decoder, Encoder


class Line(Struct, frozen=True, omit_defaults=True):
    """One line."""

    at_ms: int
    """When, in the scenario's time."""
    lied: str = ""
    """The behaviour that fired."""
    crashed_for_ms: int | None = None
    """The process ends itself here, and wants to be started again so much later, in the scenario's time."""


_encoder, _decoder = Encoder(), Decoder(Line)


class Report:
    """The writing end. `path` None: nobody wants to know. Raises `OSError`."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._file: BinaryIO | None = None if path is None else path.open("ab", buffering=0)

    def write(self, line: Line) -> None:
        """Append a line; it is with the system when this returns."""
        if self._file is not None:
            self._file.write(_encoder.encode(line) + b"\n")

    def fired(self) -> Counter[str]:
        """Return how often each behaviour fired so far, in earlier lives of this process too."""
        if self.path is None:
            return Counter()
        return Counter(line.lied for line in ReportReader(self.path).lines() if line.lied)

    def __enter__(self) -> "Report":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


class ReportReader:
    """The reading end: gives each line once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0

    def lines(self) -> Iterator[Line]:
        """Yield the whole lines that came since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            try:
                yield _decoder.decode(line)
            except DecodeError:
                continue
