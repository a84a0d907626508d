"""The messages of PBFT, as they are signed. Nothing here acts.

Names and fields follow Castro and Liskov, "Practical Byzantine Fault Tolerance" (OSDI 1999), sections
4.2 to 4.4, with what docs/protocol.md adds: SUSPECT, STATUS, and fetching. CHECKPOINT is
`crypto.attestation.Attestation`: one statement serves checkpoints, replies and receipts.
"""

from typing import Annotated, NewType

from msgspec import Meta, Struct

from crypto.attestation import ATTESTATION, MAX_HEIGHT, Attestation, Height, HeightField
from crypto.batch import MillisField
from crypto.digest import DigestField
from crypto.roster import MemberId
from crypto.signed import Certificate, Envelope, Kinds, Vote

View = NewType("View", int)
MAX_VIEW = 2**53 - 1
ViewField = Annotated[View, Meta(ge=0, le=MAX_VIEW)]
SequenceField = Annotated[Height, Meta(ge=1, le=MAX_HEIGHT)]


def primary_of(view: View, n: int) -> MemberId:
    """Return the primary of `view` among `n` members: view mod n (section 4)."""
    return MemberId(view % n)


class Message(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The base of all messages."""


class PrePrepare(Message, frozen=True):
    """The primary of `view` proposes for `sequence` the batch with `digest` (section 4.2).

    `digest` binds chain, sequence, `timestamp` (ms since the epoch; 0 for a null request) and `root`,
    the Merkle root over the transaction ids. The ids travel beside the envelope.
    """

    view: ViewField
    sequence: SequenceField
    digest: DigestField
    timestamp: MillisField
    root: DigestField


class Prepare(Message, frozen=True):
    """A backup accepted the pre-prepare and holds every body (section 4.2)."""

    view: ViewField
    sequence: SequenceField
    digest: DigestField


class Commit(Message, frozen=True):
    """The sender is prepared (section 4.2)."""

    view: ViewField
    sequence: SequenceField
    digest: DigestField


class Suspect(Message, frozen=True):
    """The sender, which has executed up to `executed`, waited too long in `view`. It binds nobody."""

    view: ViewField
    executed: HeightField


class PreparedProof(Message, frozen=True):
    """A prepared certificate: a PRE-PREPARE and a quorum less one of PREPAREs that match it."""

    pre_prepare: Envelope
    prepares: tuple[Vote, ...]


class ViewChange(Message, frozen=True):
    """The sender moves to `view`: its stable checkpoint and all it prepared above (section 4.4)."""

    view: ViewField
    stable: HeightField
    checkpoint: Certificate | None
    """A quorum of attestations for `stable`; `None` for height 0."""
    prepared: tuple[PreparedProof, ...]
    """In ascending order of sequence, one per sequence, each of the highest view it prepared in."""


class NewView(Message, frozen=True):
    """The primary of `view` starts it (section 4.4): why, and what is proposed again."""

    view: ViewField
    view_changes: tuple[Envelope, ...]
    """A quorum of VIEW-CHANGEs for `view`, ascending by signer."""
    pre_prepares: tuple[Envelope, ...]
    """What they imply, ascending by sequence without gaps; the ids are fetched where missing."""


class Status(Message, frozen=True):
    """Where the sender stands, so that others resend what it lacks and it learns what to fetch."""

    view: ViewField
    active: bool
    stable: HeightField
    executed: HeightField
    awake: bool
    """Whether it has been running for a while; after a start others show it its own votes."""
    needs: HeightField
    """A member with an old disk votes again from this stable checkpoint on; 0 for all others."""
    wants: MillisField
    """What the ledger's time must pass, because a client of the sender asked; 0 where nobody does."""
    at: MillisField
    """The sender's wall clock: a STATUS that is older than another of its sender's says nothing more."""


class FetchProposal(Message, frozen=True):
    """Asks for the ids of the batch with `digest` at `sequence`."""

    sequence: SequenceField
    digest: DigestField


class Proposal(Message, frozen=True):
    """Answers FETCH-PROPOSAL: `digest` is that of sequence, timestamp and root; ids beside."""

    sequence: SequenceField
    timestamp: MillisField
    root: DigestField


class Stable(Message, frozen=True):
    """Passes on the certificate of a stable checkpoint."""

    checkpoint: Certificate


PRE_PREPARE = "pbft/pre-prepare"
PREPARE = "pbft/prepare"
COMMIT = "pbft/commit"
SUSPECT = "pbft/suspect"
VIEW_CHANGE = "pbft/view-change"
NEW_VIEW = "pbft/new-view"
STATUS = "pbft/status"
FETCH_PROPOSAL = "pbft/fetch-proposal"
PROPOSAL = "pbft/proposal"
STABLE = "pbft/stable"

kinds = Kinds(
    {
        PRE_PREPARE: PrePrepare,
        PREPARE: Prepare,
        COMMIT: Commit,
        ATTESTATION: Attestation,
        SUSPECT: Suspect,
        VIEW_CHANGE: ViewChange,
        NEW_VIEW: NewView,
        STATUS: Status,
        FETCH_PROPOSAL: FetchProposal,
        PROPOSAL: Proposal,
        STABLE: Stable,
    }
)
"""Every kind that the engine sends or takes."""
