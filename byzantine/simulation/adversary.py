"""A network that is itself hostile: all frames between members pass through it, and it can cut links.

What lives here: what an adversary of the network is, and the register of all of them. What must not be known
here: members' keys. It forges nothing; it shows what was said, changes bytes, and decides when they arrive.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeVar

from byzantine.liars.hostile import Hostile
from byzantine.liars.parameters import require_lie
from byzantine.scenario import Lie
from network.simulated import MILLISECOND, Endpoint

if TYPE_CHECKING:
    from byzantine.simulation.world import World

A = TypeVar("A", bound="Adversary")


class Carried(NamedTuple):
    """One frame that arrives, how much later than it would have, and as whose where not as its sender's."""

    frame: bytes
    delay_ms: int = 0
    source: Endpoint | None = None


class Adversary(Hostile):
    """One way in which a network is hostile. Each must call `fire` when, and only when, it really was."""

    looks_every_ms: ClassVar[int] = 0
    """How often `look` is called; 0: never."""

    def __init__(self, world: "World", lie: Lie, number: int) -> None:
        super().__init__(lie, _Surroundings(world), f"{world.scenario.seed} {number}")
        self.world = world

    def begin(self) -> None:
        """Begin to look around, where it does."""
        if self.looks_every_ms:
            self.world.scheduler.after(self.looks_every_ms * MILLISECOND, self._look)

    def _look(self) -> None:
        self.look()
        self.world.scheduler.after(self.looks_every_ms * MILLISECOND, self._look)

    def look(self) -> None:
        """Do something unasked, such as cutting links."""

    def on_frame(self, source: Endpoint, to: int, frame: bytes) -> Iterable[Carried] | None:
        """Return what arrives in place of a frame from one member to another; `None`: itself, unchanged."""


class _Surroundings:
    """An adversary's surroundings (`byzantine.liars.hostile.Surroundings`)."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def now_ms(self) -> int:
        """Return the ms since the run began."""
        return self._world.scheduler.now_us // MILLISECOND

    def on_lied(self, behaviour: str) -> None:
        """A behaviour fired."""
        self._world.on_lied("network", behaviour)


ADVERSARIES: dict[str, type[Adversary]] = {}
"""Every adversary that a module has defined, by name."""


def adversary(name: str) -> Callable[[type[A]], type[A]]:
    """Define an adversary under `name`."""

    def define(kind: type[A]) -> type[A]:
        kind.name = name
        if ADVERSARIES.setdefault(name, kind) is not kind:
            raise ValueError(f"two adversaries are called {name}")
        return kind

    return define


def make_adversary(world: "World", lie: Lie, number: int) -> Adversary:
    """Return an adversary of one world. Raises `Contradiction`."""
    require_lie(ADVERSARIES, lie, "hostile_network")
    return ADVERSARIES[lie.behaviour](world, lie, number)


def through(adversaries: Iterable[Adversary], source: Endpoint, to: int, frame: bytes) -> Iterable[Carried]:
    """Return what arrives of one frame once all adversaries have had it in their hands."""
    carried = [Carried(frame)]
    for each in adversaries:
        carried = [
            changed
            for one in carried
            for changed in _changed(each, source if one.source is None else one.source, to, one)
        ]
    return carried


def _changed(each: Adversary, source: Endpoint, to: int, one: Carried) -> Iterable[Carried]:
    changed = each.on_frame(source, to, one.frame)
    if changed is None:
        return (one,)
    return [
        new._replace(
            delay_ms=new.delay_ms + one.delay_ms, source=one.source if new.source is None else new.source
        )
        for new in changed
    ]
