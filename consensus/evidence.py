"""Evidence, as every engine knows it: two signed statements that no correct member makes both of.

What lives here: what an engine says of such a pair, and what it is given to look for pairs in. What must not
be known here: which statements contradict each other (each engine knows that of its own), stores, files.
"""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from crypto.attestation import Height
from crypto.keys import SignatureChecker
from crypto.signed import Envelope


class Contradiction(Struct, frozen=True):
    """Why two statements of one member convict it, in words for people and in numbers for sorting."""

    kind: str
    """One of the engine's short names, as `prepares`."""
    rank: int
    """The place of `kind` among the engine's kinds."""
    view: int
    """The view, term or ballot that the first statement is about; 0 where it has none."""
    sequence: int
    """The sequence or height that it is about; 0 where it has none."""
    did: str
    """What the member did; its name goes before it."""
    why: str
    """Why no correct member does that."""
    statements: tuple[Envelope, Envelope]
    """The two in their canonical order, without what is beside them."""
    says: tuple[str, str]
    """What each of them says, in the same order."""


class Held(NamedTuple):
    """One record of the engine's, or one certificate, in some store."""

    place: Hashable
    """Where it lies; for `Holdings.value`, and to be told to people."""
    key: bytes
    """The engine's key; empty for a certificate."""
    value: bytes


class Holdings(Protocol):
    """All that several stores hold of an engine's."""

    def records(self) -> Iterator[Held]:
        """Yield every record of votes and archives, store by store."""
        ...

    def value(self, place: Any) -> bytes:
        """Return the value of a record that was yielded, again."""
        ...

    def certificates(self) -> Iterator[tuple[Height, Sequence[Held]]]:
        """Yield the certificates that decided each height, of all stores together, in ascending order."""
        ...


class Found(NamedTuple):
    """A contradiction, the signatures of both statements verified."""

    contradiction: Contradiction
    places: tuple[Any, ...]
    """In which records its statements stood."""


class EvidenceJudge(Protocol):
    """What an engine knows of evidence."""

    def contradiction(self, first: Envelope, second: Envelope) -> Contradiction | None:
        """Return why no correct member signs both, in whatever order; `None` where one might.

        Signatures are not looked at. Raises `CryptoError` where one is no statement of the engine's.
        """
        ...

    def find(self, holdings: Holdings, checker: SignatureChecker) -> Iterator[Found]:
        """Yield contradictions in what stores hold, each with both signatures verified; some may come twice.

        Records that do not decode are passed over: to name them is the audit's part.
        """
        ...
