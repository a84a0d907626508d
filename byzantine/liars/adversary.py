"""A network that is itself hostile: it sees who leads and can cut links; and where frames are not hidden from
it, all of them between members pass through it.

What lives here: what an adversary of the network is, what a runner gives it (`Wires`), and the register of
all of them. What must not be known here: which runner runs it. It has no member's key: it shows what was
said, changes bytes, and decides when they arrive.
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

from byzantine.liars.hostile import Hostile, Surroundings
from byzantine.liars.parameters import require_lie
from byzantine.scenario import Lie
from crypto.roster import MemberId, Roster
from crypto.signed import Envelope
from network.simulated import Endpoint

A = TypeVar("A", bound="Adversary")


class Standing(NamedTuple):
    """Which view an honest replica is in or about to enter, and whether it has started there."""

    view: int
    active: bool


class Wires(Surroundings, Protocol):
    """What a runner gives a hostile network."""

    @property
    def roster(self) -> Roster:
        """Of the network."""
        ...

    @property
    def healed(self) -> bool:
        """Whether all faults are to have ended."""
        ...

    def after(self, delay_ms: int, action: Callable[[], object]) -> None:
        """Call `action` so many ms later."""
        ...

    def standings(self) -> Iterable[Standing]:
        """Where the honest replicas that run stand, as of now or just before."""
        ...

    def cut_off(self, member: int) -> None:
        """Let nothing pass between a member and any other."""
        ...

    def let_back(self, member: int) -> None:
        """Let everything pass between a member and all others."""
        ...

    def recorded(self, roster: Roster, member: MemberId, message: Any) -> Envelope:
        """Return what a member said under another roster: on another chain or in another epoch, in which it
        has the same key."""
        ...


def require_elsewhere(here: Roster, roster: Roster) -> None:
    """Guard: raise `ValueError` for a roster of the network's own chain and epoch. Nobody forges there."""
    if (roster.chain_id, roster.epoch) == (here.chain_id, here.epoch):
        raise ValueError("what is recorded was said on another chain, or in another epoch")


class Carried(NamedTuple):
    """One frame that arrives, how much later than it would have, and as whose where not as its sender's."""

    frame: bytes
    delay_ms: int = 0
    source: Endpoint | None = None


class Adversary(Hostile):
    """One way in which a network is hostile. Each must call `fire` when, and only when, it really was."""

    looks_every_ms: ClassVar[int] = 0
    """How often `look` is called; 0: never."""
    sees_frames: ClassVar[bool] = False
    """Whether it does what it does to frames."""

    def __init__(self, wires: Wires, lie: Lie, seed: str) -> None:
        super().__init__(lie, wires, seed)
        self.wires = wires
        self.n = wires.roster.n

    def begin(self) -> None:
        """Begin to look around, where it does."""
        if self.looks_every_ms:
            self.wires.after(self.looks_every_ms, self._look)

    def _look(self) -> None:
        self.look()
        self.wires.after(self.looks_every_ms, self._look)

    def look(self) -> None:
        """Do something unasked, such as cutting links."""

    def on_frame(self, source: Endpoint, to: int, frame: bytes) -> Iterable[Carried] | None:
        """Return what arrives in place of a frame from one member to another; `None`: itself, unchanged."""


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


def make_adversary(wires: Wires, lie: Lie, seed: str) -> Adversary:
    """Return an adversary of one network. Raises `Contradiction`."""
    require_lie(ADVERSARIES, lie, "hostile_network")
    return ADVERSARIES[lie.behaviour](wires, lie, seed)


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
