"""The door for members' frames: decoding, form, and the engine messages that wait for their signatures.

What does not decode, or is not of this chain and epoch, is dropped and counted with a reason. Nothing is
executed, stored or answered here.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from crypto.errors import CryptoError
from crypto.keys import Check
from crypto.roster import MemberId
from crypto.signed import Signed
from tetrarch.engines import Door
from tetrarch.node.effects import Counters
from tetrarch.node.limits import NodeLimits
from tetrarch.node.verified import VerifiedSignatures
from tetrarch.wire import BETWEEN_MEMBERS, MAX_FRAME_BYTES, EngineMessage, Frame, FrameDecoder


class _Waiting(NamedTuple):
    message: Signed[Any]
    checks: list[Check]


class Inbox:
    """Frames of members in; decoded frames out, and engine messages once their signatures hold."""

    def __init__(
        self, door: Door, verified: VerifiedSignatures, members: int, limits: NodeLimits, counters: Counters
    ) -> None:
        self._door = door
        self._verified = verified
        self._limits = limits
        self._counters = counters
        self._decoder = FrameDecoder(BETWEEN_MEMBERS, MAX_FRAME_BYTES)
        self._lanes: tuple[deque[_Waiting], ...] = tuple(deque() for _ in range(members))
        self.waiting = 0
        """How many engine messages wait to be verified."""

    def receive(self, member: MemberId, data: bytes) -> Frame | None:
        """Decode one frame. An engine message is kept for `take`; any other frame is returned."""
        try:
            frame = self._decoder.decode(data)
        except CryptoError:
            self._counters.count("member frame: not decodable")
            return None
        if not isinstance(frame, EngineMessage):
            return frame
        lane = self._lanes[member]
        if len(lane) >= self._limits.messages_per_member:
            self._counters.count("engine message: too many of one member")
            return None
        try:
            message, checks = self._door.open(frame.envelope)
        except CryptoError:
            self._counters.count("engine message: malformed")
            return None
        lane.append(_Waiting(message, checks))
        self.waiting += 1
        return None

    def take(self, redundant: Callable[[Signed[Any]], bool]) -> Iterator[Signed[Any]]:
        """Yield the next messages of every member whose signatures all hold.

        They keep the order in which their sender's frames came, members in turn, so that one member's
        flood leaves the others their share. Each is verified when its turn comes, so that a vote which those
        before it have made `redundant` costs no verification: with four members that is a third of all votes.
        """
        chunk: list[_Waiting] = []
        for lane in self._lanes:
            room = self._limits.messages_per_turn
            while lane and room:
                chunk.append(lane.popleft())
                room -= 1
        self.waiting -= len(chunk)
        for message, checks in chunk:
            if redundant(message):
                self._counters.count("engine message: redundant")
            elif self._verified.hold(checks):
                yield message
            else:
                self._counters.count("engine message: bad signature")
