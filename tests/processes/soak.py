"""A long campaign on real processes: `python -m tests.processes.soak [--minutes M] [--seed S]`.

A client submits without end while replicas are killed (SIGKILL), stopped and woken (SIGSTOP, SIGCONT) and
asked to end (SIGTERM), never more than f at a time unless all are killed at once. At the end all run, and it
is demanded that every replica is level, that every transaction has an outcome, that what was committed is in
the chain exactly once and what expired is not, and that the audit of every store finds nothing. The seed
fixes the choice of faults, not the run: processes take the turns they get.
"""

import argparse
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from crypto.batch import TxId
from ledger.audit.report import Verdict
from tests.processes.running import Running, running
from tetrarch.auditing import audit_store
from tetrarch.client.client import Client
from tetrarch.client.outcome import Outcome, Submission
from tetrarch.layout import STORE
from tetrarch.processes import ReplicaProcess

LONGEST_PAUSE_S = 4.0
"""Between two faults, and for how long a fault lasts: around the request timeout of two seconds, so that some
faults end before a view change, some after it, and some in the middle of one."""

ALL_AT_ONCE = 0.1
"""Share of faults that kill every replica."""

SETTLE_S = 120.0
"""How long the client waits for a transaction, and the campaign at its end for all to be level: many times
what it should take, healing included."""


class Faults:
    """Hurts replicas and heals them, one fault after the other, until `end` is set."""

    def __init__(self, net: Running, seed: int) -> None:
        self.end = threading.Event()
        self.counts: Counter[str] = Counter()
        self.error: BaseException | None = None
        self._net = net
        self._random = random.Random(seed)
        self._thread = threading.Thread(target=self._run, name="faults")

    def __enter__(self) -> "Faults":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self.end.wait(self._random.uniform(0.2, LONGEST_PAUSE_S)):
                if self._random.random() < ALL_AT_ONCE:
                    self._kill_all()
                else:
                    self._hurt_some()
        except BaseException as error:  # noqa: BLE001 - shown by the main thread, whatever it is
            self.error = error
            self.end.set()

    def _kill_all(self) -> None:
        self.counts["all killed"] += 1
        for replica in self._net.network.replicas:
            replica.signal(signal.SIGKILL)
        for replica in self._net.network.replicas:
            replica.wait(10)
        self._net.network.start()

    def _hurt_some(self) -> None:
        replicas = self._net.network.replicas
        count = self._random.randint(1, max(1, (len(replicas) - 1) // 3))
        victims = self._random.sample(replicas, count)
        kinds = [self._random.choice(("killed", "paused", "ended")) for _ in victims]
        for victim, kind in zip(victims, kinds, strict=True):
            self.counts[kind] += 1
            self._hurt(victim, kind)
        self.end.wait(self._random.uniform(0.1, LONGEST_PAUSE_S))
        for victim, kind in zip(victims, kinds, strict=True):
            if kind == "paused":
                victim.signal(signal.SIGCONT)
            else:
                victim.start()

    def _hurt(self, victim: ReplicaProcess, kind: str) -> None:
        if kind == "paused":
            victim.signal(signal.SIGSTOP)
            return
        victim.signal(signal.SIGKILL if kind == "killed" else signal.SIGTERM)
        if not victim.wait(20):
            raise AssertionError(f"{victim.name} did not end")


def load(until: float, faults: Faults) -> Iterator[Submission]:
    """Submissions over keys that come again and again."""
    number = 0
    while time.monotonic() < until and not faults.end.is_set():
        payload = {"op": "put", "key": f"k{number % 5000}", "value": str(number)}
        yield Submission(payload, f"soak-{number}")
        number += 1


class Ledgered:
    """What the client was told, by transaction."""

    def __init__(self) -> None:
        self.committed: dict[TxId, int] = {}
        self.expired: set[TxId] = set()
        self.unknown = 0
        self.wrong: list[str] = []
        self.longest = 0.0
        """Seconds without any outcome, at most."""
        self._last = time.monotonic()

    def note(self, outcome: Outcome) -> None:
        """Note one outcome."""
        now = time.monotonic()
        self.longest, self._last = max(self.longest, now - self._last), now
        match outcome.status:
            case "committed":
                self.committed[outcome.tx_id] = outcome.height
            case "expired":
                self.expired.add(outcome.tx_id)
            case "unknown":
                self.unknown += 1
            case _:
                self.wrong.append(f"{outcome.idempotency_key}: {outcome.status}, {outcome.error}")

    def hold_against_chain(self, client: Client) -> None:
        """What was committed is there once, at that height; what expired is not there, and never will be."""
        found: dict[TxId, int] = {}
        last = max(self.committed.values(), default=0)
        for block in client.subscribe(1):
            for transaction in block.transactions:
                if transaction.result.executed:
                    if transaction.tx_id in found:
                        self.wrong.append(f"{transaction.tx_id.hex()} was executed twice")
                    found[transaction.tx_id] = block.height
            if block.height >= last:
                break
        lost = sum(found.get(tx_id) != height for tx_id, height in self.committed.items())
        if lost:
            self.wrong.append(f"{lost} acknowledged transactions are not where they were said to be")
        risen = sum(tx_id in found for tx_id in self.expired)
        if risen:
            self.wrong.append(f"{risen} transactions are in the chain that were said to have expired")


def comes_level(net: Running, told: Ledgered) -> bool:
    """Wait until all replicas hold the same chain, with all that was committed."""
    try:
        states = net.wait_until_level(max(told.committed.values(), default=0), SETTLE_S)
    except TimeoutError as error:
        told.wrong.append(str(error))
        return False
    if len({state.state_root for state in states}) > 1:
        told.wrong.append("state roots differ")
    print(f"all level at height {states[0].height}, view {max(state.view for state in states)}", flush=True)
    return True


def campaign(net: Running, seconds: float, seed: int) -> list[str]:
    """Run it, print what happened, and return what is wrong."""
    told = Ledgered()
    with net.client() as client:
        with Faults(net, seed) as faults:
            submissions = load(time.monotonic() + seconds, faults)
            for outcome in client.submit_many(submissions, timeout=SETTLE_S):
                told.note(outcome)
        net.up()
        print(f"faults: {dict(faults.counts)}; longest silence {told.longest:.1f} s", flush=True)
        if faults.error is not None:
            told.wrong.append(f"a fault could not be made: {faults.error!r}")
        left, told.unknown = told.unknown, 0
        for outcome in client.recover(timeout=SETTLE_S):
            told.note(outcome)
        print(
            f"{len(told.committed)} committed, {len(told.expired)} expired; {left} were unknown"
            f" until asked for again, {told.unknown} are",
            flush=True,
        )
        if told.unknown:
            told.wrong.append(f"the outcome of {told.unknown} transactions is unknown")
        if comes_level(net, told):
            told.hold_against_chain(client)
    net.network.stop()
    for replica in net.network.replicas:
        report = audit_store(replica.directory / STORE, net.network.genesis)
        print(f"audit of {replica.name}: {report.verdict}", flush=True)
        if report.verdict is not Verdict.VALID:
            told.wrong.append(f"the audit of {replica.name} says {report.verdict}: {report.faults[:3]}")
    return told.wrong


def main() -> int:
    """Run one campaign; 0 if nothing is wrong, else 1, and the network's directory stays for a look."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replicas", type=int, default=4)
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="tetrarch-soak-"))
    with running(place / "net", replicas=options.replicas) as net:
        wrong = campaign(net, options.minutes * 60, options.seed)
    for line in wrong:
        print(line)
    if wrong:
        print(f"seed {options.seed}: {len(wrong)} things are wrong; everything lies in {place}")
        return 1
    shutil.rmtree(place)
    print("nothing is wrong")
    return 0


if __name__ == "__main__":
    sys.exit(main())
