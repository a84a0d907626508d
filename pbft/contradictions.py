"""Which two statements of one member no correct member signs both of, and why.

What lives here: that judgement over pairs, for the evidence that a replica keeps, for the audit, and for
whoever verifies evidence. What must not be known here: signatures, and where statements come from.

A correct member, by the engine's rules:

- makes one proposal, sends one PREPARE and one COMMIT for a sequence in a view, all of the same batch;
- attests one block at a height, sends one VIEW-CHANGE and one NEW-VIEW for a view;
- sends COMMIT only when prepared, keeps what it prepared until a stable checkpoint covers it (rule 2), and
  never votes in a view that it left (rule 29). So each of its VIEW-CHANGEs to a later view than a COMMIT's
  either begins at a checkpoint that covers that sequence, or shows a prepared certificate for it: of that
  view and batch, or of a later view.

All of this is durable before it is sent, so it holds over restarts; and none of it leans on others being
correct, so it holds with any number of liars. What was sent first does not matter: each of the two excludes
the other.
"""

from typing import Any, NamedTuple

from consensus.evidence import Contradiction
from crypto.attestation import ATTESTATION, Attestation
from crypto.errors import CodecError
from crypto.signed import Envelope
from pbft.messages import (
    COMMIT,
    NEW_VIEW,
    PRE_PREPARE,
    PREPARE,
    VIEW_CHANGE,
    Commit,
    NewView,
    Prepare,
    PreparedProof,
    PrePrepare,
    ViewChange,
    kinds,
)

NAMES = {
    PRE_PREPARE: "PRE-PREPARE",
    PREPARE: "PREPARE",
    COMMIT: "COMMIT",
    ATTESTATION: "attestation",
    VIEW_CHANGE: "VIEW-CHANGE",
    NEW_VIEW: "NEW-VIEW",
}
"""The statements that bind their sender, in the canonical order of a pair."""

_PLURAL = {
    PRE_PREPARE: "pre-prepares",
    PREPARE: "prepares",
    COMMIT: "commits",
    ATTESTATION: "attestations",
    VIEW_CHANGE: "view-changes",
    NEW_VIEW: "new-views",
}
VOTES, HIDDEN_COMMIT = "votes", "hidden-commit"
KINDS = (*_PLURAL.values(), VOTES, HIDDEN_COMMIT)
"""What a pair may be: two of one kind; `votes` of different kinds for different batches; a COMMIT and the
VIEW-CHANGE that hides it."""

_ONCE = {
    PRE_PREPARE: "the primary of a view proposes one batch for a sequence",
    PREPARE: "a member prepares one batch for a sequence in a view",
    COMMIT: "a member commits one batch for a sequence in a view",
    ATTESTATION: "a member executes one block at a height",
    VIEW_CHANGE: "a member leaves for a view once",
    NEW_VIEW: "the primary of a view starts it once",
}


class Place(NamedTuple):
    """What a statement is about: of one member's with the same place, all must agree."""

    about: str
    """`vote`, or one of the other kinds."""
    view: int
    """0 where it has none."""
    sequence: int
    """Or height; 0 where it has none."""


def place_of(kind: str, message: object) -> Place | None:
    """Return what a message is about; `None` for one that binds its sender to nothing."""
    match message:
        case PrePrepare() | Prepare() | Commit():
            return Place("vote", message.view, message.sequence)
        case Attestation():
            return Place(kind, 0, message.height)
        case ViewChange() | NewView():
            return Place(kind, message.view, 0)
        case _:
            return None


def contradict(first: Envelope, second: Envelope) -> bool:
    """Return whether no correct member signs both statements. Raises `CodecError`."""
    return contradiction(first, second) is not None


def contradiction(first: Envelope, second: Envelope) -> Contradiction | None:
    """Return why no correct member signs both statements, in whatever order; `None` where one might.

    Signatures are the caller's to verify, and so is that the signer is a member of that epoch. Raises
    `CodecError`.
    """
    if (first.signer, first.epoch) != (second.signer, second.epoch):
        return None
    (_, _, one, earlier), (_, _, two, later) = sorted(
        ((rank(each.kind), each.body, each.bare, kinds.decode(each)) for each in (first, second)),
        key=lambda each: each[:2],
    )
    place = place_of(one.kind, earlier)
    found: tuple[str, str, str] | None = None
    if isinstance(earlier, Commit) and isinstance(later, ViewChange):
        found = _hidden(earlier, later)
    elif place is not None and place == place_of(two.kind, later):
        found = _different(one, earlier, two, later)
    if found is None or place is None:
        return None
    kind, did, why = found
    says = (_says(earlier), _says(later))
    return Contradiction(kind, KINDS.index(kind), place.view, place.sequence, did, why, (one, two), says)


def rank(kind: str) -> int:
    """Return where a kind of statement stands in the canonical order of a pair."""
    order = list(NAMES)
    return order.index(kind) if kind in NAMES else len(order)


def _different(one: Envelope, earlier: Any, two: Envelope, later: Any) -> tuple[str, str, str] | None:
    """Judge two statements about one place: kind, deed and reason."""
    if one.kind == two.kind:
        name, where = NAMES[one.kind], _where(earlier)
        if one.body == two.body:
            return None
        did = f"attested two different blocks at {where}"
        if one.kind != ATTESTATION:
            did = f"signed two different {name}s for {where}"
        return _PLURAL[one.kind], did, _ONCE[one.kind]
    if earlier.digest == later.digest:
        return None
    did = f"signed a {NAMES[one.kind]} and a {NAMES[two.kind]} of different batches for {_where(earlier)}"
    return VOTES, did, "a member votes for one batch for a sequence in a view"


def hides(commit: Commit, change: ViewChange) -> str | None:
    """Return how a VIEW-CHANGE hides what its sender committed; `None` where it does not.

    Raises `CodecError` for what is no VIEW-CHANGE that a door would let in.
    """
    if change.view <= commit.view or change.stable >= commit.sequence:
        return None
    shown = [message for message in map(_proposal, change.prepared) if message.sequence == commit.sequence]
    if not shown:
        return "shows nothing prepared there"
    if any(message.view > commit.view or _same_batch(message, commit) for message in shown):
        return None
    latest = max(message.view for message in shown)
    if latest == commit.view:
        return f"shows another batch prepared there in view {latest}"
    return f"shows only what was prepared there in view {latest}"


def _same_batch(proposal: PrePrepare, commit: Commit) -> bool:
    return (proposal.view, proposal.digest) == (commit.view, commit.digest)


def _proposal(proof: PreparedProof) -> PrePrepare:
    message = kinds.decode(proof.pre_prepare)
    if not isinstance(message, PrePrepare):
        raise CodecError("a prepared certificate without its PRE-PREPARE")
    return message


def _hidden(commit: Commit, change: ViewChange) -> tuple[str, str, str] | None:
    how = hides(commit, change)
    if how is None:
        return None
    did = f"signed a COMMIT for {_where(commit)}, and hid that in its VIEW-CHANGE to view {change.view}"
    why = (
        f"the VIEW-CHANGE begins at checkpoint {change.stable}, below sequence {commit.sequence}, and {how}:"
        " whoever commits shows, until a checkpoint covers it, what it prepared in that view or a later one"
    )
    return HIDDEN_COMMIT, did, why


def _where(message: Any) -> str:
    match message:
        case Attestation():
            return f"height {message.height}"
        case ViewChange() | NewView():
            return f"view {message.view}"
    return f"view {message.view}, sequence {message.sequence}"


def _says(message: Any) -> str:
    """Return a statement as one line."""
    match message:
        case PrePrepare():
            return (
                f"PRE-PREPARE for {_where(message)}: batch {message.digest.hex()}, proposed at"
                f" {message.timestamp} ms, transaction root {message.root.hex()}"
            )
        case Prepare() | Commit():
            name = "PREPARE" if isinstance(message, Prepare) else "COMMIT"
            return f"{name} for {_where(message)}: batch {message.digest.hex()}"
        case Attestation():
            return f"attestation at {_where(message)}: block {message.block_hash.hex()}"
        case ViewChange():
            shown = [_proposal(proof) for proof in message.prepared]
            listed = ", ".join(f"{each.sequence} in view {each.view}" for each in shown) or "nothing"
            return f"VIEW-CHANGE to {_where(message)}: from checkpoint {message.stable}, prepared: {listed}"
        case NewView():
            of = ", ".join(str(each.signer) for each in message.view_changes)
            return (
                f"NEW-VIEW for {_where(message)}: VIEW-CHANGEs of members {of}; proposes"
                f" {len(message.pre_prepares)} batches again"
            )
    raise TypeError(f"{type(message).__name__} binds its sender to nothing")
