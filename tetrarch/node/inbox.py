"""The door for members' frames: decoding, form, and the engine messages that wait to be opened and verified.

What does not decode, or is not of this chain and epoch, is dropped and counted with a reason. Nothing is
executed, stored or answered here.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from crypto.errors import CryptoError
from crypto.roster import MemberId
from crypto.signed import Envelope, Signed
from tetrarch.decoding import FrameDecoder
from tetrarch.engines import Door
from tetrarch.node.effects import Counters
from tetrarch.node.limits import NodeLimits
from tetrarch.node.verified import VerifiedSignatures
from tetrarch.wire import BETWEEN_MEMBERS, MAX_FRAME_BYTES, EngineMessage, Frame


def weight(envelope: Envelope) -> int:
    """About how many signatures' time opening and verifying `envelope` may take: a vote weighs 1.

    By its bytes: a nested signature has about 128 of them with what it signs, an id beside costs a hash.
    """
    return 1 + len(envelope.body) // 128 + len(envelope.beside) // 1024


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
        self._lanes: tuple[deque[tuple[Envelope, int]], ...] = tuple(deque() for _ in range(members))
        """What waits of each member, in the order in which it came, and what it weighs."""
        self._work = [0] * members
        """What waits in each lane weighs together."""
        self.waiting = 0
        """How many engine messages wait to be opened and verified."""

    def receive(self, member: MemberId, data: bytes) -> Frame | None:
        """Decode one frame. An engine message is kept for `take`; any other frame is returned."""
        try:
            frame = self._decoder.decode(data)
        except CryptoError:
            self._counters.count("member frame: not decodable")
            return None
        if not isinstance(frame, EngineMessage):
            return frame
        lane, limits = self._lanes[member], self._limits
        if len(lane) >= limits.messages_per_member or self._work[member] >= limits.message_work_per_member:
            self._counters.count("engine message: too many of one member")
            return None
        weighs = weight(frame.envelope)
        lane.append((frame.envelope, weighs))
        self._work[member] += weighs
        self.waiting += 1
        return None

    def take(self, redundant: Callable[[Signed[Any]], bool]) -> Iterator[Signed[Any]]:
        """Yield the next messages of every member whose form is right and whose signatures all hold.

        They keep the order in which their sender's frames came, members in turn, so that one member's
        flood leaves the others their share. Each is verified when its turn comes, so that a vote which those
        before it have made `redundant` costs no verification: with four members that is a third of all votes.
        """
        for envelope in self._next():
            try:
                message, checks = self._door.open(envelope)
            except CryptoError:
                self._counters.count("engine message: malformed")
                continue
            if redundant(message):
                self._counters.count("engine message: redundant")
            elif self._verified.hold(checks):
                yield message
            else:
                self._counters.count("engine message: bad signature")

    def sizes(self) -> Mapping[str, tuple[int, int]]:
        """Return how much is held of one member at most, and how much that may be."""
        limits = self._limits
        return {
            "engine messages of one member": (max(map(len, self._lanes)), limits.messages_per_member),
            "work of one member": (max(self._work), 2 * limits.message_work_per_member),
            "verified signatures": (len(self._verified), limits.verified_signatures),
        }

    def _next(self) -> list[Envelope]:
        """Take out what one turn has time for, of every member alike."""
        chunk: list[Envelope] = []
        for member, lane in enumerate(self._lanes):
            room, work = self._limits.messages_per_turn, self._limits.message_work_per_turn
            while lane and room and work > 0:
                envelope, weighs = lane.popleft()
                chunk.append(envelope)
                room -= 1
                work -= weighs
                self._work[member] -= weighs
        self.waiting -= len(chunk)
        return chunk
