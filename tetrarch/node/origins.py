"""Who sent transactions that wait for their check, and how much of each may wait. Plain data."""

from dataclasses import dataclass, field

from crypto.attestation import Height
from crypto.batch import TxId
from crypto.roster import MemberId
from ledger.transaction import ParsedTransaction
from tetrarch.node.effects import ConnectionId
from tetrarch.wire import Refusal


class Share:
    """How many transactions of one client or member wait for their check, and their bytes."""

    __slots__ = ("coming", "size")

    def __init__(self) -> None:
        self.coming = 0
        self.size = 0


@dataclass(slots=True, eq=False)
class Submission:
    """One client frame's transactions, and what became of them; complete when none is `open`."""

    connection: ConnectionId
    share: Share
    full: bool
    request: int | None = None
    """The number of an AskOutcome; `None` for a Submit."""
    open: int = 0
    taken: int = 0
    """How many are known now and not executed yet."""
    executed: list[tuple[TxId, Height]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Passed:
    """One member's frame of bodies."""

    member: MemberId
    share: Share
    relayed: bool


Origin = Submission | Passed


class Coming:
    """Bytes that wait for their check, and all who sent them."""

    __slots__ = ("origins", "parsed", "shares", "taken", "urgent")

    def __init__(
        self, parsed: ParsedTransaction, origin: Origin, shares: tuple[Share, ...], urgent: bool
    ) -> None:
        self.parsed = parsed
        self.origins: list[Origin] = [origin]
        self.shares = shares
        """Whose bounds it counts for while it waits."""
        self.urgent = urgent
        self.taken = False
        """Handed out for its check."""
