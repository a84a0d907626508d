"""Notes the trace of a simulated run.

What lives here: what a frame is about, in the few words that a line of the trace has, and the joining of the
network's own trace with them. Without a recorder nothing is described, and a run is a third quicker.
"""

from hashlib import sha256

from byzantine.trace import Event, What
from crypto.errors import CryptoError
from network.simulated import Endpoint, Happening, TraceEvent
from pbft.messages import NewView, ViewChange, kinds
from tetrarch.decoding import FrameDecoder
from tetrarch.wire import (
    BETWEEN_MEMBERS,
    FROM_CLIENTS,
    MAX_FRAME_BYTES,
    TO_CLIENTS,
    EngineMessage,
    Frame,
)

_frames = FrameDecoder({**FROM_CLIENTS, **TO_CLIENTS, **BETWEEN_MEMBERS}, MAX_FRAME_BYTES)

_FATES = {
    Happening.SENT: What.SENT,
    Happening.DELIVERED: What.DELIVERED,
    Happening.LOST: What.LOST,
    Happening.DESTINATION_DOWN: What.LOST,
    Happening.CUT: What.CUT,
}

Words = tuple[str, int, int, str, str]
"""Kind, view, sequence, digest, and the number of the member that signed it, if one did."""

NOTHING: Words = ("", -1, -1, "", "")


class Recorder:
    """Keeps the events of one run."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._described: dict[int, Words] = {}
        self._known: dict[bytes, Words] = {}
        self._next = NOTHING

    def about_to_send(self, frame: bytes) -> None:
        """The next frame that the network tells of is this one."""
        known = self._known.get(frame)
        if known is None:
            known = self._known[frame] = describe(frame)
        self._next = known

    def on_network(self, told: TraceEvent) -> None:
        """Note what became of a frame."""
        fate = _FATES.get(told.what)
        if fate is None:
            return
        if fate is What.SENT:
            self._described[told.number] = self._next
        kind, view, sequence, digest, signer = self._described.get(told.number, NOTHING)
        self.events.append(
            Event(
                told.time_us,
                fate,
                str(told.source),
                str(told.destination),
                told.number,
                kind,
                view,
                sequence,
                digest,
                signer=signer if signer != str(told.source) else "",
            )
        )

    def note(self, at_us: int, what: What, source: Endpoint, **more: object) -> None:
        """Note anything else."""
        self.events.append(Event(at_us, what, str(source), **more))  # type: ignore[arg-type]


def describe(frame: bytes) -> Words:
    """Return what a frame is about."""
    try:
        decoded: Frame = _frames.decode(frame)
        if not isinstance(decoded, EngineMessage):
            return (type(decoded).__name__.lower(), -1, -1, "", "")
        message = kinds.decode(decoded.envelope)
    except CryptoError:
        return ("malformed", -1, -1, "", "")
    view = getattr(message, "view", -1)
    sequence = getattr(message, "sequence", getattr(message, "height", -1))
    digest = getattr(message, "digest", getattr(message, "block_hash", b""))
    if isinstance(message, ViewChange | NewView):
        digest = sha256(decoded.envelope.body).digest()
    kind = decoded.envelope.kind.removeprefix("pbft/")
    return (kind, int(view), int(sequence), bytes(digest)[:4].hex(), str(decoded.envelope.signer))
