"""Finding contradictions in what several replicas stored, where each record alone shows none.

What lives here: holding all statements of one member about one thing against each other, in bounded memory.
What must not be known here: which two contradict each other (`pbft.contradictions`), stores, files.

What is kept: one small envelope per statement in the records of votes and archive, and of VIEW-CHANGEs and
NEW-VIEWs, which are large, only what they are about; these grow with view changes and checkpoints. The commit
certificates, which grow with the chain, are walked height by height, all stores side by side, and forgotten
again.

Signatures are verified when two statements differ, and before either convicts anybody. Until then the
first copy of a statement stands for all; should its signature not hold, then the next copy takes its place,
so nobody can hide a lie behind a forged copy of it.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import Any

from consensus.contract import EngineFault
from consensus.evidence import Contradiction, Found, Held, Holdings
from crypto.attestation import Height
from crypto.digest import Digest, digest
from crypto.errors import CryptoError
from crypto.keys import SignatureChecker
from crypto.roster import MemberId, Roster
from crypto.signed import Envelope, certificates, envelope_check
from pbft.contradictions import Place, contradiction, hides, place_of
from pbft.messages import COMMIT, NEW_VIEW, VIEW_CHANGE, Commit, ViewChange, kinds
from pbft.records import EVIDENCE, NEW_VIEWS
from pbft.statements import evidence_pairs, statements_in, votes_in

LARGE = (VIEW_CHANGE, NEW_VIEW)

Subject = tuple[MemberId, Place]


class _Statement:
    """One statement, and where it stands; a large one is read again when it is needed."""

    __slots__ = (
        "_envelope",
        "_index",
        "digest",
        "kind",
        "place",
        "says",
        "signature",
        "stable",
        "used",
        "valid",
    )

    def __init__(self, envelope: Envelope, message: Any, place: Any, index: int) -> None:
        self.kind = envelope.kind
        self.place = place
        self.signature = envelope.signature
        large = envelope.kind in LARGE
        self.says = digest("statement", envelope.body) if large else envelope.body
        self.digest: Digest | None = getattr(message, "digest", None)
        """The batch that a vote is for."""
        self.stable: int = getattr(message, "stable", 0)
        """The checkpoint that a VIEW-CHANGE begins at."""
        self.used = False
        """Whether it was shown to hide something already."""
        self.valid: bool | None = None
        """Whether its signature holds, once that is known."""
        self._envelope = None if large else envelope.bare
        self._index = index

    def envelope(self, library: "_Library") -> Envelope:
        """Return the statement itself."""
        return self._envelope if self._envelope is not None else library.large(self.place, self._index)

    def is_copy_of(self, other: "_Statement") -> bool:
        """Whether kind and content are the same; signatures may differ."""
        return self.kind == other.kind and self.says == other.says

    def clashes(self, other: "_Statement") -> bool:
        """Whether not both can stand here: of one kind only one is kept."""
        return self.kind == other.kind or self.digest != other.digest


class _Changes:
    """One member's VIEW-CHANGEs, so that those which may hide a COMMIT are found at once."""

    def __init__(self) -> None:
        self._views: list[int] = []
        self._statements: list[_Statement] = []
        self._lowest: list[int] = []
        """For each, the lowest checkpoint that it or a later one begins at."""

    def add(self, view: int, statements: Sequence[_Statement]) -> None:
        """Add those of the next view."""
        self._views += [view] * len(statements)
        self._statements += statements

    def arrange(self) -> None:
        """Get ready for `suspected`, once all are there."""
        lowest = accumulate((each.stable for each in reversed(self._statements)), min)
        self._lowest = list(lowest)[::-1]

    def suspected(self, place: Place) -> Iterator[_Statement]:
        """Yield those to later views than the place's that begin below its sequence."""
        first = bisect_right(self._views, place.view)
        if first < len(self._views) and self._lowest[first] < place.sequence:
            for statement in self._statements[first:]:
                if statement.stable < place.sequence and not statement.used:
                    yield statement


class _Library:
    """Reads large statements again; the last record stays open."""

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._keys: dict[Any, bytes] = {}
        self._open: tuple[Any, dict[int, Envelope]] = (None, {})
        self._decoded: tuple[_Statement | None, ViewChange | None] = (None, None)

    def note(self, held: Held) -> None:
        """Remember that the record holds something large."""
        self._keys[held.place] = held.key

    def large(self, place: Any, index: int) -> Envelope:
        """Return the statement with this number in the record at `place`."""
        if self._open[0] != place:
            large: dict[int, Envelope] = {}
            # Whatever does not decode stood behind what was heard before as well.
            with suppress(CryptoError, EngineFault):
                for at, each in enumerate(statements_in(self._keys[place], self._holdings.value(place))):
                    if each.kind in LARGE:
                        large[at] = each.bare
            self._open = (place, large)
        return self._open[1][index]

    def change(self, statement: _Statement) -> ViewChange:
        """Return the message of a VIEW-CHANGE."""
        known, message = self._decoded
        if known is not statement or message is None:
            decoded = kinds.decode(statement.envelope(self))
            if not isinstance(decoded, ViewChange):
                raise TypeError("a statement that was a VIEW-CHANGE is something else now")
            self._decoded, message = (statement, decoded), decoded
        return message


class ContradictionSearch:
    """One search."""

    def __init__(self, roster: Roster, holdings: Holdings, checker: SignatureChecker) -> None:
        self._roster = roster
        self._holdings = holdings
        self._checker = checker
        self._library = _Library(holdings)
        self._said: dict[Subject, list[_Statement]] = {}
        self._changes: dict[MemberId, _Changes] = {}

    def run(self) -> Iterator[Found]:
        """Yield what is found; some pairs may come twice."""
        seen: set[bytes] = set()
        for held in self._holdings.records():
            if held.key.startswith(NEW_VIEWS):
                # Every replica archives the same, and it is large.
                content = digest("record", held.value)
                if content in seen:
                    continue
                seen.add(content)
            if held.key.startswith(EVIDENCE):
                yield from self._archived(held)
            yield from self._record(held)
        self._arrange_changes()
        for (member, place), statements in self._said.items():
            yield from self._hidden(member, place, statements)
        for height, group in self._holdings.certificates():
            yield from self._decided(height, group)

    def _archived(self, held: Held) -> Iterator[Found]:
        """Yield the evidence that a replica kept."""
        try:
            pair = evidence_pairs.decode(held.value)
            found = contradiction(*pair)
        except CryptoError:
            return
        if found is not None and all(map(self._is_member, pair)) and all(map(self._holds, pair)):
            yield Found(found, (held.place,))

    def _record(self, held: Held) -> Iterator[Found]:
        """Hear what is in one record, up to where it does not decode."""
        try:
            for index, envelope in enumerate(statements_in(held.key, held.value)):
                message = kinds.decode(envelope)
                place = place_of(envelope.kind, message)
                if place is not None and self._is_member(envelope):
                    statement = _Statement(envelope, message, held.place, index)
                    if envelope.kind in LARGE:
                        self._library.note(held)
                    yield from self._add(self._said.setdefault((envelope.signer, place), []), statement)
        except (CryptoError, EngineFault):
            return

    def _decided(self, height: Height, group: Sequence[Held]) -> Iterator[Found]:
        """Hear the COMMITs that decided one height, in all stores."""
        said: dict[Subject, list[_Statement]] = {}
        heard: set[Envelope] = set()
        for held in group:
            try:
                certificate = certificates.decode(held.value)
                # Most stores hold most of the same votes.
                votes = [vote for vote in votes_in(certificate) if vote not in heard]
                heard.update(votes)
                message = kinds.decode(votes[0]) if votes else None
            except CryptoError:
                continue
            if not isinstance(message, Commit) or message.sequence != height:
                continue
            place = Place("vote", message.view, message.sequence)
            for index, envelope in enumerate(votes):
                if self._is_member(envelope):
                    subject = (envelope.signer, place)
                    statements = said.setdefault(subject, list(self._said.get(subject, ())))
                    yield from self._add(statements, _Statement(envelope, message, held.place, index))
        for (member, place), statements in said.items():
            yield from self._hidden(member, place, statements)

    def _add(self, statements: list[_Statement], new: _Statement) -> Iterator[Found]:
        """Hold a statement against what its member said in the same place, and keep it beside that."""
        if any(old.is_copy_of(new) and old.signature == new.signature for old in statements):
            return
        for old in [old for old in statements if old.clashes(new)]:
            if not self._valid(old):
                statements.remove(old)
                continue
            if old.is_copy_of(new) or not self._valid(new):
                return
            yield from self._pair(old, new)
            if old.kind == new.kind:
                return
        statements.append(new)

    def _pair(self, one: _Statement, other: _Statement) -> Iterator[Found]:
        found = contradiction(one.envelope(self._library), other.envelope(self._library))
        if found is not None:
            yield Found(found, (one.place, other.place))

    def _arrange_changes(self) -> None:
        for (member, place), statements in sorted(self._said.items(), key=lambda item: item[0]):
            if place.about == VIEW_CHANGE:
                self._changes.setdefault(member, _Changes()).add(place.view, statements)
        for changes in self._changes.values():
            changes.arrange()

    def _hidden(self, member: MemberId, place: Place, statements: list[_Statement]) -> Iterator[Found]:
        """Hold a member's COMMITs in one place against its VIEW-CHANGEs to later views."""
        changes = self._changes.get(member)
        if changes is None or place.about != "vote":
            return
        for commit in [each for each in statements if each.kind == COMMIT]:
            for change in changes.suspected(place):
                if self._hides(commit, change) and self._valid(commit) and self._valid(change):
                    # Whoever hides much is convicted once by each VIEW-CHANGE.
                    change.used = True
                    yield from self._pair(commit, change)

    def _hides(self, commit: _Statement, change: _Statement) -> bool:
        message = kinds.decode(commit.envelope(self._library))
        if not isinstance(message, Commit):
            return False
        try:
            return hides(message, self._library.change(change)) is not None
        except CryptoError:
            return False

    def _is_member(self, envelope: Envelope) -> bool:
        return envelope.epoch == self._roster.epoch and envelope.signer in self._roster.members

    def _valid(self, statement: _Statement) -> bool:
        if statement.valid is None:
            statement.valid = self._holds(statement.envelope(self._library))
        return statement.valid

    def _holds(self, envelope: Envelope) -> bool:
        return self._checker.check([envelope_check(self._roster, envelope)]) == [True]


class PbftEvidence:
    """What PBFT knows of evidence, in one epoch (`consensus.evidence.EvidenceJudge`)."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    def contradiction(self, first: Envelope, second: Envelope) -> Contradiction | None:
        """Return why no correct member signs both statements. Raises `CryptoError`."""
        return contradiction(first, second)

    def find(self, holdings: Holdings, checker: SignatureChecker) -> Iterator[Found]:
        """Yield the contradictions in `holdings`, signatures verified; some may come twice."""
        return ContradictionSearch(self._roster, holdings, checker).run()
