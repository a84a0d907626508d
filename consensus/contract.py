"""The contract between an ordering engine and the node that runs it.

An engine is a pure state machine. It takes verified messages and `now`, and gives back one value,
`Ready`. The node must treat every `Ready` in this order, and Readys in the order they were taken:

1. make `persist` and `archive` durable (one write; a sync may be shared by several Readys);
2. only then send `send` and `relay`, and anything computed from `decisions`;
3. execute `decisions` in order, store each block, and call `executed` for each;
4. answer `fetch` whenever possible: bodies come back through `submit`, blocks through `learn`.

`evidence` is there to be told to people: what it consists of is in `archive` as well.

`decisions` may be executed before the sync, as long as nothing that follows from them leaves the
machine before it. The engine never does I/O, never reads a clock and owns no timer: `deadline` says
when `tick` wants to be called, in monotonic milliseconds.

Nothing here assumes Byzantine faults, a rotating primary or signatures on messages.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from msgspec import Struct

from crypto.attestation import Height
from crypto.batch import Millis, TxId
from crypto.digest import Digest
from crypto.roster import MemberId
from crypto.signed import Envelope, Signed


class Now(Struct, frozen=True):
    """The time, as two clocks, both in ms."""

    monotonic: Millis
    """Drives every timer. Only differences mean anything."""
    wall: Millis
    """Since the Unix epoch. For timestamps and admission only: a jump of it fires no timer."""


class Request(Struct, frozen=True, array_like=True):
    """A transaction as engines see it: its id, when it expires, and opaque bytes, already verified."""

    id: TxId
    valid_until: Millis
    body: bytes


class Record(Struct, frozen=True):
    """A put of `value` under `key` in the engine's own durable records; `None` deletes."""

    key: bytes
    value: bytes | None


class Send(Struct, frozen=True):
    """A message for other members: for all others where `to` is `None`."""

    message: Envelope
    to: tuple[MemberId, ...] | None = None


class Relay(Struct, frozen=True):
    """Request bodies for one member: passed on because it may lack them, or because it asked."""

    to: MemberId
    bodies: tuple[bytes, ...]


class Decision(Struct, frozen=True):
    """The batch that was agreed for `height`, and the opaque proof that it was.

    `requests` are in the agreed order; the same request may occur in more than one decision.
    """

    height: Height
    digest: Digest
    timestamp: Millis
    requests: tuple[Request, ...]
    certificate: bytes


class FetchBodies(Struct, frozen=True):
    """Bodies that the engine misses, and who is likely to hold them, the likeliest first."""

    ids: tuple[TxId, ...]
    sources: tuple[MemberId, ...]


class FetchBlocks(Struct, frozen=True):
    """Stored blocks that the engine needs, `first` to `last`, and who has them."""

    first: Height
    last: Height
    sources: tuple[MemberId, ...]


class Evidence(Struct, frozen=True):
    """Two statements that one member signed, and that no correct member signs both of."""

    member: MemberId
    what: str
    first: Envelope
    second: Envelope


class Ready(Struct, frozen=True):
    """All that an engine wants done, in the order that the module's docstring states."""

    persist: tuple[Record, ...] = ()
    send: tuple[Send, ...] = ()
    relay: tuple[Relay, ...] = ()
    decisions: tuple[Decision, ...] = ()
    fetch: tuple[FetchBodies | FetchBlocks, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    archive: tuple[Record, ...] = ()
    """Certificates that outlive the log, for auditors: durable like `persist`, never deleted."""

    def __bool__(self) -> bool:
        return self != _NOTHING


_NOTHING = Ready()


class Status(Struct, frozen=True):
    """What an engine is doing, for people and for metrics."""

    view: int
    """The view, term, ballot or epoch of leadership."""
    leader: MemberId | None
    """Who leads it; `None` while that is being settled."""
    active: bool
    low: Height
    """The last stable checkpoint."""
    high: Height
    executed: Height
    waiting_for: str
    pending: int
    """Requests known and not executed."""
    last_vote: Height
    """The highest sequence this member voted for."""
    halted: str | None = None
    """Why this member stopped voting, if it did."""
    marked: bool = False
    """Whether it does not vote yet because its disk is older than its votes."""
    ignored: tuple[tuple[str, int], ...] = ()
    """How many messages were ignored, by reason."""


class Engine(Protocol):
    """What a node needs of any engine.

    Methods that take `now` must be called with clocks that never go back (monotonic). None of them
    raises for what a peer sent: a message that cannot be used is ignored, with a reason that is
    counted in `status`. A fault of one's own (records that do not decode) raises `EngineFault`.
    """

    acceptance: int
    """How many matching attestations make a client believe."""

    def restore(self, records: Iterable[Record], executed: Height, block_hash: Digest, now: Now) -> None:
        """Start from durable `records` and a stored chain that ends at `executed`. Called once, first."""
        ...

    def submit(self, request: Request, now: Now, relayed_by: MemberId | None = None) -> bool:
        """Offer a verified request. Returns whether it is now known; `False` where the pool is full."""
        ...

    def receive(self, message: Signed[Any], now: Now) -> None:
        """Take a message whose signatures, nested ones included, have been verified at the door."""
        ...

    def redundant(self, message: Signed[Any]) -> bool:
        """Whether `message`, its signatures not verified yet, could change nothing: they need not be.

        May be asked before `receive`. What contradicts an earlier statement is never redundant.
        """
        ...

    def learn(self, decision: Decision, now: Now) -> None:
        """Take a decision out of another member's store, its certificate and bodies verified."""
        ...

    def tick(self, now: Now) -> None:
        """Let time pass. May be called at any time, and must be when `deadline` is reached."""
        ...

    def settled(self, ids: Iterable[TxId]) -> None:
        """These requests were executed, or expired: forget them."""
        ...

    def executed(self, height: Height, block_hash: Digest, block_time: Millis, now: Now) -> None:
        """The decision for `height` was executed and its block stored."""
        ...

    def advance(self, past: Millis, now: Now) -> None:
        """Have an empty block ordered if the ledger's time does not pass `past` by itself."""
        ...

    def deadline(self) -> Millis | None:
        """Return when `tick` must be called next, in monotonic ms, or `None`."""
        ...

    def take_ready(self) -> Ready:
        """Return what is to be done and forget it. A false value means nothing is."""
        ...

    def body(self, tx_id: TxId) -> bytes | None:
        """Return the body of a request that is held in memory."""
        ...

    def halt(self, reason: str) -> None:
        """Stop voting and proposing for good, because of a fault of one's own (a full disk)."""
        ...

    def status(self) -> Status:
        """Return what this engine is doing."""
        ...

    def sizes(self) -> Mapping[str, tuple[int, int]]:
        """Return, by name, how much is held in memory for others' sake and how much that may be at most."""
        ...


class EngineFault(Exception):
    """This member's own state is not what it must be: the node has to stop, loudly."""
