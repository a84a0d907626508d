"""What was seen of one run: the one thing that oracles look at. Data, filled by a runner.

What lives here: shapes. What must not be known here: how they were filled, and what is right.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import Struct

from byzantine.scenario import Scenario
from crypto.batch import TxId
from crypto.digest import Digest
from crypto.keys import Check
from ledger.block import Block
from ledger.genesis import Genesis


class Chain(Protocol):
    """The chain in one replica's store."""

    @property
    def height(self) -> int:
        """Of its last block."""
        ...

    def block_hash(self, height: int) -> Digest:
        """Return a block's hash, from 1 up to the height."""
        ...

    def block(self, height: int) -> Block:
        """Return a block."""
        ...


class Operation(Struct):
    """One operation of an honest client, from its first sending to the outcome. Times in us."""

    client: int
    number: int
    tx_id: TxId
    raw: bytes
    payload: dict[str, str | None]
    """Of `kv`; empty for what is no operation of it."""
    invoked_us: int
    returned_us: int | None = None
    outcome: str = ""
    """`committed`, `refused` or `expired` once it is believed."""
    result: bytes | None = None
    """The canonical bytes of the result that the client believes."""
    height: int = 0
    position: int = 0
    """Where in its block it stands."""


class ReadDone(Struct, frozen=True):
    """One verified read that a client believes."""

    client: int
    key: str
    min_height: int
    height: int
    value: bytes | None
    block_hash: bytes


class AnswerDone(Struct, frozen=True):
    """One answer of the application to the question for a key, which a client believes as f+1 members gave
    it. It holds as of some block from `min_height` on."""

    client: int
    key: str
    min_height: int
    answer: bytes


class Denial(Struct, frozen=True):
    """A member's signed word to a client that a transaction was not executed."""

    member: int
    tx_id: TxId
    up_to: int | None = None
    """The height up to which it says so; `None`: that it never will be."""


@dataclass(slots=True)
class Observation:
    """One run as far as it was seen."""

    scenario: Scenario
    genesis: Genesis
    chains: Mapping[int, Chain]
    """Of honest members, by member."""
    check: Callable[[Sequence[Check]], list[bool]]
    """Verifies signatures."""
    operations: Sequence[Operation] = ()
    sent_by_liars: frozenset[TxId] = frozenset()
    """Transactions that hostile clients or liars signed: they may be executed too."""
    reads: Sequence[ReadDone] = ()
    answers: Sequence[AnswerDone] = ()
    believed_blocks: Mapping[int, set[bytes]] = field(default_factory=dict)
    """Blocks that a client saw attested by f+1, by height."""
    forks: Sequence[str] = ()
    """Blocks executed beside others while it ran, in words."""
    misconduct: Sequence[str] | None = ()
    """What honest members said that no correct one says (`watching`), in words. `None`: nobody could
    listen."""
    denials: Collection[Denial] = ()
    """What honest members told clients that was not, or never would be, executed."""
    missing: Sequence[str] = ()
    """What honest replicas' archives lack of what must outlive the log, in words."""
    level_at_end: bool | None = None
    """Whether all honest replicas stood at one block when faults ended; `None` where nobody looked."""
    audit_faults: Sequence[str] = ()
    """What the production audit found wrong in honest stores, where there are stores to audit."""
    stopped: Sequence[str] = ()
    """Honest replicas that stopped by themselves though nothing was wrong with their disks."""
    halted: Sequence[str] = ()
    """Honest replicas that halted or were marked at the end without a reason of their own."""
    halted_liars: Mapping[int, str] = field(default_factory=dict)
    """Liars that had halted at the end, and why, in their own words."""
    lost: Sequence[str] = ()
    """What the runner lost sight of: whatever it says, the run is inconclusive."""
    evidence: Mapping[int, set[str]] = field(default_factory=dict)
    """Members against whom honest replicas hold proof, and of what."""
    convicted: frozenset[int] = frozenset()
    """Members whom the stores of all honest replicas together convict; looked for where a scenario asks."""
    refused: Mapping[str, int] = field(default_factory=dict)
    fired: Mapping[str, int] = field(default_factory=dict)
    """How often each behaviour fired, whoever has it, and what was done to links."""
    fired_by: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """How often each behaviour fired at each who has it (`byzantine.culprits`)."""
    overfull: Sequence[str] = ()
    """What grew beyond its bound at an honest replica, in words."""
    peak_bytes: Mapping[int, int | None] = field(default_factory=dict)
    """The most memory that each honest replica's process took, where each is one. `None`: nobody could
    tell."""
    highest_view: int = 0
    recovered_ms: int | None = None
    """From the end of all faults to convergence, by the run's clock; `None` where it did not converge."""
    bound_ms: int | None = None
    """How long that may take by this clock; `None`: what the scenario says, which is in its own time."""
    allowance_ms: int = 0
    """How much longer it may take on a machine that others use too."""
    allowance_views: int = 0
    """How many views more than stated may be left on such a machine."""
    unfinished: str = ""
    """What was still awaited when time was up, in words."""

    @property
    def within_ms(self) -> int | None:
        """How long convergence may take in all, by the run's clock; `None`: it is not expected."""
        bound = self.scenario.expect.live_within_ms if self.bound_ms is None else self.bound_ms
        return None if bound is None else bound + self.allowance_ms
