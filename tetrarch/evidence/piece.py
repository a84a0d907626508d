"""One piece of evidence: made from two statements, written, read, and verified with a genesis alone.

What lives here: the piece and its checks. What must not be known here: stores and networks, and which
statements contradict each other (that is the engine's to say).
"""

from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from consensus.evidence import Contradiction
from crypto.digest import ChainId
from crypto.errors import CryptoError
from crypto.keys import InlineChecker, SignatureChecker
from crypto.roster import MemberId
from crypto.signed import Envelope, envelope_check
from ledger.genesis import Genesis
from ledger.jsonfile import FileFault, write_json
from tetrarch.engines import UnusableGenesis, ordering
from tetrarch.errors import ConfigurationError, VerificationError
from tetrarch.evidence.text import (
    FORMAT,
    VERSION,
    EvidenceText,
    read_evidence_text,
    statement_of_text,
    statement_to_text,
)
from tetrarch.trust import TrustRoot

E = TypeVar("E", bound="Evidence")


class Verified(Struct, frozen=True):
    """What a piece of evidence proves."""

    member: MemberId
    name: str
    """The member's name in the genesis."""
    what: str
    """Who did what, in one line."""
    contradiction: Contradiction
    checked: tuple[str, ...]
    """The checks that held."""


class Evidence(Struct, frozen=True):
    """Two statements that convict the member who signed both. Nothing in it is believed before `verify`.

    Pieces from `of` and from a search are as `verify` computes them; `load` takes what the file says.
    """

    chain_id: ChainId
    engine: str
    member: MemberId
    name: str
    kind: str
    """The engine's name for this kind of contradiction, as `prepares`."""
    what: str
    """Who did what, in one line."""
    why: str
    """Why no correct member does that."""
    statements: tuple[Envelope, Envelope]
    says: tuple[str, str]
    """What each of the two says, for people."""

    @classmethod
    def of(cls, genesis: Genesis, found: Contradiction) -> "Evidence":
        """Return a contradiction as evidence; that the signatures hold is the caller's to know."""
        member = found.statements[0].signer
        name = genesis.members[member].name
        return cls(
            chain_id=genesis.chain_id,
            engine=genesis.engine,
            member=member,
            name=name,
            kind=found.kind,
            what=f"{name} {found.did}",
            why=found.why,
            statements=found.statements,
            says=found.says,
        )

    def save(self, path: str | Path) -> None:
        """Write the file, durably. Raises `ConfigurationError` where that cannot be done."""
        first, second = (statement_to_text(*each) for each in zip(self.statements, self.says, strict=True))
        text = EvidenceText(
            format=FORMAT,
            version=VERSION,
            chain_id=self.chain_id.hex(),
            engine=self.engine,
            member=self.member,
            name=self.name,
            kind=self.kind,
            what=self.what,
            why=self.why,
            statements=(first, second),
        )
        try:
            write_json(Path(path), text)
        except FileFault as fault:
            raise ConfigurationError(fault.path, fault.key, fault.what) from None

    @classmethod
    def load(cls: type[E], path: str | Path) -> E:
        """Read a file.

        Raises `ConfigurationError`, naming file and key, for what is no evidence of this version.
        """
        path = Path(path)
        try:
            text = read_evidence_text(path)
            first, second = (
                statement_of_text(each, path, f"statements[{place}]")
                for place, each in enumerate(text.statements)
            )
        except FileFault as fault:
            raise ConfigurationError(fault.path, fault.key, fault.what) from None
        return cls(
            chain_id=ChainId(bytes.fromhex(text.chain_id)),
            engine=text.engine,
            member=MemberId(text.member),
            name=text.name,
            kind=text.kind,
            what=text.what,
            why=text.why,
            statements=(first, second),
            says=(text.statements[0].says, text.statements[1].says),
        )

    def verify(self, trust: TrustRoot, checker: SignatureChecker | None = None) -> Verified:
        """Check everything, and return who did what. Raises `VerificationError`, naming the failed check:

        - chain, engine: those of the genesis;
        - epoch, member: both statements are of the genesis' epoch, by the one member that is accused;
        - first signature, second signature: each holds under that member's key, over chain, kind and epoch;
        - contradiction: no correct member signs both, in the engine's judgement, which is made anew;
        - text: what the file tells people is what was computed.
        """
        return _Verifying(self, trust, checker or InlineChecker()).run()


class _Verifying:
    def __init__(self, evidence: Evidence, trust: TrustRoot, checker: SignatureChecker) -> None:
        self._evidence, self._trust, self._checker = evidence, trust, checker
        self._passed: list[str] = []

    def run(self) -> Verified:
        evidence, trust = self._evidence, self._trust
        genesis, roster = trust.genesis, trust.roster
        self._require("chain", trust.chain_id.hex(), evidence.chain_id.hex())
        self._require("engine", genesis.engine, evidence.engine)
        epochs = [each.epoch for each in evidence.statements]
        self._require("epoch", f"{roster.epoch} and {roster.epoch}", f"{epochs[0]} and {epochs[1]}")
        self._require_member()
        for ordinal, statement in zip(("first", "second"), evidence.statements, strict=True):
            holds = self._checker.check([envelope_check(roster, statement)]) == [True]
            expected = f"a signature of member {evidence.member} ({genesis.members[evidence.member].name})"
            found = expected if holds else "one that does not verify under its key, over this chain and kind"
            self._require(f"{ordinal} signature", expected, found)
        contradiction = self._contradiction()
        proven = Evidence.of(genesis, contradiction)
        self._require_text(proven)
        return Verified(proven.member, proven.name, proven.what, contradiction, tuple(self._passed))

    def _require(self, check: str, expected: str, actual: str) -> None:
        if expected != actual:
            raise VerificationError(check, expected, actual, self._passed)
        self._passed.append(check)

    def _require_member(self) -> None:
        evidence, n = self._evidence, self._trust.roster.n
        if evidence.member >= n:
            raise VerificationError(
                "member", f"one of {n} members", f"member {evidence.member}", self._passed
            )
        one, other = (each.signer for each in evidence.statements)
        member = evidence.member
        self._require(
            "member",
            f"both signed by {member}",
            f"both signed by {one}" if one == other else f"{one} and {other}",
        )

    def _contradiction(self) -> Contradiction:
        expected = "two statements that no correct member signs both of"
        trust = self._trust
        try:
            judge = ordering(trust.genesis, trust.roster).evidence
            found = judge.contradiction(*self._evidence.statements)
        except (CryptoError, UnusableGenesis) as error:
            raise VerificationError("contradiction", expected, str(error), self._passed) from None
        if found is None:
            raise VerificationError(
                "contradiction", expected, "two that a correct member may sign", self._passed
            )
        self._passed.append("contradiction")
        return found

    def _require_text(self, proven: Evidence) -> None:
        evidence = self._evidence
        for field in ("name", "kind", "what", "why"):
            expected, actual = getattr(proven, field), getattr(evidence, field)
            if expected != actual:
                raise VerificationError("text", f"{field}: {expected}", f"{field}: {actual}", self._passed)
        for place, (expected, actual) in enumerate(zip(proven.says, evidence.says, strict=True)):
            if expected != actual:
                field = f"statements[{place}].says"
                raise VerificationError("text", f"{field}: {expected}", f"{field}: {actual}", self._passed)
        self._passed.append("text")
