"""What several replicas stored, as a search for contradictions is given it: plain dicts."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from consensus.evidence import Found, Held
from crypto.attestation import Height
from crypto.keys import InlineChecker, SignatureChecker
from crypto.roster import MemberId, Roster
from crypto.signed import Envelope
from pbft import PbftEvidence
from tests.pbft.cluster import Member


class Stored:
    """Records and commit certificates of stores that have names."""

    def __init__(self) -> None:
        self.rows: dict[Any, Held] = {}
        self.decided: dict[Height, list[Held]] = {}

    def add(self, name: Any, records: Mapping[bytes, bytes], certificates: Mapping[int, bytes]) -> "Stored":
        for key, value in records.items():
            self.rows[name, key] = Held((name, key), key, value)
        for height, certificate in certificates.items():
            held = Held((name, height), b"", certificate)
            self.decided.setdefault(Height(height), []).append(held)
        return self

    @classmethod
    def of(cls, members: Iterable[Member]) -> "Stored":
        stored = cls()
        for member in members:
            chain = {int(decision.height): decision.certificate for decision, _ in member.disk.chain}
            stored.add(member.id, member.disk.records | member.disk.archive, chain)
        return stored

    def records(self) -> Iterator[Held]:
        yield from self.rows.values()

    def value(self, place: Any) -> bytes:
        return self.rows[place].value

    def certificates(self) -> Iterator[tuple[Height, Sequence[Held]]]:
        yield from sorted(self.decided.items())

    def search(self, roster: Roster, checker: SignatureChecker | None = None) -> list[Found]:
        return list(PbftEvidence(roster).find(self, checker or InlineChecker()))

    def convicted(self, roster: Roster) -> set[MemberId]:
        return {accused(found).signer for found in self.search(roster)}

    def kinds(self, roster: Roster) -> set[tuple[str, int]]:
        return {(found.contradiction.kind, accused(found).signer) for found in self.search(roster)}


def accused(found: Found) -> Envelope:
    return found.contradiction.statements[0]
