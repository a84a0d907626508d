"""Votes on one slot: one per member, counted by what they say."""

from collections.abc import Hashable
from typing import Generic, TypeVar

from crypto.roster import MemberId
from crypto.signed import Signed

M = TypeVar("M", bound=Hashable)


class Votes(Generic[M]):
    """The first vote of each member; a later, different one is given back as a conflict."""

    __slots__ = ("_by_member",)

    def __init__(self) -> None:
        self._by_member: dict[MemberId, Signed[M]] = {}

    def __len__(self) -> int:
        """How many members voted, for whatever."""
        return len(self._by_member)

    def add(self, vote: Signed[M]) -> Signed[M] | None:
        """Count `vote` unless its member voted before; returns an earlier vote that contradicts it."""
        earlier = self._by_member.setdefault(vote.signer, vote)
        return None if earlier.message == vote.message else earlier

    def has(self, member: MemberId) -> bool:
        """Return whether `member` voted."""
        return member in self._by_member

    def of(self, member: MemberId) -> Signed[M] | None:
        """Return `member`'s vote."""
        return self._by_member.get(member)

    def matching(self, message: M) -> list[Signed[M]]:
        """Return the votes for exactly `message`, of distinct members, in ascending order."""
        votes = self._by_member
        return [votes[member] for member in sorted(m for m, vote in votes.items() if vote.message == message)]

    def leading(self, need: int) -> list[Signed[M]]:
        """Return the votes for the message that at least `need` members agree on, or nothing."""
        if len(self._by_member) < need:
            return []
        for vote in self._by_member.values():
            agreeing = self.matching(vote.message)
            if len(agreeing) >= need:
                return agreeing
        return []

    def clear(self) -> None:
        """Forget all votes."""
        self._by_member.clear()
