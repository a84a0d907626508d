"""Where everybody stands in a simulated world: for the oracles at the end of a run, and for people.

What lives here: looking at replicas and clients. What must not be known here: whether any of it is right.
"""

from collections import Counter
from typing import TYPE_CHECKING

from byzantine.scenario import LINKS_DO
from consensus.contract import Status
from ledger.keyvalue import Family
from pbft.records import CHECKPOINTS, EVIDENCE, NEW_VIEWS, archive_key

if TYPE_CHECKING:
    from byzantine.simulation.replica import SimulatedReplica
    from byzantine.simulation.world import World


def collect(world: "World") -> None:
    """Note where everybody stands now, for the oracles."""
    observed = world.observed
    observed.refused, observed.halted = Counter(), [*observed.halted_before]
    observed.missing = []
    for replica in world.honest:
        if replica.heart is not None:
            status = replica.heart.engine.status()
            observed.highest_view = max(observed.highest_view, status.view)
            observed.halted += halts(replica, status)
            if not replica.lost_disk:
                _note_archive(world, replica, status)
            for reason, count in replica.heart.reporter.ignored(status):
                observed.refused[reason] += count
            note_overfull(world, replica)
    for replica in world.replicas:
        if not replica.honest and replica.heart is not None:
            halted = replica.heart.engine.status().halted
            if halted is not None:
                observed.halted_liars[int(replica.member)] = halted
    for client in world.clients:
        observed.refused.update(client.refused_frames)
    for done in LINKS_DO:
        if times := getattr(world.network.traffic, done):
            observed.fired[done] = times


def note_overfull(world: "World", replica: "SimulatedReplica") -> None:
    """Note what a replica holds beyond its bound, each once."""
    if replica.heart is None:
        return
    for what, (held, most) in replica.heart.sizes().items():
        if held > most and (what, replica.member) not in world.observed.overfull:
            said = f"replica {replica.member}: {held} {what}, at most {most} are allowed"
            world.observed.overfull[what, replica.member] = said


def halts(replica: "SimulatedReplica", status: Status) -> list[str]:
    """Return what is wrong with how a replica stands: it halts on a full disk, and is marked after it lost
    its disk, and for nothing else."""
    found = []
    if status.halted is not None and replica.heart is not None and replica.heart.failure is None:
        found.append(f"replica {replica.member} halted: {status.halted}")
    if status.marked and not replica.lost_disk:
        found.append(f"replica {replica.member} was marked, though its disk is whole")
    return found


def _note_archive(world: "World", replica: "SimulatedReplica", status: Status) -> None:
    """Certificates and evidence outlive the log (rule 24)."""
    wanted = []
    if status.low:
        wanted.append(("the certificate of checkpoint", int(status.low), CHECKPOINTS))
    if status.active and status.view:
        wanted.append(("the NEW-VIEW of view", int(status.view), NEW_VIEWS))
    for what, number, prefix in wanted:
        if replica.disk.get(Family.ARCHIVE, archive_key(prefix, number)) is None:
            world.observed.missing.append(f"replica {replica.member} did not keep {what} {number}")
    held = next(replica.disk.scan(Family.ARCHIVE, EVIDENCE), (b"", b""))[0].startswith(EVIDENCE)
    if replica.accused and not held:
        world.observed.missing.append(f"replica {replica.member} did not keep its evidence")


def in_words(world: "World") -> str:
    """Return where everybody stands, for people."""
    open_ = sum(len(client.open) for client in world.clients)
    said = [f"clients wait for {open_}"]
    for replica in world.replicas:
        if replica.heart is None:
            said.append(f"{replica.member}: down {replica.stopped or ''}".strip())
            continue
        status = replica.heart.engine.status()
        where = f"{replica.member}: height {replica.heart.ledger.height} view {status.view}"
        said.append(f"{where} waits for {status.waiting_for}")
    return "; ".join(said)
