"""The text scenarios in tests/scenarios: commands, then the expected trace, beside the PBFT paper.

A file is a list of blocks: commands, a line `----`, the trace they must produce, a blank line. Run
this module as a program with file names to print what each file's commands produce now.
"""

import sys
from pathlib import Path
from typing import Any

import pytest

from crypto.attestation import Attestation
from crypto.batch import Millis
from crypto.signed import Envelope
from pbft import Limits, Tuning
from pbft.messages import (
    Commit,
    FetchProposal,
    NewView,
    Prepare,
    PrePrepare,
    Proposal,
    Stable,
    Status,
    Suspect,
    ViewChange,
)
from tests.pbft.bench import decode
from tests.pbft.cluster import Cluster, Member

SCENARIOS = Path(__file__).parent.parent / "scenarios"
LINK_MS = 10


def describe(envelope: Envelope) -> str | None:
    message: Any = decode(envelope)
    match message:
        case PrePrepare():
            return (
                f"PRE-PREPARE view {message.view} sequence {message.sequence} of {len(envelope.beside) // 32}"
            )
        case Prepare():
            return f"PREPARE view {message.view} sequence {message.sequence}"
        case Commit():
            return f"COMMIT view {message.view} sequence {message.sequence}"
        case Attestation():
            return f"CHECKPOINT {message.height}"
        case Suspect():
            return f"SUSPECT view {message.view}"
        case ViewChange():
            proved = [decode(proof.pre_prepare).sequence for proof in message.prepared]
            return f"VIEW-CHANGE to view {message.view} stable {message.stable} prepared {proved}"
        case NewView():
            again = [decode(bare) for bare in message.pre_prepares]
            said = [f"{p.sequence}{' null' if p.timestamp == 0 else ''}" for p in again]
            by = [change.signer for change in message.view_changes]
            return f"NEW-VIEW {message.view} from {by} proposing [{', '.join(said)}]"
        case Stable():
            return "STABLE"
        case FetchProposal():
            return f"FETCH-PROPOSAL {message.sequence}"
        case Proposal():
            return f"PROPOSAL {message.sequence}"
        case Status():
            return None
    raise AssertionError(f"no description for {message}")


class Scenario:
    """A cluster driven by words."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.cut: set[tuple[int, int]] = set()
        self.lost: list[tuple[str, int]] = []
        self.make(4)

    def make(self, n: int, interval: int = 8) -> None:
        tuning = Tuning(request_timeout_ms=Millis(1000), relay_delay_ms=Millis(200), batch_delay_ms=Millis(5))
        limits = Limits(checkpoint_interval=interval, window=2 * interval)
        self.cluster = Cluster(n, limits=limits, tuning=tuning, drop=self.drops)
        self.cluster.delay = (LINK_MS, LINK_MS)
        self.seen = [0] * n

    def drops(self, source: int, to: int, envelope: Envelope | None) -> bool:
        if (source, to) in self.cut:
            return True
        said = describe(envelope) if envelope is not None else None
        return any((said or "").startswith(word) and to == target for word, target in self.lost)

    def command(self, line: str) -> None:
        word, *args = line.split()
        getattr(self, f"do_{word}")(*args)

    def do_cluster(self, n: str, interval: str = "8") -> None:
        self.make(int(n), int(interval))

    def do_submit(self, numbers: str, _to: str = "", *to: str) -> None:
        first, _, last = numbers.partition("-")
        wanted = range(int(first), int(last or first) + 1)
        self.cluster.submit(wanted, [int(member) for member in to] or None)

    def do_run(self, milliseconds: str) -> None:
        start = len(self.cluster.trace)
        self.cluster.run(limit=int(milliseconds))
        self.report(start)

    def do_crash(self, *members: str) -> None:
        for member in members:
            self.cluster.members[int(member)].crash()

    def do_restart(self, *members: str) -> None:
        for member in members:
            self.cluster.members[int(member)].start()

    def do_cut(self, member: str) -> None:
        me = int(member)
        for other in range(self.cluster.roster.n):
            self.cut |= {(me, other), (other, me)}

    def do_lose(self, kind: str, _to: str, target: str) -> None:
        self.lost.append((kind, int(target)))

    def do_heal(self) -> None:
        self.cut.clear()
        self.lost.clear()

    def do_views(self) -> None:
        self.each(lambda m: f"view {m.engine.status().view}{'' if m.engine.status().active else ' changing'}")

    def do_heights(self) -> None:
        self.each(lambda m: f"executed {len(m.disk.chain)} stable {m.engine.status().low}")

    def each(self, say) -> None:
        for member in self.cluster.members:
            if member.up:
                self.lines.append(f"{member.id}: {say(member)}")

    def report(self, start: int) -> None:
        """One line per sender, message and moment, with whom it goes to; then what was executed."""
        grouped: dict[tuple[int, int, str], list[int]] = {}
        for time, source, to, envelope in self.cluster.trace[start:]:
            said = describe(envelope)
            if said is not None:
                grouped.setdefault((time, source, said), []).append(to)
        for (_, source, said), receivers in grouped.items():
            self.lines.append(f"{source} -> {' '.join(map(str, receivers))}: {said}")
        for member in self.cluster.members:
            self.lines += self.executed(member)

    def executed(self, member: Member) -> list[str]:
        new = member.disk.chain[self.seen[member.id] :]
        self.seen[member.id] += len(new)
        if not new:
            return []
        batches = [f"{d.height}:{self.name(d)}" for d, _ in new]
        return [f"{member.id} executes {' '.join(batches)}"]

    def name(self, decision) -> str:
        numbers = [item.body.split()[1].decode() for item in decision.requests]
        return ",".join(numbers) or ("null" if decision.timestamp == 0 else "empty")


def play(text: str) -> list[tuple[list[str], list[str], list[str]]]:
    """Return, for each block, its commands, the expected trace, and the trace produced."""
    scenario, blocks = Scenario(), []
    for block in text.strip().split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("#")]
        if not lines:
            continue
        at = lines.index("----")
        scenario.lines = []
        for line in lines[:at]:
            scenario.command(line)
        blocks.append((lines[:at], lines[at + 1 :], scenario.lines))
    return blocks


@pytest.mark.parametrize("path", sorted(SCENARIOS.glob("*.txt")), ids=lambda path: path.stem)
def test_scenario_produces_its_trace(path: Path) -> None:
    for commands, expected, produced in play(path.read_text()):
        assert produced == expected, f"{path.name}, after {commands}"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        source = Path(name).read_text()
        scenario = Scenario()
        out = []
        for block in source.strip().split("\n\n"):
            head = block.splitlines()
            body = [line for line in head if not line.startswith("#")]
            if not body:
                out.append(block)
                continue
            keep = head[: head.index("----") + 1] if "----" in head else [*head, "----"]
            scenario.lines = []
            for line in [line for line in keep if not line.startswith("#") and line != "----"]:
                scenario.command(line)
            out.append("\n".join(keep + scenario.lines))
        Path(name).write_text("\n\n".join(out) + "\n")
