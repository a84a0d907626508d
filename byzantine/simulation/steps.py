"""What a scenario's steps do to a simulated world.

What lives here: one small action per kind of step. What must not be known here: when they happen.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from byzantine import scenario as plan
from byzantine.trace import What
from network.simulated import MILLISECOND, Endpoint, LinkPolicy, Tailed, Uniform

if TYPE_CHECKING:
    from byzantine.simulation.world import World

LONGEST_TAIL = 40
"""A delay with a tail grows to so many times the longest common one, at most."""


def do(world: "World", step: plan.Step) -> None:
    """Do one step now."""
    match step:
        case plan.Submit():
            world.clients[step.client].submit(step.count, step.to)
            return
        case plan.Read():
            world.clients[step.client].read()
            return
        case plan.Crash():
            world.crash(world.replicas[step.member], step.surviving)
            return
        case plan.Restart():
            world.revive(world.replicas[step.member])
            return
        case plan.PowerCut():
            _power_cut(world, step)
        case plan.Partition():
            _partition(world, step)
        case plan.Cut():
            _between(world, world.network.cut, [(step.source, step.target)])
        case plan.Isolate():
            _isolate(world, step)
        case plan.Mend():
            world.network.heal()
        case plan.Links():
            world.network.set_policy(link_policy(step))
        case plan.Clock():
            world.replicas[step.member].clock.jump(step.by_ms * MILLISECOND)
        case plan.Disk():
            _disk(world, step)
    world.note(What.FAULT, "network", note=in_words(step))


def in_words(step: plan.Step) -> str:
    """Return a step as a few words for people."""
    facts = {name: getattr(step, name) for name in step.__struct_fields__ if name != "at_ms"}
    words = " ".join(f"{name}={value}" for name, value in facts.items())
    return f"{type(step).__name__.lower()} {words}".strip()


def link_policy(links: plan.Links) -> LinkPolicy:
    """Return how links treat frames, in the network's own terms."""
    delay: Tailed | Uniform = Uniform(links.low_us, links.high_us)
    if links.tail:
        delay = Tailed(links.low_us, links.high_us, links.tail, LONGEST_TAIL * links.high_us)
    return LinkPolicy(delay, links.loss, links.repeat, links.reorder)


def _between(
    world: "World", action: Callable[[Endpoint, Endpoint], None], pairs: Iterable[tuple[int, int]]
) -> None:
    for source, target in pairs:
        for one in world.endpoints(source):
            for other in world.endpoints(target):
                if one != other:
                    action(one, other)


def _partition(world: "World", step: plan.Partition) -> None:
    side: dict[Endpoint, int] = {}
    for number, group in enumerate(step.groups):
        for seat in group:
            side |= dict.fromkeys(world.seat(seat), number)
    for source in side:
        for target in side:
            if side[source] != side[target]:
                world.network.cut(source, target)


def _isolate(world: "World", step: plan.Isolate) -> None:
    others = [member for member in range(world.n) if member != step.member]
    _between(world, world.network.cut, [(step.member, other) for other in others])
    _between(world, world.network.cut, [(other, step.member) for other in others])


def _power_cut(world: "World", step: plan.PowerCut) -> None:
    everybody = (*world.replicas, *world.twins)
    for replica in everybody:
        world.crash(replica, step.surviving)
    for replica in everybody:
        world.revive(replica)


def _disk(world: "World", step: plan.Disk) -> None:
    replica = world.replicas[step.member]
    disk = replica.disk
    match step.what:
        case "full" | "free":
            disk.full = step.what == "full"
        case "keep":
            disk.keep()
        case "flip":
            disk.flip(world.random)
            replica.lost_disk = True
        case "lose" | "old":
            world.crash(replica)
            if step.what == "lose":
                disk.lose()
            else:
                disk.put_back()
            replica.marked = replica.lost_disk = True
            world.revive(replica)
