"""The second runner: one scenario on real replica processes, over TCP and TLS on this machine, judged by the
same oracles.

What lives here: what cannot be played on processes, making an observation of a run and of the stores that it
left, and the result. What must not be known here: how a run goes on (`playing`).

Not everything that the simulator does can be done to processes: clocks cannot be moved, and a killed process
leaves all that it wrote with the system, synced or not. What cannot be done makes a run inconclusive, and so
does a process that is lost sight of. What members say to each other is encrypted, so nobody watches an honest
member's conduct here but the search for evidence, in what the others keep of it. docs/testing.md says what
else is different.
"""

import os
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import structs

from byzantine import scenario as plan
from byzantine.culprits import liar
from byzantine.known import require_known
from byzantine.oracles import Observation, judge
from byzantine.oracles.observation import Chain
from byzantine.runners.members import CAN_FILL_DISKS, RealMember, peak_bytes
from byzantine.runners.outsiders import acts_on_frames
from byzantine.runners.playing import ALLOWANCE_MS, ALLOWANCE_VIEWS, Lost, Play
from byzantine.runners.results import unfinished
from byzantine.runners.simulated import result_of
from byzantine.runners.stores import audited, faults, highest_view, opened_chain, proof_in
from byzantine.scenario import Scenario, require_consistent, require_work
from byzantine.verdicts import Result
from crypto.keys import InlineChecker
from ledger.errors import StoreError
from tetrarch.errors import ConfigurationError
from tetrarch.event_loop import run
from tetrarch.layout import GENESIS_FILE
from tetrarch.setup.errors import SetupError
from tetrarch.signals import end_like_interrupt

PROCESSES = "processes"

AT_BROKER = "mqtt"
"""The third runner: the same, but members and clients meet at a broker, behind a proxy that can lie."""

TRANSPORTS = {PROCESSES: "tcp", AT_BROKER: "mqtt"}

NET = "net"
"""The network's own directory."""

SLOWDOWN = 2.0
"""How much slower a scenario's time passes: several replicas share a core here, and need what they need."""

UNDECRYPTABLE = "member connection: sealed_undecryptable"

READS_FRAMES = frozenset({"lose-new-views", "replay-foreign-chain", "replay-foreign-epoch"})
"""Hostile networks that must understand what passes through them."""

LEAVES_CONNECTIONS = frozenset({"slow-reader", "half-open"})

TELLS_PEAKS = peak_bytes(os.getpid()) is not None
"""Whether this system tells the most memory that another process has had."""


def run_on_processes(
    scenario: Scenario,
    directory: Path | None = None,
    keep: bool = False,
    slowdown: float = SLOWDOWN,
    runner: str = PROCESSES,
) -> Result:
    """Run a scenario to its end in a throw-away network, and judge it.

    `directory`: where the network is made, in a directory `net` (by default a temporary one); with `keep` it
    is left there. `runner`: `PROCESSES`, or `AT_BROKER` for members that speak by way of a broker. Blocks;
    ends all its processes however it ends itself. Raises `Contradiction`.
    """
    require_consistent(scenario)
    require_work(scenario)
    require_known(scenario)
    impossible = unplayable(scenario, runner)
    if impossible:
        return unfinished(scenario, runner, impossible[0])
    began = time.perf_counter()
    if directory is not None and (directory / NET).exists():
        return unfinished(scenario, runner, f"{directory / NET} exists already, and is left as it is")
    home = directory or Path(tempfile.mkdtemp(prefix="tetrarch-attack-"))
    try:
        return _judged(scenario, home / NET, slowdown, began, runner)
    except (Lost, SetupError, ConfigurationError, OSError) as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        return unfinished(scenario, runner, why, time.perf_counter() - began)
    finally:
        if not keep:
            shutil.rmtree(home if directory is None else home / NET, ignore_errors=True)


def kept_in(directory: Path | None, scenario: Scenario) -> Path | None:
    """Return where in `directory` a run of a scenario is kept."""
    name = f"{scenario.name}-n{scenario.replicas}-seed{scenario.seed}"
    return None if directory is None else directory / name


def as_sealed(scenario: Scenario) -> Scenario:
    """Return a scenario as it is judged where members' messages are sealed: what a network changes is not
    even opened, and so nobody gets to look at signatures."""
    expect = scenario.expect
    if not acts_on_frames(scenario) or not expect.refused:
        return scenario
    return structs.replace(scenario, expect=structs.replace(expect, refused=(UNDECRYPTABLE,)))


def _needs_tcp(scenario: Scenario) -> list[str]:
    """Return what of a scenario cannot be done where members and clients meet at a broker, a line for
    each."""
    found = []
    if scenario.twins:
        found.append(
            "a member that runs twice would have one account at the broker, which keeps one connection"
        )
    for lie in scenario.hostile_network:
        if lie.behaviour in READS_FRAMES:
            found.append(f"{lie.behaviour}: what members say is sealed, and a broker cannot read it")
    for lie in scenario.hostile_clients:
        if lie.behaviour in LEAVES_CONNECTIONS:
            found.append(
                f"{lie.behaviour}: clients have no connection to a replica that they could leave open"
            )
    return found


def unplayable(scenario: Scenario, runner: str = PROCESSES) -> list[str]:
    """Return what of a scenario cannot be done to processes, a line for each."""
    found = _needs_tcp(scenario) if runner == AT_BROKER else []
    if runner == PROCESSES and scenario.twins and acts_on_frames(scenario):
        found.append("this runner runs no member twice where its network acts on frames")
    for step in (scenario.links, *scenario.steps):
        if isinstance(step, plan.Clock):
            found.append("this runner cannot move a process's clock")
        elif (
            runner == PROCESSES
            and isinstance(step, plan.Links)
            and acts_on_frames(scenario)
            and _breaks(step)
        ):
            found.append("this runner breaks no streams where its network acts on frames")
        elif isinstance(step, plan.Disk) and step.what == "full" and not CAN_FILL_DISKS:
            found.append("this runner cannot fill a disk on this system")
    return list(dict.fromkeys(found))


def _breaks(links: plan.Links) -> bool:
    return bool(links.loss or links.repeat or links.reorder)


def _judged(scenario: Scenario, directory: Path, slowdown: float, began: float, runner: str) -> Result:
    if runner == AT_BROKER:
        scenario = as_sealed(scenario)
    play = Play(scenario, directory, slowdown, TRANSPORTS[runner])
    try:
        with _stoppable():
            run(play.run())
    finally:
        play.kill()
    with ExitStack() as opened:
        seen = observe(play, opened)
        findings = judge(seen)
        return result_of(seen, findings, runner, time.perf_counter() - began)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Make SIGTERM what Ctrl-C is, where it would end this process with all replicas left behind."""
    ours = threading.current_thread() is threading.main_thread()
    if not (ours and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL):
        yield
        return
    end_like_interrupt()
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def observe(play: Play, opened: ExitStack) -> Observation:
    """Return what was seen of a run that has ended; the stores stay open as long as `opened`."""
    members, told, deeds = play.members, play.told, _deeds(play)
    seen = Observation(
        scenario=play.scenario,
        genesis=play.genesis,
        chains={},
        check=InlineChecker().check,
        operations=[operation for client in play.clients for operation in client.operations],
        sent_by_liars=frozenset(play.outsiders.sent),
        reads=[read for client in play.clients for read in client.reads],
        answers=[answer for client in play.clients for answer in client.answers],
        level_at_end=play.level_at_end,
        believed_blocks=told.believed_blocks,
        forks=told.forks,
        stopped=members.stopped,
        lost=members.lost,
        misconduct=None,
        fired=play.links.done + _by_name(deeds),
        fired_by=deeds,
        recovered_ms=play.recovered_ms,
        bound_ms=play.bound_ms,
        allowance_ms=ALLOWANCE_MS,
        allowance_views=ALLOWANCE_VIEWS,
        unfinished=play.unfinished,
        peak_bytes={member.number: _peak_bytes(play, member) for member in members.honest},
    )
    _look_into_stores(play, seen, opened)
    _take_statuses(play, seen)
    return seen


def _deeds(play: Play) -> dict[str, dict[str, int]]:
    """Return how often each liar, hostile client and network fired what it has."""
    deeds = play.outsiders.deeds
    for member in play.members.everybody:
        for behaviour, times in member.fired.items():
            deeds.note(liar(member.number), behaviour, times)
    return deeds.by


def _by_name(deeds: dict[str, dict[str, int]]) -> Counter[str]:
    fired: Counter[str] = Counter()
    for of_one in deeds.values():
        fired.update(of_one)
    return fired


def _peak_bytes(play: Play, member: RealMember) -> int | None:
    """Return the most memory that a member took; elsewhere than on Linux as it says itself."""
    status = play.statuses.get(member.number)
    return member.peak_bytes if TELLS_PEAKS or status is None else status.resident_bytes


def _look_into_stores(play: Play, seen: Observation, opened: ExitStack) -> None:
    """Read the stores and logs of honest members."""
    stores = {member.number: member.store for member in play.members.honest if not member.damaged}
    chains: dict[int, Chain] = {}
    unreadable, audit_faults = [], []
    for member in play.members.honest:
        seen.highest_view = max(seen.highest_view, highest_view(member.process.log))
    for number, store in stores.items():
        name = play.genesis.members[number].name
        try:
            audit_faults += [f"{name}: {fault}" for fault in faults(audited(store, play.genesis))]
            chains[number] = opened.enter_context(opened_chain(store, play.genesis))
        except (StoreError, ConfigurationError) as error:
            unreadable.append(f"the store of {name} cannot be read: {error}")
    if chains:
        readable = [stores[number] for number in chains]
        seen.evidence, seen.convicted = proof_in(readable, play.network.directory / GENESIS_FILE)
    seen.chains, seen.audit_faults = chains, audit_faults
    seen.stopped = [*seen.stopped, *unreadable]


def _take_statuses(play: Play, seen: Observation) -> None:
    """Take what members said of themselves at the end."""
    refused: Counter[str] = Counter()
    halted = list(play.told.broken)
    honest = {member.number: member for member in play.members.honest}
    for (number, _), counts in play.counted.items():
        if number in honest:
            refused.update(counts)
    for client in play.clients:
        refused.update(client.refused())
    for number, member in honest.items():
        status = play.statuses.get(number)
        if status is None:
            continue
        seen.highest_view = max(seen.highest_view, status.view)
        if status.halted:
            halted.append(f"replica {number} halted: {status.halted}")
        if status.role == "marked" and not member.lost_disk:
            halted.append(f"replica {number} was marked, though its disk is whole")
    seen.refused, seen.halted = refused, halted
    seen.halted_liars = {
        number: status.halted
        for number, status in play.statuses.items()
        if number not in honest and status.halted
    }
