"""The walk along the chain: links, times, attested hashes, re-execution, in the order of heights.

What lives here: what is checked of a block by its place among the others. What must not be known here:
stores and processes; rows come in order, inspected.
"""

from typing import NamedTuple

from crypto.attestation import Height
from crypto.batch import Millis
from crypto.digest import Digest
from ledger.audit.engine import Attested
from ledger.audit.inspection import BlockRow, Inspected
from ledger.audit.replay import Replay
from ledger.audit.report import Findings
from ledger.audit.resume import ResumePoint
from ledger.block import Header, block_time
from ledger.genesis import Genesis
from ledger.keyvalue import Family
from ledger.store import SEAL_BYTES


class Tail(NamedTuple):
    """The block before the next one, as far as it is known."""

    height: int
    hash: Digest
    time: Millis
    header: Header | None


class Walk:
    """Takes the blocks of one chain one after another."""

    def __init__(
        self,
        genesis: Genesis,
        findings: Findings,
        attested: Attested,
        acceptance: int | None,
        replay: Replay | None,
        resume: ResumePoint | None,
    ) -> None:
        """`acceptance` is None where attestations cannot be judged, `replay` where nothing is executed."""
        self._findings = findings
        self._attestations = attested
        self._acceptance = acceptance
        self._replay = replay
        self._resume = resume
        self.tail: Tail | None = Tail(0, genesis.first_parent(), Millis(0), None)
        """None behind a block that could not be read."""
        self.blocks = self.transactions = 0
        self.height = Height(0)
        """The last block found, sound or not."""
        self.certified = self.attested = Height(0)
        self._all_certified = True
        self.indexed = self.fingerprint = 0

    def take(self, row: BlockRow, inspected: Inspected) -> None:
        """Check one block by its place, and execute it. Heights ascend; gaps were noted by who read them."""
        for fault in inspected.faults:
            self._findings.add(fault.family, row.height, fault.field, fault.what)
        if row.block is not None:
            self.height = Height(row.height)
        self.transactions += inspected.transactions
        self.indexed += inspected.indexed
        self.fingerprint += inspected.fingerprint
        header, hashed = inspected.header, inspected.hash
        if header is None or hashed is None:
            self._lose()
            return
        self.blocks += 1
        self._link(row.height, header)
        self._certify(row.height, inspected.certified)
        self._compare_attested(row.height, hashed)
        self._compare_resumed(row.height, hashed)
        self._execute(row, inspected)
        self.tail = Tail(row.height, hashed, header.time, header)

    def _link(self, height: int, header: Header) -> None:
        tail = self.tail
        if tail is None or tail.height != height - 1:
            self._stop_replay()
            return
        if header.parent != tail.hash:
            what = f"it names {header.parent.hex()}, the block before hashes to {tail.hash.hex()}"
            self._findings.add(Family.BLOCKS, height, "header.parent", what)
        time = block_time(header.proposed, tail.time)
        if header.time != time:
            what = f"proposal and parent make it {time}, not {header.time}"
            self._findings.add(Family.BLOCKS, height, "header.time", what)

    def _certify(self, height: int, certified: bool) -> None:
        self._all_certified = self._all_certified and certified and height == self.certified + 1
        if self._all_certified:
            self.certified = Height(height)

    def _compare_attested(self, height: int, hashed: Digest) -> None:
        if self._acceptance is None:
            return
        for other, members in self._attestations.believed(height, self._acceptance):
            if other == hashed:
                self.attested = Height(height)
                continue
            what = f"{members} members attest {other.hex()}, the block here hashes to {hashed.hex()}"
            self._findings.add(Family.BLOCKS, height, "hash", what)

    def _compare_resumed(self, height: int, hashed: Digest) -> None:
        point = self._resume
        if point is not None and height == point.height and hashed != point.block_hash:
            what = f"an earlier run found the block {point.block_hash.hex()}, now it is {hashed.hex()}"
            self._findings.add("resume", height, "block_hash", what)

    def _execute(self, row: BlockRow, inspected: Inspected) -> None:
        replay = self._replay
        if replay is None or replay.stopped or row.block is None:
            return
        if not inspected.sound or row.height != replay.height + 1:
            replay.stop()
            return
        for fault in replay.execute(row.block[:-SEAL_BYTES], inspected.ids):
            self._findings.add(fault.family, row.height, fault.field, fault.what)

    def _lose(self) -> None:
        self.tail = None
        self._stop_replay()

    def _stop_replay(self) -> None:
        if self._replay is not None:
            self._replay.stop()
