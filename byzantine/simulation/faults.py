"""Faults at will: what a scenario's steps do, done to a running network now.

What lives here: one method for each kind of step. What must not be known here: what a step does
(`byzantine.simulation.steps`), and what must come of it.
"""

from collections.abc import Callable, Iterable
from typing import Literal

import msgspec
from msgspec import structs

from byzantine import scenario as plan
from byzantine.fields import field_and_reason
from byzantine.simulation.steps import do
from byzantine.simulation.world import World


class Faults:
    """Hurts one network. Members are numbered from 0. Raises `ValueError` for what cannot be."""

    def __init__(self, world: World, run: Callable[[int], None]) -> None:
        self._world, self._run = world, run

    def crash(self, member: int, surviving: int = 0) -> None:
        """End a replica's process at once. Of what was not synced, the first `surviving` writes stay."""
        self._do(plan.Crash(member=member, surviving=surviving))

    def restart(self, member: int) -> None:
        """Start a replica that is down."""
        self._do(plan.Restart(member=member))

    def power_cut(self, surviving: int = 0) -> None:
        """Crash all replicas at once, and start them again."""
        self._do(plan.PowerCut(surviving=surviving))

    def partition(self, *groups: Iterable[int]) -> None:
        """Let nothing pass between members of different groups; clients reach everybody."""
        self._do(plan.Partition(groups=tuple(tuple(group) for group in groups)))

    def cut(self, source: int, target: int) -> None:
        """Let nothing pass from one member to another; the other direction is another link."""
        self._do(plan.Cut(source=source, target=target))

    def isolate(self, member: int) -> None:
        """Let a member hear no other, and be heard by none."""
        self._do(plan.Isolate(member=member))

    def mend(self) -> None:
        """Let all links carry again."""
        self._do(plan.Mend())

    def links(
        self,
        low_us: int = 200,
        high_us: int = 2_000,
        tail: float = 0.0,
        loss: float = 0.0,
        repeat: float = 0.0,
        reorder: float = 0.0,
    ) -> None:
        """Treat frames on all links so from now on (`byzantine.scenario.Links`)."""
        self._do(
            plan.Links(low_us=low_us, high_us=high_us, tail=tail, loss=loss, repeat=repeat, reorder=reorder)
        )

    def clock(self, member: int, by_ms: int) -> None:
        """Let a member's wall clock jump."""
        self._do(plan.Clock(member=member, by_ms=by_ms))

    def disk(self, member: int, what: Literal["full", "free", "flip", "lose", "keep", "old"]) -> None:
        """Let a member's disk go wrong (`byzantine.scenario.Disk`)."""
        self._do(plan.Disk(member=member, what=what))

    def run(self, ms: int) -> None:
        """Let so much virtual time pass."""
        self._run(ms)

    def _do(self, step: plan.Step) -> None:
        kind = msgspec.to_builtins(step)["do"]
        try:
            step = msgspec.convert(msgspec.to_builtins(step), type(step), strict=True)
            plan.require_consistent(structs.replace(self._world.scenario, steps=(step,)))
        except msgspec.ValidationError as error:
            raise ValueError(f"{kind}: {': '.join(field_and_reason(error, type(step)))}") from None
        except plan.Contradiction as error:
            raise ValueError(f"{kind}: {error.field.removeprefix('steps[0].')}: {error.why}") from None
        do(self._world, step)
