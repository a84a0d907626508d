"""What liars remember: what was said to them, sorted by what it is good for. Colluding liars share one
memory.

What lives here: signed statements of others, as they came. Nothing here is forged: a liar can show again what
others signed, and no more.
"""

from collections import deque
from collections.abc import Iterable

from crypto.attestation import Attestation
from crypto.digest import Digest
from crypto.signed import Certificate, Envelope, Vote
from pbft.messages import NewView, Prepare, PrePrepare, Stable, ViewChange, kinds

MAX_SAID = 2_000
"""Messages kept for showing again."""

Place = tuple[int, int, bytes]
"""View, sequence, digest."""


class Memory:
    """What all colluding liars together have heard."""

    def __init__(self, colluders: Iterable[int] = ()) -> None:
        """`colluders`: who is in the plot."""
        self.said: deque[Envelope] = deque(maxlen=MAX_SAID)
        self.proposals: dict[Place, Envelope] = {}
        """Signed PRE-PREPAREs, bare."""
        self.prepares: dict[Place, dict[int, Vote]] = {}
        self.checkpoints: list[Certificate] = []
        self.changes: dict[int, dict[int, Envelope]] = {}
        """VIEW-CHANGEs by view and signer."""
        self.attested: dict[int, Attestation] = {}
        """What somebody attested, by height."""
        self.bodies: deque[bytes] = deque(maxlen=MAX_SAID)
        """Signed transactions of clients."""
        self.heights: dict[bytes, int] = {}
        """In which block they say together that a transaction stands."""
        self.invented: dict[int, Digest] = {}
        """Which block they say together stands at a height."""
        self.colluders = frozenset(colluders)

    def note(self, envelope: Envelope) -> None:
        """Remember one message, and what is nested in it."""
        self.said.append(envelope)
        message = kinds.decode(envelope)
        match message:
            case PrePrepare():
                self.proposals[message.view, message.sequence, message.digest] = envelope.bare
            case Prepare():
                key = (message.view, message.sequence, message.digest)
                vote = Vote(envelope.signer, envelope.signature)
                self.prepares.setdefault(key, {})[envelope.signer] = vote
            case Attestation():
                self.attested[message.height] = message
            case Stable():
                self.checkpoints.append(message.checkpoint)
            case ViewChange():
                if message.checkpoint is not None:
                    self.checkpoints.append(message.checkpoint)
                self.changes.setdefault(message.view, {})[envelope.signer] = envelope
            case NewView():
                for nested in (*message.view_changes, *message.pre_prepares):
                    self.note(nested)
