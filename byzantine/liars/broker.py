"""Networks that lie: a broker that all frames between members pass through, and one that replays what the
same members said on another chain.

What lives here: adversaries (catalogue 59 and 68). What must not be known here: members' keys on this chain.
"""

from collections import deque
from collections.abc import Iterable
from typing import ClassVar

from msgspec import structs

from byzantine.liars.adversary import Adversary, Carried, Wires, adversary
from byzantine.liars.parameters import Parameters
from byzantine.scenario import Lie
from crypto.digest import ChainId, digest
from crypto.errors import CryptoError
from crypto.roster import Epoch, MemberId
from crypto.signed import Envelope
from network.simulated import Endpoint
from pbft.messages import NEW_VIEW, Commit, Prepare, kinds
from tetrarch.decoding import FrameDecoder
from tetrarch.wire import BETWEEN_MEMBERS, MAX_FRAME_BYTES, EngineMessage, pack

_frames = FrameDecoder(BETWEEN_MEMBERS, MAX_FRAME_BYTES)

KEPT = 500
"""Frames that a broker keeps for showing again."""


@adversary("lose-new-views")
class LoseNewViews(Adversary):
    """Loses every NEW-VIEW: views are left, and none starts but at its primary. Stops when faults end."""

    sees_frames = True

    def on_frame(self, source: Endpoint, to: int, frame: bytes) -> Iterable[Carried] | None:
        """All other frames arrive."""
        if self.wires.healed or not self.may_fire(to):
            return None
        try:
            decoded = _frames.decode(frame)
        except CryptoError:
            return None
        if not isinstance(decoded, EngineMessage) or decoded.envelope.kind != NEW_VIEW:
            return None
        self.fire()
        return ()


@adversary("lying-broker")
class LyingBroker(Adversary):
    """Drops, repeats, reorders, delays, changes and replays frames between members, each with probability
    `share`; and delivers in one member's name what another said."""

    parameters: ClassVar[Parameters] = {"share": 0.25, "delay_ms": 150}
    sees_frames = True

    def __init__(self, wires: Wires, lie: Lie, seed: str) -> None:
        super().__init__(wires, lie, seed)
        self._read: deque[bytes] = deque(maxlen=KEPT)

    def on_frame(self, source: Endpoint, to: int, frame: bytes) -> Iterable[Carried] | None:
        """What a broker can do without keys."""
        self._read.append(frame)
        if not self.may_fire(to) or self.random.random() >= self.share("share"):
            return None
        self.fire()
        match self.random.randrange(7):
            case 0:
                return ()
            case 1:
                return (Carried(frame), Carried(frame, self.random.randrange(200)))
            case 2:
                return (Carried(frame, self.random.randrange(self.number("delay_ms"))),)
            case 3:
                return (Carried(self._forged(frame)), Carried(frame))
            case 4:
                return (Carried(self.random.choice(self._read)), Carried(frame))
            case 5:
                return (Carried(self._in_another_name(frame)), Carried(frame))
            case _:
                others = [member for member in range(self.n) if member not in (source, to)]
                return (Carried(frame, source=self.random.choice(others)), Carried(frame))

    def _forged(self, frame: bytes) -> bytes:
        """One byte is another, wherever it stands."""
        changed = bytearray(frame)
        changed[self.random.randrange(len(changed))] ^= 1 << self.random.randrange(8)
        return bytes(changed)

    def _in_another_name(self, frame: bytes) -> bytes:
        try:
            decoded = _frames.decode(frame)
        except CryptoError:
            return frame[:-1]
        if not isinstance(decoded, EngineMessage):
            return frame + b"\x00"
        envelope = decoded.envelope
        other = MemberId((envelope.signer + 1 + self.random.randrange(self.n - 1)) % self.n)
        return pack(EngineMessage(structs.replace(envelope, signer=other)))


class ForeignReplay(Adversary):
    """The base of those that show members what the same members signed where the same keys are in use."""

    sees_frames = True

    def on_frame(self, source: Endpoint, to: int, frame: bytes) -> Iterable[Carried] | None:
        """Before each vote comes one for another digest, at the same view and sequence."""
        if not self.may_fire(to):
            return None
        try:
            decoded = _frames.decode(frame)
        except CryptoError:
            return None
        if not isinstance(decoded, EngineMessage):
            return None
        message = kinds.decode(decoded.envelope)
        if not isinstance(message, Prepare | Commit):
            return None
        self.fire()
        other = structs.replace(message, digest=digest("another chain", message.digest))
        return (Carried(pack(EngineMessage(self.recorded(decoded.envelope.signer, other)))), Carried(frame))

    def recorded(self, signer: MemberId, message: Prepare | Commit) -> Envelope:
        """Return what a member said there."""
        raise NotImplementedError


@adversary("replay-foreign-chain")
class ReplayForeignChain(ForeignReplay):
    """Replays votes of another chain with the same members and epoch."""

    def recorded(self, signer: MemberId, message: Prepare | Commit) -> Envelope:
        """Signed over another chain's id, which no envelope names."""
        roster = structs.replace(self.wires.roster, chain_id=ChainId(digest("another chain")))
        return self.wires.recorded(roster, signer, message)


@adversary("replay-foreign-epoch")
class ReplayForeignEpoch(ForeignReplay):
    """Replays votes of another epoch of this chain with the same members, as they are or with this epoch put
    over them."""

    def recorded(self, signer: MemberId, message: Prepare | Commit) -> Envelope:
        """The epoch is named and signed."""
        roster = structs.replace(self.wires.roster, epoch=Epoch(1))
        envelope = self.wires.recorded(roster, signer, message)
        return envelope if self.random.random() < 0.5 else structs.replace(envelope, epoch=Epoch(0))
