"""How far a batch has come, as can be seen from outside of an engine: in the messages and records it handles.

What lives here: the steps, and what a node needs of an engine's package to read them. What must not be known
here: clocks, and who wants to know. An engine knows nothing of this: it is watched at its contract.
"""

from enum import Enum
from typing import Any, NamedTuple, Protocol

from consensus.contract import Record
from crypto.attestation import Height
from crypto.batch import TxId
from crypto.digest import Digest
from crypto.roster import MemberId
from crypto.signed import Signed


class Step(Enum):
    """What becomes durable for a batch before it is decided."""

    ACCEPTED = "accepted"
    """The proposal, all its bodies here: this member votes for it, or made it."""
    PREPARED = "prepared"
    """Enough others accepted the same: no other batch can be decided in this view."""


class Milestone(NamedTuple):
    """A step of the batch at `height`. `digest` is `None` where the record's key does not tell it."""

    step: Step
    height: Height
    digest: Digest | None = None


class Proposed(NamedTuple):
    """Which batch a view's leader proposed for a height."""

    leader: MemberId
    view: int
    height: Height
    digest: Digest


class Listing(NamedTuple):
    """The ids of a batch, in order."""

    digest: Digest
    ids: tuple[TxId, ...]


class MilestoneReader(Protocol):
    """Reads an engine's messages and records. None of it is believed: it is for measuring and for people."""

    def offered(self, message: Signed[Any]) -> Digest | None:
        """Return the batch that `message` proposes, if it proposes one. Asked for every message: cheap."""
        ...

    def reached(self, record: Record) -> Milestone | None:
        """Return the step that putting `record` means, if it means one. By its key alone: cheap."""
        ...

    def proposed(self, record: Record) -> Proposed | None:
        """Return the proposal in a record of the step ACCEPTED; `None` for any other record."""
        ...

    def listed(self, record: Record) -> Listing | None:
        """Return the batch whose bodies `record` holds; `None` for any other record."""
        ...
