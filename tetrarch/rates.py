"""What changes between two looks at all replicas: how fast each of them is, and what it refuses at present.

What lives here: differences of what replicas say of themselves, by their own clocks. What must not be known
here: how replicas are asked (`tetrarch.survey`), and how it is shown. Nothing of it is proven.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from tetrarch.client.states import ReplicaStatus
from tetrarch.wire import StatusReply


class Rate(Struct, frozen=True):
    """What one replica did between two looks."""

    transactions_per_s: float | None = None
    """Executed; `None` where there are no two answers of one run."""
    blocks_per_s: float | None = None
    refused: Mapping[str, int] = {}
    """What it ignored, refused or dropped, by reason, as far as that rose."""


class Rates:
    """Remembers the last answer of every replica, and what it told beside the one before."""

    def __init__(self) -> None:
        self._last: dict[int, tuple[StatusReply, Rate]] = {}

    def next(self, reports: Sequence[ReplicaStatus]) -> list[Rate]:
        """Return what each replica did between its last two answers; an unreachable one, nothing."""
        return [self._next(report.member, report.reply) for report in reports]

    def _next(self, member: int, reply: StatusReply | None) -> Rate:
        if reply is None:
            # It may be another run when it comes back, and the time until then says nothing.
            self._last.pop(member, None)
            return Rate()
        before, rate = self._last.get(member, (None, Rate()))
        if reply is not before:
            rate = _rate(before, reply)
            self._last[member] = reply, rate
        return rate


def _rate(before: StatusReply | None, reply: StatusReply) -> Rate:
    if before is None or reply.uptime_ms <= before.uptime_ms or reply.transactions < before.transactions:
        return Rate()
    seconds = (reply.uptime_ms - before.uptime_ms) / 1000
    earlier = dict(before.ignored)
    rose = {reason: count - earlier.get(reason, 0) for reason, count in reply.ignored}
    return Rate(
        transactions_per_s=(reply.transactions - before.transactions) / seconds,
        blocks_per_s=max(0, reply.height - before.height) / seconds,
        refused={reason: count for reason, count in rose.items() if count > 0},
    )
