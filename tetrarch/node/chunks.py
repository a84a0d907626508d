"""Chunks of signature checks: verified within the turn, or elsewhere and later; in order either way."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from crypto.keys import Check, SignatureChecker
from tetrarch.node.certified import Candidate
from tetrarch.node.effects import ChecksWanted, ChunkNumber, Effects
from tetrarch.node.origins import Coming

MAX_CHUNKS_OUT = 4
"""Chunks handed out at a time, when they are verified elsewhere: enough to keep workers busy."""


@dataclass(slots=True, eq=False)
class Chunk:
    """Checks that are verified together, and what depends on them."""

    number: ChunkNumber
    transactions: Sequence[Coming]
    blocks: Sequence[tuple[Candidate, int]]
    """Served blocks, each with how many of the checks are its own."""
    checks: Sequence[Check]
    """Those of the transactions, one each, then those of the blocks."""
    results: Sequence[bool] | None = None


class Chunks:
    """The chunks under way. `deferred`: they are handed out instead of being given to `checker`."""

    def __init__(self, checker: SignatureChecker, deferred: bool) -> None:
        self._checker = checker
        self._deferred = deferred
        self._chunks: deque[Chunk] = deque()
        self._last = 0

    @property
    def waiting(self) -> bool:
        """Whether there are any."""
        return bool(self._chunks)

    @property
    def room(self) -> bool:
        """Whether another chunk may be added now."""
        return not self._deferred or len(self._chunks) < MAX_CHUNKS_OUT

    def add(
        self,
        transactions: Sequence[Coming],
        blocks: Sequence[tuple[Candidate, int]],
        checks: Sequence[Check],
        effects: Effects,
    ) -> None:
        """Have one chunk verified."""
        self._last += 1
        chunk = Chunk(ChunkNumber(self._last), transactions, blocks, checks)
        self._chunks.append(chunk)
        if self._deferred:
            effects.checks.append(ChecksWanted(chunk.number, checks))
        else:
            chunk.results = self._checker.check(checks)

    def checked(self, number: ChunkNumber, results: Sequence[bool]) -> None:
        """Take the results of a chunk that was handed out; others are ignored."""
        for chunk in self._chunks:
            if chunk.number == number and len(results) == len(chunk.checks):
                chunk.results = results

    def ready(self) -> Iterator[tuple[Chunk, Sequence[bool]]]:
        """Yield, once, the chunks whose results and whose predecessors' results are known."""
        while self._chunks and self._chunks[0].results is not None:
            chunk = self._chunks.popleft()
            yield chunk, chunk.results or ()
