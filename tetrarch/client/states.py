"""What replicas say of themselves: for people. Nothing of it is proven.

What lives here: asking all replicas at once. What must not be known here: what their states mean.
"""

import asyncio
from contextlib import suppress

from msgspec import Struct

from tetrarch.client.links import Link
from tetrarch.client.session import Session
from tetrarch.wire import AskStatus, StatusReply


class ReplicaStatus(Struct, frozen=True):
    """One replica as it was found."""

    member: int
    name: str
    reply: StatusReply | None
    """What it said of itself; `None` where it could not be reached or did not answer."""
    cause: str = ""
    """Why there is no reply."""

    @property
    def reachable(self) -> bool:
        """Whether it answered."""
        return self.reply is not None


async def states(session: Session, deadline: float) -> list[ReplicaStatus]:
    """Ask every replica, and return what came until `deadline` (loop time, s), by member."""
    session.require_one_chain()
    return list(await asyncio.gather(*(_state(session, link, deadline) for link in session.links.all)))


async def _state(session: Session, link: Link, deadline: float) -> ReplicaStatus:
    with suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):
            await link.tried.wait()
    patience = min(session.tuning.answer_ms / 1000, deadline - asyncio.get_running_loop().time())
    answer = await link.ask(AskStatus, max(patience, 0.0))
    if isinstance(answer, StatusReply):
        return ReplicaStatus(link.member, link.name, answer)
    cause = "it did not answer in time" if link.up else link.cause
    return ReplicaStatus(link.member, link.name, None, cause)
