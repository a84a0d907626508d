"""The one state that a PBFT replica owns, and the small steps that every phase shares.

The phases (normal case, checkpoints, view change, synchronisation, timing) are functions over this
state, each in its own module. Nothing here decides anything.
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

from consensus.contract import (
    Decision,
    Evidence,
    FetchBlocks,
    FetchBodies,
    Ready,
    Record,
    Relay,
    Request,
    Send,
)
from consensus.pool import Pool
from consensus.quorum import Quorums
from consensus.votes import Votes
from crypto.attestation import Attestation, Height
from crypto.batch import Millis, TxId
from crypto.codec import encode
from crypto.digest import Digest
from crypto.keys import Signer
from crypto.roster import MemberId, Roster
from crypto.signed import Certificate, Envelope, Signed
from pbft.limits import Limits, Tuning
from pbft.messages import (
    Commit,
    Prepare,
    PreparedProof,
    PrePrepare,
    Status,
    Suspect,
    View,
    ViewChange,
    kinds,
    primary_of,
)
from pbft.records import evidence_key

M = TypeVar("M")

MAX_STASH = 64
"""Messages of later views kept per member: enough for what overtakes a NEW-VIEW; resending does the rest."""

MAX_EVIDENCE = 64
"""Pieces of evidence kept against one member: one condemns, more only fill the disk."""


class Ignored(Enum):
    """Why a message was not acted on. Counted in the engine's status, never an error of ours."""

    OLD_VIEW = "of an earlier view"
    LATER_VIEW = "of a later view, kept for it"
    NOT_ACTIVE = "the view is being changed"
    BELOW_WATERMARK = "at or below the stable checkpoint"
    ABOVE_WATERMARK = "too far above the high watermark"
    REPEATED = "said before"
    CONFLICTING = "contradicts what its sender said before"
    PRIMARY_PREPARE = "a PREPARE by the primary, which never counts"
    OWN = "one's own message, come back"
    CLOCK = "its timestamp lies outside the clock bound"
    NOT_REPROPOSED = "not what the NEW-VIEW proposed"
    UNKNOWN = "asks for what is not here"
    TOO_SOON = "answered a moment ago"
    HALTED = "this replica has stopped"
    NOT_A_CHECKPOINT = "no checkpoint height"
    TOO_MUCH_MISSING = "too many bodies are missing already"
    UNASKED = "was not asked for"


@dataclass(slots=True)
class Content:
    """The batch behind a digest: its ids, and its bodies as far as they are here.

    `requests` is `None` once the bodies are in a stored block.
    """

    timestamp: Millis
    root: Digest
    ids: tuple[TxId, ...]
    requests: list[Request | None] | None
    missing: int
    """How many of `requests` are `None`."""
    durable: bool = False
    """Whether its record was put: a vote for it may follow."""
    since: Millis = Millis(0)
    """When its ids became known here, in monotonic ms: missing bodies are asked for a little later."""


@dataclass(slots=True)
class Slot:
    """One sequence number: what this view proposed for it, the votes on that, and what outlives views."""

    sequence: Height
    pre_prepare: Signed[PrePrepare] | None = None
    voted_prepare: bool = False
    """Whether this replica bound itself to the proposal: by PREPARE, or by proposing it."""
    voted_commit: bool = False
    refused: bool = False
    """Whether the proposal, now that its bodies are here, turned out to be one that nobody may vote for."""
    shown: set[MemberId] = field(default_factory=set)
    """Who voted for another batch than this view's proposal here, and was sent that."""
    prepares: Votes[Prepare] = field(default_factory=Votes)
    commits: Votes[Commit] = field(default_factory=Votes)
    contents: dict[Digest, Content] = field(default_factory=dict)
    """The batches behind all digests that were proposed or decided here, in whatever view."""
    prepared: PreparedProof | None = None
    """The prepared certificate of the highest view."""
    prepared_view: View = View(-1)
    prepared_digest: Digest | None = None
    committed: Digest | None = None
    """What is decided, proven by `certificate`."""
    certificate: bytes = b""

    @property
    def content(self) -> Content | None:
        """The batch that is proposed in the present view, if its ids are known."""
        return self.contents.get(self.pre_prepare.message.digest) if self.pre_prepare else None

    def forget_view(self) -> None:
        """Forget what belongs to one view only. Prepared certificates stay (rule 2)."""
        self.pre_prepare = None
        self.voted_prepare = self.voted_commit = self.refused = False
        self.shown.clear()
        self.prepares.clear()
        self.commits.clear()


@dataclass(slots=True)
class Outbox:
    """What the next `Ready` will hold."""

    persist: list[Record] = field(default_factory=list)
    send: list[Send] = field(default_factory=list)
    relay: list[Relay] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    fetch: list[FetchBodies | FetchBlocks] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    archive: list[Record] = field(default_factory=list)

    def take(self) -> Ready:
        """Return all of it, and start empty."""
        ready = Ready(
            tuple(self.persist),
            tuple(self.send),
            tuple(self.relay),
            tuple(self.decisions),
            tuple(self.fetch),
            tuple(self.evidence),
            tuple(self.archive),
        )
        for items in (
            self.persist,
            self.send,
            self.relay,
            self.decisions,
            self.fetch,
            self.evidence,
            self.archive,
        ):
            if items:
                items.clear()
        return ready


@dataclass(slots=True)
class Timers:
    """Monotonic moments (ms) at which something is due, or since when; `None` where nothing runs."""

    tracked: TxId | None = None
    """The oldest request that waits; when it is settled the next one is tracked."""
    track_at: Millis = Millis(0)
    """When to look for one again, after none of those that wait could be tracked."""
    relay_at: Millis | None = None
    """When the tracked request is relayed to the primary."""
    request_deadline: Millis | None = None
    """When the view is suspected for it; set once it was relayed."""
    stalled_since: Millis | None = None
    """Since when the lowest proposal that is not executed has been waiting."""
    deceived: bool = False
    """Whether this view's primary proposed another batch here than was decided: it is suspected at once."""
    time_wanted_since: Millis | None = None
    """Since when the ledger's time has had to move, for a client's sake."""
    view_change_deadline: Millis | None = None
    """When the view that is being entered is suspected."""
    suspected_at: Millis | None = None
    """When SUSPECT was last said, while there is reason to."""
    status_at: Millis = Millis(0)
    quiet: int = 0
    """How many status periods passed without a STATUS of one's own."""
    fetch_at: Millis | None = None
    """When missing bodies and ids are asked for."""
    blocks_at: Millis = Millis(0)
    """When to see whether stored blocks must be asked for."""
    sweep_at: Millis = Millis(0)
    """When expired requests are looked for."""


@dataclass(slots=True)
class Standing:
    """What another member last said of itself, and when it was last answered."""

    status: Status | None = None
    heard_at: Millis = Millis(0)
    """When its latest STATUS came, in monotonic ms."""
    answered_at: Millis | None = None
    """When its STATUS was last answered, in monotonic ms."""
    answers: set[Digest] = field(default_factory=set)
    answers_in: Millis = Millis(-1)
    """Which of its questions were answered in which status period."""
    filled_to: Height = Height(0)
    """Up to here empty blocks are ordered so that it can vote again."""


@dataclass(slots=True)
class State:
    """Everything one replica knows. The names are the paper's."""

    member: MemberId
    roster: Roster
    quorums: Quorums
    signer: Signer
    limits: Limits
    tuning: Tuning
    pool: Pool
    out: Outbox = field(default_factory=Outbox)
    timers: Timers = field(default_factory=Timers)
    ignored: Counter[Ignored] = field(default_factory=Counter)

    view: View = View(0)
    active: bool = True
    log_view: View = View(0)
    """The last view that was active here: the one the votes in the slots belong to."""
    failed_views: int = 0
    """Views left since there was progress: each doubles the timeout."""
    new_view: Envelope | None = None
    """The last one that was entered here, for those who missed it; `None` before there was one."""
    own_view_change: Signed[ViewChange] | None = None
    """Resent until the view is active."""
    view_changes: dict[MemberId, Signed[ViewChange]] = field(default_factory=dict)
    """The latest of each member, for views that are not active here."""
    suspects: dict[MemberId, tuple[Signed[Suspect], Millis]] = field(default_factory=dict)
    """The latest suspicion of each member, and when it came, in monotonic ms."""
    leave_proof: tuple[Envelope, ...] = ()
    """The f+1 suspicions for which this replica left a view: resent until the next one is active."""
    stash: dict[MemberId, deque[Signed[Any]]] = field(default_factory=dict)
    """Messages of later views, by sender, until these views are active."""
    unstashed: View = View(-1)
    """The last view whose kept messages were taken out."""

    low: Height = Height(0)
    """The low watermark: the last stable checkpoint, which `checkpoint` certifies."""
    checkpoint: Certificate | None = None
    target: Certificate | None = None
    """A certified checkpoint above what is executed here."""
    target_height: Height = Height(0)
    target_hash: Digest | None = None
    delivered: Height = Height(0)
    """Up to here decisions have left the engine."""
    executed: Height = Height(0)
    """Up to here their blocks are stored."""
    block_time: Millis = Millis(0)
    """The time of the last block that was stored since the start, in ms since the epoch."""
    wanted_time: Millis = Millis(-1)
    """The ledger's time must pass this, with an empty block if need be; -1 while nobody wants that."""
    own_hashes: dict[Height, Digest] = field(default_factory=dict)
    """One's own block hashes at the checkpoints above the stable one."""
    attestations: dict[Height, Votes[Attestation]] = field(default_factory=dict)
    """CHECKPOINTs above the stable one, by height."""
    ahead: dict[MemberId, Signed[Attestation]] = field(default_factory=dict)
    """The latest attestation of each member beyond the window."""

    slots: dict[Height, Slot] = field(default_factory=dict)
    next_sequence: Height = Height(1)
    """What a primary proposes next."""
    proposed_until: Height = Height(0)
    """The last sequence that the NEW-VIEW of the log's view proposed again."""
    highest_accepted: Height = Height(0)
    """The highest sequence for which this view has a proposal here."""
    queued_since: Millis | None = None
    """Since when a primary has had requests to propose, in monotonic ms."""
    filled_at: Millis = Millis(0)
    """When this primary last proposed, in monotonic ms: empty blocks keep a distance."""
    awaited: dict[TxId, list[tuple[Height, Digest, int]]] = field(default_factory=dict)
    """Bodies that are missing: in which sequence's batch, by digest, and at which position."""
    standings: dict[MemberId, Standing] = field(default_factory=dict)
    convicted: Counter[MemberId] = field(default_factory=Counter)
    """How many pieces of evidence were kept against whom."""

    started: Millis = Millis(0)
    """The own wall clock at the start."""
    fetched_from: Height = Height(0)
    """`delivered` when blocks were last seen to: whether it has moved by itself since."""
    told_delivered: Height = Height(0)
    """`delivered` at the last status period."""
    catching_up: bool = False
    awake: bool = False
    """Whether this replica said since its start where it stands."""
    marked: bool = False
    """The disk is older than this member's votes: no votes before the stable checkpoint `needs`."""
    needs: Height = Height(0)
    halted: str | None = None
    """Why this replica votes no more, if so."""

    @property
    def high(self) -> Height:
        """The high watermark."""
        return Height(self.low + self.limits.window)

    @property
    def horizon(self) -> Height:
        """Up to here messages are kept, though not voted on: one window above the high watermark."""
        return Height(self.low + 2 * self.limits.window)

    @property
    def primary(self) -> MemberId:
        """The primary of the present view."""
        return primary_of(self.view, self.quorums.n)

    @property
    def may_vote(self) -> bool:
        """Whether this replica may bind itself to anything."""
        return self.halted is None and not self.marked

    @property
    def leads(self) -> bool:
        """Whether this replica is the primary of a view that is active here, and may propose."""
        return self.active and self.primary == self.member and self.may_vote

    def slot(self, sequence: Height) -> Slot:
        """Return the slot of `sequence`, which the caller has found to be inside the bounds."""
        slot = self.slots.get(sequence)
        if slot is None:
            slot = self.slots[sequence] = Slot(sequence)
        return slot

    def seal(self, message: M, beside: bytes = b"") -> Signed[M]:
        """Return `message` signed by this replica."""
        return kinds.seal(self.roster, self.member, self.signer, message, beside)

    def broadcast(self, message: M, beside: bytes = b"") -> Signed[M]:
        """Sign `message`, send it to all others, and return it."""
        signed = self.seal(message, beside)
        self.out.send.append(Send(signed.envelope))
        return signed

    def send(self, envelope: Envelope, to: MemberId) -> None:
        """Send `envelope` to one member."""
        self.out.send.append(Send(envelope, (to,)))

    def persist(self, key: bytes, value: bytes | None) -> None:
        """Have a record put, or deleted, before anything of this Ready is sent."""
        self.out.persist.append(Record(key, value))

    def others(self) -> Iterable[MemberId]:
        """All other members, in ascending order."""
        return (MemberId(member) for member in self.roster.members if member != self.member)

    def standing(self, member: MemberId) -> Standing:
        """Return what is known of `member`."""
        return self.standings.setdefault(member, Standing())

    def accuse(self, what: str, first: Envelope, second: Envelope) -> None:
        """Keep two statements of one member that no correct member signs both of."""
        member = first.signer
        if self.convicted[member] >= MAX_EVIDENCE:
            return
        self.convicted[member] += 1
        self.out.evidence.append(Evidence(member, what, first.bare, second.bare))
        value = encode((first.bare, second.bare))
        self.out.archive.append(Record(evidence_key(value), value))

    def halt(self, reason: str) -> None:
        """Stop voting and proposing for good."""
        if self.halted is None:
            self.halted = reason
            self.pool.follow()
