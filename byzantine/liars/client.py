"""Hostile clients: whoever speaks the client protocol with keys of its own.

What lives here: `ClientBehaviour`, which every entry of theirs is, what a runner gives one (`Connections`),
and the register of all. What must not be known here: which there are (`byzantine.liars.clients`), and which
runner runs them.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import ClassVar, Protocol, TypeVar

from msgspec.json import Encoder

from byzantine.liars.hostile import Hostile, Surroundings
from byzantine.liars.parameters import require_lie
from byzantine.scenario import Lie
from crypto.batch import Millis
from crypto.codec import encode
from crypto.digest import ChainId, Digest, tag
from crypto.keys import PublicKey, Signer
from ledger.genesis import Genesis
from ledger.transaction import NONCE_BYTES, Transaction
from tetrarch.wire import Frame, Submit, pack

C = TypeVar("C", bound="ClientBehaviour")

VALID_FOR_MS = 400_000

TAG = tag("transaction")
"""What the signed bytes of every transaction begin with."""

FIRST_KEY = 10_000
"""Numbers of keys below are those of honest clients."""

KEYS_EACH = 10_000

_json = Encoder(order="sorted")


class Stage(Enum):
    """How far a connection comes that is left half open or unread."""

    CONNECTED = "before its handshake"
    GREETED = "in the middle of its handshake, the member having answered"
    OPEN = "after its handshake"


class Unread(Protocol):
    """A connection on which nothing is read any more."""

    @property
    def gone(self) -> bool:
        """Whether it is known to have ended."""
        ...

    def send(self, data: bytes) -> None:
        """Send further bytes of its stream, if it has come to its stage and is still there."""
        ...


class Connections(Surroundings, Protocol):
    """What a runner gives a hostile client: a connection to every member, others to leave unread, and keys of
    its own."""

    @property
    def genesis(self) -> Genesis:
        """Of the network."""
        ...

    def signer(self, number: int) -> Signer:
        """Return one of its own keys."""
        ...

    def wall_ms(self) -> int:
        """Return the wall clock, ms since the epoch."""
        ...

    def after(self, delay_ms: int, action: Callable[[], object]) -> None:
        """Call `action` so many ms later."""
        ...

    def send(self, member: int, frame: bytes) -> None:
        """Send bytes to a member, well-formed or not."""
        ...

    def leave(self, member: int, stage: Stage, data: bytes, reached: Callable[[], object]) -> Unread:
        """Open another connection to a member, take it to a stage, and leave it there: nothing is read from
        then on, and no handshake ended. At `Stage.OPEN`, `data` is sent, bytes of its stream: frames or parts
        of frames. `reached` is called when all that has happened."""
        ...

    def declare(self, raw: bytes) -> None:
        """Say that these bytes are its own transaction, before they are sent."""
        ...


class ClientBehaviour(Hostile):
    """One way in which a client is hostile. Each must call `fire` when, and only when, it really was."""

    speaks_every_ms: ClassVar[int] = 90
    """How often `speak` is called."""

    def __init__(self, client: Connections, lie: Lie, seed: str) -> None:
        super().__init__(lie, client, seed)
        self.client = client
        self.members = range(len(client.genesis.members))

    def begin(self) -> None:
        """Begin to speak."""
        self.client.after(1 + self.random.randrange(self.speaks_every_ms), self._speak)

    def _speak(self) -> None:
        self.speak()
        self.client.after(self.speaks_every_ms, self._speak)

    def speak(self) -> None:
        """Do what it is named for, once."""
        raise NotImplementedError

    # What it can do.

    def body(
        self,
        payload: dict[str, str | None] | bytes | None = None,
        nonce: bytes | None = None,
        valid_until: int | None = None,
        sender: bytes | None = None,
        chain_id: bytes | None = None,
    ) -> Transaction:
        """Return a transaction, not signed yet: a put under a key that no honest client uses."""
        if payload is None:
            payload = {"op": "put", "key": "hostile", "value": str(self.random.getrandbits(40))}
        return Transaction(
            ChainId(Digest(self.client.genesis.chain_id if chain_id is None else chain_id)),
            PublicKey(self.client.signer(0).public_key if sender is None else sender),
            self.random.randbytes(NONCE_BYTES) if nonce is None else nonce,
            Millis(self.client.wall_ms() + VALID_FOR_MS if valid_until is None else valid_until),
            payload if isinstance(payload, bytes) else _json.encode(payload),
        )

    def signed(self, body: Transaction | bytes, signer: Signer | None = None) -> bytes:
        """Return a transaction, or the bytes that stand for one, signed with its own key or another."""
        data = body if isinstance(body, bytes) else encode(body)
        chosen = self.client.signer(0) if signer is None else signer
        return self.own(chosen.sign(TAG + data) + data)

    def own(self, raw: bytes) -> bytes:
        """Return bytes that are declared to be one's own."""
        self.client.declare(raw)
        return raw

    def submit(self, raws: Sequence[bytes], to: Sequence[int] | None = None) -> None:
        """Send transactions, to all or to some."""
        self.send(Submit(False, tuple(raws)), to)

    def send(self, frame: Frame | bytes, to: Sequence[int] | None = None) -> None:
        """Send a frame to all members or to some."""
        data = frame if isinstance(frame, bytes) else pack(frame)
        for member in self.members if to is None else to:
            self.client.send(member, data)

    def one_member(self) -> int:
        """Return one of those that the trigger names, or of all."""
        return self.random.choice(self.lie.peers or tuple(self.members))


CLIENT_BEHAVIOURS: dict[str, type[ClientBehaviour]] = {}
"""Every behaviour of hostile clients by name."""


def client_behaviour(name: str) -> Callable[[type[C]], type[C]]:
    """Define a behaviour of a hostile client under `name`."""

    def define(kind: type[C]) -> type[C]:
        kind.name = name
        if CLIENT_BEHAVIOURS.setdefault(name, kind) is not kind:
            raise ValueError(f"two behaviours of clients are called {name}")
        return kind

    return define


def key_number(client: int, key: int) -> int:
    """Return the number of one of a hostile client's own keys among all clients' keys."""
    return FIRST_KEY + KEYS_EACH * client + key


def make_client_behaviour(client: Connections, lie: Lie, seed: str) -> ClientBehaviour:
    """Return the behaviour of one hostile client. Raises `Contradiction`."""
    require_lie(CLIENT_BEHAVIOURS, lie, "hostile_clients")
    return CLIENT_BEHAVIOURS[lie.behaviour](client, lie, seed)
