"""One lying member: the production engine and heart, and the hand through which all goes that they take and
say.

What lives here: `Hand`, through which frames leave (the engine itself is wrapped in
`byzantine.liars.engine`); `Behaviour`, what every entry of the catalogue is; and when one may fire. What must
not be known here: which behaviours there are, and which runner runs them.

A liar signs with its own key alone: its `signer` is all that it is given. It may show again what others
signed.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from random import Random
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

from byzantine.liars.memory import Memory
from byzantine.liars.parameters import Parameters, parameter
from byzantine.scenario import Lie
from consensus.contract import Engine, Request, Status
from consensus.quorum import Quorums
from crypto.attestation import Height
from crypto.digest import Digest
from crypto.errors import CryptoError
from crypto.keys import Signer
from crypto.roster import MemberId, Roster
from crypto.signed import Envelope, Signed
from ledger.application import Application
from ledger.genesis import Genesis
from pbft.messages import kinds, primary_of
from tetrarch.decoding import FrameDecoder
from tetrarch.engines import Door
from tetrarch.node.effects import ConnectionId
from tetrarch.wire import (
    BETWEEN_MEMBERS,
    FROM_CLIENTS,
    MAX_CLIENT_FRAME_BYTES,
    MAX_FRAME_BYTES,
    TO_CLIENTS,
    Bodies,
    EngineMessage,
    Frame,
    pack,
)

B = TypeVar("B", bound="Behaviour")

between = FrameDecoder(BETWEEN_MEMBERS, MAX_FRAME_BYTES)
to_clients = FrameDecoder(TO_CLIENTS, MAX_FRAME_BYTES)
from_clients = FrameDecoder(FROM_CLIENTS, MAX_CLIENT_FRAME_BYTES)


class Surroundings(Protocol):
    """What a runner gives a liar: time, and ways to send."""

    def now_ms(self) -> int:
        """Return the ms since the run began."""
        ...

    def wall_ms(self) -> int:
        """Return the wall clock, ms since the epoch."""
        ...

    def after(self, delay_ms: int, action: Callable[[], object]) -> None:
        """Call `action` so many ms later."""
        ...

    def send_member(self, member: MemberId, frame: bytes) -> None:
        """Send a frame to a member, as the liar."""
        ...

    def send_client(self, connection: ConnectionId, frame: bytes) -> None:
        """Send a frame to a client, as the liar."""
        ...

    def crash_for(self, delay_ms: int) -> None:
        """End the liar's process now, and start it again so many ms later."""
        ...

    def on_lied(self, behaviour: str) -> None:
        """A behaviour fired."""
        ...


class Outgoing(NamedTuple):
    """A frame on its way out: to whom, what, and how much later than the honest replica would send it."""

    to: int
    frame: Frame | bytes
    """Bytes: sent as they are, well-formed or not."""
    delay_ms: int = 0


def _within(number: int, bounds: tuple[int, int]) -> bool:
    return bounds[0] <= number <= bounds[1]


class Behaviour:
    """One way of lying. Subclasses override hooks; each must call `fire` when, and only when, it really lied.

    Hooks for frames return what is sent instead, or `None` for: unchanged.
    """

    name: ClassVar[str]
    needs_ed25519: ClassVar[bool] = False
    """Whether it is about Ed25519 itself, and nothing with stand-ins."""
    speaks_every_ms: ClassVar[int] = 0
    """How often `speak` is called; 0: never."""
    plots: ClassVar[bool] = False
    """Whether it does what it does together with those of the others that do it too."""
    parameters: ClassVar[Parameters] = {}
    """What a lie may choose, and what that is unless it does."""

    def __init__(self, hand: "Hand", lie: Lie) -> None:
        self.hand = hand
        self.lie = lie
        self.random = Random(f"{hand.seed} {hand.member} {self.name}")
        self.fired = 0

    # When.

    def may_fire(self, view: int | None = None, sequence: int | None = None, to: int | None = None) -> bool:
        """Whether the trigger allows it here and now. What is not given is not asked."""
        lie, now = self.lie, self.hand.world.now_ms()
        if now < lie.from_ms or (lie.to_ms is not None and now > lie.to_ms):
            return False
        if lie.times is not None and self.fired >= lie.times:
            return False
        if (
            lie.views is not None
            and not lie.views[0] <= (self.hand.view if view is None else view) <= lie.views[1]
        ):
            return False
        if lie.sequences is not None and sequence is not None and not _within(sequence, lie.sequences):
            return False
        if lie.peers is not None and to is not None and to not in lie.peers:
            return False
        return lie.probability >= 1 or self.random.random() < lie.probability

    def fire(self, times: int = 1) -> None:
        """Count that it lied."""
        self.fired += times
        self.hand.world.on_lied(self.name)

    def number(self, name: str) -> int:
        """Return a parameter that is a whole number."""
        return int(parameter(self.parameters, self.lie, name))

    # What. Nothing by default.

    def on_message(self, to: int, envelope: Envelope, message: Any) -> Iterable[Outgoing] | None:
        """An engine message that the honest engine would send to one member."""

    def on_other(self, to: int, frame: Frame) -> Iterable[Outgoing] | None:
        """Any other frame for a member."""

    def on_reply(self, connection: ConnectionId, frame: Frame) -> Iterable[Frame | bytes] | None:
        """A frame for a client."""

    def admits(self, request: Request) -> bool:
        """Whether the engine is told of a client's request."""
        return True

    def hears(self, message: Signed[Any]) -> bool:
        """Whether the engine is told of a message."""
        return True

    def heard(self, member: MemberId, frame: Frame) -> None:
        """A frame of another member came."""

    def asked(self, connection: ConnectionId, frame: Frame) -> None:
        """A client's frame came."""

    def speak(self) -> None:
        """Say something unasked."""

    def on_restart(self, disk: Any) -> None:
        """The process starts again from this disk."""

    def application(self, application: Application) -> Application:
        """Return what the process, which is starting, computes with."""
        return application


BEHAVIOURS: dict[str, type[Behaviour]] = {}
"""Every behaviour that a module has defined, by name."""


def behaviour(name: str) -> Callable[[type[B]], type[B]]:
    """Define a behaviour of a lying member under `name`."""

    def define(kind: type[B]) -> type[B]:
        kind.name = name
        if BEHAVIOURS.setdefault(name, kind) is not kind:
            raise ValueError(f"two behaviours are called {name}")
        return kind

    return define


class Hand:
    """One liar's hand: the behaviours, the key, the memory."""

    def __init__(
        self,
        world: Surroundings,
        genesis: Genesis,
        member: MemberId,
        signer: Signer,
        door: Door,
        memory: Memory,
        seed: int,
    ) -> None:
        self.world, self.genesis, self.member, self.signer = world, genesis, member, signer
        self.roster: Roster = genesis.roster()
        self.quorums = Quorums.byzantine(self.roster.n)
        self.door, self.memory, self.seed = door, memory, seed
        self.random = Random(f"{seed} {member}")
        self.behaviours: list[Behaviour] = []
        self.engine: Engine | None = None
        """The production engine, while the process runs."""
        self.executed = Height(0)
        self.hashes: dict[int, Digest] = {}

    # What it knows.

    @property
    def others(self) -> list[int]:
        """All other members."""
        return [member for member in self.roster.members if member != self.member]

    @property
    def status(self) -> Status | None:
        """What its engine is doing; `None` while it is down."""
        return None if self.engine is None else self.engine.status()

    @property
    def view(self) -> int:
        """The view its engine is in."""
        status = self.status
        return 0 if status is None else status.view

    @property
    def leads(self) -> bool:
        """Whether it is the primary of the view its engine is in."""
        status = self.status
        return status is not None and status.active and self.primary(status.view) == self.member

    def primary(self, view: int) -> int:
        """Return the primary of a view."""
        return int(primary_of(view, self.roster.n))  # type: ignore[arg-type]

    # What it can do.

    def sign(self, message: Any, beside: bytes = b"") -> Envelope:
        """Return a message signed with its own key, be it true or not."""
        return kinds.seal(self.roster, self.member, self.signer, message, beside).envelope

    def reply(self, connection: ConnectionId, frame: Frame | bytes) -> None:
        """Send to a client; not through behaviours."""
        self.world.send_client(connection, frame if isinstance(frame, bytes) else pack(frame))

    def tell(self, to: int | Sequence[int], what: Envelope | Frame | bytes, delay_ms: int = 0) -> None:
        """Send to one member or several; not through behaviours."""
        frame = EngineMessage(what) if isinstance(what, Envelope) else what
        data = frame if isinstance(frame, bytes) else pack(frame)
        for member in (to,) if isinstance(to, int) else to:
            self._send(member, data, delay_ms)

    def _send(self, to: int, data: bytes, delay_ms: int) -> None:
        if delay_ms:
            self.world.after(delay_ms, lambda: self.world.send_member(MemberId(to), data))
        else:
            self.world.send_member(MemberId(to), data)

    # What passes through it.

    def pass_on(self, member: MemberId, data: bytes) -> None:
        """A frame that the honest replica would send to a member."""
        sent = self._through(Outgoing(int(member), between.decode(data)))
        for out in sent:
            self._send(out.to, out.frame if isinstance(out.frame, bytes) else pack(out.frame), out.delay_ms)

    def _through(self, first: Outgoing) -> list[Outgoing]:
        outs = [first]
        for behaviour in self.behaviours:
            outs = [each for out in outs for each in self._changed(behaviour, out, out.frame is first.frame)]
        return outs

    def _changed(self, behaviour: Behaviour, out: Outgoing, whole: bool) -> Iterable[Outgoing]:
        if isinstance(out.frame, bytes):
            return (out,)
        try:
            changed = self._asked(behaviour, out.to, out.frame)
            if changed is not None:
                return [each._replace(delay_ms=each.delay_ms + out.delay_ms) for each in changed]
        except CryptoError:
            # What another behaviour has spoilt this one cannot read, and leaves as it is.
            if whole:
                raise
        return (out,)

    def _asked(self, behaviour: Behaviour, to: int, frame: Frame) -> Iterable[Outgoing] | None:
        if isinstance(frame, EngineMessage):
            return behaviour.on_message(to, frame.envelope, kinds.decode(frame.envelope))
        return behaviour.on_other(to, frame)

    def answer(self, connection: ConnectionId, data: bytes) -> None:
        """A frame that the honest replica would send to a client."""
        true = to_clients.decode(data)
        frames: list[Frame | bytes] = [true]
        for behaviour in self.behaviours:
            frames = [
                each
                for frame in frames
                for each in self._answered(behaviour, connection, frame, frame is true)
            ]
        for frame in frames:
            self.reply(connection, frame)

    def _answered(
        self, behaviour: Behaviour, connection: ConnectionId, frame: Frame | bytes, whole: bool
    ) -> Iterable[Frame | bytes]:
        if isinstance(frame, bytes):
            return (frame,)
        try:
            said = behaviour.on_reply(connection, frame)
            if said is not None:
                return list(said)
        except CryptoError:
            if whole:
                raise
        return (frame,)

    def on_frame_heard(self, member: MemberId, data: bytes) -> None:
        """A frame of another member came."""
        try:
            frame = between.decode(data)
        except CryptoError:
            return
        if isinstance(frame, Bodies):
            self.memory.bodies.extend(frame.transactions)
        for behaviour in self.behaviours:
            # Of a liar it may be anything.
            with suppress(CryptoError):
                behaviour.heard(member, frame)

    def on_client_frame(self, connection: ConnectionId, data: bytes) -> None:
        """A frame of a client came."""
        try:
            frame = from_clients.decode(data)
        except CryptoError:
            return
        for behaviour in self.behaviours:
            behaviour.asked(connection, frame)

    def on_restart(self, disk: Any) -> None:
        """The process starts again."""
        self.engine = None
        for behaviour in self.behaviours:
            behaviour.on_restart(disk)

    def application(self, application: Application) -> Application:
        """Return the application that the process, which is starting, is given instead of this one."""
        for behaviour in self.behaviours:
            application = behaviour.application(application)
        return application

    def begin(self) -> None:
        """Begin to speak, where a behaviour does."""
        for behaviour in self.behaviours:
            if behaviour.speaks_every_ms:
                self.world.after(
                    1 + self.random.randrange(behaviour.speaks_every_ms), self._speaker(behaviour)
                )

    def _speaker(self, behaviour: Behaviour) -> Callable[[], None]:
        def speak() -> None:
            if self.engine is not None:
                behaviour.speak()
            self.world.after(behaviour.speaks_every_ms, speak)

        return speak
