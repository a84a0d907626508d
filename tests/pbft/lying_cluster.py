"""A cluster of bare engines of which some lie, and of which correct ones may crash at any write."""

import heapq
import random
from functools import partial

from msgspec import structs

from crypto.batch import TxId
from crypto.roster import MemberId
from crypto.signed import Envelope
from tests.pbft.cluster import WALL, Cluster, Member, request
from tests.pbft.liars import Liar, Memory


class LyingCluster(Cluster):
    """A cluster of which some members lie, and correct ones may crash after a Ready's records are written."""

    def __init__(self, n: int, seed: int, liars: list[int], crashing: float, **others) -> None:
        self.dice = random.Random(f"liars {seed} {n}")
        self.memory = Memory()
        self.liars: dict[int, Liar] = {}
        self.crashing = 0.0
        self.running = False
        self.submitted = 0
        self.pause = 100
        super().__init__(n, seed, **others)
        self.quorum = self.members[0].engine._state.quorums.quorum
        self.crashing = crashing
        for member in liars:
            self.liars[member] = liar = Liar(self, MemberId(member))
            self.at(0, liar.change_moods)
            self.at(self.dice.randint(1, 100), liar.speak)

    @property
    def wall(self) -> int:
        return WALL + self.time

    def id_of(self, number: int) -> TxId:
        return request(number).id

    def say(self, source: int, to: int, envelope: Envelope) -> None:
        self.pass_on(source, to, envelope, partial(Member.take, envelope=envelope))

    @property
    def honest(self) -> list[Member]:
        return [member for member in self.members if member.id not in self.liars]

    def emit(self, source: Member, ready) -> None:
        liar = self.liars.get(source.id)
        if liar is None:
            if ready and self.running and self.dice.random() < self.crashing:
                raise Crash(source)
            for send in ready.send:
                self.memory.note(send.message)
            super().emit(source, ready)
            return
        for send in ready.send:
            for to in send.to if send.to is not None else [m for m in self.roster.members if m != source.id]:
                liar.pass_on(to, send.message)
        super().emit(source, structs.replace(ready, send=()))

    def run(self, until=None, limit: int = 60_000) -> bool:
        end = self.time + limit
        while self.heap and self.heap[0][0] <= end:
            if until is not None and until():
                return True
            self.time, _, action = heapq.heappop(self.heap)
            self.running = True
            try:
                action()
            except Crash as crash:
                crash.member.crash()
                self.at(self.dice.choice([1, 50, 1000]), partial(self.restart, crash.member))
            finally:
                self.running = False
        self.time = end
        return until() if until is not None else True

    def restart(self, member: Member) -> None:
        if not member.up:
            member.start()

    def check_agreement(self) -> None:
        longest = max((member.disk.chain for member in self.honest), key=len)
        for member in self.honest:
            for mine, theirs in zip(member.disk.chain, longest, strict=False):
                assert mine[1] == theirs[1], f"member {member.id} disagrees at {mine[0].height}"


class Crash(Exception):
    """A member stops between what a Ready persists and all else that it wants."""

    def __init__(self, member: Member) -> None:
        super().__init__(member.id)
        self.member = member
