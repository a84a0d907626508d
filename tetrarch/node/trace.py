"""Following single transactions: one line for each thing that happens to one of those that are followed.

What lives here: which transactions are followed, and the lines about them, until somebody writes them. What
must not be known here: files, and what engines and admission do. Off, it costs one look at `on`.

| event | facts | when |
|---|---|---|
| tx_received | client, or member and relayed | its bytes came |
| tx_refused | code, reason | it was not admitted |
| tx_admitted | relayed_by | its signature holds, and the pool has it |
| tx_proposed | height, view, primary | a proposal with it was accepted here, or made here |
| tx_prepared | height, view | the batch is prepared here |
| tx_committed | height | the batch is decided here |
| tx_executed | height, position, outcome | its block is stored |
| tx_replied | height, clients | the answers to those who wait for it have left |
| tx_expired | | its time ended before it was ordered |
"""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, TypeVar

from consensus.milestones import Listing, Proposed
from crypto.attestation import Height
from crypto.batch import TxId
from crypto.digest import Digest
from crypto.roster import MemberId
from ledger.errors import TransactionRefused
from ledger.result import results
from ledger.transaction import transaction_id
from tetrarch.node.effects import ConnectionId, Fact
from tetrarch.node.origins import Origin, Passed

NONE: Final = "none"
ALL: Final = "all"
"""Which transactions are followed, in words; else the hexadecimal digits with which their ids begin."""

K = TypeVar("K")
V = TypeVar("V")

CHOICE: Final = re.compile(rf"{NONE}|{ALL}|[0-9a-f]{{1,64}}")

LINES_PER_SECOND: Final = 20_000
"""Lines kept in one second of the clock, those beyond being counted: some 8 us each, a sixth of a core."""

MAX_BATCHES: Final = 1024
"""Batches of which it is remembered whom they hold: several of the longest windows."""


class TraceLine(NamedTuple):
    """One thing that happened to one transaction, at `ns` since the epoch."""

    ns: int
    event: str
    tx_id: TxId
    facts: dict[str, Fact]


class Followed(NamedTuple):
    """The batch proposed at a height, and those of its transactions that are followed."""

    view: int
    ids: tuple[TxId, ...]


class Trace:
    """Lines about the transactions whose ids begin as `choice` says. `clock`: ns since the epoch."""

    def __init__(self, choice: str = NONE, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._batches: dict[Digest, tuple[TxId, ...]] = {}
        self._heights: dict[Height, Followed] = {}
        self._replies: dict[Height, list[tuple[TxId, int]]] = {}
        self._lines: list[TraceLine] = []
        self._second = self._room = 0
        self.dropped = 0
        """Lines that were too many for their second."""
        self.follow(choice)

    def follow(self, choice: str) -> None:
        """Follow others from now on: "none", "all", or those whose ids begin with these hexadecimal
        digits."""
        if not CHOICE.fullmatch(choice):
            raise ValueError(f"{choice!r} is neither {NONE!r} nor {ALL!r} nor the beginning of an id")
        self.choice = choice
        self.on = choice != NONE
        self._prefix = "" if choice == ALL else choice
        for held in (self._batches, self._heights, self._replies):
            held.clear()

    def wants(self, tx_id: TxId) -> bool:
        """Whether this transaction is followed."""
        return self.on and tx_id.hex().startswith(self._prefix)

    def tell(self, event: str, tx_id: TxId, **facts: Fact) -> None:
        """Note a line about a transaction that is followed."""
        ns = self._clock()
        second = ns // 1_000_000_000
        if second != self._second:
            self._second, self._room = second, LINES_PER_SECOND
        if self._room:
            self._room -= 1
            self._lines.append(TraceLine(ns, event, tx_id, facts))
        else:
            self.dropped += 1

    def take(self) -> Sequence[TraceLine]:
        """Return the lines since the last call."""
        if not self._lines:
            return ()
        lines, self._lines = self._lines, []
        return lines

    # What admission tells.

    def received(self, raws: Iterable[bytes], origin: Origin) -> None:
        """A client or a member sent these."""
        for raw in raws:
            tx_id = transaction_id(raw)
            if self.wants(tx_id):
                self.tell("tx_received", tx_id, **_source(origin))

    def refused(self, raw: bytes, refusal: TransactionRefused, origin: Origin) -> None:
        """These bytes were not admitted."""
        tx_id = transaction_id(raw)
        if self.wants(tx_id):
            reason = refusal.reason
            self.tell("tx_refused", tx_id, code=refusal.code.value, reason=reason, **_source(origin))

    def admitted(self, tx_id: TxId, relayed_by: MemberId | None) -> None:
        """The pool has it."""
        if self.wants(tx_id):
            facts: dict[str, Fact] = {} if relayed_by is None else {"relayed_by": relayed_by}
            self.tell("tx_admitted", tx_id, **facts)

    def expired(self, ids: Iterable[TxId]) -> None:
        """Their time ended before they were ordered."""
        for tx_id in filter(self.wants, ids):
            self.tell("tx_expired", tx_id)

    # What the engine's records and decisions tell.

    def listed(self, listing: Listing) -> None:
        """A batch holds these."""
        ids = tuple(filter(self.wants, listing.ids))
        if ids:
            _keep(self._batches, listing.digest, ids)

    def proposed(self, proposal: Proposed) -> None:
        """A proposal was accepted, or made."""
        ids = self._batches.get(proposal.digest, ())
        if ids:
            _keep(self._heights, proposal.height, Followed(proposal.view, ids))
        for tx_id in ids:
            facts = {"height": proposal.height, "view": proposal.view, "primary": proposal.leader}
            self.tell("tx_proposed", tx_id, **facts)

    def prepared(self, height: Height) -> None:
        """The batch at this height is prepared."""
        followed = self._heights.get(height)
        if followed is not None:
            for tx_id in followed.ids:
                self.tell("tx_prepared", tx_id, height=height, view=followed.view)

    def committed(self, height: Height, ids: Iterable[TxId]) -> None:
        """The batch at this height is decided, and holds these."""
        self._heights.pop(height, None)
        for tx_id in filter(self.wants, ids):
            self.tell("tx_committed", tx_id, height=height)

    def executed(
        self,
        height: Height,
        ids: Sequence[TxId],
        outcomes: Sequence[bytes],
        waiting: Callable[[TxId], Sequence[ConnectionId]],
    ) -> None:
        """The block is stored. `waiting`: which clients wait for a transaction."""
        replies = []
        for position, tx_id in enumerate(ids):
            if self.wants(tx_id):
                outcome = results.decode(outcomes[position]).code.value
                self.tell("tx_executed", tx_id, height=height, position=position, outcome=outcome)
                clients = len(waiting(tx_id))
                if clients:
                    replies.append((tx_id, clients))
        if replies:
            _keep(self._replies, height, replies)

    def replied(self, height: Height) -> None:
        """What follows from this block has left."""
        for tx_id, clients in self._replies.pop(height, ()):
            self.tell("tx_replied", tx_id, height=height, clients=clients)


def _source(origin: Origin) -> dict[str, Fact]:
    if isinstance(origin, Passed):
        return {"member": origin.member, "relayed": origin.relayed}
    return {"client": origin.connection}


def _keep(held: dict[K, V], key: K, value: V) -> None:
    held[key] = value
    if len(held) > MAX_BATCHES:
        del held[next(iter(held))]
