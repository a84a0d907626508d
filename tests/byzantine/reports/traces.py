"""Plausible runs for reports to draw: PBFT's messages with latencies, without an engine behind them."""

import random
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from byzantine.trace import Event, What
from byzantine.verdicts import Finding, Result, Summary, Verdict

PASS, FAIL, INCONCLUSIVE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE


def make_result(name: str = "quiet", n: int = 4, seed: int = 7, **changes) -> Result:
    """A run that passed, except for what is given."""
    values: dict[str, Any] = {
        "runner": "simulated",
        "fired": {"equivocate": 3},
        "findings": (Finding("agreement", PASS), Finding("liveness", PASS)),
        "blocks": 20,
        "views": 1,
        "recovered_ms": 870,
        "blamed": (),
        "liars": (),
        "seconds": 0.02,
        "within_ms": 10_000,
    }
    return Result(name, n, seed, **(values | changes))


def make_failure(name: str = "fork", **changes) -> Result:
    """A run that forked, in which liveness could not be judged."""
    findings = (
        Finding("agreement", FAIL, "replicas 2 and 3 stored different blocks at height 2"),
        Finding("liveness", INCONCLUSIVE, "the run was stopped"),
    )
    values: dict[str, Any] = {"findings": findings, "recovered_ms": None, "blamed": (0, 1), "liars": (0, 1)}
    return make_result(name, **(values | changes))


def make_summary(*results: Result, seconds: float = 1.5) -> Summary:
    return Summary("0.1.0", "2d18c6c", "simulated", seconds, tuple(results))


class Maker:
    """Writes a trace, phase by phase. Times are microseconds."""

    def __init__(self, n: int = 4, seed: int = 1) -> None:
        self.n, self.random = n, random.Random(seed)
        self.number = 0
        self._events: list[Event] = []
        self.weak, self.quorum = (n - 1) // 3 + 1, -(-(n + (n - 1) // 3 + 1) // 2)

    @property
    def events(self) -> list[Event]:
        return sorted(self._events, key=lambda event: event.at_us)

    def note(self, at: int, what: What, source: object, **fields) -> None:
        self._events.append(Event(at, what, str(source), **fields))

    def send(self, at: int, source: object, target: object, kind: str, fate=What.DELIVERED, **fields) -> int:
        """Send one frame, and return when it arrives."""
        self.number += 1
        arrival = at + int(self.random.triangular(500, 2200, 900))
        frame = {"target": str(target), "number": self.number, "kind": kind, **fields}
        self.note(at, What.SENT, source, **frame)
        if fate is not None:
            self.note(arrival if fate is What.DELIVERED else at, fate, source, **frame)
        return arrival

    def spread(self, at: int, source: int, targets: Iterable[int], kind: str, **fields) -> dict[int, int]:
        """Send to all targets but the source, and return when it arrives at each."""
        return {
            target: self.send(at, source, target, kind, **fields) for target in targets if target != source
        }

    def request(self, at: int, digest: str, members: Sequence[int] = ()) -> int:
        self.note(at, What.SUBMITTED, "client", digest=digest)
        everyone = members or range(self.n)
        return min(self.send(at, "client", member, "submit", digest=digest) for member in everyone)

    def votes(self, begins: dict[int, int], kind: str, everyone: Sequence[int], need: int, **fields):
        """Each of `begins` votes; return when each member has seen `need` votes, its own included."""
        seen: dict[int, list[int]] = {member: [] for member in everyone}
        for member, at in begins.items():
            seen[member].append(at)
            for target, arrival in self.spread(at, member, everyone, kind, **fields).items():
                seen[target].append(arrival)
        return {member: sorted(times)[need - 1] for member, times in seen.items() if len(times) >= need}

    def slot(
        self, at: int, view: int, sequence: int, digest: str, members: Sequence[int] = (), block: str = ""
    ):
        """The normal case; returns when each member executed."""
        everyone = members or range(self.n)
        place = {"view": view, "sequence": sequence, "digest": digest}
        proposed = self.spread(at, view % self.n, everyone, "pre-prepare", **place)
        accepted = {member: when + 120 for member, when in proposed.items()}
        prepared = self.votes(accepted, "prepare", everyone, min(self.quorum, len(everyone)) - 1, **place)
        commits = {member: when + 150 for member, when in prepared.items()}
        decided = self.votes(commits, "commit", everyone, min(self.quorum, len(everyone)), **place)
        for member, when in decided.items():
            self.note(
                when + 80, What.EXECUTED, member, sequence=sequence, digest=block or f"b10c{sequence:04x}"
            )
        return {member: when + 80 for member, when in decided.items()}

    def replies(self, executed: dict[int, int], sequence: int, digest: str) -> None:
        arrivals = sorted(
            self.send(
                when + 60, member, "client", "attested", sequence=sequence, digest=f"b10c{sequence:04x}"
            )
            for member, when in executed.items()
        )
        self.note(arrivals[self.weak - 1], What.BELIEVED, "client", digest=digest)

    def checkpoint(self, executed: dict[int, int], sequence: int) -> None:
        stable = self.votes(
            executed,
            "attestation",
            range(self.n),
            self.quorum,
            sequence=sequence,
            digest=f"b10c{sequence:04x}",
        )
        for member, when in stable.items():
            self.note(when, What.STABLE, member, sequence=sequence, digest=f"b10c{sequence:04x}")

    def chatter(self, at: int) -> None:
        for member in range(self.n):
            self.spread(at + member * 37, member, range(self.n), "status", view=0)

    def view_change(self, at: int, view: int, members: Sequence[int]) -> int:
        """Members suspect, leave and enter `view`; returns when the last one is in it."""
        begins = {member: at + 900 * index for index, member in enumerate(members)}
        left = self.votes(begins, "suspect", members, self.weak, view=view - 1)
        for member, when in left.items():
            self.note(when, What.VIEW, member, view=view, note="leaving")
        ready = at
        for member, when in left.items():
            arrivals = self.spread(
                when + 100, member, members, "view-change", view=view, digest=f"cc{member:06x}"
            )
            ready = max(ready, arrivals.get(view % self.n, ready))
        primary = view % self.n
        self.note(ready, What.VIEW, primary, view=view)
        entered = self.spread(ready, primary, members, "new-view", view=view, digest="eeee0001")
        for member, when in entered.items():
            self.note(when, What.VIEW, member, view=view)
        return max(entered.values()) + 200

    def run_slots(self, at: int, view: int, sequences: Iterable[int], members: Sequence[int] = ()) -> int:
        for sequence in sequences:
            digest = f"{0xA0000000 + sequence * 7919:08x}"
            at = self.request(at, digest, members) + 200
            executed = self.slot(at, view, sequence, digest, members)
            self.replies(executed, sequence, digest)
            if sequence % 4 == 0:
                self.checkpoint(executed, sequence)
            at = max(executed.values()) + 1500
        return at


def quiet(n: int = 4) -> list[Event]:
    maker = Maker(n)
    maker.run_slots(0, 0, range(1, 5))
    maker.chatter(2000)
    return maker.events


def equivocation(n: int = 4) -> list[Event]:
    """The primary proposes two batches for one slot; the others change the view and hold proof."""
    maker = Maker(n)
    at = maker.run_slots(1000, 0, (1,))
    honest = range(1, n)
    maker.request(at, "abcd0002")
    at += 1200
    maker.note(
        at, What.LIED, 0, kind="equivocating-primary", view=0, sequence=2, note="two digests, half each"
    )
    accepted = {}
    for member in honest:
        digest = "aaaa0002" if member <= n // 2 - 1 else "bbbb0002"
        place = {"view": 0, "sequence": 2, "digest": digest}
        arrival = maker.send(at, 0, member, "pre-prepare", **place)
        accepted[member] = arrival
        maker.spread(arrival + 100, member, range(n), "prepare", **place)
    for member in (1, n - 1):
        maker.note(max(accepted.values()) + 3500, What.EVIDENCE, member, target="0", kind="pre-prepare")
    maker.chatter(at + 200_000)
    at = maker.view_change(at + 500_000, 1, range(n))
    executed = maker.slot(at, 1, 2, "bbbb0002")
    maker.replies(executed, 2, "abcd0002")
    at = max(executed.values()) + 2000
    maker.note(at, What.HEALED, "network")
    maker.run_slots(at + 1500, 1, range(3, 6))
    return maker.events


def fork() -> list[Event]:
    """Two liars of four make the honest ones store different blocks."""
    maker = Maker(4)
    at = maker.run_slots(0, 0, (1,))
    maker.note(at, What.FAULT, "network", note="links cut between 2 and 3")
    for liar in (0, 1):
        maker.note(at + liar * 1300, What.LIED, liar, kind="two-faced", view=0, sequence=2)
    for victim, digest in ((2, "aaaa0002"), (3, "bbbb0002")):
        place = {"view": 0, "sequence": 2, "digest": digest}
        maker.send(at, 0, victim, "pre-prepare", **place)
        prepare = maker.send(at + 1300, 1, victim, "prepare", **place)
        maker.send(prepare, victim, 5 - victim, "prepare", fate=What.CUT, **place)
        for liar in (0, 1):
            maker.note(prepare + liar * 200, What.LIED, liar, kind="two-faced", view=0, sequence=2)
            maker.send(prepare + liar * 200, liar, victim, "commit", **place)
        maker.note(prepare + 2600, What.EXECUTED, victim, sequence=2, digest=digest)
    maker.note(at + 9000, What.HEALED, "network")
    maker.note(at + 11_000, What.EVIDENCE, 2, target="0", kind="commit")
    maker.note(at + 11_400, What.EVIDENCE, 3, target="1", kind="commit")
    maker.note(
        at + 14_000, What.FAILED, "network", kind="agreement", sequence=2, note="2 and 3 differ at height 2"
    )
    return maker.events


def crash(n: int = 7) -> list[Event]:
    """A backup crashes and comes back, links are cut, messages get lost."""
    maker = Maker(n, seed=3)
    down = n - 1
    up = range(n - 1)
    at = maker.run_slots(500, 0, (1,))
    maker.note(at, What.CRASHED, down)
    for target in up:
        maker.send(at + 600, 2, target, "status", view=0) if target != 2 else None
    maker.send(at + 700, 0, down, "pre-prepare", fate=What.LOST, view=0, sequence=2, digest="a0003dde")
    at = maker.run_slots(at, 0, (2, 3, 4), up)
    maker.note(at, What.FAULT, "network", note="cut {0,1} from the others")
    for target in (3, 4, 5):
        maker.send(at + 100, 0, target, "pre-prepare", fate=What.CUT, view=0, sequence=5, digest="a0009aab")
    maker.note(at + 40_000, What.RESTARTED, down)
    for target in (2, 3):
        arrival = maker.send(at + 40_500, down, target, "ask-range", sequence=2)
        maker.send(arrival, target, down, "range", sequence=4)
    maker.note(at + 44_000, What.HEALED, "network")
    maker.run_slots(at + 45_000, 0, (5, 6))
    return maker.events


@cache
def long(slots: int = 900) -> tuple[Event, ...]:
    """Tens of thousands of messages, one lie in the middle of them, and a failure near the end."""
    maker = Maker(4, seed=9)
    at = maker.run_slots(0, 0, range(1, slots // 2))
    maker.note(at, What.LIED, 0, kind="equivocating-primary", view=0, sequence=slots // 2)
    for target, digest in ((1, "aaaa0000"), (2, "bbbb0000"), (3, "bbbb0000")):
        maker.send(at, 0, target, "pre-prepare", view=0, sequence=slots // 2, digest=digest)
    at = maker.view_change(at + 700_000, 1, range(4))
    at = maker.run_slots(at, 1, range(slots // 2, slots))
    maker.note(at, What.FAILED, "network", kind="integrity", sequence=slots - 5, note="executed twice")
    return tuple(maker.events)
